"""Laws of the diagnostics: information and aggregate posterior add up to the KL, idle components are told as such."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import logsumexp
from torch import nn
from torch.distributions import Normal

from mcvae.evaluation.blocks import POSTERIOR, SIZE, noise
from mcvae.evaluation.diagnostics import (
    ablation,
    active_units,
    aggregate_posterior,
    diagnostic_keys,
    diagnostic_metrics,
)
from mcvae.evaluation.likelihood import bound
from mcvae.latent import build

SPACES = ["e2", "2h2", "s2:vmf", "s3:ps", "s2", "p2:rn", "u2:k=-0.7", "h2,2s2:vmf,e2:iso"]
UNIT = math.log(math.expm1(1 - 1e-5))  # the head's output for a scale of 1


class Given(nn.Module):
    """A VAE whose posterior parameters are the data themselves, with a linear decoder of what it looks at."""

    kind = "vae"

    def __init__(self, latent, ignored=()):
        super().__init__()
        self.latent = build(latent)
        weight = torch.randn(6, self.latent.ambient_dim, generator=torch.Generator().manual_seed(5))
        weight[:, list(ignored)] = 0
        self.weight = nn.Parameter(weight, requires_grad=False)

    def prepare(self, batch, train=False):
        return batch["x"]

    def posterior(self, x):
        return self.latent.posterior(x)

    def decode(self, z, inputs=None):
        return z @ self.weight.T

    def log_likelihood(self, output, x):
        return Normal(output, 0.5).log_prob(self.decode(self.posterior(x).loc)).sum(-1)

    def terms(self, x, beta=1.0):
        q = self.posterior(x)
        z = q.rsample()
        reconstruction = self.log_likelihood(self.decode(z), x)
        kl = self.latent.kl(q, self.latent.prior(), z)
        return SimpleNamespace(elbo=reconstruction - kl.sum(-1), reconstruction=reconstruction, kl=kl)


def parameters(latent, records=SIZE + 40, seed=0):
    return {"x": torch.randn(records, latent.parameter_dim, generator=torch.Generator().manual_seed(seed))}


def drawn(model, tensors):
    """The posterior's draws, as in any evaluation."""
    parts = []
    for index, x in enumerate(tensors["x"].split(SIZE)):
        with noise(POSTERIOR, index, torch.device("cpu")):
            parts.append(model.posterior(x).rsample())
    return torch.cat(parts)


@pytest.mark.parametrize("space", SPACES)
def test_information_and_aggregate_divergence_add_up_to_the_kl(space):
    model = Given(space)
    tensors = parameters(model.latent)
    found = aggregate_posterior(model, tensors)
    kl = bound(model, tensors, samples=50).kl
    for total, expected in (
        (found.information + found.divergence, kl.sum(-1)),
        *zip((found.component_information + found.component_divergence).T, kl.T, strict=True),
    ):
        error = (total - expected).std().item() / math.sqrt(len(total))
        assert total.mean().item() == pytest.approx(expected.mean().item(), abs=4 * error + 1e-6)


@pytest.mark.parametrize("space", SPACES)
def test_the_mixture_is_that_of_every_pair_by_brute_force(space):
    model = Given(space)
    tensors = parameters(model.latent, SIZE + 7)
    found, z = aggregate_posterior(model, tensors), drawn(model, tensors)
    pairs = torch.stack([model.posterior(x.expand(len(z), -1)).log_prob(z) for x in tensors["x"]], 1).double()
    joint, n = pairs.sum(-1), len(z)
    own = joint.diagonal()
    alone = torch.where(torch.eye(n, dtype=torch.bool), -torch.inf, joint).logsumexp(1) - math.log(n - 1)
    prior = model.latent.prior().log_prob(z).double()
    expected = (
        own - joint.logsumexp(1) + math.log(n),
        own - alone,
        joint.logsumexp(1) - math.log(n) - prior.sum(-1),
        pairs.diagonal(dim1=0, dim2=1).T - pairs.logsumexp(1) + math.log(n),
        pairs.logsumexp(1) - math.log(n) - prior,
    )
    for ours, brute in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, brute, rtol=1e-4, atol=1e-3)


