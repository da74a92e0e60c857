"""Constant curvature in stereographic coordinates: points x of R^dim with the metric λ² |dx|², λ = 2 / (1 + k |x|²).

The projected sphere (k > 0), the Poincaré ball (k < 0) and the κ-stereographic space of either sign, whose verbs are
analytic in k through 0 (Bachmann et al. 2020; Skopek et al. 2020, appendix A; Ungar 2008 for Möbius addition ⊕).

Where Möbius addition divides by a b - k |y - x|², with a = 1 + k |x|² and b = 1 + k |y|², points enter by their
difference, so that close points keep their relative accuracy; that of points near the edge of the ball, or far out on
the projected sphere, is the accuracy of a and b. ``sign`` is 1 or -1 where that of k is fixed, 0 where it is either.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .base import Manifold
from .trigonometry import (
    angle_ratio,
    arctan_ratio,
    bounded,
    cos_and_sin_ratio,
    largest_tanh,
    log_sin_ratio,
    tan_ratio,
)
from .windings import windings


def expmap0(u: Tensor, *, k: Tensor, sign: int) -> Tensor:
    """u tan θ / (2θ) with θ = √k |u| / 2 (tanh for k < 0); u [..., dim] in the frame, k broadcastable to [..., 1]."""
    u = bounded(u)
    return u * (0.5 * tan_ratio(0.25 * k * u.square().sum(-1, keepdim=True), sign))


def logmap0(x: Tensor, *, k: Tensor, sign: int) -> Tensor:
    """Inverts :func:`expmap0` for √k |u| < π: 2x arctan θ / θ with θ = √k |x| (artanh for k < 0)."""
    return x * (2 * arctan_ratio(k * x.square().sum(-1, keepdim=True), sign))


def expmap_frame(x: Tensor, u: Tensor, *, k: Tensor, sign: int) -> Tensor:
    """x ⊕ expmap0(u): transport from the origin scales by λ_0 / λ_x, as the exponential map at x does by its inverse.

    With w/c = expmap0(u), c the cosine of θ = √k |u| / 2, s = c x + w and q = k |s|² / a this is (c s - q x) / (1 - q),
    where k |c s - q x|² = q (1 - q).
    """
    u = bounded(u)
    c, ratio = cos_and_sin_ratio(0.25 * k * u.square().sum(-1, keepdim=True), sign)
    s = torch.addcmul(c * x, u, 0.5 * ratio)
    q = k * s.square().sum(-1, keepdim=True) / _conformal(x, k, sign)
    return _pull_inside(_divide(torch.addcmul(c * s, q, x, value=-1), q, k, sign), k, sign)


def logmap_frame(x: Tensor, y: Tensor, *, k: Tensor, sign: int) -> Tensor:
    """logmap0(-x ⊕ y) as 2n θ / sin θ with cos θ = 1 - 2q, n = δ / b + q x, δ = y - x, q = k |δ|² / (a b).

    2n has length sin θ / √k: in a frame at the origin it is the point's position on the embedded sphere or hyperboloid.
    """
    chord = y - x
    a, b = _conformal(x, k, sign), _conformal(y, k, sign)
    q = k * chord.square().sum(-1, keepdim=True) / (a * b)
    n = torch.addcmul(chord / b, q, x)
    square = k * n.square().sum(-1, keepdim=True)
    if sign < 0:
        return n * (2 * angle_ratio(4 * square, q, sign))
    n, square = _leave_antipode(n, square, q, k, sign)
    return n * (2 * angle_ratio(4 * square, 1 - 2 * q, sign))


def transp0(y: Tensor, u: Tensor, *, k: Tensor, sign: int) -> Tensor:
    """u / λ_y."""
    return u * (0.5 * _conformal(y, k, sign))


def transp0back(x: Tensor, u: Tensor, *, k: Tensor, sign: int) -> Tensor:
    """λ_x u, the inverse of :func:`transp0`."""
    return u * (2 / _conformal(x, k, sign))


def transp(x: Tensor, y: Tensor, u: Tensor, *, k: Tensor, sign: int) -> Tensor:
    """(λ_x / λ_y) gyr[y, -x] u, with the gyration as the rotation that it is; undefined at the antipode of x.

    With δ = y - x, B u = k (δ (x·u) - x (δ·u)) and α = 1 + k x·y = (a + b - k |δ|²) / 2 the gyration is u + 2 (α B u +
    B B u) / (α² + |B|²), whose denominator is a b - k |δ|²; it turns by k times the area of the triangle (origin, x, y)
    (Ungar 2008).
    """
    a, b, chord = _conformal(x, k, sign), _conformal(y, k, sign), y - x

    def turn(v: Tensor) -> Tensor:
        return k * (chord * (x * v).sum(-1, keepdim=True) - x * (chord * v).sum(-1, keepdim=True))

    plane, square = turn(u), k * chord.square().sum(-1, keepdim=True)
    alpha = 0.5 * (a + b - square)
    norm = a * b - square
    norm = norm if sign < 0 else torch.maximum(norm, torch.finfo(norm.dtype).eps * a * b)
    return (u + 2 * (alpha * plane + turn(plane)) / norm) * (b / a)


def projx(x: Tensor, *, k: Tensor, sign: int) -> Tensor:
    """x, for k < 0 pulled inside the ball of radius 1/√-k where it lies beyond."""
    return _pull_inside(x, k, sign)


def logdetexp0(u: Tensor, *, k: Tensor, sign: int) -> Tensor:
    """(dim - 1) log |sin θ / θ| with θ = √k |u| (sinh for k < 0); [...]."""
    t = k * u.square().sum(-1, keepdim=True)
    return (u.shape[-1] - 1) * log_sin_ratio(t, sign).squeeze(-1)


def _conformal(x: Tensor, k: Tensor, sign: int) -> Tensor:
    """2 / λ_x = 1 + k |x|², positive even for a point that rounding has put on the edge of the ball; [..., 1]."""
    a = 1 + k * x.square().sum(-1, keepdim=True)
    return a if sign > 0 else a.clamp_min(torch.finfo(x.dtype).eps)


def _pull_inside(x: Tensor, k: Tensor, sign: int) -> Tensor:
    """x scaled so that √-k |x| is at most the largest tanh: for k < 0 strictly inside the ball, else untouched."""
    if sign > 0:
        return x
    excess = (-k / largest_tanh(x.dtype) ** 2) * x.square().sum(-1, keepdim=True)
    return x * excess.clamp_min(1.0).rsqrt()


def _divide(n: Tensor, q: Tensor, k: Tensor, sign: int) -> Tensor:
    """n / (1 - q); beyond q = 1/2, where digits of 1 - q would cancel, that is k |n|² / q."""
    if sign < 0:
        return n / (1 - q)
    far = n if sign else n.masked_fill(q <= 0.5, 0.0)  # for k < 0 its square could overflow
    n, square = _leave_antipode(n, k * far.square().sum(-1, keepdim=True), q, k, sign)
    return n / torch.where(q > 0.5, square / q.clamp_min(0.5), 1 - q)


def _leave_antipode(n: Tensor, square: Tensor, q: Tensor, k: Tensor, sign: int) -> tuple[Tensor, Tensor]:
    """n and k |n|², but at an antipode, where n vanishes, a rounding error along (1, …, 1), its square fixed."""
    eps = torch.finfo(n.dtype).eps
    opposite = (q > 0.5) & (square < eps**2)
    radius = k.rsqrt() if sign else torch.where(k > 0, k, 1.0).rsqrt()
    step = (eps * n.shape[-1] ** -0.5 * radius).detach()
    return torch.where(opposite, step, n), square.masked_fill(opposite, eps**2)


class Stereographic(Manifold):
    """The κ-stereographic space of sectional curvature k of either sign, or 0; learned, k may pass through 0.

    ``k > 0``: the sphere without the antipode of the origin, which lies at infinity; ``k = 0``: R^dim with the metric
    4 |dx|², isometric to Euclidean space by x -> 2x; ``k < 0``: the ball of radius 1/√-k.
    """

    letter, sign = "u", None

    def __init__(
        self, dim: int, k: float | Sequence[float] | Tensor = 0.0, learn: bool = False, count: int | None = None
    ):
        super().__init__(dim, k, learn, count)
        sides = set(self.k.detach().sign().flatten().tolist())
        # A curvature that stays on its side is spared the formulas of the other.
        self._side = self.sign or (0 if learn or len(sides) > 1 else int(sides.pop()))
        if self._side >= 0:
            self.windings = windings(dim)

    def _space(self, like: Tensor) -> dict[str, Tensor | int]:
        return {"k": self._k(like), "sign": self._side}

    def expmap0(self, u: Tensor) -> Tensor:
        return expmap0(u, **self._space(u))

    def logmap0(self, x: Tensor) -> Tensor:
        return logmap0(x, **self._space(x))

    def expmap_frame(self, x: Tensor, u: Tensor) -> Tensor:
        return expmap_frame(x, u, **self._space(x))

    def logmap_frame(self, x: Tensor, y: Tensor) -> Tensor:
        return logmap_frame(x, y, **self._space(x))

    def transp0(self, y: Tensor, u: Tensor) -> Tensor:
        return transp0(y, u, **self._space(y))

    def transp0back(self, x: Tensor, u: Tensor) -> Tensor:
        return transp0back(x, u, **self._space(x))

    def transp(self, x: Tensor, y: Tensor, u: Tensor) -> Tensor:
        return transp(x, y, u, **self._space(x))

    def projx(self, x: Tensor) -> Tensor:
        return projx(x, **self._space(x))

    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        return u

    def logdetexp0(self, u: Tensor) -> Tensor:
        return logdetexp0(u, **self._space(u))

    def contains(self, x: Tensor) -> Tensor:
        inside = self._k(x).squeeze(-1) * x.square().sum(-1) > -1
        return inside & torch.isfinite(x).all(-1)


class ProjectedSphere(Stereographic):
    """The sphere of sectional curvature k > 0 in stereographic projection; see :class:`Stereographic`."""

    letter, sign = "d", 1

    def __init__(
        self, dim: int, k: float | Sequence[float] | Tensor = 1.0, learn: bool = False, count: int | None = None
    ):
        super().__init__(dim, k, learn, count)


class PoincareBall(Stereographic):
    """Hyperbolic space of sectional curvature k < 0 as the ball of radius 1/√-k; see :class:`Stereographic`."""

    letter, sign = "p", -1

    def __init__(
        self, dim: int, k: float | Sequence[float] | Tensor = -1.0, learn: bool = False, count: int | None = None
    ):
        super().__init__(dim, k, learn, count)
