"""Hyperbolic space of curvature k < 0 as the hyperboloid x·x - x₀² = -R², x₀ > 0, R = 1/√-k, origin (R, 0, …, 0).

The coordinates 1 … dim of a point are taken as exact and x₀ as following from them; no arc cosine, and points are
compared by y - x, so that close points keep their relative accuracy however far out they lie.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .base import Manifold, split
from .trigonometry import asinh_ratio, log_sin_ratio, safe_sqrt, sin_ratio


def lift(spatial: Tensor, *, k: Tensor) -> Tensor:
    """(√(R² + |x|²), x): the point of the hyperboloid with coordinates 1 … dim equal to ``spatial`` [..., dim]."""
    return torch.cat([_height(spatial, k), spatial], -1)


def expmap0(u: Tensor, *, k: Tensor) -> Tensor:
    """(R cosh θ, u sinh θ / θ) with θ = √-k |u|; u [..., dim], k broadcastable to [..., 1], result [..., dim + 1]."""
    return lift(_sinh(u, k), k=k)


def logmap0(x: Tensor, *, k: Tensor) -> Tensor:
    """Inverts :func:`expmap0`: x asinh(√-k |x|) / (√-k |x|) in the coordinates 1 … dim."""
    return _asinh(x[..., 1:], k)


def expmap_frame(x: Tensor, u: Tensor, *, k: Tensor) -> Tensor:
    """The boost that takes the origin to x, applied to expmap0(u)."""
    radius = (-k).rsqrt()
    first, spatial = split(x)
    tangent = _sinh(u, k)
    along = (spatial * tangent).sum(-1, keepdim=True) / (radius + first)
    return lift(torch.addcmul(tangent, spatial, (along + _height(tangent, k)) / radius), k=k)


def logmap_frame(x: Tensor, y: Tensor, *, k: Tensor) -> Tensor:
    """logmap0 of y after the boost that takes x to the origin."""
    return _asinh(_boost_back(x, y, k), k)


def transp0(y: Tensor, u: Tensor, *, k: Tensor) -> Tensor:
    """(y·u/R, u + y (y·u) / (R (R + y₀))), with y its coordinates 1 … dim."""
    radius = (-k).rsqrt()
    first, spatial = split(y)
    along = (spatial * u).sum(-1, keepdim=True) / radius
    return torch.cat([along, u + spatial * (along / (radius + first))], -1)


def transp0back(x: Tensor, u: Tensor, *, k: Tensor) -> Tensor:
    """Inverts :func:`transp0`: u - x u₀ / (R + x₀) in the coordinates 1 … dim."""
    (first, spatial), (u_first, u_spatial) = split(x), split(u)
    return u_spatial - spatial * (u_first / ((-k).rsqrt() + first))


def transp(x: Tensor, y: Tensor, u: Tensor, *, k: Tensor) -> Tensor:
    """Transport in the frame, where it is a rotation by the area of the triangle (origin, x, y) and cannot stretch.

    With B w = a (b·w) - b (a·w), the plane of a = x_1… and b = y_1…, and α = R (x₀ + y₀ + 2R) + |chord|²/2, the
    coordinates w of u become w + 2 (α B w + B B w) / (α² + |B|²): the gyration of Ungar (2008) without denominators.
    """
    radius = (-k).rsqrt()
    a, b, w = x[..., 1:], y[..., 1:], transp0back(x, u, k=k)
    alpha = radius * (x[..., :1] + y[..., :1] + 2 * radius) + _chord(x, y, k)[2] / 2

    def turn(v: Tensor) -> Tensor:
        return a * (b * v).sum(-1, keepdim=True) - b * (a * v).sum(-1, keepdim=True)

    plane = turn(w)
    a2, b2, ab = (p.sum(-1, keepdim=True) for p in (a.square(), b.square(), a * b))
    return transp0(y, w + 2 * (alpha * plane + turn(plane)) / (alpha.square() + a2 * b2 - ab.square()), k=k)


def dist(x: Tensor, y: Tensor, *, k: Tensor) -> Tensor:
    """R asinh(|v| / R), v the coordinates 1 … dim of y after the boost that takes x to the origin; [...]."""
    radius = (-k).rsqrt()
    length = safe_sqrt(_boost_back(x, y, k).square().sum(-1, keepdim=True))
    return (radius * torch.asinh(length / radius)).squeeze(-1)


def proju(x: Tensor, u: Tensor, *, k: Tensor) -> Tensor:
    """u - k ⟨x, u⟩ x with the Lorentzian product ⟨x, u⟩ = x·u - x₀u₀."""
    product = (x[..., 1:] * u[..., 1:]).sum(-1, keepdim=True) - x[..., :1] * u[..., :1]
    return u - x * (k * product)


def logdetexp0(u: Tensor, *, k: Tensor) -> Tensor:
    """(dim - 1) log (sinh θ / θ) with θ = √-k |u|; [...]."""
    t = k * u.square().sum(-1, keepdim=True)
    return (u.shape[-1] - 1) * log_sin_ratio(t, -1).squeeze(-1)


def _height(spatial: Tensor, k: Tensor) -> Tensor:
    return (spatial.square().sum(-1, keepdim=True) - 1 / k).sqrt()


def _sinh(u: Tensor, k: Tensor) -> Tensor:
    return u * sin_ratio(k * u.square().sum(-1, keepdim=True), -1)


def _asinh(spatial: Tensor, k: Tensor) -> Tensor:
    return spatial * asinh_ratio(k * spatial.square().sum(-1, keepdim=True))


def _chord(x: Tensor, y: Tensor, k: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The chord y - x: coordinates 1 … dim, δ; coordinate 0, δ·σ / S; Lorentzian square, |δ|² - (δ·σ / S)² >= 0.

    Here σ = x + y in the coordinates 1 … dim and S = x₀ + y₀, so that x₀ and y₀ enter only where no digits cancel. Far
    out those of the square would: there it is, with δ·σ = b |σ| and w = b²/S², (|δ - b σ/|σ||² + 4R²w) / (1 - w).
    """
    (x_first, a), (y_first, b) = split(x), split(y)
    difference, total, height = b - a, a + b, x_first + y_first
    product = (difference * total).sum(-1, keepdim=True)
    rise = product / height
    length = total.square().sum(-1, keepdim=True)
    near = length * k > -1
    ratio = product / length.masked_fill(near, 1.0)
    across, w = (difference - total * ratio).square().sum(-1, keepdim=True), rise * ratio / height
    far = (across - 4 * w / k) / (1 - w).clamp_min(torch.finfo(w.dtype).eps)
    return difference, rise, torch.where(near, difference.square().sum(-1, keepdim=True) - rise.square(), far)


