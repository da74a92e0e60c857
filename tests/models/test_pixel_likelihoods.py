"""Likelihoods of pictures: densities that agree with torch.distributions, probabilities that sum to one."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import Independent, Normal

from mcvae.models.likelihoods import LEVEL, Gaussian, RealGaussian
from mcvae.models.pixels import Logistic, LogisticMixture, PixelGaussian, log_levels

LEVELS = torch.arange(256, dtype=torch.float64) / 255


@pytest.fixture
def noise():
    return torch.Generator().manual_seed(1)


@pytest.fixture
def mixture():
    return LogisticMixture(3, components=4)


def one_pixel(*colours):
    """Pictures of one pixel, [B, 3, 1, 1]."""
    return torch.stack(torch.broadcast_tensors(*map(torch.as_tensor, colours)), -1).double().reshape(-1, 3, 1, 1)


def test_a_scale_a_pixel_is_the_normal_of_torch_for_any_sample_dimensions(noise):
    output = torch.randn(4, 5, 6, 2, 2, generator=noise)
    observed = torch.rand(5, 3, 2, 2, generator=noise)
    mean, raw = output.split(3, -3)
    scale = 1 / 255 + torch.nn.functional.softplus(raw + math.log(math.expm1(0.25)))
    expected = Independent(Normal(mean.sigmoid(), scale), 3).log_prob(observed)
    likelihood = PixelGaussian(3)
    assert likelihood.channels(3) == 6
    torch.testing.assert_close(likelihood(output, observed), expected)
    torch.testing.assert_close(likelihood.mean(output), mean.sigmoid())


@pytest.mark.parametrize("mean", [-0.2, 0.0, 0.3, 0.999, 1.4])
@pytest.mark.parametrize("scale", [LEVEL / 10, 0.01, 0.2, 30.0])
def test_levels_of_a_logistic_are_its_mass_in_their_bins(mean, scale):
    """The oracle is scipy's distribution function, in the tail where it is accurate."""
    found = log_levels(LEVELS, torch.tensor(mean, dtype=torch.float64), torch.tensor(scale, dtype=torch.float64))
    edges = (LEVELS[:-1] + LEVEL / 2).numpy()
    below, above = stats.logistic.cdf(edges, mean, scale), stats.logistic.sf(edges, mean, scale)
    mass = [
        below[0],
        *(max(b[1] - b[0], a[0] - a[1]) for b, a in zip(pairs(below), pairs(above), strict=True)),
        above[-1],
    ]
    mass = torch.tensor(mass, dtype=torch.float64)
    torch.testing.assert_close(found.exp(), mass, rtol=1e-6, atol=1e-13)
    torch.testing.assert_close(found.exp().sum(), torch.tensor(1.0, dtype=torch.float64))


def pairs(values):
    return itertools.pairwise(values)


def test_a_level_far_from_the_location_keeps_its_slope():
    """In the far tail log P falls by 1 / scale a unit: nothing underflows, in single precision either."""
    mean = torch.tensor(0.0, requires_grad=True)
    value = log_levels(torch.tensor(200 / 255), mean, torch.tensor(0.002))
    value.backward()
    assert value.isfinite() and value < -300
    torch.testing.assert_close(mean.grad, torch.tensor(500.0))


def test_logistic_scores_every_pixel_by_its_level(noise):
    output = torch.randn(2, 5, 3, 2, 2, generator=noise)
    observed = torch.randint(0, 256, (5, 3, 2, 2), generator=noise) / 255
    likelihood = Logistic(3, scale=0.1)
    each = log_levels(observed, output.sigmoid(), LEVEL / 10 + torch.tensor(0.1))
    torch.testing.assert_close(likelihood(output, observed), each.sum((-1, -2, -3)))


@pytest.mark.parametrize("red, green", [(0.0, 1.0), (77 / 255, 120 / 255)])
def test_a_mixture_sums_to_a_marginal_over_blue(mixture, noise, red, green):
    mixture, output = mixture.double(), torch.randn(1, 40, 1, 1, generator=noise, dtype=torch.float64)
    found = mixture(output.expand(256, -1, -1, -1), one_pixel(red, green, LEVELS)).logsumexp(0)
    weights, location, scale, coefficient = (each.flatten(1)[0] for each in mixture.parts(output))
    location, scale, coefficient = (each.view(3, 4) for each in (location, scale, coefficient))
    pair = log_levels(torch.tensor(red).double(), location[0], scale[0])
    pair = pair + log_levels(torch.tensor(green).double(), location[1] + coefficient[0] * red, scale[1])
    torch.testing.assert_close(found, (pair + weights).logsumexp(0))


