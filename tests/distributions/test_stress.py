"""Millions of draws of every family over dtype, curvature, dimension and concentration: finite, and on the manifold.

The whole grid makes some 1e7 draws of each family and letter; by default every seventh case makes two thousand.
"""

import math

import pytest
import torch

from mcvae.distributions import (
    HypersphericalUniform,
    OnSphere,
    PowerSpherical,
    RiemannianNormal,
    VonMisesFisher,
    WrappedNormal,
    largest_scale,
)
from mcvae.manifolds import MANIFOLDS, Sphere

DTYPES = [torch.float32, torch.float64]
NORMALS = [
    (letter, dim, k, scale)
    for letter in "sdhpu"
    for dim in (1, 2, 10, 100)
    for k in (1e-4, 0.3, 1.0, 10.0)
    for scale in (1e-4, 0.3, 1.0, 3.0)
]
RIEMANNIAN = [
    (letter, dim, k, share) for letter in "shp" for dim in (1, 2, 10) for k in (1e-4, 1.0, 10.0) for share in (0.01, 1)
]
SPHERICAL = [
    (family, dim, kappa)
    for family in (VonMisesFisher, PowerSpherical)
    for dim in (1, 2, 5, 20, 500)
    for kappa in (0.0, 1e-4, 0.5, 10.0, 500.0, 1e6)
]


def thin(cases: list) -> list:
    """Every seventh case by default, all of them in the whole grid."""
    return [pytest.param(*case, marks=() if i % 7 == 0 else pytest.mark.full) for i, case in enumerate(cases)]


def off(manifold, x: torch.Tensor) -> torch.Tensor:
    """How far |<x, x> ± R²| is from 0, in units of max(R², x₀²); of a projected space, whether outside of it."""
    k = manifold.k.to(torch.float64)
    x = x.double()
    if manifold.letter in "sh":
        sign = 1 if manifold.letter == "s" else -1
        product = x[..., 1:].square().sum(-1) + sign * x[..., 0].square()
        return (product - 1 / k).abs() / torch.maximum(1 / k.abs(), x[..., 0].square())
    return (~manifold.contains(x)).double()


def check(distribution, manifold, dtype, request):
    """Draw, and look at points and log-densities, with the draw's own coordinates and from the point alone."""
    size = 2000 if "not full" in request.config.getoption("-m") else 160_000 if manifold.dim <= 100 else 20_000
    z = distribution.sample((size,))
    assert z.dtype == dtype and torch.isfinite(z).all()
    assert off(manifold, z).max() <= (1e-5 if dtype is torch.float32 else 1e-13)
    assert torch.isfinite(distribution.log_prob(z)).all()
    assert torch.isfinite(distribution.log_prob(z.clone())).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("letter", "dim", "k", "scale"), thin(NORMALS))
def test_wrapped_normals_draw_finite_points_of_finite_density(letter, dim, k, scale, dtype, request):
    manifold = MANIFOLDS[letter](dim, k=-k if letter in "hp" else k)
    length = min(1.0, 0.5 * math.pi / math.sqrt(k)) if letter in "sdu" else 1.0
    loc = manifold.expmap0(torch.full((dim,), length * dim**-0.5, dtype=dtype))
    scales = torch.full((dim,), scale, dtype=dtype)
    check(WrappedNormal(manifold, loc, scales, remember=True), manifold, dtype, request)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("letter", "dim", "k", "share"), thin(RIEMANNIAN))
def test_riemannian_normals_draw_finite_points_of_finite_density(letter, dim, k, share, dtype, request):
    """At a share of the largest scale, which is 3 on spheres."""
    manifold = MANIFOLDS[letter](dim, k=-k if letter in "hp" else k)
    scale = share * largest_scale(manifold, dtype).clamp_max(3.0)
    check(RiemannianNormal(manifold, None, scale, remember=True), manifold, dtype, request)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("family", "dim", "kappa"), thin(SPHERICAL))
def test_spherical_families_draw_finite_points_of_finite_density(family, dim, kappa, dtype, request):
    loc = torch.nn.functional.normalize(torch.randn(dim + 1, dtype=dtype), dim=-1)
    for sphere in (Sphere(dim, k=1e-4), Sphere(dim, k=10.0)):
        check(OnSphere(sphere, family(loc, torch.tensor(kappa, dtype=dtype))), sphere, dtype, request)
        check(OnSphere(sphere, HypersphericalUniform(dim, dtype=dtype)), sphere, dtype, request)
