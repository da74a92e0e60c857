"""Constant curvature in stereographic coordinates: points x of R^dim with the metric λ² |dx|², λ = 2 / (1 + k |x|²).

The projected sphere (k > 0), the Poincaré ball (k < 0) and the κ-stereographic space of either sign, whose verbs are
analytic in k through 0 (Bachmann et al. 2020; Skopek et al. 2020, appendix A; Ungar 2008 for Möbius addition ⊕).

Where Möbius addition divides by a b - k |y - x|², with a = 1 + k |x|² and b = 1 + k |y|², points enter by their
difference, so that close points keep their relative accuracy; that of points near the edge of the ball, or far out on
the projected sphere, is the accuracy of a and b. ``sign`` is 1 or -1 where that of k is fixed, 0 where it is either.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from . import pairs
from .base import Manifold
from .fused import Fused, Gradients, log_determinant, turn, turn_back
from .trigonometry import angle_ratio, arctan_ratio, bounded, cos_and_sin_ratio, largest_tanh, tan_ratio
from .windings import windings


def expmap0(u: Tensor, *, k: Tensor, sign: int) -> Tensor:
    """u tan θ / (2θ) with θ = √k |u| / 2 (tanh for k < 0); u [..., dim] in the frame, k broadcastable to [..., 1]."""
    return _EXPMAP0(u, k, options=(sign,))


def logmap0(x: Tensor, *, k: Tensor, sign: int) -> Tensor:
    """Inverts :func:`expmap0` for √k |u| < π: 2x arctan θ / θ with θ = √k |x| (artanh for k < 0)."""
    return _LOGMAP0(x, k, options=(sign,))


def expmap_frame(x: Tensor, u: Tensor, *, k: Tensor, sign: int) -> Tensor:
    """x ⊕ expmap0(u): transport from the origin scales by λ_0 / λ_x, as the exponential map at x does by its inverse.

    With w/c = expmap0(u), c the cosine of θ = √k |u| / 2, s = c x + w and q = k |s|² / a this is (c s - q x) / (1 - q),
    where k |c s - q x|² = q (1 - q).
    """
    return _EXPMAP_FRAME(x, u, k, options=(sign,))


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
    n, square, _ = _leave_antipode(n, square, q, k, sign)
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
    return log_determinant(u, k, options=(sign,))


def _conformal(x: Tensor, k: Tensor, sign: int) -> Tensor:
    """2 / λ_x = 1 + k |x|², positive even for a point that rounding has put on the edge of the ball; [..., 1]."""
    a = 1 + k * x.square().sum(-1, keepdim=True)
    return a if sign > 0 else a.clamp_min(torch.finfo(x.dtype).eps)


def _pull_inside(x: Tensor, k: Tensor, sign: int) -> Tensor:
    """x scaled so that √-k |x| is at most the largest tanh: for k < 0 strictly inside the ball, else untouched."""
    return x if sign > 0 else x * _pull(x, k)


def _pull(x: Tensor, k: Tensor) -> Tensor:
    excess = (-k / largest_tanh(x.dtype) ** 2) * x.square().sum(-1, keepdim=True)
    return excess.clamp_min(1.0).rsqrt()


def _divisor(n: Tensor, q: Tensor, k: Tensor, sign: int) -> tuple[Tensor, ...]:
    """n, and 1 - q; beyond q = 1/2, where digits of 1 - q would cancel, k |n|² / q. For k >= 0 also the antipodes."""
    if sign < 0:
        return n, 1 - q
    far = n if sign else n.masked_fill(q <= 0.5, 0.0)  # for k < 0 its square could overflow
    n, square, opposite = _leave_antipode(n, k * far.square().sum(-1, keepdim=True), q, k, sign)
    return n, torch.where(q > 0.5, square / q.clamp_min(0.5), 1 - q), opposite


def _leave_antipode(n: Tensor, square: Tensor, q: Tensor, k: Tensor, sign: int) -> tuple[Tensor, Tensor, Tensor]:
    """n and k |n|², but at an antipode, where n vanishes, a rounding error along (1, …, 1), its square fixed; where."""
    eps = torch.finfo(n.dtype).eps
    opposite = (q > 0.5) & (square < eps**2)
    radius = k.rsqrt() if sign else torch.where(k > 0, k, 1.0).rsqrt()
    step = (eps * n.shape[-1] ** -0.5 * radius).detach()
    return torch.where(opposite, step, n), square.masked_fill(opposite, eps**2), opposite


def _expmap0(u: Tensor, k: Tensor, sign: int) -> Tensor:
    u = bounded(u)
    return u * (0.5 * tan_ratio(0.25 * k * u.square().sum(-1, keepdim=True), sign))


def _expmap0_forward(u: Tensor, k: Tensor, sign: int) -> tuple[Tensor, ...]:
    inside = bounded(u)
    square = (inside * inside).sum(-1, keepdim=True)
    ratio, slope = pairs.tan(square * (0.25 * k), sign)
    ratio = 0.5 * ratio
    return inside * ratio, inside, square, ratio, slope


def _expmap0_backward(needed: Sequence[bool], grad: Tensor, _: Tensor, *known: Tensor | int) -> Gradients:
    inside, square, ratio, slope, u, k, _ = known
    along = (inside * grad).sum(-1, keepdim=True) * slope
    by_u = torch.addcmul(ratio * grad, inside, along * (0.125 * k)) * (u == inside)
    return by_u, along * square * 0.0625 if needed[1] else None


def _logmap0(x: Tensor, k: Tensor, sign: int) -> Tensor:
    return x * (2 * arctan_ratio(k * x.square().sum(-1, keepdim=True), sign))


def _logmap0_forward(x: Tensor, k: Tensor, sign: int) -> tuple[Tensor, ...]:
    square = (x * x).sum(-1, keepdim=True)
    ratio, slope, log, log_slope = pairs.arctan(square * k, sign)
    ratio = ratio + ratio
    return x * ratio, log.squeeze(-1) * (x.shape[-1] - 1), square, ratio, slope, log_slope


def _logmap0_backward(needed: Sequence[bool], grad: Tensor, by_log: Tensor, *known: Tensor | int) -> Gradients:
    _, _, square, ratio, slope, log_slope, x, k, _ = known
    by_log = by_log.unsqueeze(-1) * log_slope
    along = torch.add(by_log * (x.shape[-1] - 1), (x * grad).sum(-1, keepdim=True) * slope, alpha=2)
    return torch.addcmul(ratio * grad, x, k * along), along * square * 0.5 if needed[1] else None


def _expmap_frame(x: Tensor, u: Tensor, k: Tensor, sign: int) -> Tensor:
    u = bounded(u)
    c, ratio = cos_and_sin_ratio(0.25 * k * u.square().sum(-1, keepdim=True), sign)
    s = torch.addcmul(c * x, u, 0.5 * ratio)
    q = k * s.square().sum(-1, keepdim=True) / _conformal(x, k, sign)
    n, divisor, *_ = _divisor(torch.addcmul(c * s, q, x, value=-1), q, k, sign)
    return _pull_inside(n / divisor, k, sign)


def _expmap_frame_forward(x: Tensor, u: Tensor, k: Tensor, sign: int) -> tuple[Tensor, ...]:
    half, a = 0.5 * u, _conformal(x, k, sign)
    w, turned, known = turn(half, k, sign, -1.25 * math.log(torch.finfo(u.dtype).eps))
    c = turned.cosine
    s = torch.addcmul(w, c, x)
    q = (s * s).sum(-1, keepdim=True) * k / a
    n, divisor, *opposite = _divisor(torch.addcmul(c * s, q, x, value=-1), q, k, sign)
    y = n / divisor
    pull = [] if sign > 0 else [_pull(y, k)]
    log = (c * turned.ratio).abs().log() + turned.excess + turned.excess  # of sin 2θ / 2θ = cos θ sin θ / θ
    log = log.squeeze(-1) * (u.shape[-1] - 1)
    y = y * pull[0] if pull else y
    return y, log, a, c, s, q, n, divisor, turned.free_slope, *opposite, *pull, *known, half


def _expmap_frame_backward(needed: Sequence[bool], grad: Tensor, by_log: Tensor, *known: Tensor | int) -> Gradients:
    """Backwards through y = n / D, n = c s - q x, q = k |s|² / a, a = 1 + k |x|², and s = c x + w."""
    z, _, a, c, s, q, n, divisor, free_slope, *known, x, u, k, sign = known
    by_k = 0.0
    opposite = known.pop(0) if sign >= 0 else None
    if sign <= 0:
        pull, edge = known.pop(0), k / largest_tanh(z.dtype) ** 2
        along = (grad * z).sum(-1, keepdim=True) * (pull < 1)
        grad = torch.addcmul(grad, z, along * edge) * pull
        by_k = along / torch.where(k < 0, -2 * k, 1.0) if needed[2] else by_k
    by_n = grad / divisor
    by_q = (by_n * n).sum(-1, keepdim=True) / divisor
    if sign >= 0:
        far, share = q > 0.5, by_q / q
        by_square = share.masked_fill(~far | opposite, 0.0)  # negative
        by_n = torch.addcmul(by_n.masked_fill(opposite, 0.0), n, k * by_square, value=-2)
        by_q = torch.where(far, share * divisor, by_q)
        by_k = by_k - by_square * n.masked_fill(~far, 0.0).square().sum(-1, keepdim=True) if needed[2] else by_k
    by_q = (by_q - (by_n * x).sum(-1, keepdim=True)) / a
    by_s = torch.addcmul(c * by_n, s, k * by_q, value=2)
    by_a = q * by_q if sign > 0 else q * by_q * (a > torch.finfo(a.dtype).eps)  # negative
    by_x = torch.addcmul(torch.addcmul(c * by_s, q, by_n, value=-1), x, k * by_a, value=-2)
    by_c = torch.addcmul(by_n * s, by_s, x).sum(-1, keepdim=True)
    by_log = by_log.unsqueeze(-1) * (u.shape[-1] - 1) * (free_slope / known[2] - known[2] / c)
    by_half, by_k_turning = turn_back(needed[1:], by_s, by_c, *known, k, by_log=by_log)
    if needed[2]:
        by_k = by_k + by_q * s.square().sum(-1, keepdim=True) - by_a * x.square().sum(-1, keepdim=True) + by_k_turning
    return by_x, 0.5 * by_half, by_k


_EXPMAP0 = Fused(_expmap0, _expmap0_forward, _expmap0_backward)
_LOGMAP0 = Fused(_logmap0, _logmap0_forward, _logmap0_backward, lambda u, _, k, sign: logdetexp0(u, k=k, sign=sign))
_EXPMAP_FRAME = Fused(
    _expmap_frame, _expmap_frame_forward, _expmap_frame_backward, lambda _, x, u, k, sign: logdetexp0(u, k=k, sign=sign)
)


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

    def expmap_frame_logdet(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        return _EXPMAP_FRAME.both(x, u, self._k(u), options=(self._side,))

    def logmap0_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return _LOGMAP0.both(x, self._k(x), options=(self._side,))

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
