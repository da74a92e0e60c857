"""Maps from normal lengths to angles: against the quantiles that they interpolate, and what they promise beyond."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from mcvae.distributions import transport
from mcvae.distributions.transport import POWER_SPHERICAL, VON_MISES_FISHER
from mcvae.tables import _tables

F64 = torch.float64
KAPPAS = (0.0, 1e-3, 0.1, 1.0, 3.0, 5.0, 8.0, 12.0, 30.0, 100.0, 1e3, 1e6)
THIN = [(VON_MISES_FISHER, dim) for dim in (3, 6, 50)] + [(POWER_SPHERICAL, dim) for dim in (1, 2, 6, 50)]
FULL = [(VON_MISES_FISHER, dim) for dim in (4, 5, 9, 20, 500, 9999)] + [(POWER_SPHERICAL, d) for d in (3, 4, 20, 9999)]


@pytest.mark.parametrize(("law", "dim"), THIN + [pytest.param(*case, marks=pytest.mark.full) for case in FULL])
def test_the_series_has_the_distribution_function_right_to_2e_7(law, dim):
    low, high = transport._chi_window(dim)
    lengths = np.sort(np.random.default_rng(0).uniform(low, high, 200))
    tails = transport._chi_tails(lengths, dim)
    for kappa in KAPPAS:
        exact = transport.quantiles(law, kappa, dim, *tails)
        found = transport.angle(law, torch.from_numpy(lengths), torch.tensor(kappa, dtype=F64), dim).numpy()
        edges = np.linspace(*law.window(kappa, dim), 1501)
        total = transport._tails(lambda r, kappa=kappa: law.log_density(r, kappa, dim), edges)[2]
        density = np.exp(law.log_density(exact.clip(1e-12, math.pi - 1e-12), kappa, dim) - total)
        assert (np.abs(found - exact) * density).max() < 2e-7


@pytest.mark.parametrize(("law", "kappa", "dim"), [(VON_MISES_FISHER, 4.0, 3), (POWER_SPHERICAL, 0.7, 2)])
def test_quantiles_invert_the_integral_of_the_density(law, kappa, dim):
    def density(angle):
        return math.exp(float(law.log_density(np.array(angle), kappa, dim)))

    lower = np.array([1e-9, 1e-3, 0.3, 0.6, 1 - 1e-3])
    total = integrate.quad(density, 0, math.pi, epsabs=0, epsrel=1e-12)[0]
    for share, angle in zip(lower, transport.quantiles(law, kappa, dim, lower, 1 - lower), strict=True):
        assert integrate.quad(density, 0, angle, epsabs=0, epsrel=1e-12)[0] / total == pytest.approx(share, rel=1e-7)


@pytest.mark.parametrize("dim", [1, 2, 7, 300])
def test_lengths_of_normal_vectors_have_the_tails_of_scipy(dim):
    lengths = np.linspace(*transport._chi_window(dim), 30)[1:]
    below, above = transport._chi_tails(lengths, dim)
    np.testing.assert_allclose(below, stats.chi(dim).cdf(lengths), rtol=1e-9)
    np.testing.assert_allclose(above, stats.chi(dim).sf(lengths), rtol=1e-8)


@pytest.mark.parametrize("law", [VON_MISES_FISHER, POWER_SPHERICAL], ids=["vmf", "ps"])
def test_at_high_concentration_the_angle_is_the_length_over_its_root(law):
    """Both laws are then normal in the tangent space: of precision κ, and κ/2."""
    length = torch.linspace(0.5, 5, 10, dtype=F64)
    precision = 1e8 * (1.0 if law is VON_MISES_FISHER else 0.5)
    found = transport.angle(law, length, torch.tensor(1e8, dtype=F64), 3)
    torch.testing.assert_close(found, length * precision**-0.5, rtol=1e-6, atol=0)


@pytest.mark.parametrize("law", [VON_MISES_FISHER, POWER_SPHERICAL], ids=["vmf", "ps"])
def test_the_derivative_is_that_of_the_series(law):
    length, kappa = torch.tensor([0.2, 1.0, 2.0, 4.0], dtype=F64), torch.tensor([0.1, 2.0, 9.0, 300.0], dtype=F64)
    kappa.requires_grad_()
    (slope,) = torch.autograd.grad(transport.angle(law, length, kappa, 4).sum(), kappa)
    step = 1e-5 * kappa.detach()
    ends = [transport.angle(law, length, kappa.detach() + sign * step, 4) for sign in (1, -1)]
    torch.testing.assert_close(slope, (ends[0] - ends[1]) / (2 * step), rtol=1e-6, atol=1e-9)


def test_a_table_first_used_under_a_transform_serves_afterwards():
    _tables.cache_clear()
    lengths, kappas = torch.rand(3, 5, dtype=F64) + 1, torch.rand(3, 5, dtype=F64)
    with torch.inference_mode():
        mapped = torch.func.vmap(lambda r, k: transport.angle(POWER_SPHERICAL, r, k, 6))(lengths, kappas)
    assert torch.equal(mapped.clone(), transport.angle(POWER_SPHERICAL, lengths, kappas.requires_grad_(), 6).detach())
