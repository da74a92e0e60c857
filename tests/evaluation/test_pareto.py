"""The shape of the weights' tail is recovered where it is known, and says when importance sampling fails."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from mcvae.evaluation.pareto import (
    PRIOR_SHAPE,
    PRIOR_WEIGHT,
    LargestWeights,
    fit_generalized_pareto,
    tail_shape,
    tail_size,
    threshold,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [-0.4, 0.0, 0.3, 0.7, 1.2])
@pytest.mark.parametrize("n", [2000, 60])
def test_the_fit_recovers_the_shape_of_generalised_pareto_draws(shape, n):
    draws = stats.genpareto.rvs(shape, scale=0.3, size=(n, 200), random_state=np.random.default_rng(1))
    found = fit_generalized_pareto(torch.from_numpy(np.sort(draws, 0)))
    expected = (n * shape + PRIOR_WEIGHT * PRIOR_SHAPE) / (n + PRIOR_WEIGHT)
    assert found.mean().item() == pytest.approx(expected, abs=0.04 if n == 60 else 0.01)
    assert found.std().item() < 1.5 * (1 + max(shape, 0)) / math.sqrt(n)


def test_the_fit_agrees_with_maximum_likelihood():
    draws = np.sort(stats.genpareto.rvs(0.5, size=(3000, 5), random_state=np.random.default_rng(2)), 0)
    ours = fit_generalized_pareto(torch.from_numpy(draws))
    for column, shape in zip(draws.T, ours.tolist(), strict=True):
        likeliest = stats.genpareto.fit(column, floc=0)[0]
        assert shape == pytest.approx(likeliest, abs=0.01)


@pytest.mark.parametrize("scale", [0.5, 0.7, 0.9])
def test_a_normal_proposal_that_is_too_narrow_has_the_shape_one_minus_its_variance(scale):
    """p/q of N(0, 1) over N(0, s²) is proportional to exp(z² (1/s² - 1) / 2): P(w > t) falls as t^(-1/(1 - s²))."""
    samples = 400_000
    z = scale * torch.randn(samples, 20, generator=generator(), dtype=torch.float64)
    found = tail_shape(0.5 * z.square() * (scale**-2 - 1), samples)
    assert found.mean().item() == pytest.approx(1 - scale**2, abs=0.06)


def test_bounded_weights_have_no_heavy_tail():
    z = 2 * torch.randn(5000, 30, generator=generator(), dtype=torch.float64)
    assert (tail_shape(-0.5 * z.square() * (1 - 0.25), 5000) < 0.2).all()


def test_neither_order_nor_a_common_factor_of_the_weights_matters():
    log_weight = 3 * torch.randn(500, 4, generator=generator(), dtype=torch.float64)
    shape = tail_shape(log_weight, 500)
    torch.testing.assert_close(tail_shape(log_weight.flip(0) - 4000, 500), shape, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("samples", [21, 500, 1001])
def test_a_stream_of_weights_has_the_shape_of_the_whole(samples):
    log_weight = 2 * torch.randn(samples, 6, generator=generator(3), dtype=torch.float64)
    stream = LargestWeights(samples)
    for part in log_weight.split(32):
        stream.add(part)
    assert len(stream.kept) == tail_size(samples) + 1
    assert torch.equal(stream.shape(), tail_shape(log_weight, samples))
    assert stream.shape().isfinite().all()


def test_equal_weights_and_few_weights_have_no_tail():
    assert tail_shape(torch.zeros(500, 3, dtype=torch.float64), 500).isnan().all()
    assert tail_shape(torch.randn(20, 3, generator=generator()), 20).isnan().all()


def test_a_tail_beyond_numbers_and_broken_weights_count_as_infinite():
    log_weight = torch.zeros(500, 3, dtype=torch.float64)
    log_weight[:, 0] = 1000 * torch.arange(500)
    log_weight[:, 1] = -torch.inf
    log_weight[7, 2] = torch.nan
    assert (tail_shape(log_weight, 500) == torch.inf).all()


def test_the_threshold_grows_with_the_samples_to_seven_tenths():
    assert threshold(100) == pytest.approx(0.5)
    assert threshold(1000) == pytest.approx(2 / 3)
    assert threshold(2200) == threshold(10**6) == 0.7
    assert math.isnan(threshold(1))
    assert [tail_size(s) for s in (100, 225, 10_000)] == [20, 45, 300]