def _boost_back(x: Tensor, y: Tensor, k: Tensor) -> Tensor:
    """Coordinates 1 … dim of y after the boost that takes x to the origin."""
    radius = (-k).rsqrt()
    first, spatial = split(x)
    difference, rise, square = _chord(x, y, k)
    return torch.addcmul(difference, spatial, (square / 2 + radius * rise) / (radius * (radius + first)), value=-1)


class Hyperboloid(Manifold):
    """H^dim of sectional curvature k < 0 in R^(dim+1); see :mod:`mcvae.manifolds.hyperboloid` for the formulas."""

    letter, sign = "h", -1

    def __init__(
        self, dim: int, k: float | Sequence[float] | Tensor = -1.0, learn: bool = False, count: int | None = None
    ):
        super().__init__(dim, k, learn, count)

    @property
    def ambient_dim(self) -> int:
        return self.dim + 1

    def expmap0(self, u: Tensor) -> Tensor:
        return expmap0(u, k=self._k(u))

    def logmap0(self, x: Tensor) -> Tensor:
        return logmap0(x, k=self._k(x))

    def expmap_frame(self, x: Tensor, u: Tensor) -> Tensor:
        return expmap_frame(x, u, k=self._k(x))

    def logmap_frame(self, x: Tensor, y: Tensor) -> Tensor:
        return logmap_frame(x, y, k=self._k(x))

    def transp0(self, y: Tensor, u: Tensor) -> Tensor:
        return transp0(y, u, k=self._k(y))

    def transp0back(self, x: Tensor, u: Tensor) -> Tensor:
        return transp0back(x, u, k=self._k(x))

    def transp(self, x: Tensor, y: Tensor, u: Tensor) -> Tensor:
        return transp(x, y, u, k=self._k(x))

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        return dist(x, y, k=self._k(x))

    def projx(self, x: Tensor) -> Tensor:
        return lift(x[..., 1:], k=self._k(x))

    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        return proju(x, u, k=self._k(x))

    def logdetexp0(self, u: Tensor) -> Tensor:
        return logdetexp0(u, k=self._k(u))

    def contains(self, x: Tensor) -> Tensor:
        height = _height(x[..., 1:], self._k(x)).squeeze(-1)
        return (x[..., 0] - height).abs() <= torch.finfo(x.dtype).eps ** 0.5 * height
