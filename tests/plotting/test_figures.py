"""Figures: equal bytes for equal inputs, something to see for every run, nothing left behind."""

import base64
import itertools
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from mcvae import plotting
from mcvae.errors import UserError
from mcvae.plotting import projections, style
from mcvae.plotting.charts import charts
from mcvae.plotting.folders import read_run
from mcvae.plotting.molecules import same_molecule

RUN_FIGURES = [
    "plot_latent",
    "plot_atlas",
    "plot_density",
    "plot_reconstructions",
    "plot_samples",
    "plot_decoder_grid",
    "plot_interpolations",
    "plot_traversals",
]


def draw(name: str, folder: Path, target: Path, **options: str) -> tuple[bytes, bytes]:
    svg, png = target.with_suffix(".svg"), target.with_suffix(".png")
    getattr(plotting, name)(folder, svg, png, **options)
    return svg.read_bytes(), png.read_bytes()


@pytest.mark.parametrize("name", RUN_FIGURES)
@pytest.mark.parametrize(("dataset", "latent"), [("mnist", "h2"), ("celeba", "s2"), ("qm9", "h2,s2,e4")])
def test_every_figure_of_a_run_is_a_picture_and_equal_inputs_give_equal_bytes(tmp_path, name, dataset, latent, folders):
    folder = folders.write_run(tmp_path / "run", folders.config(dataset, latent), records=60)
    svg, png = draw(name, folder, tmp_path / "a")
    assert (svg, png) == draw(name, folder, tmp_path / "b")
    assert png.startswith(b"\x89PNG")
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    assert b"<dc:date>" not in svg


@pytest.mark.parametrize(
    "latent",
    ["e1", "e2", "e6", "s5", "h3:k=-4.0", "s2:k=0.5", "h2:k=-4.0", "6h2:learn", "14h2", "d2", "p2", "u2:k=-1.0", "u2"],
)
def test_every_latent_space_of_the_language_has_a_picture(tmp_path, latent, folders):
    folder = folders.write_run(tmp_path / "run", folders.config("mnist", latent), records=40)
    assert len(draw("plot_latent", folder, tmp_path / "a")[0]) > 10_000


def test_figures_do_not_depend_on_the_process_or_on_settings_around_them(tmp_path, folders):
    import matplotlib

    folder = folders.write_run(tmp_path / "run", folders.config("mnist", "s2"), records=40)
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"font.size": 31, "svg.hashsalt": "another", "axes.facecolor": "red"}):
        here = draw("plot_latent", folder, tmp_path / "a")
    assert dict(matplotlib.rcParams) == before
    code = f"from mcvae.plotting import plot_latent; plot_latent(r'{folder}', r'{tmp_path}/b.svg', r'{tmp_path}/b.png')"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
    assert here == ((tmp_path / "b.svg").read_bytes(), (tmp_path / "b.png").read_bytes())


