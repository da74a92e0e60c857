"""The sphere of curvature k > 0, embedded in R^(dim+1): |x| = R = 1/√k, origin (R, 0, …, 0).

No arc cosine and no difference of nearly equal numbers: angles are atan2(sine, cosine), points are compared by x - y.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from . import pairs
from .base import Manifold, split
from .fused import Fused, Gradients, log_determinant, turn, turn_back
from .trigonometry import atan_ratio, bounded, cos_and_sin_ratio, safe_sqrt
from .windings import windings


def expmap0(u: Tensor, *, k: Tensor) -> Tensor:
    """(R cos θ, u sin θ / θ) with θ = √k |u|; u [..., dim], k broadcastable to [..., 1], result [..., dim + 1]."""
    return _EXPMAP0(u, k)


def logmap0(x: Tensor, *, k: Tensor) -> Tensor:
    """Inverts :func:`expmap0` for |u| < π/√k; the antipode of the origin goes to π/√k along (1, …, 1)."""
    return _LOGMAP0(x, k)


def expmap_frame(x: Tensor, u: Tensor, *, k: Tensor) -> Tensor:
    """The rotation of the plane of origin and x that takes the origin to x, applied to expmap0(u)."""
    return _EXPMAP_FRAME(x, u, k)


def logmap_frame(x: Tensor, y: Tensor, *, k: Tensor) -> Tensor:
    """logmap0 of y after the rotation that takes x to the origin, from the chord y - x, however short."""
    radius = k.rsqrt()
    chord = y - x
    half = chord.square().sum(-1, keepdim=True) / 2
    (first, spatial), (chord_first, chord_spatial) = split(x), split(chord)
    shift = (half - radius * chord_first) / (radius * from_antipode(first, spatial, radius))
    return _angle(torch.addcmul(chord_spatial, spatial, shift), 1 - k * half, k=k)


def transp0(y: Tensor, u: Tensor, *, k: Tensor) -> Tensor:
    """(-y·u/R, u - y (y·u) / (R (R + y₀))), with y its coordinates 1 … dim."""
    radius = k.rsqrt()
    first, spatial = split(y)
    along = (spatial * u).sum(-1, keepdim=True) / radius
    return torch.cat([-along, u - spatial * (along / from_antipode(first, spatial, radius))], -1)


def transp0back(x: Tensor, u: Tensor, *, k: Tensor) -> Tensor:
    """Inverts :func:`transp0`: u - x u₀ / (R + x₀) in the coordinates 1 … dim."""
    (first, spatial), (u_first, u_spatial) = split(x), split(u)
    return u_spatial - spatial * (u_first / from_antipode(first, spatial, k.rsqrt()))


def transp(x: Tensor, y: Tensor, u: Tensor, *, k: Tensor) -> Tensor:
    """u - (x + y) ⟨y, u⟩ / (R² + ⟨x, y⟩); undefined at the antipode y = -x."""
    total = x + y
    return u - total * (2 * (y * u).sum(-1, keepdim=True) / total.square().sum(-1, keepdim=True))


def dist(x: Tensor, y: Tensor, *, k: Tensor) -> Tensor:
    """2R atan2(|x - y|, |x + y|), accurate for close and for opposite points; [...] (Kahan)."""
    near = safe_sqrt((x - y).square().sum(-1, keepdim=True))
    far = safe_sqrt((x + y).square().sum(-1, keepdim=True))
    return (2 * k.rsqrt() * torch.atan2(near, far)).squeeze(-1)


def projx(x: Tensor, *, k: Tensor) -> Tensor:
    """R x / |x|."""
    return k.rsqrt() * functional.normalize(x, dim=-1, eps=torch.finfo(x.dtype).tiny)


def proju(x: Tensor, u: Tensor, *, k: Tensor) -> Tensor:
    """u - k ⟨x, u⟩ x."""
    return u - x * (k * (x * u).sum(-1, keepdim=True))


def logdetexp0(u: Tensor, *, k: Tensor) -> Tensor:
    """(dim - 1) log |sin θ / θ| with θ = √k |u|; [...]."""
    return log_determinant(u, k, options=(1,))


def _angle(sine: Tensor, cosine: Tensor, *, k: Tensor) -> Tensor:
    """The vector R θ long along ``sine`` [..., dim], R sin θ long; at θ = π, where that is 0, along (1, …, 1)."""
    t = k * sine.square().sum(-1, keepdim=True)
    eps = torch.finfo(sine.dtype).eps
    opposite = (t < eps**2) & (cosine < 0)
    return torch.where(opposite, eps * sine.shape[-1] ** -0.5 * k.rsqrt(), sine) * atan_ratio(t, cosine)


def from_antipode(first: Tensor, spatial: Tensor, radius: Tensor) -> Tensor:
    """R + x₀ > 0, for x₀ < 0 as |x_1…|² / (R - x₀), which stays accurate near the antipode of the origin; [..., 1]."""
    south = first < 0
    total = radius + torch.where(south, -first, first)
    beyond = (spatial.square().sum(-1, keepdim=True) + torch.finfo(first.dtype).tiny) / total
    return torch.where(south, beyond, total)


def _expmap0(u: Tensor, k: Tensor) -> Tensor:
    u = bounded(u)
    cosine, ratio = cos_and_sin_ratio(k * u.square().sum(-1, keepdim=True))
    return torch.cat([k.rsqrt() * cosine, u * ratio], -1)


def _expmap0_forward(u: Tensor, k: Tensor) -> tuple[Tensor, ...]:
    radius = k.rsqrt()
    spatial, turned, known = turn(u, k, 1)
    return torch.cat([turned.cosine * radius, spatial], -1), radius, *known


def _expmap0_backward(needed: Sequence[bool], grad: Tensor, x: Tensor, radius: Tensor, *known: Tensor) -> Gradients:
    first, spatial = split(grad)
    by_u, by_k = turn_back(needed, spatial, first * radius, *known)
    return by_u, by_k - first * x[..., :1] / (2 * known[-1]) if needed[1] else None


_EXPMAP0 = Fused(_expmap0, _expmap0_forward, _expmap0_backward)


def _logmap0(x: Tensor, k: Tensor) -> Tensor:
    first, spatial = split(x)
    return _angle(spatial, k.sqrt() * first, k=k)


def _logmap0_forward(x: Tensor, k: Tensor) -> tuple[Tensor, ...]:
    first, spatial = split(x)
    root = k.sqrt()
    cosine, square = first * root, (spatial * spatial).sum(-1, keepdim=True)
    t, eps = square * k, torch.finfo(x.dtype).eps
    opposite = (t < eps**2) & (cosine < 0)
    ratio, slope, by_cosine = pairs.angle(t, cosine)
    result = torch.where(opposite, eps * spatial.shape[-1] ** -0.5 / root, spatial) * ratio
    log = ratio.log().squeeze(-1) * (1 - spatial.shape[-1])
    return result, log, root, spatial, cosine, square, opposite, ratio, slope, by_cosine


def _logmap0_backward(needed: Sequence[bool], grad: Tensor, by_log: Tensor, *known: Tensor) -> Gradients:
    result, _, root, spatial, cosine, square, opposite, ratio, slope, by_cosine, x, k = known
    # log |sin θ / θ| is -log(ratio) on the sphere; off it sin θ is the sine divided by √(sine² + cosine²)
    by_log = by_log.unsqueeze(-1) * (spatial.shape[-1] - 1)
    by_size = by_log * by_cosine  # by_cosine is -1 / (sine² + cosine²), and 0 near the origin, where θ is arcsine
    total = (result * grad).sum(-1, keepdim=True)
    along = (total - by_log) / ratio
    by_cosine = torch.addcmul(by_cosine * along, by_size, cosine)
    along = torch.addcmul(by_size, along, slope)
    by_spatial = torch.addcmul((ratio * grad).masked_fill(opposite, 0.0), spatial, k * along)
    by_k = None
    if needed[1]:
        by_k = (along * square + by_cosine * x[..., :1] / root - (total / k).masked_fill(~opposite, 0.0)) * 0.5
    return torch.cat([by_cosine * root, by_spatial], -1), by_k


_LOGMAP0 = Fused(_logmap0, _logmap0_forward, _logmap0_backward, lambda u, _, k: logdetexp0(u, k=k))


def _expmap_frame(x: Tensor, u: Tensor, k: Tensor) -> Tensor:
    u, radius = bounded(u), k.rsqrt()
    cosine, ratio = cos_and_sin_ratio(k * u.square().sum(-1, keepdim=True))
    first, spatial = split(x)
    tangent = u * ratio
    along = (spatial * tangent).sum(-1, keepdim=True) / radius
    shift = cosine - along / from_antipode(first, spatial, radius)
    return torch.cat([first * cosine - along, torch.addcmul(tangent, spatial, shift)], -1)


def _expmap_frame_forward(x: Tensor, u: Tensor, k: Tensor) -> tuple[Tensor, ...]:
    radius, (first, spatial) = k.rsqrt(), split(x)
    tangent, turned, known = turn(u, k, 1)
    cosine = turned.cosine
    along, total = (spatial * tangent).sum(-1, keepdim=True) / radius, from_antipode(first, spatial, radius)
    steps = along / total
    shift = cosine - steps
    z = torch.cat([first * cosine - along, torch.addcmul(tangent, spatial, shift)], -1)
    log = turned.ratio.abs().log().squeeze(-1) * (u.shape[-1] - 1)
    return z, log, radius, tangent, cosine, along, total, steps, shift, *known


def _expmap_frame_backward(needed: Sequence[bool], grad: Tensor, by_log: Tensor, *known: Tensor) -> Gradients:
    """Backwards through the sum A = x·t / R, the H = R + x₀ of :func:`from_antipode`, and t."""
    _, _, radius, tangent, cosine, along, total, steps, shift, *known, x, u, k = known
    (first, spatial), (by_first, by_tangent) = split(x), split(grad)
    by_shift = (by_tangent * spatial).sum(-1, keepdim=True)
    by_cosine = torch.addcmul(by_shift, by_first, first)
    by_shift = by_shift / total
    by_along = (by_first + by_shift) / radius  # negative
    by_total = by_shift * steps
    by_spatial = torch.addcmul(by_tangent * shift, tangent, by_along, value=-1)
    # for x₀ < 0 H is |x_1…|² / (R - x₀)
    south, other = first < 0, radius - first
    share = torch.where(south, by_total / other, 0.0)
    by_spatial = torch.addcmul(by_spatial, spatial, share, value=2)
    by_total = torch.where(south, share * total, by_total)
    by_tangent = torch.addcmul(by_tangent, spatial, by_along, value=-1)
    by_log = by_log.unsqueeze(-1) * (u.shape[-1] - 1) * known[3] / known[2]
    by_u, by_k = turn_back(needed[1:], by_tangent, by_cosine, *known, u, k, by_log=by_log)
    if needed[2]:
        by_radius = torch.where(south, -by_total, by_total) + by_along * along
        by_k = by_k - by_radius * radius / (2 * k)
    return torch.cat([torch.addcmul(by_total, by_first, cosine), by_spatial], -1), by_u, by_k


_EXPMAP_FRAME = Fused(
    _expmap_frame, _expmap_frame_forward, _expmap_frame_backward, lambda _, x, u, k: logdetexp0(u, k=k)
)


class Sphere(Manifold):
    """S^dim of sectional curvature k > 0 in R^(dim+1); see :mod:`mcvae.manifolds.sphere` for the formulas."""

    letter, sign = "s", 1

    def __init__(
        self, dim: int, k: float | Sequence[float] | Tensor = 1.0, learn: bool = False, count: int | None = None
    ):
        super().__init__(dim, k, learn, count)
        self.windings = windings(dim)

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

    def inner(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        return (u * v).sum(-1)

    def norm(self, x: Tensor, u: Tensor) -> Tensor:
        return safe_sqrt(u.square().sum(-1))

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        return dist(x, y, k=self._k(x))

    def projx(self, x: Tensor) -> Tensor:
        return projx(x, k=self._k(x))

    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        return proju(x, u, k=self._k(x))

    def logdetexp0(self, u: Tensor) -> Tensor:
        return logdetexp0(u, k=self._k(u))

    def contains(self, x: Tensor) -> Tensor:
        error = (self._k(x).squeeze(-1) * x.square().sum(-1) - 1).abs()
        return error <= torch.finfo(x.dtype).eps ** 0.5
