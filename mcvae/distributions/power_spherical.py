"""The power spherical distribution of De Cao & Aziz (2020): like von Mises-Fisher, without Bessel functions.

Draws have exact pathwise gradients (those of torch's own beta are approximate).
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import register_kl

from ..tables import tables
from .hyperspherical_uniform import HypersphericalUniform, log_area, require_equal_dims
from .rotational import RotationallySymmetric
from .transport import POWER_SPHERICAL


def _rule() -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights on [0, 1], exact for polynomials of degree 9."""
    roots, weights = np.polynomial.legendre.leggauss(5)
    return (1 + roots) / 2, weights / 2


class PowerSpherical(RotationallySymmetric):
    r"""p(x) ∝ (1 + μ·x)^κ against the area of S^dim (De Cao & Aziz 2020, eq. 7).

    (1 + μ·x)/2 is a beta variable of parameters α = dim/2 + κ and β = dim/2.

    Args:
        loc: the mean direction μ, unit vectors [..., dim + 1].
        concentration: κ >= 0, [...]; 0 is the uniform distribution.

    Raises:
        ValueError: for vectors of fewer than two coordinates, and with validation on where these limits are broken.
    """

    _law = POWER_SPHERICAL

    def log_prob(self, value: Tensor) -> Tensor:
        """log-density of ``value`` [..., dim + 1] against the area of the unit sphere; [...].

        log((1 + μ·x)/2) is taken as log(1 - |x - μ|²/4) near μ and as log(|x + μ|²/4) on the other side.
        """
        if self._validate_args:
            self._validate_sample(value)
        kappa = self.concentration.double()
        half = self.dim / 2
        peak = torch.lgamma(kappa + self.dim) - torch.lgamma(kappa + half) - half * math.log(4 * math.pi)
        near = (value - self.loc).square().sum(-1) / 4
        far = (value + self.loc).square().sum(-1) / 4
        close = near < 0.5
        tiny = torch.finfo(far.dtype).tiny
        log_cosine = torch.where(
            close, torch.log1p(-torch.where(close, near, 0)), torch.where(close, 1, far).clamp_min(tiny).log()
        )
        return peak.to(self.concentration.dtype) + self.concentration * log_cosine

    def entropy(self) -> Tensor:
        """log area - KL(· || uniform), the same as De Cao & Aziz (2020), eq. 15; batch_shape."""
        return (log_area(self.dim) - kl_uniform(self.concentration.double(), self.dim)).to(self.concentration.dtype)

    def _mean_cosine(self) -> Tensor:
        """(α - β) / (α + β)."""
        kappa = self.concentration.double()
        return kappa / (kappa + self.dim)

    def _variances(self) -> tuple[Tensor, Tensor]:
        """Of a beta variable: 4αβ / ((α+β)² (α+β+1)) along; across, E[1 - (μ·x)²] / dim."""
        total = self.concentration.double() + self.dim
        alpha = self.concentration.double() + self.dim / 2
        across = 2 * alpha / (total * (total + 1))
        return across * self.dim / total, across


def kl_uniform(kappa: Tensor, dim: int) -> Tensor:
    """KL(power spherical || uniform) = h(κ) - h(0) - κ h'(κ), h(κ) = log Γ(dim + κ) - log Γ(dim/2 + κ); float64 [...].

    Its derivative is κ (ψ'(dim/2 + κ) - ψ'(dim + κ)), and where the first form cancels, κ < dim/8, it is the integral
    of that, by 5 nodes.
    """
    return _Divergence.apply(kappa, dim)


class _Divergence(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(kappa: Tensor, dim: int) -> Tensor:
        return _divergence(kappa, dim)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
        ctx.dim = inputs[1]
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (kappa,) = ctx.saved_tensors
        return grad * kappa * (torch.polygamma(1, ctx.dim / 2 + kappa) - torch.polygamma(1, ctx.dim + kappa)), None


def _divergence(kappa: Tensor, dim: int) -> Tensor:
    half, switch = dim / 2, dim / 8
    near = kappa < switch
    small, large = torch.where(near, kappa, switch), torch.where(near, switch, kappa)
    nodes, weights = tables(_rule, (), kappa.device)
    s = small.unsqueeze(-1) * nodes
    integral = small * (((torch.polygamma(1, half + s) - torch.polygamma(1, dim + s)) * s) @ weights)
    start = math.lgamma(dim) - math.lgamma(half)
    direct = torch.lgamma(dim + large) - torch.lgamma(half + large) - start
    direct = direct - large * (torch.digamma(dim + large) - torch.digamma(half + large))
    return torch.where(near, integral, direct)


@register_kl(PowerSpherical, HypersphericalUniform)
def _kl_power_spherical_uniform(q: PowerSpherical, p: HypersphericalUniform) -> Tensor:
    """log area - entropy (De Cao & Aziz 2020, eq. 16, free of its cancellation at small κ)."""
    require_equal_dims(q, p)
    return kl_uniform(q.concentration.double(), q.dim).to(q.concentration.dtype)
