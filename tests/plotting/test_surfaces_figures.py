"""Maps of surfaces, their globes and shares of components: the geometry of the pictures, and what they say."""

import base64
import io
import json
import re

import numpy as np
import pytest
from scipy.optimize import minimize

from mcvae import plotting
from mcvae.plotting import component_kl, projections, style
from mcvae.plotting.atlas import conformal, read_surfaces
from mcvae.plotting.centre import at_mean
from mcvae.plotting.folders import read_run


def jacobian(project, at, step=1e-6):
    """The derivative [N, 2, 2] of a map of the plane."""
    columns = [(project(at + step * e) - project(at - step * e)) / (2 * step) for e in np.eye(2)]
    return np.stack(columns, -1)


def test_mercator_keeps_angles():
    at = np.random.default_rng(0).uniform([-3, -1.4], [3, 1.4], (50, 2))
    found = jacobian(lambda p: projections.mercator(p[:, 0], p[:, 1]), at)
    stretch = found / np.stack([np.cos(at[:, 1]), np.ones(50)], -1)[:, None]  # of unit steps east and north
    gram = np.swapaxes(stretch, 1, 2) @ stretch
    np.testing.assert_allclose(gram, gram[:, :1, :1] * np.eye(2), atol=1e-5 * gram.max())


@pytest.mark.parametrize("k", [-4.0, -1.0, -0.25])
def test_the_half_plane_keeps_distances(k):
    tangent = np.random.default_rng(0).normal(0, 1.5, (60, 2))
    plane, disc = projections.half_plane(tangent, k), projections.disc(tangent, k)
    (x, y), w = (plane[:30], plane[30:]), disc
    assert (plane[:, 1] > 0).all()
    square = ((x - y) ** 2).sum(1)
    there = np.arccosh(1 + square / (2 * x[:, 1] * y[:, 1]))
    a, b = w[:30], w[30:]
    inside = (1 - (a**2).sum(1)) * (1 - (b**2).sum(1))
    here = np.arccosh(1 + 2 * ((a - b) ** 2).sum(1) / inside)
    np.testing.assert_allclose(there, here, rtol=1e-7)
    np.testing.assert_allclose(projections.half_plane(np.zeros((1, 2)), k), [[0, 1]])
    np.testing.assert_allclose(projections.half_plane(np.array([[0, 1.0]]), k)[0], [0, np.exp(np.sqrt(-k))])


def distance(u, v, k):
    """Geodesic distance of points with tangent coordinates u and v at the origin, by the law of cosines."""
    a, b = np.linalg.norm(u, axis=-1), np.linalg.norm(v, axis=-1)
    along = (u * v).sum(-1)
    cosine = along / np.where(a * b > 0, a * b, 1)
    s = np.sqrt(abs(k))
    if k > 0:
        return np.arccos(np.clip(np.cos(s * a) * np.cos(s * b) + np.sin(s * a) * np.sin(s * b) * cosine, -1, 1)) / s
    return np.arccosh(np.maximum(np.cosh(s * a) * np.cosh(s * b) - np.sinh(s * a) * np.sinh(s * b) * cosine, 1)) / s


@pytest.mark.parametrize("k", [1.0, 0.3, -0.5, -2.0])
def test_points_are_seen_from_the_mean_that_is_nearest_to_all(k):
    tangent = np.random.default_rng(1).normal([0.6, -0.3, 0.2], [0.5, 0.3, 0.2], (80, 3))
    seen = at_mean(tangent, k)
    np.testing.assert_allclose(seen.sum(axis=0), 0, atol=1e-7)
    found = minimize(lambda m: (distance(tangent, m, k) ** 2).mean(), tangent.mean(axis=0), tol=1e-12)
    assert (seen**2).sum(1).mean() == pytest.approx(found.fun, rel=1e-6)
    np.testing.assert_allclose(np.linalg.norm(seen, axis=1), distance(tangent, found.x, k), atol=2e-4)


@pytest.mark.parametrize("k", [-4.0, -0.5])
def test_the_mean_of_points_far_apart_is_found(k):
    tangent = np.random.default_rng(2).normal(0, 2.0 / np.sqrt(-k), (200, 3))
    tangent[:, 0] += 0.5
    seen = at_mean(tangent, k)
    np.testing.assert_allclose(seen.sum(axis=0), 0, atol=1e-6)
    assert (seen**2).sum() < (tangent**2).sum()


def test_of_flat_space_the_mean_is_the_mean_and_no_points_have_none():
    tangent = np.random.default_rng(1).normal(2, 1, (20, 3))
    np.testing.assert_allclose(at_mean(tangent, 0.0), tangent - tangent.mean(axis=0))
    np.testing.assert_allclose(at_mean(tangent / 9, 1e-7), at_mean(tangent / 9, 0.0), atol=1e-6)
    assert at_mean(np.zeros((0, 3)), -1.0).shape == (0, 3)


