"""The positive controls: points that lie where they should, observed by a network that knows distances and no place."""

import json

import numpy as np
import pytest
from scipy import stats as laws

from mcvae.data import controls, load, prepare, store
from mcvae.datasets import CONTROLS
from mcvae.errors import UserError
from mcvae.files import sha256_file
from mcvae.sources import CONTROL_FILES, CONTROLS_VERSION, EMBEDDED_TRAIN

NAMES = tuple(controls.CONTROLS)
SIGNS = np.array([-1.0, 1.0, 1.0])


@pytest.fixture(scope="session")
def raws(tmp_path_factory):
    """Every set's raw folder."""
    root = tmp_path_factory.mktemp("controls")
    for name in NAMES:
        controls.write_control(name, root / name)
    return root


@pytest.fixture
def arrays(raws):
    return lambda name: [np.load(raws / name / f"{file}.npy", allow_pickle=False) for file in controls.FILES]


def clean(name, points):
    """The observations of other points by the network of a set, without noise, up to a constant."""
    control = controls.CONTROLS[name]
    random = np.random.RandomState(0)
    widths = np.cumsum([space.ambient for space in control.spaces])[:-1]
    parts = zip(control.spaces, np.split(points, widths, 1), strict=True)
    return np.concatenate([controls._layer(random, space, part) for space, part in parts], 1)


def test_the_table_of_data_sets_and_the_generators_agree():
    assert set(NAMES) == set(CONTROLS)
    assert set(CONTROL_FILES) == {f"{name}.npy" for name in controls.FILES}
    assert {EMBEDDED_TRAIN[name] for name in NAMES} == {controls.SIZES[0]}


@pytest.mark.parametrize("name", NAMES)
def test_files_keep_their_bytes_for_as_long_as_the_version_stays(raws, name):
    """When this fails the generator has changed: raise CONTROLS_VERSION in mcvae/sources.py, then renew DIGESTS."""
    assert CONTROLS_VERSION == 2
    assert {file: sha256_file(raws / name / file)[:16] for file in CONTROL_FILES} == DIGESTS[name]


@pytest.mark.parametrize("name", NAMES)
def test_points_lie_on_their_space(arrays, name):
    _, points, _ = arrays(name)
    if name.startswith("sphere"):
        assert np.abs(np.linalg.norm(points[:, :3], axis=1) - 1).max() < 1e-8
    if name in ("tree", "sphere-hyperbolic"):
        last = points[:, -3:]
        assert np.abs(last[:, 0] - np.sqrt(1 + last[:, 1] ** 2 + last[:, 2] ** 2)).max() < 1e-8
    assert points.shape[1] == {"plane": 2, "sphere": 3, "tree": 3, "sphere-hyperbolic": 6}[name]


@pytest.mark.parametrize("name", NAMES)
def test_values_lie_on_the_grid_and_are_exact_in_single_precision(arrays, name):
    observations, _, _ = arrays(name)
    assert observations.dtype == np.float32
    scaled = observations.astype(np.float64) / controls.GRID
    assert np.array_equal(scaled, np.rint(scaled))


@pytest.mark.parametrize("name", ["sphere", "sphere-hyperbolic"])
def test_points_of_the_sphere_are_uniform(arrays, name):
    """Archimedes: every coordinate of a uniform point of S² is uniform on [-1, 1]."""
    points = arrays(name)[1]
    for axis in range(3):
        assert laws.kstest(points[:, axis], laws.uniform(-1, 2).cdf).pvalue > 1e-3


def test_points_of_the_plane_are_normal(arrays):
    points = arrays("plane")[1]
    for axis, scale in enumerate(controls.PLANE_SCALES):
        assert laws.kstest(points[:, axis] / scale, laws.norm.cdf).pvalue > 1e-3
    assert abs(laws.pearsonr(*points.T).statistic) < 0.05


@pytest.mark.parametrize(("depth", "length"), [(1, 0.7), (3, 1.0), (4, 0.7)])
def test_edges_of_the_tree_have_one_length_and_children_stay_with_their_branch(depth, length):
    nodes, levels, branches = controls.tree_nodes(np.random.RandomState(1), depth, length)
    assert len(nodes) == 1 + controls.TREE_ROOTS * (2**depth - 1)
    distance = np.arccosh(np.clip(-(nodes * SIGNS) @ nodes.T, 1, None))
    for level in range(1, depth + 1):
        members, above = np.flatnonzero(levels == level), np.flatnonzero(levels == level - 1)
        edge = distance[np.ix_(members, above)]
        parents = above[np.abs(edge - length).argmin(1)]
        assert np.abs(edge.min(1, where=np.isclose(edge, length), initial=np.inf) - length).max() < 1e-6
        if level > 1:
            assert np.array_equal(branches[members], branches[parents])
            assert np.array_equal(np.unique(parents, return_counts=True)[1], np.full(len(above), 2))