def test_the_mixture_of_normals_is_that_of_scipy():
    model = Given("e1")
    tensors = parameters(model.latent, 40)
    found, z = aggregate_posterior(model, tensors), drawn(model, tensors).double().numpy()
    loc, raw = tensors["x"].double().numpy().T
    density = stats.norm.logpdf(z, loc, np.log1p(np.exp(raw)) + 1e-5)  # [i, j]
    mixture = logsumexp(density, 1) - math.log(40)
    np.testing.assert_allclose(found.information, density.diagonal() - mixture, atol=1e-4)
    np.testing.assert_allclose(found.divergence, mixture - stats.norm.logpdf(z[:, 0]), atol=1e-4)


@pytest.mark.parametrize("space", SPACES)
def test_a_posterior_that_ignores_the_record_has_no_information_and_no_active_unit(space):
    model = Given(space)
    tensors = {"x": parameters(model.latent, 1)["x"].expand(SIZE + 9, -1)}
    found = aggregate_posterior(model, tensors)
    for information in (found.information, found.information_above, found.component_information):
        torch.testing.assert_close(information, torch.zeros_like(information), atol=1e-3, rtol=0)
    assert not active_units(model, tensors).any()


@pytest.mark.parametrize("space", ["e3", "h2,s2,p2"])
def test_a_posterior_equal_to_the_prior_has_the_prior_for_its_aggregate(space):
    model = Given(space)
    scales = torch.cat([torch.cat([torch.zeros(c.dim), torch.full((c.dim,), UNIT)]) for c in model.latent.components])
    found = aggregate_posterior(model, {"x": scales.expand(50, -1)})
    for each in found:
        torch.testing.assert_close(each, torch.zeros_like(each), atol=1e-3, rtol=0)


def test_information_of_records_that_never_overlap_is_the_log_of_their_number():
    model = Given("e2")
    x = torch.cat([100.0 * torch.arange(60.0).unsqueeze(-1).expand(-1, 2), torch.full((60, 2), -3.0)], -1)
    found = aggregate_posterior(model, {"x": x})
    torch.testing.assert_close(found.information, torch.full((60,), math.log(60), dtype=torch.float64))
    assert (found.information <= math.log(60) + 1e-9).all() and (found.information_above > 1000).all()


def test_bounds_enclose_the_information_of_the_population():
    """x ~ N(0, 1) and z | x ~ N(x, s²): I = log(1 + 1/s²) / 2, and q(z) is N(0, 1 + s²)."""
    scale, model = 0.5, Given("e1")
    x = torch.randn(1500, 1, generator=torch.Generator().manual_seed(1))
    raw = torch.full_like(x, math.log(math.expm1(scale - 1e-5)))
    found = aggregate_posterior(model, {"x": torch.cat([x, raw], -1)})
    exact = 0.5 * math.log1p(1 / scale**2)
    error = 4 * found.information.std().item() / math.sqrt(1500)
    assert found.information.mean().item() < found.information_above.mean().item()
    for estimate in (found.information, found.information_above):
        assert estimate.mean().item() == pytest.approx(exact, abs=error)
    divergence = 0.5 * (scale**2 - math.log1p(scale**2))
    assert found.divergence.mean().item() == pytest.approx(divergence, abs=0.08)


DIMENSIONS = (2, 64, 256)


def located(space, loc, narrow=0.0):
    """A model and records of these posterior locations [N, ambient_dim]; ``narrow``: the head's output for their width.

    Wrapped normals have their location from tangent coordinates, distributions of directions from a vector.
    """
    model = Given(space)
    ((component,), width) = model.latent.components, model.latent.families[0].widths[-1]
    head = loc if component.family in ("vmf", "ps") else model.latent.logmap0(loc)
    return model, {"x": torch.cat([head, torch.full((len(loc), width), narrow)], -1)}


