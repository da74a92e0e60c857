"""The sphere of curvature k > 0, embedded in R^(dim+1): |x| = R = 1/√k, origin (R, 0, …, 0).

No arc cosine and no difference of nearly equal numbers: angles are atan2(sine, cosine), points are compared by x - y.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from .base import Manifold, split
from .trigonometry import atan_ratio, bounded, cos_and_sin_ratio, log_sin_ratio, safe_sqrt
from .windings import windings


def expmap0(u: Tensor, *, k: Tensor) -> Tensor:
    """(R cos θ, u sin θ / θ) with θ = √k |u|; u [..., dim], k broadcastable to [..., 1], result [..., dim + 1]."""
    u = bounded(u)
    cosine, ratio = cos_and_sin_ratio(k * u.square().sum(-1, keepdim=True))
    return torch.cat([k.rsqrt() * cosine, u * ratio], -1)


def logmap0(x: Tensor, *, k: Tensor) -> Tensor:
    """Inverts :func:`expmap0` for |u| < π/√k; the antipode of the origin goes to π/√k along (1, …, 1)."""
    first, spatial = split(x)
    return _angle(spatial, k.sqrt() * first, k=k)


def expmap_frame(x: Tensor, u: Tensor, *, k: Tensor) -> Tensor:
    """The rotation of the plane of origin and x that takes the origin to x, applied to expmap0(u)."""
    u, radius = bounded(u), k.rsqrt()
    cosine, ratio = cos_and_sin_ratio(k * u.square().sum(-1, keepdim=True))
    first, spatial = split(x)
    tangent = u * ratio
    along = (spatial * tangent).sum(-1, keepdim=True) / radius
    shift = cosine - along / from_antipode(first, spatial, radius)
    return torch.cat([first * cosine - along, torch.addcmul(tangent, spatial, shift)], -1)


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
    t = k * u.square().sum(-1, keepdim=True)
    return (u.shape[-1] - 1) * log_sin_ratio(t, 1).squeeze(-1)


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
