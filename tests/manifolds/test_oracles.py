"""Sphere and hyperboloid against geoopt's, an implementation of other hands."""

import warnings

import pytest
import torch

from mcvae.manifolds import Hyperboloid, Sphere

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    geoopt = pytest.importorskip("geoopt")


@pytest.fixture(params=[("s", 1.0), ("h", -1.0), ("h", -0.3), ("h", -4.0)], ids=str)
def pair(request):
    """Our manifold and geoopt's (its Lorentz ``k`` is the squared radius; its sphere has radius 1)."""
    letter, k = request.param
    if letter == "s":
        return Sphere(3), geoopt.Sphere()
    return Hyperboloid(3, k=k), geoopt.Lorentz(k=torch.tensor(-1 / k, dtype=torch.float64))


def test_verbs_agree_with_geoopt(pair):
    ours, theirs = pair
    torch.manual_seed(1)
    x, y = ours.random(2, 20, dtype=torch.float64)
    u = ours.transp0(x, 0.5 * torch.randn(20, 3, dtype=torch.float64))
    v = ours.transp0(x, 0.5 * torch.randn(20, 3, dtype=torch.float64))
    assert theirs.check_point_on_manifold(x, atol=1e-9)
    tolerance = {"rtol": 1e-6, "atol": 1e-6}
    torch.testing.assert_close(ours.dist(x, y), theirs.dist(x, y), **tolerance)
    torch.testing.assert_close(ours.expmap(x, u), theirs.expmap(x, u), **tolerance)
    torch.testing.assert_close(ours.logmap(x, y), theirs.logmap(x, y), **tolerance)
    if ours.letter == "h":  # geoopt's sphere projects vectors where it should transport them
        torch.testing.assert_close(ours.transp(x, y, u), theirs.transp(x, y, u), **tolerance)
    torch.testing.assert_close(ours.inner(x, u, v), theirs.inner(x, u, v).reshape(20), **tolerance)
    w = torch.randn(20, 4, dtype=torch.float64)
    torch.testing.assert_close(ours.proju(x, w), theirs.proju(x, w), **tolerance)
