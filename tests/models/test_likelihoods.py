"""Likelihoods are densities: they agree with torch.distributions and sum to one."""

import itertools

import pytest
import torch
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Independent, Normal

from mcvae.models.likelihoods import Bernoulli, Categorical, Gaussian


@pytest.fixture
def noise():
    return torch.Generator().manual_seed(1)


def test_bernoulli_is_that_of_torch_for_any_sample_dimensions(noise):
    output = torch.randn(4, 5, 3, 2, generator=noise) * 4
    observed = torch.randint(0, 2, (5, 3, 2), generator=noise).float()
    expected = Independent(TorchBernoulli(logits=output), 2).log_prob(observed)
    torch.testing.assert_close(Bernoulli(2)(output, observed), expected)


def test_gaussian_is_that_of_torch_for_any_sample_dimensions(noise):
    output, observed = torch.randn(4, 5, 3, 2, 2, generator=noise), torch.rand(5, 3, 2, 2, generator=noise)
    likelihood = Gaussian(3, scale=0.3)
    expected = Independent(Normal(output.sigmoid(), 0.3), 3).log_prob(observed)
    torch.testing.assert_close(likelihood(output, observed), expected)


def test_the_learned_scale_is_best_at_the_root_mean_square_error(noise):
    output, observed = torch.randn(8, 1, 4, 4, generator=noise), torch.rand(8, 1, 4, 4, generator=noise)
    error = (output.sigmoid() - observed).square().mean().sqrt()
    likelihood = Gaussian(3, scale=float(error))
    likelihood(output, observed).sum().backward()
    torch.testing.assert_close(likelihood.raw_scale.grad, torch.zeros(()), atol=1e-2, rtol=0)


def test_probabilities_of_all_sequences_sum_to_one(noise):
    output = torch.randn(1, 3, 4, generator=noise)
    sequences = torch.tensor(list(itertools.product(range(1, 4), repeat=3)))
    logits = output.clone()
    logits[..., 0] = -torch.inf  # padding is not a token
    total = Categorical()(logits.expand(len(sequences), -1, -1), sequences).exp().sum()
    torch.testing.assert_close(total, torch.tensor(1.0))


def test_padding_does_not_count(noise):
    output = torch.randn(2, 1, 5, 6, generator=noise)
    observed = torch.tensor([[3, 4, 2, 0, 0]])
    torch.testing.assert_close(Categorical()(output, observed), Categorical()(output[:, :, :3], observed[:, :3]))