def test_records_of_the_tree_lie_about_its_nodes_with_the_radius_of_a_normal(arrays):
    """The distance of a wrapped normal draw from its centre is Rayleigh's."""
    random, centre = np.random.RandomState(3), np.array([[np.cosh(2), 0.6 * np.sinh(2), 0.8 * np.sinh(2)]])
    centres = np.repeat(centre, 20_000, 0)
    drawn = controls.wrapped_normal(random, centres, 0.4)
    radius = np.arccosh(-(centres * SIGNS * drawn).sum(1))
    assert laws.kstest(radius, laws.rayleigh(scale=0.4).cdf).pvalue > 1e-3
    # Of no direction: as many on either side of the geodesic from the origin, and beyond the centre as before it.
    sides = [drawn @ [0, -0.8, 0.6], drawn @ [-np.sinh(2), 0.6 * np.cosh(2), 0.8 * np.cosh(2)]]
    for side in sides:
        assert abs((side > 0).mean() - 0.5) < 0.015


@pytest.mark.parametrize("name", ["plane", "sphere", "tree"])
def test_the_network_stretches_no_place_and_no_direction(arrays, name):
    """A short step anywhere, in any direction, moves the hidden layer by its own length (the mean within 5%)."""
    points, step = arrays(name)[1][:400], 1e-3
    random = np.random.RandomState(5)
    if name == "tree":
        moved = controls.wrapped_normal(random, points, step)
        length = 2 * np.arcsinh(np.sqrt((SIGNS * (moved - points) ** 2).sum(1).clip(0)) / 2)
    else:
        moved = points + step * random.standard_normal(points.shape)
        if name == "sphere":
            moved /= np.linalg.norm(moved, axis=1, keepdims=True)
        length = np.linalg.norm(moved - points, axis=1)
    both = clean(name, np.concatenate([points, moved]))
    stretch = np.linalg.norm(both[400:] - both[:400], axis=1) / length
    assert stretch.mean() == pytest.approx(1, abs=0.1)
    assert stretch.std() < 0.3


def test_far_points_are_parted_by_hyperplanes_in_proportion_to_their_distance(arrays):
    """Crofton: of random geodesics the share that parts two points is proportional to their distance."""
    points = arrays("tree")[1][: controls.SCOUTS]
    side = controls._geodesics(np.random.RandomState(2), points, 40_000, 3.0)[:60] > 0
    points = points[:60]
    distance = np.arccosh(np.clip(-(points * SIGNS) @ points.T, 1, None))[np.triu_indices(60, 1)]
    parted = (side[:, None] != side[None]).mean(-1)[np.triu_indices(60, 1)]
    assert laws.pearsonr(distance, parted).statistic > 0.98
    ratio = parted / distance
    assert np.std(ratio[distance > 1]) < 0.15 * np.mean(ratio[distance > 1])


@pytest.mark.parametrize("name", NAMES)
def test_noise_is_what_the_table_says(arrays, name):
    """Across the 50 numbers of near neighbours the difference is noise, twice, and a little signal."""
    observations, points, _ = arrays(name)
    squares = ((points[:, None] - points[None, :300]) ** 2).sum(-1)  # on the hyperboloid at least the distance's own
    squares[np.arange(300), np.arange(300)] = np.inf
    nearest = squares.argmin(0)
    close = np.sqrt(squares.min(0)) < 0.3
    assert close.sum() > 50
    difference = (observations[:300] - observations[nearest])[close].astype(np.float64)
    assert difference.std() / np.sqrt(2) == pytest.approx(controls.CONTROLS[name].noise, rel=0.03)


@pytest.mark.parametrize("name", NAMES)
def test_labels_say_where_a_point_lies_and_every_split_has_all(arrays, name):
    _, points, labels = arrays(name)
    train, validation = controls.SIZES[0], sum(controls.SIZES[:2])
    for part in (labels[:train], labels[train:validation], labels[validation:]):
        assert np.array_equal(np.unique(part), np.unique(labels))
    if name.startswith("sphere"):
        assert np.array_equal(labels, (points[:, :3] > 0) @ [1, 2, 4])


