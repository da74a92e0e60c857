"""Trigonometry of constant curvature: functions of t = k r², analytic at t = 0, where distance r meets curvature k.

``sign`` says on which side of 0 the argument lies: +1 for spheres (t >= 0), -1 for hyperbolic spaces (t <= 0), 0 for
either, elementwise. Near 0 every function is its power series, up to where the first term left out reaches the rounding
error: three terms on a fixed side, which is fast; eight for either, whose second derivatives are then good to 1e-10.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

_TERMS = {1: 3, -1: 3, 0: 8}

# power series in t; the coefficient after the last one used sets where the series ends
SIN = [(-1) ** n / math.factorial(2 * n + 1) for n in range(9)]
COS = [(-1) ** n / math.factorial(2 * n) for n in range(9)]
TAN = [
    *(1.0, 1 / 3, 2 / 15, 17 / 315, 62 / 2835, 1382 / 155925, 21844 / 6081075, 929569 / 638512875),
    6404582 / 10854718875,
]
ATAN = [(-1) ** n / (2 * n + 1) for n in range(9)]
ASIN = [math.comb(2 * n, n) / (4**n * (2 * n + 1)) for n in range(9)]
LOG_SIN = [
    *(0.0, -1 / 6, -1 / 180, -1 / 2835, -1 / 37800, -1 / 467775, -691 / 3831077250, -2 / 127702575),
    -3617 / 2605132530000,
]


def sin_ratio(t: Tensor, sign: int) -> Tensor:
    """sin √t / √t for t >= 0, sinh √-t / √-t for t <= 0, with sinh kept below :func:`largest`."""
    small, r = _split(t, sign, SIN)
    top = math.asinh(largest(t.dtype))
    direct = _either(t, r, sign, torch.sin, lambda r: r.clamp_max(top).sinh()) / r
    return torch.where(small, _series(t, sign, SIN), direct)


def cos_and_sin_ratio(t: Tensor, sign: int = 1) -> tuple[Tensor, Tensor]:
    """cos √t and sin √t / √t for t >= 0; cosh √-t and sinh √-t / √-t for t <= 0, constant beyond -1.25 log(rounding).

    Where they become constant, two points as far from the origin as the dtype can hold are that far apart and more.
    """
    small, r = _split(t, sign, COS)
    top = -1.25 * math.log(torch.finfo(t.dtype).eps)
    bounded = r if sign > 0 else r.clamp_max(top) if sign < 0 else torch.where(t < 0, r.clamp_max(top), r)
    cosine = torch.where(small, _series(t, sign, COS), _either(t, bounded, sign, torch.cos, torch.cosh))
    return cosine, torch.where(small, _series(t, sign, SIN), _either(t, bounded, sign, torch.sin, torch.sinh) / r)


def tan_ratio(t: Tensor, sign: int) -> Tensor:
    """tan √t / √t for t >= 0, tanh √-t / √-t for t <= 0, with tanh kept below :func:`largest_tanh`."""
    small, r = _split(t, sign, TAN)
    top = largest_tanh(t.dtype)
    direct = _either(t, r, sign, torch.tan, lambda r: r.tanh().clamp_max(top)) / r
    return torch.where(small, _series(t, sign, TAN), direct)


def arctan_ratio(t: Tensor, sign: int) -> Tensor:
    """arctan √t / √t for t >= 0, artanh √-t / √-t for t <= 0, where √-t is taken as at most 1 less a rounding error."""
    small, r = _split(t, sign, ATAN)
    top = 1 - torch.finfo(t.dtype).eps
    direct = _either(t, r, sign, torch.atan, lambda r: r.clamp_max(top).atanh()) / r
    return torch.where(small, _series(t, sign, ATAN), direct)


def log_sin_ratio(t: Tensor, sign: int) -> Tensor:
    """log |sin √t / √t| for t >= 0, log (sinh √-t / √-t), which never overflows, for t <= 0."""
    small, r = _split(t, sign, LOG_SIN)
    direct = _either(t, r, sign, lambda r: (r.sin() / r).abs().log(), _log_sinh_ratio)
    return torch.where(small, _series(t, sign, LOG_SIN), direct)


def asinh_ratio(t: Tensor) -> Tensor:
    """θ / sinh θ for the hyperbolic angle θ with sinh² θ = -t, t <= 0."""
    small, r = _split(t, -1, ASIN)
    return torch.where(small, _series(t, -1, ASIN), r.asinh() / r)


def atan_ratio(t: Tensor, cosine: Tensor) -> Tensor:
    """θ / sin θ for the angle θ in [0, π] with sin² θ = t and cos θ = ``cosine``; huge but finite at θ = π."""
    return angle_ratio(t, cosine, 1)


def angle_ratio(t: Tensor, cosine: Tensor, sign: int) -> Tensor:
    """:func:`atan_ratio` for t >= 0 (sign 1), :func:`asinh_ratio` for t <= 0 (-1, no cosine needed), or either (0)."""
    if sign < 0:
        return asinh_ratio(t)
    size = t if sign > 0 else t.abs()
    near = (size < series_end(t.dtype, sign, ASIN)) & (cosine > 0)
    sine = size.clamp_min(torch.finfo(t.dtype).eps ** 2).masked_fill(near, 1.0).sqrt()
    if sign > 0:
        angle = torch.atan2(sine, cosine)
    else:
        angle = torch.where(t < 0, sine.masked_fill(t >= 0, 1.0).asinh(), torch.atan2(sine, cosine))
    return torch.where(near, _series(t, sign, ASIN), angle / sine)


def largest(dtype: torch.dtype) -> float:
    """The largest hyperbolic sine, and the largest coordinate of a vector to take exp of: finite when multiplied."""
    return torch.finfo(dtype).max ** 0.4


def bounded(u: Tensor) -> Tensor:
    """u, each coordinate kept within ± :func:`largest`, so that its square cannot overflow."""
    top = largest(u.dtype)
    return u.clamp(-top, top)


def largest_tanh(dtype: torch.dtype) -> float:
    """The largest √-k |x| of a point x of a ball of curvature k < 0: 1 less the rounding errors of computing it."""
    return 1 - 8 * torch.finfo(dtype).eps


def safe_sqrt(x: Tensor) -> Tensor:
    """√x for x >= 0 with derivative 0 instead of infinity at x = 0: the norm of a vector that may be zero."""
    zero = x <= 0
    return x.masked_fill(zero, 1.0).sqrt().masked_fill(zero, 0.0)


def _log_sinh_ratio(r: Tensor) -> Tensor:
    return r + (torch.expm1(-2 * r) / (-2 * r)).log()


def series_end(dtype: torch.dtype, sign: int, coefficients: list[float]) -> float:
    """Up to which |t| a power series is used."""
    terms = _TERMS[sign]
    return (torch.finfo(dtype).eps / abs(coefficients[terms])) ** (1 / terms)


def _split(t: Tensor, sign: int, coefficients: list[float]) -> tuple[Tensor, Tensor]:
    """Where the series holds, and √|t| elsewhere (1 where it holds: neither branch then has a singular gradient)."""
    t = t if sign > 0 else -t if sign < 0 else t.abs()
    small = t < series_end(t.dtype, sign, coefficients)
    return small, t.masked_fill(small, 1.0).sqrt()


def _either(
    t: Tensor, r: Tensor, sign: int, circular: Callable[[Tensor], Tensor], hyperbolic: Callable[[Tensor], Tensor]
) -> Tensor:
    """The function of r = √|t| that belongs to the sign of t; of either, each sees 1 where the other holds."""
    if sign:
        return (circular if sign > 0 else hyperbolic)(r)
    below = t < 0
    return torch.where(below, hyperbolic(r.masked_fill(~below, 1.0)), circular(r.masked_fill(below, 1.0)))


def _series(t: Tensor, sign: int, coefficients: list[float]) -> Tensor:
    *lower, highest, last = coefficients[: _TERMS[sign]]
    if not sign:  # beyond, where it is not used, high powers would overflow and their gradients be NaN
        top = series_end(t.dtype, sign, coefficients)
        t = t.clamp(-top, top)
    total = last * t + highest
    for coefficient in reversed(lower):
        total = total * t + coefficient
    return total
