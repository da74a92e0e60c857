"""Hyperbolic space of curvature k < 0 as the hyperboloid x·x - x₀² = -R², x₀ > 0, R = 1/√-k, origin (R, 0, …, 0).

The coordinates 1 … dim of a point are taken as exact and x₀ as following from them; no arc cosine, and points are
compared by y - x, so that close points keep their relative accuracy however far out they lie. Where a coordinate
would exceed max^0.4 R of its dtype (√-k r near 36 in float32, 284 in float64), points stay within twice that.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from . import pairs
from .base import Manifold, split
from .fused import Fused, Gradients, log_determinant, turn, turn_back
from .trigonometry import asinh_ratio, bounded, largest, sin_ratio


def lift(spatial: Tensor, *, k: Tensor) -> Tensor:
    """(√(R² + |x|²), x): the point of the hyperboloid with coordinates 1 … dim equal to ``spatial`` [..., dim]."""
    return torch.cat([_height(spatial, k), spatial], -1)


def expmap0(u: Tensor, *, k: Tensor) -> Tensor:
    """(R cosh θ, u sinh θ / θ) with θ = √-k |u|; u [..., dim], k broadcastable to [..., 1], result [..., dim + 1]."""
    return _EXPMAP0(u, k)


def logmap0(x: Tensor, *, k: Tensor) -> Tensor:
    """Inverts :func:`expmap0`: x asinh(√-k |x|) / (√-k |x|) in the coordinates 1 … dim."""
    return _LOGMAP0(x, k)


def expmap_frame(x: Tensor, u: Tensor, *, k: Tensor) -> Tensor:
    """The boost that takes the origin to x, applied to t = expmap0(u): t + x σ in the coordinates 1 … dim.

    σ = t₀/R + x·t / (R (R + x₀)), as (R + t₀) / 2R (|t / (R + t₀) + x / (R + x₀)|² + 2R / (R + x₀)): where t leads back
    towards the origin the two terms of the former would cancel.
    """
    return _EXPMAP_FRAME(x, u, k)


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
    return log_determinant(u, k, options=(-1,))


def _expmap0(u: Tensor, k: Tensor) -> Tensor:
    return lift(_sinh(u, k), k=k)


def _expmap0_forward(u: Tensor, k: Tensor) -> tuple[Tensor, ...]:
    spatial, _, known = turn(u, k, -1, math.asinh(largest(u.dtype)))
    return lift(spatial, k=k), *known


def _expmap0_backward(needed: Sequence[bool], grad: Tensor, x: Tensor, *known: Tensor) -> Gradients:
    *_, k = known
    first, spatial = split(grad)
    by_u, by_k = turn_back(needed, spatial, first * (-k).rsqrt(), *known)
    return by_u, by_k - first * x[..., :1] / (2 * k) if needed[1] else None


_EXPMAP0 = Fused(_expmap0, _expmap0_forward, _expmap0_backward)


def _logmap0(x: Tensor, k: Tensor) -> Tensor:
    spatial = x[..., 1:]
    return spatial * asinh_ratio(k * spatial.square().sum(-1, keepdim=True))


def _logmap0_forward(x: Tensor, k: Tensor) -> tuple[Tensor, ...]:
    spatial = x[..., 1:]
    square = (spatial * spatial).sum(-1, keepdim=True)
    ratio, rise = pairs.asinh(square * k)
    return spatial * ratio, ratio.log().squeeze(-1) * (1 - spatial.shape[-1]), spatial, square, ratio, rise


def _logmap0_backward(needed: Sequence[bool], grad: Tensor, by_log: Tensor, *known: Tensor) -> Gradients:
    _, _, spatial, square, ratio, rise, x, k = known
    along = torch.sub((spatial * grad).sum(-1, keepdim=True), by_log.unsqueeze(-1) / ratio, alpha=x.shape[-1] - 2)
    along = along * rise
    pull = along / square.clamp_min(torch.finfo(square.dtype).tiny)
    by_spatial = torch.addcmul(ratio * grad, spatial, pull)
    return torch.cat([torch.zeros_like(along), by_spatial], -1), along / (2 * k) if needed[1] else None


_LOGMAP0 = Fused(_logmap0, _logmap0_forward, _logmap0_backward, lambda u, _, k: logdetexp0(u, k=k))


def _expmap_frame(x: Tensor, u: Tensor, k: Tensor) -> Tensor:
    radius = (-k).rsqrt()
    first, spatial = split(x)
    tangent = _sinh(u, k)
    rise, total = radius + _height(tangent, k), radius + first
    square = (tangent / rise + spatial / total).square().sum(-1, keepdim=True)
    stretch = torch.addcdiv(square, radius, total, value=2) * rise / (2 * radius)
    z = torch.addcmul(tangent, spatial, torch.minimum(stretch, largest(x.dtype) * radius / first))
    return lift(z, k=k)


def _expmap_frame_forward(x: Tensor, u: Tensor, k: Tensor) -> tuple[Tensor, ...]:
    square = -1 / k
    radius = square.sqrt()
    first, spatial = split(x)
    tangent, turned, known = turn(u, k, -1, math.asinh(largest(u.dtype)))
    height = turned.cosine * radius
    rise, total = height + radius, first + radius
    mean = torch.addcdiv(spatial / total, tangent, rise)
    half = rise / (2 * radius)
    stretch = torch.addcdiv((mean * mean).sum(-1, keepdim=True), radius, total, value=2) * half
    kept = torch.minimum(stretch, largest(x.dtype) * radius / first)
    z = torch.addcmul(tangent, spatial, kept)
    z_first = ((z * z).sum(-1, keepdim=True) + square).sqrt()
    log = (turned.ratio.log() + turned.excess).squeeze(-1) * (u.shape[-1] - 1)
    middle = (radius, tangent, rise, total, mean, half, stretch, kept, turned.free_slope)
    return torch.cat([z_first, z], -1), log, *middle, *known


def _expmap_frame_backward(needed: Sequence[bool], grad: Tensor, by_log: Tensor, *known: Tensor) -> Gradients:
    """With m = t / Y + x / X, X = R + x₀, Y = R + t₀: backwards through z₀, σ = (|m|² + 2R / X) Y / 2R, t₀ and t."""
    z, _, radius, tangent, rise, total, mean, half, stretch, kept, free_slope, *known, x, u, k = known
    first, spatial = split(x)
    z_first, z_spatial = split(z)
    by_first, by_spatial = split(grad)
    fall = by_first / z_first
    grad = torch.addcmul(by_spatial, z_spatial, fall)
    by_kept = (grad * spatial).sum(-1, keepdim=True)
    by_stretch = by_kept * (stretch == kept)
    by_square = by_stretch * half
    by_mean = mean * (by_square + by_square)
    by_mean_total = by_mean / total
    by_total = torch.add((by_mean_total * spatial).sum(-1, keepdim=True), by_square * radius / total, alpha=2) / total
    by_mean_rise = by_mean / rise
    by_rise = (by_stretch * stretch - (by_mean_rise * tangent).sum(-1, keepdim=True)) / rise
    by_cap = (by_kept - by_stretch) * kept
    by_log = by_log.unsqueeze(-1) * (u.shape[-1] - 1) * free_slope / known[2]
    by_u, by_k = turn_back(needed[1:], by_mean_rise + grad, by_rise * radius, *known, u, k, by_log=by_log)
    if needed[2]:
        # through R where it stands in Y = R (1 + cos θ), X, 2R / X, 1 / 2R and the bound of σ; and R² in z₀
        by_radius = by_rise * rise - by_total * radius + 2 * by_square * radius / total - by_stretch * stretch + by_cap
        by_k = by_k + fall / (2 * k.square()) - by_radius / (2 * k)
    return torch.cat([-by_total - by_cap / first, torch.addcmul(by_mean_total, grad, kept)], -1), by_u, by_k


_EXPMAP_FRAME = Fused(
    _expmap_frame, _expmap_frame_forward, _expmap_frame_backward, lambda _, x, u, k: logdetexp0(u, k=k)
)


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

    def expmap_frame_logdet(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        return _EXPMAP_FRAME.both(x, u, self._k(u))

    def logmap0_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return _LOGMAP0.both(x, self._k(x))

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
