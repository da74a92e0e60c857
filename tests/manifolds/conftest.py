"""Spaces, dtypes and tolerances that the laws of the manifolds are tested over."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from mcvae.manifolds import MANIFOLDS, Manifold

THIN = [(1, 1.0), (2, 1e-4), (2, 1.0), (5, 10.0), (40, 0.3)]
FULL = [(dim, k) for dim in (1, 2, 5, 40) for k in (1e-4, 0.3, 1.0, 10.0) if (dim, k) not in THIN]
THINNER = THIN[1:4]  # of d, p and u, which share their formulas
SIGN = {"e": 0, "s": 1, "h": -1, "d": 1, "p": -1, "u+": 1, "u-": -1, "u0": 0}
CURVED = ("s", "h", "d", "p", "u+", "u-")
FLAT = ("e", "u0")
REACH = {1: 0.95 * torch.pi, 0: 3.0, -1: 6.0}  # of one vector, √|k| r
FAR_REACH, FAR_TOLERANCE = 10.0, 1e-7  # where k < 0, in float64
FLOAT32_REACH = 4.0  # where k < 0


@dataclass
class Space:
    """A manifold and random points and vectors on it: √|k| times every length is at most ``reach``."""

    manifold: Manifold
    dtype: torch.dtype
    reach: float
    tolerance: float

    @property
    def unit(self) -> float:
        """The radius of curvature, the natural unit of length (1 on flat space)."""
        k = self.manifold.k.abs().max().item()
        return k**-0.5 if k else 1.0

    def coordinates(self, n: int = 64, reach: float | None = None) -> Tensor:
        """Vectors [n, dim] in the frame, of lengths up to ``reach`` in units of the radius of curvature."""
        direction = torch.nn.functional.normalize(torch.randn(n, self.manifold.dim, dtype=torch.float64), dim=-1)
        length = torch.rand(n, 1, dtype=torch.float64) * (self.reach if reach is None else reach) * self.unit
        return (direction * length).to(self.dtype)

    def points(self, n: int = 64, reach: float | None = None) -> Tensor:
        """Points [n, ambient_dim]."""
        return self.manifold.expmap0(self.coordinates(n, reach))

    def tangents(self, x: Tensor, reach: float | None = None) -> Tensor:
        """Tangent vectors [n, ambient_dim] at x."""
        return self.manifold.transp0(x, self.coordinates(len(x), reach))

    def assert_equal(self, left: Tensor, right: Tensor, unit: float = 1.0) -> None:
        """Equal up to the tolerance, in multiples of ``unit``."""
        assert left.dtype == right.dtype == self.dtype
        torch.testing.assert_close(left / unit, right / unit, rtol=self.tolerance, atol=self.tolerance)


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture(params=["float64", "float32"])
def dtype(request) -> torch.dtype:
    return getattr(torch, request.param)


def cases(kinds: tuple[str, ...], largest: int = 40, single: bool = True, far: bool = False) -> list:
    """Arguments of :func:`make_space`, named like signatures; those that only ``make test-full`` runs are marked."""
    chosen = [(kind, dim, 0.0, ()) for dim in (1, 3) for kind in kinds if not SIGN[kind]]
    for kind in kinds:
        thin = THINNER if kind[0] in "dpu" else THIN
        chosen += [(kind, dim, k, ()) for dim, k in thin if dim <= largest and SIGN[kind]]
        chosen += [
            (kind, dim, k, pytest.mark.full)
            for dim, k in [*THIN, *FULL]
            if dim <= largest and SIGN[kind] and (dim, k) not in thin
        ]
    found = []
    for kind, dim, k, marks in chosen:
        name = f"{kind[0]}{dim}:k={k * SIGN[kind]:g}"
        dtypes = ("float64", "float32") if single else ("float64",)
        found += [pytest.param((kind, dim, k, dtype, False), marks=marks, id=f"{name}-{dtype}") for dtype in dtypes]
        if far and SIGN[kind] < 0:
            found.append(pytest.param((kind, dim, k, "float64", True), marks=marks, id=f"{name}-far"))
    return found


@pytest.fixture(params=cases((*FLAT, *CURVED), far=True))
def space(request) -> Space:
    """A space with lengths up to √|k| r = 6 where k < 0, to 0.95 of the injectivity radius where k > 0.

    In float64 further out too, with a wider tolerance; in float32 less far.
    """
    return make_space(*request.param)


@pytest.fixture(params=cases(CURVED))
def curved_space(request) -> Space:
    """The same without flat space, and not as far out."""
    return make_space(*request.param)


@pytest.fixture(params=cases((*FLAT, *CURVED), largest=5, single=False))
def small_space(request) -> Space:
    """The same in few dimensions and float64, for Jacobians."""
    return make_space(*request.param)


def make_space(kind: str, dim: int, k: float, dtype: str, far: bool) -> Space:
    manifold, sign = MANIFOLDS[kind[0]](dim, k=k * SIGN[kind]), SIGN[kind]
    if far:
        return Space(manifold, torch.float64, FAR_REACH, FAR_TOLERANCE)
    if dtype == "float64":
        return Space(manifold, torch.float64, REACH[sign], 1e-10)
    return Space(manifold, torch.float32, FLOAT32_REACH if sign < 0 else REACH[sign], 1e-3)
