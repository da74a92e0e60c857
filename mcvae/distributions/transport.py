"""Draws of spherical laws as smooth maps of normal ones: the angle to the mode as a function of a normal's length.

For a normal vector u of ``dim`` coordinates and a law of the angle θ, θ = g(|u|) with F_θ(g(ρ)) = F_χ(ρ) is monotone
and smooth, in the concentration too: a draw and its pathwise derivative are a product with a table of coefficients.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..tables import tables

REACH = (5.2, 5.8)  # of the table below and above the mode of |u|: beyond, with probability 1e-8, θ / |u| is kept
MARGIN = 0.005  # by which the table reaches to concentrations below 0, where the derivative in them would be singular
PANELS = 1500
NODES, WEIGHTS = (each / 2 for each in np.polynomial.legendre.leggauss(8))
NODES += 0.5


class Law(NamedTuple):
    """A law of the angle θ in [0, π] with a concentration κ, on S^dim, and the degree that its table needs.

    ``log_density(θ, κ, dim)`` up to a constant, with the factor sin^(dim-1) θ; ``window(κ, dim)`` holds all of the
    mass but 1e-20; ``degree(dim)`` is the number of Chebyshev polynomials in either variable.
    """

    log_density: Callable[[np.ndarray, float, int], np.ndarray]
    window: Callable[[float, int], tuple[float, float]]
    degree: Callable[[int], int]
    softening: Callable[[int], float]


def angle(law: Law, length: Tensor, kappa: Tensor, dim: int) -> Tensor:
    """θ for normal vectors of the given lengths [..., batch] and concentrations [batch], differentiable in the latter.

    θ = ρ h(ρ, κ) / √(κ + s), s a constant of the law, with h a Chebyshev series in ρ and in κ / (κ + s). Float64. The
    derivative in κ, of the same series, is computed beside the value and needs no graph; there is no second one.
    """
    dim = int(math.fsum((dim,)))  # unlike dim, also to torch.compile a plain number, on which tables can depend
    (table,) = tables(_series, (law, dim), length.device)
    low, high = _chi_window(dim)
    with torch.no_grad():
        soft, degrees = law.softening(dim), torch.arange(table.shape[0], dtype=table.dtype, device=length.device)
        place = torch.add(-(low + high) / (high - low), length, alpha=2 / (high - low)).clamp(-1, 1)
        series = (place.acos().unsqueeze(-1) * degrees).cos() @ table
        total = kappa + soft
        turn = ((kappa / total) * (2 / (1 + MARGIN)) - (1 - MARGIN) / (1 + MARGIN)).clamp_max(1 - 1e-15).acos()
        turns = turn.unsqueeze(-1) * degrees
        value = (series * turns.cos()).sum(-1)
        # d turn / d kappa = -2 s / ((1 + MARGIN) (κ + s)² sin turn)
        slope = (series * (turns.sin() * degrees)).sum(-1) * ((2 * soft / (1 + MARGIN)) / (total * turn.sin()))
        scale = length * total.rsqrt()
        value, slope = scale * value, (slope - 0.5 * value) * (scale / total)
    return torch.addcmul(value, slope, kappa - kappa.detach()) if torch.is_grad_enabled() else value


def _series(law: Law, dim: int) -> tuple[np.ndarray]:
    """The series of h [degree in ρ, degree in κ], by interpolation at Chebyshev's nodes."""
    degree, soft = law.degree(dim), law.softening(dim)
    nodes = np.cos(np.pi * (np.arange(degree) + 0.5) / degree)
    low, high = _chi_window(dim)
    lengths = (low + (high - low) * (1 + nodes) / 2)[::-1]
    tails = _chi_tails(lengths, dim)
    values = np.empty((degree, degree))
    for column, share in enumerate((nodes * (1 + MARGIN) + (1 - MARGIN)) / 2):
        kappa = soft * share / (1 - share)
        values[::-1, column] = quantiles(law, kappa, dim, *tails) / lengths * math.sqrt(kappa + soft)
    transform = np.cos(np.outer(np.arange(degree), np.pi * (np.arange(degree) + 0.5) / degree)) * 2 / degree
    transform[0] /= 2
    return (transform @ values @ transform.T,)