@pytest.mark.parametrize("dim", DIMENSIONS)
@pytest.mark.parametrize("space", ["e{}", "s{}:vmf", "s{}:ps", "s{}", "h{}", "h{}:k=-0.01", "s{}:vmf:k=0.1"])
def test_the_priors_draws_as_locations_are_all_active_and_a_single_one_has_no_active_unit(space, dim):
    latent = build(space.format(dim))
    torch.manual_seed(0)
    drawn = latent.prior().rsample((500,))
    model, tensors = located(space.format(dim), drawn, narrow=3.0 * dim)
    assert active_units(model, tensors).tolist() == [True] * dim
    model, tensors = located(space.format(dim), drawn[:1].expand(500, -1))
    assert active_units(model, tensors).tolist() == [False] * dim


@pytest.mark.parametrize("dim", DIMENSIONS[1:])
@pytest.mark.parametrize("family", ["vmf", "ps"])
def test_directions_without_concentration_have_no_active_unit(family, dim):
    space = f"s{dim}:{family}"
    torch.manual_seed(1)
    model, tensors = located(space, build(space).prior().rsample((500,)), narrow=-20.0)  # a concentration of 1
    assert not active_units(model, tensors).any()


def test_the_mean_of_directions_is_that_of_scipy():
    """u = √3 A(κ) μ with A = coth κ - 1/κ on S²: active above A² Var = 0.01 / 3."""
    torch.manual_seed(2)
    loc = torch.nn.functional.normalize(torch.randn(4000, 3), dim=-1)
    mean_cosine = 1 / math.tanh(1.0) - 1.0
    bound = math.sqrt(0.01 / 3 / mean_cosine**2)  # of the standard deviation of a coordinate of μ
    for factor, active in ((0.7, False), (1.3, True)):
        height = factor * bound * torch.sign(loc[:, :1])
        near = torch.cat([height, torch.sqrt(1 - height**2), torch.zeros_like(height)], -1)
        model, tensors = located("s2:vmf", near, narrow=-20.0)
        assert active_units(model, tensors).any().item() is active


def test_a_unit_is_active_by_its_share_of_the_priors_variance():
    model = Given("e2,h2,2s1")
    deviation = torch.tensor([0.2, 0.05, 0.01, 0.3, 0.15, 0.0])
    tensors = parameters(model.latent, 2000)
    u = deviation * torch.randn(2000, 6, generator=torch.Generator().manual_seed(0))
    tensors["x"] = torch.cat([u[:, :2], u[:, :2] * 0, u[:, 2:4], u[:, :2] * 0, u[:, 4:], u[:, :2] * 0], -1)
    assert active_units(model, tensors).tolist() == [True, False, False, True, True, False]


def test_a_learned_prior_scale_is_the_unit_of_the_units():
    torch.manual_seed(3)
    model, tensors = located("e2", 0.3 * torch.randn(1000, 2))
    assert active_units(model, tensors).all()
    model.latent = build("e2", prior_scale="learned")
    model.latent.families[0].log_prior_scale.data.fill_(math.log(10.0))
    assert not active_units(model, tensors).any()


def test_a_component_that_the_decoder_ignores_is_not_missed():
    model = Given("h2,e2,s2:vmf", ignored=(3, 4))
    tensors = {"x": 0.4 * parameters(model.latent)["x"] - 0.5}
    (own, without), reconstruction = ablation(model, tensors), bound(model, tensors).reconstruction
    assert torch.equal(own, reconstruction)
    assert torch.equal(without[:, 1], reconstruction)
    assert (without[:, [0, 2]].mean(0) < reconstruction.mean() - 1).all()


def test_a_component_at_its_prior_is_replaced_by_its_like():
    model = Given("e1,h1")
    x = parameters(model.latent, 4000)["x"]
    x[:, 0], x[:, 1] = 0.0, UNIT
    (reconstruction, without), tensors = ablation(model, {"x": x}), {"x": x}
    assert torch.equal(reconstruction, bound(model, tensors).reconstruction)
    difference = without[:, 0] - reconstruction
    assert difference.mean().abs() < 4 * difference.std() / math.sqrt(4000)
    assert not torch.equal(without[:, 0], reconstruction)