@pytest.mark.parametrize("name", NAMES)
def test_the_prepared_set_is_recognised_and_holds_the_raw_arrays(raws, tmp_path, arrays, name):
    prepare(name, raws / name, tmp_path / "prepared")
    data = load(tmp_path / "prepared")
    observations, points, labels = arrays(name)
    assert data.name == name
    assert (data.size("train"), data.size("validation"), data.size("test")) == controls.SIZES
    assert np.array_equal(data.tensors["observations"].numpy(), observations)
    assert np.array_equal(data.tensors["points"].numpy(), points.astype(np.float32))
    assert np.array_equal(data.tensors["labels"].numpy(), labels)
    train = observations[: controls.SIZES[0]].astype(np.float64)
    assert data.stats["mean"] == pytest.approx(train.mean(), abs=1e-12)
    assert data.stats["std"] == pytest.approx(train.std(), rel=1e-12)
    assert data.stats["noise"] == controls.CONTROLS[name].noise
    assert data.stats["classes"]["test"] == np.bincount(labels[-controls.SIZES[2] :]).tolist()


def test_equal_raw_files_give_equal_bytes(raws, tmp_path):
    for folder in ("a", "b"):
        controls.prepare(raws / "plane", tmp_path / folder)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_an_unknown_name_and_an_unknown_option_are_refused(raws, tmp_path):
    with pytest.raises(UserError, match="'torus': unknown; choose one of plane, sphere, tree, sphere-hyperbolic"):
        controls.write_control("torus", tmp_path)
    with pytest.raises(UserError, match="unknown option size"):
        controls.prepare(raws / "plane", tmp_path, {"size": 32})


SPOILT = {
    "observations": [
        (lambda x: x[:-1], "expected float32"),
        (lambda x: x.astype(np.float64), "expected float32"),
        (lambda x: np.where(x == x.max(), np.nan, x).astype(np.float32), "not finite"),
        (lambda x: np.array([{"a": 1}], dtype=object), "not a readable array"),
    ],
    "labels": [(lambda x: x[:, None], "expected uint8"), (lambda x: x.astype(np.int64), "expected uint8")],
    "points": [
        (lambda x: 2 * x, "the space of no control"),
        (lambda x: x * np.nan, "the space of no control"),
        (lambda x: x[:, :1], "the space of no control"),
    ],
}


@pytest.mark.parametrize(("file", "change", "message"), [(f, *each) for f, cases in SPOILT.items() for each in cases])
def test_a_spoilt_file_is_named_and_nothing_is_written(arrays, tmp_path, file, change, message):
    raw, prepared = tmp_path / "raw", tmp_path / "prepared"
    raw.mkdir()
    for name, array in zip(controls.FILES, arrays("sphere"), strict=True):
        array = change(array) if name == file else array
        np.save(store.tensor_path(raw, name), array, allow_pickle=array.dtype == object)
    with pytest.raises(UserError, match=message) as caught:
        controls.prepare(raw, prepared)
    assert f"{file}.npy" in str(caught.value)
    assert list(prepared.iterdir()) == []


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"observations\.npy: no such file"):
        controls.prepare(tmp_path, tmp_path / "prepared")


def test_stats_repeat_what_the_fetch_recorded(raws, tmp_path):
    facts = {"source_note": "a noisy tree (generated)", "stand_in": False, "subset": None}
    raw = tmp_path / "raw"
    raw.mkdir()
    for file in CONTROL_FILES:
        (raw / file).write_bytes((raws / "tree" / file).read_bytes())
    (raw / "source.json").write_text(json.dumps(facts))
    controls.prepare(raw, tmp_path / "prepared")
    assert facts.items() <= json.loads((tmp_path / "prepared" / "stats.json").read_text()).items()


DIGESTS = {
    "plane": {
        "observations.npy": "4be6933aadd0e83e",
        "points.npy": "e6229e1bdc4ce706",
        "labels.npy": "c2e6b18ac15ea023",
    },
    "sphere": {
        "observations.npy": "960ec0677d87c97a",
        "points.npy": "7985a6bf66a1b521",
        "labels.npy": "c9d516450b22473b",
    },
    "tree": {
        "observations.npy": "c413b548fe34cf39",
        "points.npy": "e54fa7de0c6a96a8",
        "labels.npy": "dc6efb025565d579",
    },
    "sphere-hyperbolic": {
        "observations.npy": "3ce5eb71f244b689",
        "points.npy": "04bceac2168ec12e",
        "labels.npy": "c9d516450b22473b",
    },
}