def test_an_atlas_has_the_conformal_map_of_each_curved_surface(tmp_path, folders):
    run = read_run(folders.write_run(tmp_path / "run", folders.config("mnist", "h2,2s2,e2,h5"), records=30))
    found, _, reason = read_surfaces(run, "contours")
    assert reason is None and [surface.index for surface in found] == [0, 1, 2, 3]
    maps = [chart.heading.split(" ")[0] if (chart := conformal(surface)) else None for surface in found]
    assert maps == ["upper", "Mercator", "Mercator", None]


@pytest.mark.parametrize("name", ["plot_atlas", "plot_density"])
@pytest.mark.parametrize(("latent", "kind"), [("h5", "vae"), ("e2", "autoencoder")])
def test_a_run_without_a_surface_or_a_posterior_says_so(tmp_path, folders, monkeypatch, name, latent, kind):
    said = []
    monkeypatch.setattr(style, "say", lambda svg, png, title, sentence, note="": said.append(sentence))
    folder = folders.write_run(tmp_path / "run", folders.config("mnist", latent, kind=kind), records=10)
    getattr(plotting, name)(folder, tmp_path / "a.svg", tmp_path / "a.png")
    assert len(said) == 1 and said[0].startswith("Nothing to draw")


def page_of(folder, target, **options):
    plotting.write_globe(folder, target, **options)
    text = target.read_text("utf-8")
    found = re.search(r'id="data">(.*?)</script>', text, re.S)
    return text, json.loads(found[1]) if found else None


def test_a_globe_holds_all_that_it_shows_and_loads_nothing(tmp_path, folders):
    from PIL import Image

    folder = folders.write_run(tmp_path / "run", folders.config("mnist", "h2,s2,e2"), records=60)
    text, data = page_of(folder, tmp_path / "a.html", note="stand-in: <drawn>")
    assert [surface["kind"] for surface in data["surfaces"]] == ["hyperboloid", "sphere"]
    tangent = read_run(folder).arrays()["tangent"]
    np.testing.assert_allclose(data["surfaces"][1]["points"], tangent[:50, 2:4], atol=1e-4)
    assert len(data["colours"]) == len(data["words"]) == len(data["groups"]) == 50
    sheet = Image.open(io.BytesIO(base64.b64decode(data["sprite"].split(",")[1])))
    assert sheet.size == (25 * 28, 2 * 28)
    assert "http:" not in text and "https:" not in text and "default-src 'none'" in text
    assert "stand-in: &lt;drawn&gt;" in text
    assert text == page_of(folder, tmp_path / "b.html", note="stand-in: <drawn>")[0]


@pytest.mark.parametrize(("dataset", "latent"), [("celeba", "s2"), ("qm9", "u2,e3"), ("mnist", "6h2:learn")])
def test_every_data_set_has_globes(tmp_path, folders, dataset, latent):
    folder = folders.write_run(tmp_path / "run", folders.config(dataset, latent), records=60)
    _, data = page_of(folder, tmp_path / "a.html")
    assert (data["sprite"] is None) == (dataset == "qm9")
    assert {surface["kind"] for surface in data["surfaces"]} == {
        {"s": "sphere", "u": "plane"}.get(latent[0], "hyperboloid")
    }


def test_a_run_without_curved_surfaces_or_results_has_a_page_that_says_so(tmp_path, folders):
    flat = folders.write_run(tmp_path / "flat", folders.config("mnist", "e2,s5"), records=10)
    text, data = page_of(flat, tmp_path / "a.html")
    assert data is None and "has no curved component of two dimensions" in text
    lost = folders.write_run(tmp_path / "lost", folders.config("mnist", "s2"), status="diverged")
    assert "diverged after 12 epochs" in page_of(lost, tmp_path / "b.html")[0]


def result(folders, folder, seed, kl, latent="2h2,s2:vmf", kind="vae"):
    numbers = {f"test.kl.{i}": value for i, value in enumerate(kl)}
    return folders.write_result(folder, folders.config("mnist", latent, seed, kind), numbers)


def test_equal_components_are_ordered_by_size_before_the_mean_is_taken(tmp_path, folders):
    runs = [result(folders, tmp_path / "a", 0, (1.0, 5.0, 2.0)), result(folders, tmp_path / "b", 1, (6.0, 1.5, 3.0))]
    bars = component_kl.shares([read_run(run) for run in runs])
    assert [(bar.name, bar.values) for bar in bars] == [
        ("h2 no. 1", (5.0, 6.0)), ("h2 no. 2", (1.0, 1.5)), ("s2:vmf", (2.0, 3.0)),
    ]  # fmt: skip


def test_the_shares_of_components_are_drawn_alike_twice_and_of_products_alone(tmp_path, folders, monkeypatch):
    runs = [result(folders, tmp_path / f"p{seed}", seed, (1.0 + seed, 5.0, -0.1)) for seed in range(3)]
    single = result(folders, tmp_path / "single", 0, (7.0,), "h2")
    for name in "ab":
        plotting.plot_component_kl([*runs, single], tmp_path / f"{name}.svg", tmp_path / f"{name}.png")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    said = []
    monkeypatch.setattr(style, "say", lambda svg, png, title, sentence, note="": said.append(sentence))
    plotting.plot_component_kl([single], tmp_path / "c.svg", tmp_path / "c.png")
    assert len(said) == 1
