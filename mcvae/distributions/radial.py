"""Laws of one variable, such as the distance of a draw from the centre, sampled by inverting their distribution.

What rotationally symmetric distributions share: z = exp_loc(r v) with a uniform direction v and a radius r.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..tables import tables

PANELS = 12
ORDER = 8  # Gauss-Legendre nodes a panel
NEWTON_STEPS = 2
TINY = 1e-30
FLAT = 1e-12  # of the peak: densities below are within the error of the polynomials


def _rules() -> tuple[np.ndarray, ...]:
    """Rules for polynomials p on [0, 1], of degree below ORDER, from their values p_i at the Gauss-Legendre nodes x_i.

    The nodes; the places of all nodes of all panels; the matrices P, Q of the integrals ∫₀^t p = Σ_j t^(j+1) Σ_i p_i
    P_ij at any place t, and Σ_i p_i Q_ij at the places 0, x_0, …, 1; these places; and the numbers j + 1.
    """
    nodes = (1 + np.polynomial.legendre.leggauss(ORDER)[0]) / 2
    degrees = np.arange(1, ORDER + 1)
    integrals = np.linalg.inv(np.vander(nodes, increasing=True)).T / degrees
    marks = np.concatenate([[0.0], nodes, [1.0]])
    places = np.add.outer(np.arange(PANELS), nodes).ravel()
    return places, integrals, integrals @ marks ** degrees[:, None], marks, degrees


class RadialLaw:
    """The law on [lower, upper] with density f(r) = exp(log_density(r)) / Z, in float64.

    On each of 12 equal panels exp(log_density) is the polynomial through its values at 8 Gauss-Legendre nodes; Z and
    the distribution function F are integrals of these. In a window of 15 standard deviations of a normal, Z is right to
    1e-12 and F to 4e-7. A draw solves F(r) = uniform; its derivative in the parameters θ of the density is
    dr/dθ = -(∂F/∂θ) / f, whatever the way it was found (implicit reparameterisation, Figurnov et al. 2018, eq. 6).
    Draws have no second derivatives.

    Args:
        log_density: differentiable in its parameters, from r [B..., nodes] to the same shape; a parameter of it is
            [B...] with one more axis for the nodes.
        lower, upper: ends [B...] of the window that holds all of the mass but a rounding error; no gradients.

    Attributes:
        log_normaliser: log Z, [B...], differentiable in the parameters.
    """

    def __init__(self, log_density: Callable[[Tensor], Tensor], lower: Tensor, upper: Tensor):
        lower, upper = lower.detach().unsqueeze(-1), upper.detach().unsqueeze(-1)
        self._lower, self._step = lower, (upper - lower) / PANELS
        places, self._integrals, self._prefixes, self._marks, self._degrees = tables(_rules, (), lower.device)
        self._weights = self._prefixes[:, -1]
        self._radii = torch.addcmul(lower, self._step, places)
        logs = log_density(self._radii)
        peak = logs.detach().amax(-1, keepdim=True)
        self._density = (logs - peak).exp().unflatten(-1, (PANELS, ORDER))
        self._mass = self._density @ self._weights
        self._cumulative = functional.pad(self._mass.cumsum(-1), (1, 0))
        self._total = self._cumulative[..., -1:]
        self.log_normaliser = (peak + (self._total * self._step).log()).squeeze(-1)

    def rsample(self, uniform: Tensor) -> Tensor:
        """The radii with F(r) = ``uniform``, float64 in [0, 1), [S..., B...]; same shape."""
        shape = uniform.shape
        with torch.no_grad():
            panel, place, powers, steepness = self._solve(self._samples_last(uniform))
        if torch.is_grad_enabled():
            value = self._value(panel, powers)
            place = place - (value - value.detach()) / steepness
        return self._samples_first(torch.addcmul(self._lower, self._step, panel + place), shape)

    def cdf(self, r: Tensor) -> Tensor:
        """F(r) for r in the window, [S..., B...], differentiable in r and in the parameters; same shape."""
        shape, r = r.shape, self._samples_last(r)
        place = (r - self._lower) / self._step
        panel = place.detach().long().clamp(0, PANELS - 1)
        return self._samples_first(self._value(panel, _powers(place - panel)), shape)

    def expectation(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """E[function(r)], [B...], differentiable in the parameters; ``function`` takes and returns [B..., nodes]."""
        values = function(self._radii).unflatten(-1, (PANELS, ORDER)) * self._density
        return ((values @ self._weights).sum(-1, keepdim=True) / self._total).squeeze(-1)

    def _value(self, panel: Tensor, powers: Tensor) -> Tensor:
        """F at the place in ``panel`` whose powers 1 … ORDER are given."""
        inside = (self._row(self._density, panel) * (powers @ self._integrals.T)).sum(-1)
        return (self._cumulative.gather(-1, panel) + inside) / self._total

    def _solve(self, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of the radii with F = ``uniform`` [B..., samples]: panel, place in it, its powers, and dF/d(place)."""
        target = uniform * self._total
        panel = (target.unsqueeze(-1) >= self._cumulative[..., 1:-1].unsqueeze(-2)).sum(-1)
        missing = (target - self._cumulative.gather(-1, panel)).clamp_min(TINY)
        density = self._row(self._density, panel)
        place = self._guess(density, missing)
        integral = density @ self._integrals
        # of the integral over the panel up to a place, and of its derivative in the logarithm of the place
        coefficients = torch.stack([integral, integral * self._degrees], -2)
        for _ in range(NEWTON_STEPS):
            mass, rise = (_powers(place).unsqueeze(-2) * coefficients).sum(-1).clamp_min(TINY).unbind(-1)
            # Newton's step in log F against log r, where a density that starts as a power of r is a straight line
            place = (place * (missing / mass).pow(mass / rise)).clamp(TINY, 1)
        powers = _powers(place)
        rise = (powers * coefficients[..., 1, :]).sum(-1)
        return panel, place, powers, (rise / place).clamp_min(FLAT) / self._total

    def _guess(self, density: Tensor, missing: Tensor) -> Tensor:
        """Where in its panel the mass ``missing`` is reached, by linear interpolation between the nodes."""
        masses = density @ self._prefixes
        left = (missing.unsqueeze(-1) >= masses[..., 1:-1]).sum(-1)
        pair = torch.stack([left, left + 1], -1)
        (low, high), (start, end) = masses.gather(-1, pair).unbind(-1), self._marks[pair].unbind(-1)
        return (start + (end - start) * (missing - low) / (high - low)).clamp(TINY, 1)

    def _row(self, table: Tensor, panel: Tensor) -> Tensor:
        """Row ``panel`` [B..., samples] of a table [B..., PANELS, ORDER]."""
        return table.gather(-2, panel.unsqueeze(-1).expand(*panel.shape, ORDER))

    def _samples_last(self, x: Tensor) -> Tensor:
        """[S..., B...] as [B..., samples]."""
        batch = self._lower.shape[:-1]
        return x.reshape(math.prod(x.shape[: x.ndim - len(batch)]), *batch).movedim(0, -1)

    @staticmethod
    def _samples_first(x: Tensor, shape: Sequence[int]) -> Tensor:
        return x.movedim(-1, 0).reshape(shape)


def random_direction(shape: Sequence[int], *, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Points distributed uniformly on the unit sphere of the last axis, from torch's stream; ``shape`` is theirs."""
    return functional.normalize(torch.randn(shape, dtype=dtype, device=device), dim=-1, eps=torch.finfo(dtype).tiny)


def _powers(t: Tensor) -> Tensor:
    """t, t², …, t^ORDER along a new last axis."""
    return t.unsqueeze(-1).expand(*t.shape, ORDER).cumprod(-1)