def test_importing_plotting_imports_no_matplotlib_and_figures_no_pyplot():
    code = (
        "import sys, mcvae.plotting as p; assert 'matplotlib' not in sys.modules;"
        "p.plot_curves, p.plot_samples, p.plot_latent; assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


@pytest.mark.parametrize("name", RUN_FIGURES)
def test_a_diverged_run_says_so_in_its_figures(tmp_path, name, monkeypatch, folders):
    said = []
    monkeypatch.setattr(style, "say", lambda svg, png, title, sentence, note="": said.append(sentence))
    folder = folders.write_run(tmp_path / "run", folders.config("mnist", "h2"), status="diverged")
    getattr(plotting, name)(folder, tmp_path / "a.svg", tmp_path / "a.png")
    assert said == [
        "This run diverged after 12 epochs (the loss was not finite at epoch 4), so there is nothing to draw."
    ]


@pytest.mark.parametrize("name", RUN_FIGURES)
def test_a_run_that_was_not_evaluated_still_gets_figures(tmp_path, name, folders):
    folder = folders.write_run(tmp_path / "run", folders.config("mnist", "e2"))
    (folder / "latents.npz").unlink()
    (folder / "metrics.json").unlink()
    assert len(draw(name, folder, tmp_path / "a", note="stand-in: something")[1]) > 1000


def test_an_autoencoder_has_no_samples_and_a_product_no_decoder_grid_and_both_figures_say_so(tmp_path, folders):
    autoencoder = folders.write_run(tmp_path / "ae", folders.config("mnist", "e2", kind="autoencoder"), records=20)
    product = folders.write_run(tmp_path / "product", folders.config("mnist", "h2,s2"), records=20)
    draw("plot_samples", autoencoder, tmp_path / "a")
    draw("plot_decoder_grid", product, tmp_path / "b")


def test_curves_show_finished_and_diverged_runs_and_early_stops(tmp_path, folders):
    runs = [
        folders.write_run(tmp_path / f"r{i}", folders.config("mnist", "h2", i), epochs=6 + 2 * i, records=10)
        for i in range(3)
    ]
    runs += [folders.write_run(tmp_path / "lost", folders.config("mnist", "h2", 3), epochs=4, status="diverged")]
    runs += [folders.write_run(tmp_path / "ae", folders.config("mnist", "e2", 0, "autoencoder"), epochs=1, records=10)]
    plotting.plot_curves(runs, tmp_path / "a.svg", tmp_path / "a.png", note="stand-in: digits")
    plotting.plot_curves(runs, tmp_path / "b.svg", tmp_path / "b.png", note="stand-in: digits")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_curves_of_runs_without_an_epoch_are_a_sentence(tmp_path, folders):
    folder = folders.write_run(tmp_path / "r", folders.config("mnist", "h2"), epochs=0, status="diverged")
    plotting.plot_curves([folder], tmp_path / "a.svg", tmp_path / "a.png")
    assert (tmp_path / "a.svg").stat().st_size > 1000


def test_curves_of_molecules_show_property_errors(tmp_path, folders):
    runs = [folders.write_run(tmp_path / f"r{i}", folders.config("qm9", "2h2:learn", i), records=10) for i in range(2)]
    plotting.plot_curves(runs, tmp_path / "a.svg", tmp_path / "a.png")


def test_pictures_of_digits_are_embedded_at_their_own_resolution(tmp_path, folders):
    folder = folders.write_run(tmp_path / "run", folders.config("mnist", "e2"), records=20)
    svg = draw("plot_reconstructions", folder, tmp_path / "a")[0].decode()
    found = re.findall(r"base64,([^\"]+)\"", svg)
    sizes = [tuple(np.frombuffer(base64.b64decode(text)[16:24], ">u4").tolist()) for text in found]
    assert sizes == [(8 * 28 + 7 * 2, 2 * 28 + 2)] * 2


def test_a_folder_that_is_no_run_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_run(tmp_path)


def test_equal_molecules_are_equal_whatever_their_text():
    assert same_molecule("OCC", "CCO")
    assert not same_molecule("CCO", "CCN")
    assert not same_molecule("", "")
    assert not same_molecule("C1CC", "C1CC")


def test_classes_stay_apart_in_every_colour_vision():
    # Machado et al. 2009, severity 1.0: protanopia, deuteranopia, tritanopia; distances in CIELAB.
    visions = [np.eye(3)] + [
        np.array(rows)
        for rows in (
            [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
            [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
            [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
        )
    ]
    for vision in visions:
        colours = [_lab(np.clip(vision @ _linear(text), 0, 1)) for text in style.CLASSES]
        assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(colours, 2)) > 18


def _linear(text: str) -> np.ndarray:
    values = np.array([int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _lab(linear: np.ndarray) -> np.ndarray:
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = matrix @ linear / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_shades_of_a_geometry_are_distinct():
    for count in (1, 2, 5, 9):
        assert len(set(style.shades("#0072b2", count))) == count


def test_the_hammer_map_keeps_areas():
    lon, lat = np.meshgrid(np.radians(np.linspace(-170, 170, 24)), np.radians(np.linspace(-80, 80, 17)))
    step = 1e-5
    east = (projections.hammer(lon + step, lat) - projections.hammer(lon - step, lat)) / (2 * step)
    north = (projections.hammer(lon, lat + step) - projections.hammer(lon, lat - step)) / (2 * step)
    area = east[..., 0] * north[..., 1] - east[..., 1] * north[..., 0]
    np.testing.assert_allclose(area, np.cos(lat), rtol=1e-6)


def test_the_disc_keeps_angles_and_geodesic_distances_from_the_origin():
    tangent = np.random.default_rng(0).normal(0, 1, (50, 2))
    for k in (-4.0, -1.0, -0.25):
        rho = np.linalg.norm(projections.disc(tangent, k), axis=1)
        np.testing.assert_allclose(2 * np.arctanh(rho) / np.sqrt(-k), np.linalg.norm(tangent, axis=1), rtol=1e-9)
        flat = np.arctan2(*tangent.T)
        np.testing.assert_allclose(np.arctan2(*projections.disc(tangent, k).T), flat, atol=1e-12)


def test_points_of_the_sphere_lie_on_it_at_their_distance():
    tangent = np.random.default_rng(0).normal(0, 0.7, (50, 2))
    points = projections.sphere_points(tangent, 2.0)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1, atol=1e-12)
    distance = np.linalg.norm(tangent, axis=1) * np.sqrt(2)
    np.testing.assert_allclose(points[:, 0], np.cos(distance), atol=1e-12)


def test_principal_components_keep_the_variance_that_they_state():
    tangent = np.random.default_rng(0).normal(0, [3, 2, 1, 0.5], (400, 4))
    points, shares = projections.principal(tangent)
    np.testing.assert_allclose(points.var(axis=0) / tangent.var(axis=0).sum(), shares, rtol=1e-9)
    np.testing.assert_array_equal(points, projections.principal(tangent)[0])


def test_a_product_has_one_chart_a_component_in_its_own_projection(tmp_path, folders):
    run = read_run(folders.write_run(tmp_path / "run", folders.config("mnist", "h2,s2,e2,h5"), records=30))
    found = charts(run, run.arrays()["tangent"], None)
    assert [chart.projection.split(" ")[0] for chart in found] == ["Poincaré", "Hammer", "plane", "tangent-space"]
