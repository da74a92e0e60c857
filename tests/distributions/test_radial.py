"""Sampling by inversion: against scipy's normal and gamma laws, whose distribution functions are known."""

import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from mcvae.distributions.radial import RadialLaw, random_direction


def half_normal(scale: Tensor) -> RadialLaw:
    return RadialLaw(lambda r: -0.5 * (r / scale.unsqueeze(-1)).square(), torch.zeros_like(scale), 8 * scale)


def chi(scale: Tensor, dim: int) -> RadialLaw:
    mode = math.sqrt(dim - 1) * scale

    def log_density(r: Tensor) -> Tensor:
        return (dim - 1) * r.log() - 0.5 * (r / scale.unsqueeze(-1)).square()

    return RadialLaw(log_density, (mode - 7.5 * scale).clamp_min(0), mode + 7.5 * scale)


SCALES = torch.tensor([1e-3, 0.7, 40.0], dtype=torch.float64)


def test_log_normaliser_is_the_logarithm_of_the_integral():
    expected = (math.sqrt(math.pi / 2) * SCALES).log()
    torch.testing.assert_close(half_normal(SCALES).log_normaliser, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("dim", [2, 3, 10, 1000])
def test_draws_invert_the_distribution_function(dim):
    uniform = torch.linspace(1e-6, 1 - 1e-6, 4001, dtype=torch.float64)
    radius = chi(SCALES, dim).rsample(uniform.unsqueeze(-1).expand(-1, 3))
    reached = torch.from_numpy(stats.chi(dim).cdf((radius / SCALES).numpy()))
    torch.testing.assert_close(reached, uniform.unsqueeze(-1).expand(-1, 3), rtol=0, atol=1e-6)


def test_draws_at_the_ends_of_the_unit_interval_stay_in_the_window():
    uniform = torch.tensor([0.0, 2.0**-53, 1 - 2.0**-53], dtype=torch.float64).unsqueeze(-1)
    radius = chi(SCALES, 5).rsample(uniform.expand(-1, 3))
    assert torch.isfinite(radius).all() and (radius >= 0).all() and (radius <= 10 * SCALES).all()


@pytest.mark.parametrize("dim", [2, 10])
def test_cdf_meets_the_exact_one(dim):
    radius = stats.chi(dim).ppf([[0.01], [0.3], [0.99]]) * SCALES.numpy()
    values = chi(SCALES, dim).cdf(torch.from_numpy(radius))
    torch.testing.assert_close(values[:, 1], torch.tensor([0.01, 0.3, 0.99], dtype=torch.float64), rtol=1e-7, atol=1e-7)


def test_pathwise_derivative_in_a_scale_is_radius_over_scale():
    scale = SCALES.clone().requires_grad_()
    radius = chi(scale, 4).rsample(torch.rand(1000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    (grad,) = torch.autograd.grad(radius.sum(), scale)
    torch.testing.assert_close(grad, (radius / scale).sum(0).detach(), rtol=1e-5, atol=0)


def test_expectation_and_its_derivative():
    scale = SCALES.clone().requires_grad_()
    second = chi(scale, 6).expectation(torch.square)
    torch.testing.assert_close(second, 6 * scale.square(), rtol=1e-10, atol=0)
    (grad,) = torch.autograd.grad(second.sum(), scale)
    torch.testing.assert_close(grad, 12 * scale.detach(), rtol=1e-9, atol=0)


def test_draws_are_the_same_one_by_one_and_under_vmap():
    uniform = torch.rand(8, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    scales = torch.rand(8, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) + 0.1
    together = chi(scales, 3).rsample(uniform)
    mapped = torch.func.vmap(lambda scale, u: chi(scale, 3).rsample(u))(scales, uniform)
    torch.testing.assert_close(mapped, together, rtol=1e-13, atol=0)


def test_directions_are_uniform_unit_vectors():
    torch.manual_seed(0)
    directions = random_direction((20_000, 3), dtype=torch.float64, device=torch.device("cpu"))
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(20_000, dtype=torch.float64))
    assert stats.kstest(directions[:, 0].numpy(), stats.uniform(-1, 2).cdf).pvalue > 0.001
