"""Von Mises-Fisher against mpmath, scipy and quadrature."""

import functools
import math

import mpmath
import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import kl_divergence

from mcvae.distributions import HypersphericalUniform, VonMisesFisher, has_closed_form
from mcvae.distributions.hyperspherical_uniform import log_area
from mcvae.special import bessel_i_ratio

F64 = torch.float64
AMBIENT = [2, 3, 4, 5, 10, 33, 34, 100, 1000, 10_000]
CONCENTRATIONS = [1e-4, 1e-2, 0.3, 1.0, 7.0, 50.0, 1e3, 3e4, 1e6]


def unit(*shape: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape, dtype=F64), dim=-1)


@functools.cache
def exact(ambient: int, kappa: float) -> tuple[mpmath.mpf, mpmath.mpf]:
    """A(κ) and log N(κ) of mpmath, to 60 digits."""
    with mpmath.workdps(60):
        v, k = mpmath.mpf(ambient) / 2 - 1, mpmath.mpf(kappa)
        first, second = (mpmath.besseli(order, k, maxterms=10**7) for order in (v, v + 1))
        return second / first, mpmath.loggamma(v + 1) + v * mpmath.log(2 / k) + mpmath.log(first)


def meridian(loc: torch.Tensor, kappa: float, n: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    """Points on a great circle from loc to -loc around the mode, and areas of their circles of latitude."""
    dim = len(loc) - 1
    mode = math.atan2(((dim - 1) / max(kappa, 1e-9)) ** 0.5, 1) if kappa > dim else math.pi / 2
    width = min(math.pi, 30 / max(kappa, dim) ** 0.5)
    low, high = max(0, mode - width), min(math.pi, mode + width)
    nodes, weights = np.polynomial.legendre.leggauss(n)
    angle = torch.tensor((nodes + 1) / 2 * (high - low) + low)
    across = torch.nn.functional.normalize(torch.randn_like(loc).sub_(loc), dim=0)
    across = torch.nn.functional.normalize(across - (across @ loc) * loc, dim=0)
    log_circle = math.log(2) if dim == 1 else log_area(dim - 1) + (dim - 1) * angle.sin().log()
    points = angle.cos()[:, None] * loc + angle.sin()[:, None] * across
    return points, (log_circle + torch.tensor(weights * (high - low) / 2).log())


@pytest.mark.parametrize("kappa", [0.0, 1e-8, 0.5, 10.0, 500.0, 1e4, 1e6])
@pytest.mark.parametrize("ambient", [2, 3, 5, 10, 50, 500, 10_000])
def test_density_integrates_to_one(ambient, kappa):
    loc = unit(ambient)
    points, log_areas = meridian(loc, kappa)
    log_prob = VonMisesFisher(loc, torch.tensor(kappa, dtype=F64)).log_prob(points)
    assert (log_prob + log_areas).exp().sum().item() == pytest.approx(1, abs=1e-7)


@pytest.mark.parametrize("kappa", [1e-3, 0.7, 20.0, 600.0])
@pytest.mark.parametrize("ambient", [2, 3, 5, 21, 60])
def test_density_and_entropy_are_those_of_scipy(ambient, kappa):
    loc, x = unit(ambient), unit(50, ambient)
    d = VonMisesFisher(loc, torch.tensor(kappa, dtype=F64))
    oracle = stats.vonmises_fisher(loc.numpy(), kappa)
    expected = torch.from_numpy(np.atleast_1d(oracle.logpdf(x.numpy())))
    torch.testing.assert_close(d.log_prob(x), expected, rtol=1e-10, atol=1e-9)
    assert d.entropy().item() == pytest.approx(oracle.entropy(), abs=1e-9)


@pytest.mark.parametrize("ambient", AMBIENT)
def test_divergence_from_uniform_is_that_of_mpmath(ambient):
    kappa = torch.tensor(CONCENTRATIONS, dtype=F64)
    q = VonMisesFisher(unit(ambient).expand(len(kappa), -1), kappa)
    divergence = kl_divergence(q, HypersphericalUniform(ambient - 1, dtype=F64))
    for value, k in zip(divergence.tolist(), CONCENTRATIONS, strict=True):
        mean, log_n = exact(ambient, k)
        assert value == pytest.approx(float(k * mean - log_n), rel=1e-9, abs=1e-18)


@pytest.mark.parametrize("ambient", [2, 3, 34, 10_000])
def test_divergence_of_two_is_that_of_mpmath(ambient):
    for left in CONCENTRATIONS[::2]:
        for right in CONCENTRATIONS[::2]:
            mu, nu = unit(ambient), unit(ambient)
            q, p = (VonMisesFisher(m, torch.tensor(k, dtype=F64)) for m, k in ((mu, left), (nu, right)))
            (mean, log_n), (_, other) = exact(ambient, left), exact(ambient, right)
            cosine = 1 - (mu - nu).square().sum().item() / 2
            expected = float(left * mean - log_n - right * mean * cosine + other)
            assert kl_divergence(q, p).item() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert has_closed_form(q, p)


def test_divergence_of_two_vanishes_where_they_are_equal():
    d = VonMisesFisher(unit(5, 4), torch.tensor([0.0, 1e-6, 1.0, 100.0, 1e6], dtype=F64))
    assert kl_divergence(d, d).tolist() == [0] * 5
    with pytest.raises(ValueError, match="dim=3 and VonMisesFisher of dim=2"):
        kl_divergence(d, VonMisesFisher(unit(3), torch.tensor(1.0)))


def test_float32_divergence_is_the_rounded_one():
    kappa = torch.tensor(CONCENTRATIONS)
    loc = unit(100).expand(len(kappa), -1)
    single = kl_divergence(VonMisesFisher(loc.float(), kappa), HypersphericalUniform(99))
    double = kl_divergence(VonMisesFisher(loc, kappa.double()), HypersphericalUniform(99))
    assert single.dtype == torch.float32
    torch.testing.assert_close(single, double.float(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("kappa", [0.0, 1e-6, 1e-3, 0.05, 2.0, 19.9, 20.1, 400.0, 1e5])
@pytest.mark.parametrize("dim", [1, 2, 3, 9, 40, 1000])
def test_angles_invert_the_distribution_function(dim, kappa, angle_at):
    """Against Gauss-Legendre quadrature of exp(κ cos θ) sin^(dim-1) θ on a much finer grid."""
    d = VonMisesFisher(unit(dim + 1), torch.tensor(kappa, dtype=F64))
    uniform = torch.linspace(0.001, 0.999, 41, dtype=F64)
    angles = angle_at(d, uniform).numpy()
    nodes, weights = np.polynomial.legendre.leggauss(200)

    def log_density(angle):
        return -2 * kappa * np.sin(angle / 2) ** 2 + (dim - 1) * np.log(np.sin(angle))

    reach = 12 / max(kappa, dim) ** 0.5
    ends = np.clip([angles.min() - reach, *np.sort(angles), angles.max() + reach], 0, math.pi)
    half = np.diff(ends)[:, None] / 2
    inner = ends[:-1, None] + half * (nodes + 1)
    logs = log_density(inner)
    masses = (np.exp(logs - logs.max()) * half * weights).sum(1)
    reached = masses.cumsum()[:-1] / masses.sum()
    np.testing.assert_allclose(reached, uniform.numpy(), atol=1e-6)


@pytest.mark.parametrize("kappa", [0.0, 1e-12, 1e-5, 1e-3, 0.3, 40.0, 1e6])
def test_angles_on_s2_and_their_derivatives_are_those_of_the_closed_form(kappa, angle_at):
    uniform = torch.tensor([1e-6, 1e-4, 0.2, 0.5, 0.9, 1 - 1e-5], dtype=F64)
    kappas = torch.full((6,), kappa, dtype=F64, requires_grad=True)
    cosine = angle_at(VonMisesFisher(unit(3).expand(6, 3), kappas), uniform).cos()
    (slope,) = torch.autograd.grad(cosine.sum(), kappas)
    with mpmath.workdps(200):
        k = mpmath.mpf(kappa) if kappa else mpmath.mpf("1e-30")

        def fall(u, k):
            return 1 + mpmath.log(1 - u + u * mpmath.exp(-2 * k)) / k

        for u, c, s in zip(uniform.tolist(), cosine.tolist(), slope.tolist(), strict=True):
            density = k * (1 - u + u * mpmath.exp(-2 * k)) / (1 - mpmath.exp(-2 * k))  # of the cosine
            assert abs(c - fall(mpmath.mpf(u), k)) * density <= 5e-8
            step = k * mpmath.mpf("1e-20")
            expected = (fall(mpmath.mpf(u), k + step) - fall(mpmath.mpf(u), k - step)) / (2 * step)
            assert abs(s - expected) * density * max(1, k) <= 5e-6


@pytest.mark.parametrize(("ambient", "kappa"), [(2, 3.0), (3, 0.5), (3, 50.0), (8, 4.0), (120, 90.0)])
def test_draws_follow_the_marginal_of_scipy(ambient, kappa):
    """Kolmogorov-Smirnov against draws by scipy's rejection."""
    loc = unit(ambient)
    ours = VonMisesFisher(loc, torch.tensor(kappa, dtype=F64)).sample((20_000,)) @ loc
    theirs = stats.vonmises_fisher(loc.numpy(), kappa).rvs(20_000, random_state=0) @ loc.numpy()
    assert stats.ks_2samp(ours.numpy(), theirs).pvalue > 1e-3


def test_mean_is_the_ratio_of_bessel_functions():
    kappa = torch.tensor(CONCENTRATIONS, dtype=F64)
    loc = unit(len(kappa), 6)
    torch.testing.assert_close(VonMisesFisher(loc, kappa).mean, bessel_i_ratio(2.0, kappa)[:, None] * loc)
