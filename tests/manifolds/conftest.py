"""Spaces, dtypes and tolerances that the laws of the manifolds are tested over."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from mcvae.manifolds import MANIFOLDS, Manifold

THIN = [(1, 1.0), (2, 1e-4), (2, 1.0), (5, 10.0), (40, 0.3)]
FULL = [(dim, k) for dim in (1, 2, 5, 40) for k in (1e-4, 0.3, 1.0, 10.0) if (dim, k) not in THIN]
SIGN = {"e": 0, "s": 1, "h": -1}


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


def cases(letters: str, largest: int = 40) -> list:
    """(letter, dim, |k|), named like signatures; those that only ``make test-full`` runs are marked."""
    chosen = [("e", dim, 0.0, ()) for dim in (1, 3) if "e" in letters]
    for letter in letters.replace("e", ""):
        chosen += [(letter, dim, k, ()) for dim, k in THIN if dim <= largest]
        chosen += [(letter, dim, k, pytest.mark.full) for dim, k in FULL if dim <= largest]
    return [
        pytest.param((*case, k), marks=marks, id=f"{case[0]}{case[1]}:k={k * SIGN[case[0]]:g}")
        for *case, k, marks in chosen
    ]


@pytest.fixture(params=cases("esh"))
def space(request, dtype) -> Space:
    """A space with lengths up to √|k| r = 3 on h (two such vectors make 6), to 0.95 of the injectivity radius on s."""
    return make_space(*request.param, dtype)


@pytest.fixture(params=cases("sh"))
def curved_space(request, dtype) -> Space:
    """The same without flat space."""
    return make_space(*request.param, dtype)


@pytest.fixture(params=cases("esh", largest=5))
def small_space(request) -> Space:
    """The same in few dimensions and float64, for Jacobians."""
    return make_space(*request.param, torch.float64)


def make_space(letter: str, dim: int, k: float, dtype: torch.dtype) -> Space:
    manifold = MANIFOLDS[letter](dim, k=k * SIGN[letter])
    reach = {"e": 3.0, "s": 0.95 * torch.pi, "h": 3.0 if dtype is torch.float64 else 2.0}[letter]
    return Space(manifold, dtype, reach, tolerance=1e-10 if dtype is torch.float64 else 1e-3)