def test_the_mean_of_a_mixture_is_that_of_its_levels_where_no_tail_is_cut(mixture):
    """Red, then green given red, then blue given both, summed over all levels of narrow components amid the range."""
    generator = torch.Generator().manual_seed(3)
    output = 0.2 * torch.randn(1, 40, 1, 1, generator=generator, dtype=torch.float64)
    output[:, 16:28] = -3.5  # scales of about 0.008
    mixture = mixture.double()
    weights, location, scale, coefficient = mixture.parts(output)
    expected = torch.zeros(3, dtype=torch.float64)
    first = log_levels(LEVELS.view(-1, 1), location[0, 0].view(1, -1), scale[0, 0].view(1, -1)) + weights[0].view(1, -1)
    expected[0] = (first.exp().sum(1) * LEVELS).sum()
    for k in range(4):
        chance = first[:, k].exp()
        green = location[0, 1, k] + coefficient[0, 0, k] * LEVELS
        blue = location[0, 2, k] + coefficient[0, 1, k] * LEVELS + coefficient[0, 2, k] * green
        expected[1] += (chance * green).sum()
        expected[2] += (chance * blue).sum()
    torch.testing.assert_close(mixture.mean(output).flatten(), expected, rtol=1e-4, atol=1e-4)


def test_the_mean_of_saturated_components_is_that_of_their_levels():
    """Red lies far below black, or green far above white, and the others lean on the levels that there are."""
    output = torch.zeros(1, 20, 1, 1, dtype=torch.float64)
    location, raw, coefficient = output[0, 2:].view(3, 3, 2).unbind()
    location[:] = torch.tensor([[-3.0, 0.2], [0.1, 2.5], [0.3, -0.8]])  # red of the first: -1
    raw[:] = -5.0
    coefficient[:] = torch.tensor(0.9).double().atanh()
    mixture = LogisticMixture(3, components=2).double()
    weights, location, scale, _ = (each.flatten(1)[0] if each.dim() == 4 else each for each in mixture.parts(output))
    location, scale = location.view(3, 2), scale.view(3, 2)
    assert location[0, 0] == -1
    generator, draws = np.random.default_rng(0), 200_000
    component = generator.integers(0, 2, draws)  # of equal weights

    def levels(mean, colour):
        value = generator.logistic(mean, scale[colour].numpy()[component])
        return (255 * value).round().clip(0, 255) / 255

    place = location.numpy()[:, component]
    red = levels(place[0], 0)
    green = levels(place[1] + 0.9 * red, 1)
    blue = levels(place[2] + 0.9 * red + 0.9 * green, 2)
    expected = torch.tensor([red.mean(), green.mean(), blue.mean()])
    assert weights.exp().tolist() == pytest.approx([0.5, 0.5])
    torch.testing.assert_close(mixture.mean(output).flatten(), expected, rtol=0, atol=0.01)


@pytest.mark.parametrize(
    "likelihood, channels", [(Gaussian, 3), (PixelGaussian, 6), (Logistic, 3), (LogisticMixture, 50)]
)
def test_gradients_are_finite_at_the_ends_of_the_range(likelihood, channels, noise):
    assert likelihood.channels(3) == channels
    output = (20 * torch.randn(3, channels, 4, 4, generator=noise)).requires_grad_()
    observed = torch.randint(0, 2, (3, 3, 4, 4), generator=noise).float()
    module = likelihood(3)
    value = module(output, observed)
    value.sum().backward()
    assert value.isfinite().all() and output.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in module.parameters())
    assert 0 <= module.mean(output).min() and module.mean(output).max() <= 1


@pytest.mark.parametrize("sigma", [1.0, 3.0, 40.0])
@pytest.mark.parametrize("mean", [0.0, 100.4, 255.0])
def test_density_times_level_is_a_probability_of_levels(sigma, mean):
    """Never above one over the 256 levels, and one where the tails are inside."""
    likelihood = Gaussian(1, scale=sigma / 255 * (1 + 1e-6)).double()
    output = torch.logit(torch.tensor([[mean / 255]], dtype=torch.float64))
    total = (likelihood(output.expand(256, 1), LEVELS.unsqueeze(-1)) + likelihood.log_level).exp().sum()
    assert total <= 1 + 1e-8
    if 10 * sigma < mean < 255 - 10 * sigma:
        torch.testing.assert_close(total, torch.ones((), dtype=torch.float64), rtol=1e-7, atol=0)


def test_a_density_narrower_than_a_level_has_no_levels():
    assert Gaussian(3, scale=0.5 / 255).log_level is None
    assert RealGaussian(3).log_level is None
    assert PixelGaussian(3).log_level == pytest.approx(-math.log(255))
    assert Logistic(3).log_level == LogisticMixture(3).log_level == 0.0


def test_a_mixture_is_of_three_colours():
    with pytest.raises(ValueError, match="1 colours"):
        LogisticMixture.channels(1)
