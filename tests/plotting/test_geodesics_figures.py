"""Ways through the latent space of images: where they begin and end, how far they go, and that they are drawn."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import mcvae
from mcvae import plotting
from mcvae.plotting import style, walks
from mcvae.plotting.centre import frechet_mean
from mcvae.plotting.folders import read_run
from mcvae.plotting.geodesics import joined_row

FIGURES = ("plot_interpolations", "plot_attribute_directions", "plot_traversals")
LATENTS = [
    "e2",
    "s2:vmf",
    "s2,h2,e2",
    "d2",
    *(pytest.param(x, marks=pytest.mark.full) for x in ("h2:k=-2.0", "u3:k=0.5", "2p2")),
]
ENDS = [pytest.param(x, "vae", marks=pytest.mark.full) for x in ("e2", "h2:k=-2.0", "u3:k=0.5", "2p2", "d2")]
ENDS += [("s2:vmf", "vae"), ("s2,h2,e2", "vae"), ("e2", "autoencoder")]


@pytest.fixture
def made(tmp_path, folders):
    """A run's folder and its model, whose every decoded point is kept."""

    def make(latent, kind="vae", records=60):
        folder = folders.write_run(tmp_path / latent, folders.config("mnist", latent, kind=kind), records=records)
        run, trained, points = read_run(folder), mcvae.load(folder), []

        def decode(z):
            points.append(z)
            return trained.decode(z)

        asked = SimpleNamespace(latent=trained.latent, interpolate=trained.interpolate, decode=decode)
        return run, run.arrays()["tangent"].astype(float), trained, asked, points

    return make


def distance(run, u, v):
    """Between points by their tangent coordinates at the origin: the law of cosines of each component, added up."""
    total, start = 0.0, 0
    dims = [component.dim for component in run.signature.components for _ in range(component.count)]
    for dim, k in zip(dims, run.curvatures(), strict=True):
        x, y = u[:, start : start + dim], v[:, start : start + dim]
        s = np.sqrt(abs(k)) or 1.0
        a, b = s * np.linalg.norm(x, axis=1), s * np.linalg.norm(y, axis=1)
        cosine = (x * y).sum(1) * s**2 / (a * b)
        if k > 0:
            apart = np.arccos(np.cos(a) * np.cos(b) + np.sin(a) * np.sin(b) * cosine)
        elif k < 0:
            apart = np.arccosh(np.cosh(a) * np.cosh(b) - np.sinh(a) * np.sinh(b) * cosine)
        else:
            apart = np.linalg.norm(x - y, axis=1)
        total, start = total + (apart / s) ** 2, start + dim
    return np.sqrt(total)


@pytest.mark.parametrize(("latent", "kind"), ENDS)
def test_a_geodesic_joins_the_records_own_reconstructions_in_equal_steps(made, latent, kind):
    run, tangent, trained, asked, points = made(latent, kind)
    starts, ends = 0.7 * tangent[:4], 0.7 * tangent[4:8]
    pictures, travelled = walks.between(asked, starts, ends)
    for codes, shown in ((starts, pictures[:, 0]), (ends, pictures[:, -1])):
        own = trained.decode(trained.latent.expmap0(torch.as_tensor(codes, dtype=torch.float32)))
        np.testing.assert_allclose(shown, own, atol=1e-4)
    np.testing.assert_allclose(travelled[:, -1], distance(run, starts, ends), rtol=1e-6)
    np.testing.assert_allclose(travelled, travelled[:, -1:] * np.linspace(0, 1, 10), atol=1e-9)
    (path,) = points
    legs = trained.latent.manifold.dist(path[:, :-1].double(), path[:, 1:].double())
    np.testing.assert_allclose(legs.sum(1).detach(), travelled[:, -1], rtol=1e-3)
    assert (legs.max(1).values < 1.01 * legs.min(1).values + 1e-3).all()


