"""Trigonometry of constant curvature: functions of t = k r², analytic at t = 0, where distance r meets curvature k.

``sign`` says on which side of 0 the argument lies: +1 for spheres (t >= 0), -1 for hyperbolic spaces (t <= 0). Near 0
every function is its series of three terms, up to where the first term left out reaches the rounding error.
"""

import torch
from torch import Tensor


def sin_ratio(t: Tensor, sign: int) -> Tensor:
    """sin √t / √t for t >= 0, sinh √-t / √-t for t <= 0."""
    small, r = _split(t, sign, 1 / 5040)
    return torch.where(small, _series(t, 1.0, -1 / 6, 1 / 120), (r.sin() if sign > 0 else r.sinh()) / r)


def cos_and_sin_ratio(t: Tensor) -> tuple[Tensor, Tensor]:
    """cos √t and sin √t / √t for t >= 0."""
    small, r = _split(t, 1, 1 / 720)
    cosine = torch.where(small, _series(t, 1.0, -1 / 2, 1 / 24), r.cos())
    return cosine, torch.where(small, _series(t, 1.0, -1 / 6, 1 / 120), r.sin() / r)


def log_sin_ratio(t: Tensor, sign: int) -> Tensor:
    """log |sin √t / √t| for t >= 0, log (sinh √-t / √-t), which never overflows, for t <= 0."""
    small, r = _split(t, sign, 1 / 2835)
    direct = (r.sin() / r).abs().log() if sign > 0 else r + (torch.expm1(-2 * r) / (-2 * r)).log()
    return torch.where(small, _series(t, 0.0, -1 / 6, -1 / 180), direct)


def asinh_ratio(t: Tensor) -> Tensor:
    """θ / sinh θ for the hyperbolic angle θ with sinh² θ = -t, t <= 0."""
    small, r = _split(t, -1, 5 / 112)
    return torch.where(small, _series(t, 1.0, 1 / 6, 3 / 40), r.asinh() / r)


def atan_ratio(t: Tensor, cosine: Tensor) -> Tensor:
    """θ / sin θ for the angle θ in [0, π] with sin² θ = t and cos θ = ``cosine``; huge but finite at θ = π."""
    near = (t < _bound(t.dtype, 5 / 112)) & (cosine > 0)
    sine = t.clamp_min(torch.finfo(t.dtype).eps ** 2).masked_fill(near, 1.0).sqrt()
    return torch.where(near, _series(t, 1.0, 1 / 6, 3 / 40), torch.atan2(sine, cosine) / sine)


def safe_sqrt(x: Tensor) -> Tensor:
    """√x for x >= 0 with derivative 0 instead of infinity at x = 0: the norm of a vector that may be zero."""
    zero = x <= 0
    return x.masked_fill(zero, 1.0).sqrt().masked_fill(zero, 0.0)


def _bound(dtype: torch.dtype, next_coefficient: float) -> float:
    return (torch.finfo(dtype).eps / next_coefficient) ** (1 / 3)


def _split(t: Tensor, sign: int, next_coefficient: float) -> tuple[Tensor, Tensor]:
    """Where the series holds, and √|t| elsewhere (1 where it holds: neither branch then has a singular gradient)."""
    t = t if sign > 0 else -t
    small = t < _bound(t.dtype, next_coefficient)
    return small, t.masked_fill(small, 1.0).sqrt()


def _series(t: Tensor, c0: float, c1: float, c2: float) -> Tensor:
    return (c2 * t + c1) * t + c0
