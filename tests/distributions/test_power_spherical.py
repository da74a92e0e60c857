"""Power spherical against the beta distribution of scipy, mpmath and the package of its authors."""

import math

import mpmath
import power_spherical
import pytest
import torch
from scipy import stats
from torch.distributions import kl_divergence

from mcvae.distributions import HypersphericalUniform, PowerSpherical
from mcvae.distributions.hyperspherical_uniform import log_area

F64 = torch.float64
AMBIENT = [2, 3, 4, 9, 10, 100, 1000, 10_000]
CONCENTRATIONS = [1e-4, 1e-2, 0.1, 0.126, 1.0, 7.0, 1e3, 1e6]


def unit(*shape: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape, dtype=F64), dim=-1)


@pytest.mark.parametrize("ambient", AMBIENT)
def test_divergence_from_uniform_is_that_of_mpmath(ambient):
    dim = ambient - 1
    concentrations = sorted([*CONCENTRATIONS, dim / 8 * 0.999, dim / 8 * 1.001])
    kappa = torch.tensor(concentrations, dtype=F64, requires_grad=True)
    q = PowerSpherical(unit(ambient).expand(len(kappa), -1), kappa)
    divergence = kl_divergence(q, HypersphericalUniform(dim, dtype=F64))
    (slopes,) = torch.autograd.grad(divergence.sum(), kappa)
    with mpmath.workdps(50):
        for value, slope, k in zip(divergence.tolist(), slopes.tolist(), map(mpmath.mpf, concentrations), strict=True):
            half = mpmath.mpf(dim) / 2
            exact = mpmath.loggamma(dim + k) - mpmath.loggamma(half + k) - mpmath.loggamma(dim) + mpmath.loggamma(half)
            exact -= k * (mpmath.digamma(dim + k) - mpmath.digamma(half + k))
            rise = k * (mpmath.psi(1, half + k) - mpmath.psi(1, dim + k))
            assert value == pytest.approx(float(exact), rel=1e-9, abs=1e-20)
            assert slope == pytest.approx(float(rise), rel=1e-7, abs=1e-20)


@pytest.mark.parametrize("kappa", [1e-3, 0.7, 20.0, 600.0])
@pytest.mark.parametrize("ambient", [2, 3, 5, 60])
def test_density_and_entropy_are_those_of_its_authors(ambient, kappa):
    loc, x = unit(ambient), unit(50, ambient)
    d = PowerSpherical(loc, torch.tensor(kappa, dtype=F64))
    oracle = power_spherical.PowerSpherical(loc, torch.tensor(kappa, dtype=F64))
    torch.testing.assert_close(d.log_prob(x), oracle.log_prob(x), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(d.entropy(), oracle.entropy(), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(d.mean, oracle.mean)


@pytest.mark.parametrize("kappa", [0.0, 1e-6, 0.05, 0.3, 1.3, 19.0, 400.0, 1e5])
@pytest.mark.parametrize("dim", [1, 2, 3, 9, 40, 1000])
def test_angles_invert_the_distribution_function_of_a_beta_variable(dim, kappa, angle_at):
    d = PowerSpherical(unit(dim + 1), torch.tensor(kappa, dtype=F64))
    uniform = torch.linspace(0.001, 0.999, 201, dtype=F64)
    square = torch.sin(angle_at(d, uniform) / 2).square()  # (1 - cos θ)/2
    reached = stats.beta(dim / 2, dim / 2 + kappa).cdf(square.numpy())
    torch.testing.assert_close(torch.from_numpy(reached), uniform, rtol=0, atol=5e-7)


@pytest.mark.parametrize("kappa", [0.05, 0.3, 4.0, 100.0])
@pytest.mark.parametrize("dim", [1, 2, 5, 30])
def test_derivatives_of_angles_are_those_of_the_quantiles_of_a_beta_variable(dim, kappa, angle_at):
    uniform = torch.linspace(0.05, 0.95, 19, dtype=F64)
    kappas = torch.full((19,), kappa, dtype=F64, requires_grad=True)
    cosine = angle_at(PowerSpherical(unit(dim + 1).expand(19, -1), kappas), uniform).cos()
    (slope,) = torch.autograd.grad(cosine.sum(), kappas)
    step = 1e-4 * kappa
    rank = 1 - uniform.numpy()
    above, below = (2 * stats.beta(dim / 2 + k, dim / 2).ppf(rank) - 1 for k in (kappa + step, kappa - step))
    torch.testing.assert_close(slope, torch.from_numpy((above - below) / (2 * step)), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kappa", [0.0, 0.5, 100.0, 1e5])
@pytest.mark.parametrize("ambient", [2, 3, 10, 500])
def test_density_is_that_of_a_beta_variable_on_circles_of_latitude(ambient, kappa):
    dim, loc = ambient - 1, unit(ambient)
    across = unit(ambient)
    across = torch.nn.functional.normalize(across - (across @ loc) * loc, dim=0)
    width = min(3.0, 4 / max(kappa, dim) ** 0.5)
    angle = torch.linspace(0.05 * width, width, 30, dtype=F64)
    x = angle.cos()[:, None] * loc + angle.sin()[:, None] * across
    log_circle = math.log(2) if dim == 1 else log_area(dim - 1) + (dim - 1) * angle.sin().log()
    square = torch.sin(angle / 2).square()
    marginal = stats.beta(dim / 2, dim / 2 + kappa).logpdf(square.numpy())  # of sin²(θ/2), dθ = sin θ / 2 of it
    expected = torch.from_numpy(marginal) + (angle.sin() / 2).log()
    log_prob = PowerSpherical(loc, torch.tensor(kappa, dtype=F64)).log_prob(x)
    torch.testing.assert_close(log_prob + log_circle, expected, rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize(("ambient", "kappa"), [(2, 0.1), (2, 3.0), (3, 0.5), (8, 40.0), (120, 90.0)])
def test_draws_follow_the_beta_distribution(ambient, kappa):
    loc = unit(ambient)
    cosine = PowerSpherical(loc, torch.tensor(kappa, dtype=F64)).sample((50_000,)) @ loc
    law = stats.beta((ambient - 1) / 2 + kappa, (ambient - 1) / 2)
    assert stats.kstest(((1 + cosine) / 2).numpy(), law.cdf).pvalue > 1e-3
