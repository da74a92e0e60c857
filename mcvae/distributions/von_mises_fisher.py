"""The von Mises-Fisher distribution on the unit sphere, with exact draws and unbiased pathwise gradients.

Davidson et al. (2018) draw by rejection, whose pathwise gradient is biased; here there is none.
"""

import torch
from torch import Tensor
from torch.distributions import register_kl

from ..special import bessel_i_ratio, log_bessel_i_normalised, vmf_kl_uniform
from .hyperspherical_uniform import HypersphericalUniform, log_area, require_equal_dims
from .radial import RadialLaw
from .rotational import RotationallySymmetric
from .transport import VON_MISES_FISHER

REACH = 7.5  # half-width of the window of angles on the circle, in standard deviations of a normal as steep


class VonMisesFisher(RotationallySymmetric):
    r"""p(x) = exp(κ μ·x) / (area N(κ)) with N = Γ(v+1) (2/κ)^v I_v(κ), v = (dim-1)/2, against the area of S^dim.

    The angle θ between x and μ has density ∝ exp(-2κ sin²(θ/2)) sin^(dim-1) θ (Mardia & Jupp 2000, eq. 9.3.12).

    Args:
        loc: the mean direction μ, unit vectors [..., dim + 1].
        concentration: κ >= 0, [...]; 0 is the uniform distribution.

    Raises:
        ValueError: for vectors of fewer than two coordinates, and with validation on where these limits are broken.
    """

    _law = VON_MISES_FISHER

    def log_prob(self, value: Tensor) -> Tensor:
        """log-density of ``value`` [..., dim + 1] against the area of the unit sphere; [...].

        μ·x - 1 is taken as -|x - μ|²/2, accurate however concentrated the density is.
        """
        if self._validate_args:
            self._validate_sample(value)
        kappa = self.concentration.double()
        peak = kappa - log_bessel_i_normalised(self._order, kappa) - log_area(self.dim)
        chord = (value - self.loc).square().sum(-1)
        return peak.to(self.concentration.dtype) - 0.5 * self.concentration * chord

    def entropy(self) -> Tensor:
        """log area - KL(· || uniform); batch_shape."""
        kl = vmf_kl_uniform(self._order, self.concentration.double())
        return (log_area(self.dim) - kl).to(self.concentration.dtype)

    @property
    def _order(self) -> float:
        return (self.dim - 1) / 2

    def _angle(self, length: Tensor, kappa: Tensor) -> Tensor:
        exact = {1: angle_on_circle, 2: angle_on_sphere}.get(self.dim)
        return super()._angle(length, kappa) if exact is None else exact(length, kappa)

    def _mean_cosine(self) -> Tensor:
        return bessel_i_ratio(self._order, self.concentration.double())

    def _variances(self) -> tuple[Tensor, Tensor]:
        """A' = 1 - A² - dim A/κ along and A/κ across, A the mean of μ·x (Mardia & Jupp 2000, § 9.3.2)."""
        kappa = self.concentration.double().clamp_min(1e-100)
        mean = bessel_i_ratio(self._order, kappa)
        across = mean / kappa
        return 1 - mean.square() - self.dim * across, across


def angle_on_circle(length: Tensor, kappa: Tensor) -> Tensor:
    """Angles of the law ∝ exp(-2κ sin²(θ/2)) on [0, π] for absolute values of standard normal variables; float64."""
    concentration = kappa.unsqueeze(-1)
    law = RadialLaw(
        lambda angle: -2 * concentration * (angle / 2).sin().square(),
        torch.zeros_like(kappa),
        2 * torch.asin((REACH / 2 * kappa.clamp_min(1e-100).rsqrt()).clamp_max(1)),
    )
    return law.rsample(torch.erf(length * 0.5**0.5))


def angle_on_sphere(length: Tensor, kappa: Tensor) -> Tensor:
    """Angles of the law ∝ exp(-2κ sin²(θ/2)) sin θ on [0, π] for lengths of normal vectors in R²; float64.

    Both distribution functions are elementary (Ulrich 1984): with U = 1 - V = 1 - exp(-ρ²/2) and E = exp(-2κ)
    sin²(θ/2) = -log(V + U E) / 2κ. As in :func:`mcvae.distributions.transport.angle` there is no second derivative.
    """
    with torch.no_grad():
        half = length.square() * -0.5
        below, above, safe = -half.expm1(), half.exp(), kappa.clamp_min(1e-100)
        share = below * (-2 * kappa).exp()
        total, lost = above + share, below * (-2 * safe).expm1()
        logs = -torch.where(lost > -0.5, lost.log1p(), total.log())
        square = (logs / (2 * safe)).clamp_max(1.0)
        value = 2 * square.sqrt().asin()
        # d sin²(θ/2) / dκ, and where its two terms cancel, its limit at κ = 0
        slope = torch.where(kappa < 1e-5, -below * above, (share / total - square) / safe)
        slope = slope * (square * (1 - square)).clamp_min(1e-30).rsqrt()
    return torch.addcmul(value, slope, kappa - kappa.detach()) if torch.is_grad_enabled() else value


@register_kl(VonMisesFisher, HypersphericalUniform)
def _kl_von_mises_fisher_uniform(q: VonMisesFisher, p: HypersphericalUniform) -> Tensor:
    """κ A(κ) - log N(κ) (Davidson et al. 2018, eq. 2, free of its cancellation at small κ)."""
    require_equal_dims(q, p)
    return vmf_kl_uniform(q._order, q.concentration.double()).to(q.concentration.dtype)


@register_kl(VonMisesFisher, VonMisesFisher)
def _kl_von_mises_fisher(q: VonMisesFisher, p: VonMisesFisher) -> Tensor:
    """κ_q A(κ_q) - log N(κ_q) - (κ_p A(κ_q) - log N(κ_p)) + κ_p A(κ_q) (1 - μ_q·μ_p), with the last as a chord."""
    require_equal_dims(q, p)
    kappa_q, kappa_p = q.concentration.double(), p.concentration.double()
    mean = q._mean_cosine()
    between = (kappa_q - kappa_p) * mean + (
        log_bessel_i_normalised(p._order, kappa_p) - log_bessel_i_normalised(q._order, kappa_q)
    )
    chord = (q.loc - p.loc).square().sum(-1)
    return (between + 0.5 * kappa_p * mean * chord).to(chord.dtype)
