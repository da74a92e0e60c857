"""The functions of :mod:`mcvae.manifolds.trigonometry` and their derivatives at once, in as few operators as can be.

Written for calls without gradients: what is not selected by ``where`` may be anything. A value needs no power series,
as sin r / r is accurate down to the smallest r; a derivative does. Every ``slope`` is twice the derivative in t.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from .trigonometry import ASIN, ATAN, LOG_SIN, SIN, TAN, largest_tanh, series_end

_TERMS = 5  # of the series of a function, used up to where the next is a rounding error


class Turn(NamedTuple):
    """c = cos √t, f = sin √t / √t and their slopes, of cosh and sinh for t <= 0, which are constant beyond a bound.

    ``free_slope`` / f is the slope of log |f| without that bound, and log |f| + ``excess`` its value.
    """

    cosine: Tensor
    ratio: Tensor
    slope: Tensor
    cosine_slope: Tensor
    free_slope: Tensor
    excess: Tensor | float


def cos_and_sin(t: Tensor, sign: int, top: float) -> Turn:
    """Hyperbolic functions are constant beyond √-t = ``top``."""
    r = _root(t, sign)
    if sign > 0:
        cosine, ratio = r.cos(), r.sin() / r
        slope = _slope(t, cosine - ratio, sign, "sin")
        return Turn(cosine, ratio, slope, -ratio, slope, 0.0)
    kept, inside = r.clamp_max(top), t > _constant(-(top**2), t.dtype, t.device)
    cosine, sine, excess = kept.cosh(), kept.sinh(), r - kept
    if not sign:
        below = t < 0
        cosine, sine = torch.where(below, cosine, r.cos()), torch.where(below, sine, r.sin())
        excess = excess.masked_fill(inside, 0.0)
    ratio = sine / r
    slope, falling = _slope(t, cosine - ratio, sign, "sin"), -ratio
    return Turn(cosine, ratio, torch.where(inside, slope, falling / t), falling * inside, slope, excess)


def tan(t: Tensor, sign: int) -> tuple[Tensor, Tensor]:
    """tan √t / √t and its slope (1 + tan² √t - tan √t / √t) / t, or of tanh, kept below :func:`largest_tanh`."""
    r, top = _root(t, sign), largest_tanh(t.dtype)
    ratio = _either(t, sign, r, torch.tan, lambda r: r.tanh().clamp_max(top)) / r
    rise = torch.addcmul(_constant(1.0, t.dtype, t.device), t, ratio * ratio)
    if sign <= 0:
        rise = rise * (t > _constant(-(math.atanh(top) ** 2), t.dtype, t.device))
    return ratio, _slope(t, rise - ratio, sign, "tan")


def arctan(t: Tensor, sign: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """f = arctan √t / √t and its slope (1 / (1 + t) - f) / t, or of artanh, where √-t < 1 is seen to.

    And log |sin θ / θ| for θ = 2 arctan √t, which is -log ((1 + t) f), and its slope.
    """
    r, top = _root(t, sign), 1 - torch.finfo(t.dtype).eps
    ratio = _either(t, sign, r, torch.atan, lambda r: r.clamp_max(top).atanh()) / r
    total = t + _constant(1.0, t.dtype, t.device)
    if sign > 0:
        rise = total.reciprocal()
        slope = _slope(t, rise - ratio, sign, "atan")
        return ratio, slope, (total * ratio).log().neg_(), torch.add(slope / ratio, rise, alpha=2).neg_()
    beyond = t < _constant(-(top**2), t.dtype, t.device)
    total = total.clamp_min(1 - top**2)
    rise = total.reciprocal().masked_fill(beyond, 0.0)
    slope = _slope(t, rise - ratio, sign, "atan")
    log_slope = torch.add(slope / ratio, rise, alpha=2).neg_().masked_fill(beyond, 0.0)
    return ratio, slope, (total * ratio).log().neg_(), log_slope


def asinh(t: Tensor) -> tuple[Tensor, Tensor]:
    """f = asinh √-t / √-t for t <= 0, and t times its slope, 1 / √(1 - t) - f: far out the slope would underflow."""
    r = _root(t, -1)
    ratio = r.asinh() / r
    series, small = _series(t, -1, "asin")
    return ratio, torch.where(small, series * t, (_constant(1.0, t.dtype, t.device) - t).rsqrt() - ratio)


def angle(t: Tensor, cosine: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`mcvae.manifolds.trigonometry.atan_ratio`, its slope in t, and its derivative in the cosine."""
    size = t.clamp_min(torch.finfo(t.dtype).eps ** 2)
    sine, total = size.sqrt(), torch.addcmul(size, cosine, cosine)
    ratio = torch.atan2(sine, cosine) / sine
    slope = torch.where(t < size, 0.0, (cosine / total - ratio) / size)
    # off the sphere the two cases differ: their border is that of the formula
    near = (t < series_end(t.dtype, 1, ASIN)) & (cosine > 0)
    series, _ = _series(t, 1, "asin")
    return ratio, torch.where(near, series, slope), -total.reciprocal().masked_fill(near, 0.0)