def test_equal_calls_give_equal_bits_and_leave_the_random_state_alone(make_model):
    model = make_model("h2,s2:vmf,e2")
    images = {"images": torch.randint(0, 256, (SIZE + 5, 8, 8), generator=torch.Generator().manual_seed(2)).byte()}
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    first = [*aggregate_posterior(model, images), *ablation(model, images)]
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(6)
    second = [*aggregate_posterior(model, images), *ablation(model, images)]
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_metrics_have_the_stated_keys_and_are_means(make_model):
    model = make_model("h2,2s2,e2")
    images = {"images": torch.randint(0, 256, (30, 8, 8), generator=torch.Generator().manual_seed(2)).byte()}
    found, ablated = aggregate_posterior(model, images), ablation(model, images)
    metrics = diagnostic_metrics(model.latent, active_units(model, images), found, ablated)
    assert list(metrics) == diagnostic_keys(4)
    assert metrics["test.mutual_information.2"] == pytest.approx(found.component_information[:, 2].mean().item())
    assert metrics["test.reconstruction_without.3"] == pytest.approx(ablated.without[:, 3].mean().item())
    assert metrics["test.reconstruction_with"] == pytest.approx(ablated.reconstruction.mean().item())
    assert metrics["test.active_units"] == sum(metrics[f"test.active_units.{i}"] for i in range(4))
    assert metrics["test.aggregate_n"] == 30 and metrics["test.mutual_information"] <= math.log(30)


def measured(model, tensors):
    found = aggregate_posterior(model, tensors)
    return found, diagnostic_metrics(model.latent, active_units(model, tensors), found, ablation(model, tensors))


def test_information_at_the_log_of_the_number_of_records_says_nothing_of_the_aggregate():
    """Sixty records far apart in the first component, and alike in the second."""
    model = Given("e2,h2")
    x = torch.cat([50.0 * torch.randn(60, 2, generator=torch.Generator().manual_seed(0)), torch.zeros(60, 6)], -1)
    found, metrics = measured(model, {"x": x})
    assert metrics["test.mutual_information"] == pytest.approx(math.log(60), abs=0.05)
    assert metrics["test.aggregate_kl"] is None and metrics["test.aggregate_kl.0"] is None
    assert metrics["test.aggregate_kl.1"] == pytest.approx(found.component_divergence[:, 1].mean().item())


def test_no_bound_from_above_is_above_the_kl():
    model = Given("e2")
    spread = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    for away, width, bounded in ((0.0, -3.0, True), (4.0, UNIT, False)):
        x = torch.cat([3.0 * spread if bounded else 0.3 * spread + away, torch.full((60, 2), width)], -1)
        found, metrics = measured(model, {"x": x})
        kl, above = (found.information + found.divergence).mean().item(), found.information_above.mean().item()
        assert (above > kl) is bounded
        assert metrics["test.mutual_information_above"] == pytest.approx(min(kl, above))


def test_one_record_has_no_error_and_no_bound_from_above(make_model):
    model = make_model("e2")
    image = {"images": torch.zeros(1, 8, 8, dtype=torch.uint8)}
    found = aggregate_posterior(model, image)
    assert found.information.tolist() == [0.0] and found.information_above.tolist() == [math.inf]
    metrics = diagnostic_metrics(model.latent, torch.tensor([True, False]), found, ablation(model, image))
    assert metrics["test.mutual_information_se"] is None and metrics["test.mutual_information_above"] is None


def test_an_autoencoder_has_no_diagnostics(make_model):
    model = make_model("e2", kind="autoencoder")
    image = {"images": torch.zeros(3, 8, 8, dtype=torch.uint8)}
    assert aggregate_posterior(model, image) is None and ablation(model, image) is None
    assert active_units(model, image) is None
    metrics = diagnostic_metrics(model.latent, None, None, None)
    assert metrics == dict.fromkeys(diagnostic_keys(1, autoencoder=True))
