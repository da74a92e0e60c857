"""Many dimensions on paper: geodesic distances against the manifolds themselves, and scaling against what is known."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.spatial.distance import pdist, squareform

from mcvae.plotting import scaling
from mcvae.plotting.charts import charts, overview
from mcvae.plotting.folders import read_run


@pytest.mark.parametrize("latent", ["e4", "s4:k=0.5", "d3:k=2.0", "h4:k=-2.0", "p3:k=-0.5", "u3:k=-1.0", "h2,2s3,e2"])
def test_distances_are_those_of_the_manifold(latent):
    from mcvae.latent import build
    from mcvae.signature import parse

    signature = parse(latent)
    space = build(signature)
    tangent = np.random.default_rng(0).normal(0, 0.6, (24, signature.dim))
    points = space.expmap0(torch.as_tensor(tangent)).double()
    there = space.manifold.dist(points[:, None], points).numpy()
    parts, start = [], 0
    for component in signature.components:
        for _ in range(component.count):
            parts.append((tangent[:, start : (start := start + component.dim)], component.k))
    np.testing.assert_allclose(scaling.product_distances(parts), there, rtol=1e-6, atol=1e-6)


def test_near_points_far_out_keep_their_distance():
    far = np.array([[9.0, 0.0], [9.0 + 1e-7, 0.0]])
    assert scaling.distances(far, -1.0)[0, 1] == pytest.approx(1e-7, rel=1e-6)


def test_what_lies_in_a_plane_is_laid_out_without_loss():
    flat = np.random.default_rng(1).normal(0, 1, (60, 2)) * [3, 1]
    turned = flat @ np.linalg.qr(np.random.default_rng(2).normal(0, 1, (5, 5)))[0][:2]
    apart = scaling.distances(turned, 0.0)
    places = scaling.scaled(apart)
    np.testing.assert_allclose(squareform(pdist(places)), apart, atol=1e-6)
    assert scaling.stress(apart, places) < 1e-6
    assert scaling.kept(apart, places) == pytest.approx(1, abs=1e-9)
    np.testing.assert_allclose(np.cov(places.T)[0, 1], 0, atol=1e-9)


@pytest.mark.parametrize("k", [0.5, 0.0, -1.0])
def test_no_place_near_by_has_less_stress_and_classical_scaling_has_more(k):
    tangent = np.random.default_rng(3).normal(0, 0.7, (30, 5))
    apart = scaling.distances(tangent, k)
    places = scaling.scaled(apart)
    found = scaling.stress(apart, places)
    best = minimize(lambda x: scaling.stress(apart, x.reshape(-1, 2)), places.ravel(), method="L-BFGS-B")
    assert found == pytest.approx(best.fun, rel=0.03)
    centred = np.eye(30) - 1 / 30
    values, vectors = np.linalg.eigh(-centred @ apart**2 @ centred / 2)
    assert found < scaling.stress(apart, vectors[:, -2:] * np.sqrt(values[-2:]))


def test_equal_distances_give_equal_places_and_few_points_have_some():
    apart = scaling.distances(np.random.default_rng(4).normal(0, 1, (40, 4)), -1.0)
    np.testing.assert_array_equal(scaling.scaled(apart), scaling.scaled(apart))
    assert scaling.scaled(np.zeros((1, 1))).shape == (1, 2)
    assert np.isfinite(scaling.scaled(np.zeros((3, 3)))).all()
    assert scaling.kept(np.zeros((3, 3)), np.zeros((3, 2))) == 0
    two = scaling.scaled(np.array([[0.0, 2.0], [2.0, 0.0]]))
    assert np.linalg.norm(two[0] - two[1]) == pytest.approx(2)


def test_a_layout_of_the_whole_says_what_it_loses(tmp_path, folders):
    run = read_run(folders.write_run(tmp_path / "run", folders.config("mnist", "h4,s3"), records=700))
    tangent = run.arrays()["tangent"]
    whole = overview(run, tangent)
    assert len(whole.points) == len(whole.records) == 600
    parts = [(tangent[whole.records][:, :4], -1.0), (tangent[whole.records][:, 4:], 1.0)]
    apart = scaling.product_distances(parts)
    correlation = np.corrcoef(pdist(whole.points), apart[np.triu_indices(600, 1)])[0, 1]
    assert f"r\u00a0=\u00a0{correlation:.2f}" in whole.heading
    assert f"stress {scaling.stress(apart, whole.points):.2f}" in whole.heading
    assert all(
        "r\u00a0=" in chart.heading and "% of variance lost" in chart.heading for chart in charts(run, tangent, None)
    )