def test_pairs_are_of_different_classes_and_every_two_classes_and_every_record_come_once():
    classes = np.array([0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 6, 7, 8, 8, 9])
    for seed in range(20):
        found = walks.pairs(classes, seed)
        assert found == walks.pairs(classes, seed) and len(found) == walks.PAIRS
        assert len({record for pair in found for record in pair}) == 2 * walks.PAIRS
        kinds = {frozenset(classes[list(pair)].tolist()) for pair in found}
        assert len(kinds) == walks.PAIRS and all(len(kind) == 2 for kind in kinds)
    assert len({tuple(walks.pairs(classes, seed)) for seed in range(5)}) == 5
    assert walks.pairs(np.zeros(9, int), 0) == [] and walks.pairs(np.arange(1), 0) == []
    assert len(walks.pairs(np.array([0, 1, 0, 1]), 0)) == 1


def test_pictures_of_digits_belong_to_their_codes(made):
    run, _, _, _, _ = made("e2")
    arrays = run.arrays()
    records, classes = walks.pictured(arrays)
    assert len(records) == len(arrays["inputs"]) == 16
    assert classes.tolist() == sorted(classes.tolist()) == arrays["labels"][records].tolist()
    without = {name: array for name, array in arrays.items() if name != "labels"}
    assert [part.tolist() for part in walks.pictured(without)] == [list(range(16))] * 2


@pytest.mark.parametrize("latent", LATENTS)
def test_points_lie_where_their_logarithms_at_the_mean_lead(made, latent):
    run, tangent, trained, _, _ = made(latent)
    tangent = 0.5 * tangent
    means, seen, start = [], [], 0
    dims = [component.dim for component in run.signature.components for _ in range(component.count)]
    for dim, k in zip(dims, run.curvatures(), strict=True):
        mean, logs = frechet_mean(tangent[:, start : start + dim], k)
        means.append(mean)
        seen.append(logs)
        start += dim
    latent_space = trained.latent
    middle = latent_space.expmap0(torch.as_tensor(np.concatenate(means))[None])
    led = latent_space.manifold.expmap_frame(middle, torch.as_tensor(np.concatenate(seen, 1)))
    np.testing.assert_allclose(led.detach(), latent_space.expmap0(torch.as_tensor(tangent)).detach(), atol=1e-6)


@pytest.mark.parametrize("latent", LATENTS)
def test_an_axis_leads_through_the_mean_as_far_as_it_says_and_around_a_sphere_once(made, latent):
    run, tangent, trained, asked, points = made(latent)
    mean, axes = walks.axes(run, tangent)
    pictures = walks.along(asked, mean, axes)
    assert np.isfinite(pictures).all() and pictures.shape == (len(axes), 9, 28, 28)
    middle = trained.decode(trained.latent.expmap0(torch.as_tensor(mean[None], dtype=torch.float32)))
    np.testing.assert_allclose(pictures[:, 4], np.broadcast_to(middle, pictures[:, 4].shape), atol=1e-4)
    (path,) = points
    apart = trained.latent.manifold.dist(path[:, 4:5].double(), path.double()).detach().numpy()
    for axis, away, way in zip(axes, apart, path, strict=True):
        np.testing.assert_allclose(away, np.abs(axis.times), atol=5e-3, rtol=1e-3)
        if axis.around:
            step = trained.latent.manifold.dist(way.double(), way.roll(1, 0).double()).detach()
            np.testing.assert_allclose(step, np.full(9, axis.times[1] - axis.times[0]), rtol=1e-2)
        else:
            assert axis.times[-1] == pytest.approx(3 * axis.deviation)
    assert any(axis.around for axis in axes) == (max(run.curvatures()) > 0)


@pytest.mark.parametrize(
    ("latent", "rows"), [("e1", [1]), ("e6", [6]), ("h2", [2]), ("s2,h3,e4", [2, 2, 2]), ("14h2", [1] * 12)]
)
def test_rows_are_shared_out_among_the_components(made, latent, rows):
    run, tangent, _, _, _ = made(latent)
    _, axes = walks.axes(run, tangent)
    assert np.bincount([axis.component for axis in axes]).tolist() == rows
    vectors = np.stack([axis.vector for axis in axes])
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(len(axes)), atol=1e-9)


def test_axes_of_flat_space_are_those_of_the_covariance(made):
    run, tangent, _, _, _ = made("e4")
    mean, axes = walks.axes(run, tangent)
    np.testing.assert_allclose(mean, tangent.mean(0))
    variances = np.linalg.eigvalsh(np.cov(tangent.T, bias=True))[::-1]
    np.testing.assert_allclose([axis.deviation**2 for axis in axes], variances)
    np.testing.assert_allclose([axis.share for axis in axes], variances / variances.sum())