def log_sin(t: Tensor, sign: int) -> tuple[Tensor, Tensor]:
    """log |sin √t / √t| and its slope (√t cot √t - 1) / t, or of sinh."""
    r = _root(t, sign)
    value = _either(t, sign, r, lambda r: (r.sin() / r).abs().log(), _log_sinh)
    rise = r / _either(t, sign, r, torch.tan, torch.tanh) - _constant(1.0, t.dtype, t.device)
    return value, _slope(t, rise, sign, "log_sin")


def _log_sinh(r: Tensor) -> Tensor:
    double = -2 * r
    return (torch.expm1(double) / double).log().add_(r)


def _root(t: Tensor, sign: int) -> Tensor:
    """√|t|, of 0 something small whose square root can be divided by."""
    size = t if sign > 0 else -t if sign < 0 else t.abs()
    return size.clamp_min(torch.finfo(t.dtype).tiny).sqrt()


def _either(
    t: Tensor, sign: int, r: Tensor, circular: Callable[[Tensor], Tensor], hyperbolic: Callable[[Tensor], Tensor]
) -> Tensor:
    if sign:
        return (circular if sign > 0 else hyperbolic)(r)
    return torch.where(t < 0, hyperbolic(r), circular(r))


def _slope(t: Tensor, numerator: Tensor, sign: int, name: str) -> Tensor:
    """``numerator`` / t, and near 0, where digits cancel in the numerator, the series."""
    series, small = _series(t, sign, name)
    return torch.where(small, series, numerator / t)


def _series(t: Tensor, sign: int, name: str) -> tuple[Tensor, Tensor]:
    """The slope of a function by its power series, and where to use it."""
    bound, last, *lower = _coefficients(name, t.dtype, t.device)
    total = torch.add(lower[-1], t, alpha=last)
    for coefficient in lower[-2::-1]:
        total = torch.addcmul(coefficient, total, t)
    return total, t < bound if sign > 0 else -bound < t if sign < 0 else t.abs() < bound


_SERIES = {"sin": SIN, "tan": TAN, "atan": ATAN, "asin": ASIN, "log_sin": LOG_SIN}


@cache
def _coefficients(name: str, dtype: torch.dtype, device: torch.device) -> tuple[Tensor | float, ...]:
    """Where the series ends; the last coefficient of the slope's; the others, from the first."""
    _, *used = _SERIES[name][:_TERMS]
    bound = (torch.finfo(dtype).eps / abs(_SERIES[name][_TERMS])) ** (1 / _TERMS)
    *lower, last = [2 * (n + 1) * c for n, c in enumerate(used)]
    return _constant(bound, dtype, device), last, *(_constant(c, dtype, device) for c in lower)


@cache
def _constant(value: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.full((), value, dtype=dtype, device=device)
