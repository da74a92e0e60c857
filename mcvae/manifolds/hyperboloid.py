"""Hyperbolic space of curvature k < 0 as the hyperboloid x·x - x₀² = -R², x₀ > 0, R = 1/√-k, origin (R, 0, …, 0).

The coordinates 1 … dim of a point are taken as exact and x₀ as following from them; no arc cosine, and points are
compared by y - x, so that close points keep their relative accuracy however far out they lie. Where a coordinate
would exceed max^0.4 R of its dtype (√-k r near 36 in float32, 284 in float64), points stay within twice that.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .base import Manifold, split
from .trigonometry import asinh_ratio, bounded, largest, log_sin_ratio, sin_ratio


def lift(spatial: Tensor, *, k: Tensor) -> Tensor:
    """(√(R² + |x|²), x): the point of the hyperboloid with coordinates 1 … dim equal to ``spatial`` [..., dim]."""
    return torch.cat([_height(spatial, k), spatial], -1)


def expmap0(u: Tensor, *, k: Tensor) -> Tensor:
    """(R cosh θ, u sinh θ / θ) with θ = √-k |u|; u [..., dim], k broadcastable to [..., 1], result [..., dim + 1]."""
    return lift(_sinh(u, k), k=k)


def logmap0(x: Tensor, *, k: Tensor) -> Tensor:
    """Inverts :func:`expmap0`: x asinh(√-k |x|) / (√-k |x|) in the coordinates 1 … dim."""
    spatial = x[..., 1:]
    return spatial * asinh_ratio(k * spatial.square().sum(-1, keepdim=True))


def expmap_frame(x: Tensor, u: Tensor, *, k: Tensor) -> Tensor:
    """The boost that takes the origin to x, applied to t = expmap0(u): t + x σ in the coordinates 1 … dim.

    σ = t₀/R + x·t / (R (R + x₀)), as (R + t₀) / 2R (|t / (R + t₀) + x / (R + x₀)|² + 2R / (R + x₀)): where t leads back
    towards the origin the two terms of the former would cancel.
    """
    radius = (-k).rsqrt()
    first, spatial = split(x)
    tangent = _sinh(u, k)
    rise, total = radius + _height(tangent, k), radius + first
    square = (tangent / rise + spatial / total).square().sum(-1, keepdim=True)
    stretch = torch.addcdiv(square, radius, total, value=2) * rise / (2 * radius)
    return lift(torch.addcmul(tangent, spatial, torch.minimum(stretch, largest(x.dtype) * radius / first)), k=k)


def logmap_frame(x: Tensor, y: Tensor, *, k: Tensor) -> Tensor:
    """logmap0 of y after the boost that takes x to the origin."""
    spatial = _boost_back(x, y, k)
    # Two points far out can be further apart than squares can tell: asinh(s / shrink) = asinh(s) - log(shrink) there.
    shrink = (largest(x.dtype) / spatial.detach().abs().amax(-1, keepdim=True)).clamp_max(1.0)
    spatial = spatial * shrink
    t = k * spatial.square().sum(-1, keepdim=True)
    return spatial * (asinh_ratio(t) - shrink.log() / (-t).clamp_min(1.0).sqrt())


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

    With a = x_1… / (R + x₀), α = R / (R + x₀) + R / (R + y₀) + |y - x|² / (2 (R + x₀) (R + y₀)), b the part across a of
    y_1… / (α (R + y₀)), and B w = a (b·w) - b (a·w), the coordinates w of u become w + 2 (B w + B B w) / (1 + |B|²):
    the gyration of Ungar (2008), with neither α nor |B| = |a| |b| a difference of nearly equal numbers.
    """
    radius = (-k).rsqrt()
    (x_first, a), (y_first, b), w = split(x), split(y), transp0back(x, u, k=k)
    x_first, y_first = x_first + radius, y_first + radius
    a, b = a / x_first, b / y_first
    alpha = radius / x_first + radius / y_first + _chord(x, y, k)[2] / x_first / y_first / 2
    b, length = b - a, a.square().sum(-1, keepdim=True)
    b = (b - a * ((a * b).sum(-1, keepdim=True) / length.clamp_min(torch.finfo(a.dtype).tiny))) / alpha

    def turn(v: Tensor) -> Tensor:
        return a * (b * v).sum(-1, keepdim=True) - b * (a * v).sum(-1, keepdim=True)

    plane = turn(w)
    return transp0(y, w + 2 * (plane + turn(plane)) / (1 + length * b.square().sum(-1, keepdim=True)), k=k)


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
    u = bounded(u)
    return u * sin_ratio(k * u.square().sum(-1, keepdim=True), -1)


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

    def projx(self, x: Tensor) -> Tensor:
        return lift(x[..., 1:], k=self._k(x))

    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        return proju(x, u, k=self._k(x))

    def logdetexp0(self, u: Tensor) -> Tensor:
        return logdetexp0(u, k=self._k(u))

    def contains(self, x: Tensor) -> Tensor:
        height = _height(x[..., 1:], self._k(x)).squeeze(-1)
        close = (x[..., 0] - height).abs() <= torch.finfo(x.dtype).eps ** 0.5 * height
        return close & torch.isfinite(height)