@pytest.mark.parametrize("spread", [0.1, 0.6])
def test_a_sphere_is_gone_around_only_where_records_are_far_apart(made, spread):
    run, tangent, _, _, _ = made("s2")
    _, axes = walks.axes(run, spread * tangent)
    assert {axis.around for axis in axes} == {spread > 0.5}


@pytest.mark.parametrize("name", ["plot_interpolations", "plot_traversals"])
def test_locations_that_are_no_numbers_are_a_sentence(tmp_path, folders, monkeypatch, name):
    said = []
    monkeypatch.setattr(style, "say", lambda svg, png, title, sentence, note="": said.append(sentence))
    folder = folders.write_run(tmp_path / "run", folders.config("mnist", "h2,s2"), records=20)
    arrays = read_run(folder).arrays()
    arrays["tangent"][3, 1] = np.nan
    np.savez(folder / "latents.npz", **arrays)
    getattr(plotting, name)(folder, tmp_path / "a.svg", tmp_path / "a.png")
    assert said == ["Some posterior locations of this run are not finite numbers, so they are not drawn."]


def draw(name, run, folder):
    getattr(plotting, name)(run, folder / "a.svg", folder / "a.png", note="stand-in: drawn")
    return (folder / "a.svg").read_bytes(), np.asarray(Image.open(folder / "a.png").convert("RGB"))


@pytest.mark.parametrize("latent", ["s2,h2", pytest.param("e6", marks=pytest.mark.full)])
@pytest.mark.parametrize("name", ["plot_interpolations", "plot_traversals"])
def test_ways_between_faces_are_drawn_with_equal_bytes(tmp_path, folders, name, latent):
    folder = folders.write_run(tmp_path / "run", folders.config("celeba", latent), records=30)
    first, picture = draw(name, folder, tmp_path)
    assert picture.shape[1] == 1600 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 50
    assert draw(name, folder, tmp_path)[0] == first


def test_directions_of_attributes_are_drawn_from_their_arrays_with_equal_bytes(tmp_path):
    config = {"dataset": "celeba", "latent": "s2,h2", "seed": 0, "model": {"kind": "vae"}}
    (tmp_path / "run.json").write_text(json.dumps(config))
    (tmp_path / "metrics.json").write_text(json.dumps({"status": "finished"}))
    path = np.broadcast_to(np.linspace(0, 1, 9)[None, :, None, None, None], (3, 9, 3, 16, 16))
    names = np.array(["Smiling", "Blond_Hair", "Eyeglasses"])
    np.savez(tmp_path / "latents.npz", attribute_directions=path.astype(np.float16), direction_attributes=names)
    first, picture = draw("plot_attribute_directions", tmp_path, tmp_path)
    assert picture.shape[1] == 1600 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 50
    assert draw("plot_attribute_directions", tmp_path, tmp_path)[0] == first


@pytest.mark.parametrize("name", FIGURES)
def test_a_run_without_pictures_says_so(tmp_path, folders, name):
    folder = folders.write_run(tmp_path / "run", folders.config("celeba", "e2"), records=20)
    arrays = read_run(folder).arrays()
    np.savez(folder / "latents.npz", tangent=arrays["tangent"], loc=arrays["loc"])
    _, picture = draw(name, folder, tmp_path)
    assert picture.shape[0] < 500  # a sentence, no rows


def test_narrow_columns_take_a_third_and_the_others_keep_their_centres():
    row = np.stack([np.full((3, 12, 12), value) for value in (0.2, 0.4, 0.6, 0.7)])
    picture, centres = joined_row(row, 2, narrow=(1,))
    assert picture.shape == (12, 12 + 2 + 4 + 12 + 2 + 12, 3)
    assert centres == [6, 16, 24, 38]
    whole, even = joined_row(row, 2)
    assert whole.shape[1] == 4 * 12 + 3 * 2 and even == [6, 20, 34, 48]
    assert (picture[:, :12] == round(0.2 * 255)).all() and (picture[:, -12:] == round(0.7 * 255)).all()