def quantiles(law: Law, kappa: float, dim: int, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """The angles below which lies the mass ``lower`` and above which ``upper``, each from the smaller of the two.

    Newton's method inside the panel of a table, with the mass up to there by quadrature.
    """
    edges = np.linspace(*law.window(kappa, dim), PANELS + 1)
    width = edges[1] - edges[0]
    below, above, log_total = _tails(lambda r: law.log_density(r, kappa, dim), edges)
    left = lower < upper
    panel = np.where(
        left,
        np.searchsorted(below, lower, side="right") - 1,
        PANELS - np.searchsorted(above[::-1], upper, side="right"),
    ).clip(0, PANELS - 1)
    missing = np.where(left, lower - below[panel], above[panel] - upper)
    start, place = edges[panel], np.full(len(panel), 0.5)
    for _ in range(40):
        mass = _mass(law, kappa, dim, start, width * place, log_total)
        density = np.exp(law.log_density(start + width * place, kappa, dim) - log_total) * width
        step = ((missing - mass) / density).clip(-0.3, 0.3)
        place = (place + step).clip(1e-9, 1)
        if np.abs(step).max() < 1e-13:
            break
    return start + width * place


def _mass(law: Law, kappa: float, dim: int, start: np.ndarray, length: np.ndarray, log_total: float) -> np.ndarray:
    nodes = start[:, None] + length[:, None] * NODES
    return (np.exp(law.log_density(nodes, kappa, dim) - log_total) @ WEIGHTS) * length


def _tails(log_density: Callable[[np.ndarray], np.ndarray], edges: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Mass below and above each edge, either with its own relative accuracy, and the logarithm of the whole."""
    width = np.diff(edges)
    logs = log_density(edges[:-1, None] + width[:, None] * NODES)
    peak = logs.max()
    mass = (np.exp(logs - peak) @ WEIGHTS) * width
    below, above = np.append(0.0, mass.cumsum()), np.append(mass[::-1].cumsum()[::-1], 0.0)
    return below / below[-1], above / below[-1], float(peak + np.log(below[-1]))


def _chi_window(dim: int) -> tuple[float, float]:
    mode = math.sqrt(dim - 1)
    return max(0.0, mode - REACH[0]), mode + REACH[1]


def _chi_tails(lengths: np.ndarray, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """P(|u| < ρ) and P(|u| > ρ) for normal vectors u of ``dim`` coordinates, at increasing ρ."""
    low, high = _chi_window(dim)
    edges = np.unique(np.append(np.linspace(max(0.0, low - 4), high + 4, 600), lengths))
    below, above, _ = _tails(lambda r: (dim - 1) * np.log(r) - r**2 / 2, edges)
    places = np.searchsorted(edges, lengths)
    return below[places], above[places]


def _von_mises_fisher(angles: np.ndarray, kappa: float, dim: int) -> np.ndarray:
    logs = -2 * kappa * np.sin(angles / 2) ** 2
    return logs + (dim - 1) * np.log(np.sin(angles)) if dim > 1 else logs


def _power_spherical(angles: np.ndarray, kappa: float, dim: int) -> np.ndarray:
    logs = 2 * kappa * np.log(np.cos(angles / 2))
    return logs + (dim - 1) * np.log(np.sin(angles)) if dim > 1 else logs


def _von_mises_fisher_window(kappa: float, dim: int) -> tuple[float, float]:
    """Around the mode, where κ sin² θ = (dim-1) cos θ; its curvature there bounds the density from above."""
    power = dim - 1
    cosine = 2 * kappa / (power + math.hypot(power, 2 * kappa))
    half = 2 * math.asin(min(1.0, 6 / math.sqrt(max(kappa * cosine + power, 1e-9))))
    mode = math.acos(cosine)
    return max(0.0, mode - half), min(math.pi, mode + half)


def _power_spherical_window(kappa: float, dim: int) -> tuple[float, float]:
    """Around the mode; the density is log-concave, its logarithm's second derivative at most -(κ/2 + dim - 1)."""
    power = dim - 1
    mode = 2 * math.atan2(math.sqrt(power), math.sqrt(max(2 * kappa + power, 1e-9))) if power else 0.0
    half = 11 / math.sqrt(max(kappa / 2 + power, 1e-9))
    return max(0.0, mode - half), min(math.pi, mode + half)


# The table of von Mises-Fisher laws is for dim > 2: on the circle its bend is too sharp, and on S² a formula is exact.
VON_MISES_FISHER = Law(_von_mises_fisher, _von_mises_fisher_window, lambda dim: 40, lambda dim: max(8.0, dim))
POWER_SPHERICAL = Law(_power_spherical, _power_spherical_window, lambda dim: 32, float)
