"""Laws of the quadrature: mass one on every surface, the closed form of a linear model, importance sampling's limit."""

import math
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal

from mcvae.evaluation.likelihood import log_likelihood
from mcvae.evaluation.quadrature import (
    QUADRATURE_KEYS,
    Quadrature,
    grid,
    has_quadrature,
    integrated,
    quadrature,
    quadrature_metrics,
)
from mcvae.latent import build
from mcvae.models import VAE
from mcvae.models.inputs import Inputs
from mcvae.models.likelihoods import Bernoulli, RealGaussian
from mcvae.signature import parse

SPACES = "e2 s2 s2:vmf s2:ps s2:rn d2 h2 h2:rn p2 p2:rn u2:k=-0.6 u2:k=0.8 h2:k=-4 s2:vmf:k=3 s2:learn e2:iso".split()
PIXELS, NOISE, RECORDS = 12, 0.4, 60


class Given(nn.Module):
    """Records come with the parameters of their posterior: ``x`` [B, PIXELS] and ``parameters``."""

    def forward(self, batch, train):
        return Inputs(batch["x"], batch["parameters"])


class Plain(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, code, prompt=None):
        return self.network(code)


def vae(space, likelihood, hidden=(), **options):
    latent = build(space, **options)
    torch.manual_seed(0)
    widths = [latent.decoder_dim, *hidden, PIXELS]
    layers = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.Tanh())][:-1]
    model = VAE(latent, nn.Identity(), Plain(nn.Sequential(*layers)), likelihood, Given()).eval()
    return model.requires_grad_(False)


def flat():
    """x ~ N(W z + b, s²), and the exact posteriors of records drawn from it, with the evidence's distribution."""
    model = vae("e2", RealGaussian(1, NOISE))
    (linear,) = model.decoder.network
    weight, bias = linear.weight.double(), linear.bias.double()
    evidence = MultivariateNormal(bias, weight @ weight.T + NOISE**2 * torch.eye(PIXELS))
    x = evidence.sample((RECORDS,))
    precision = torch.eye(2) + weight.T @ weight / NOISE**2
    loc = torch.linalg.solve(precision, weight.T @ (x - bias).T / NOISE**2).T
    scale = precision.diagonal().rsqrt().expand_as(loc)
    records = {"x": x.float(), "parameters": torch.cat([loc, scale.expm1().log()], -1).float()}
    return model, records, evidence.log_prob(x)


def bent(space, likelihood=None, narrow=0.3):
    """A model with a hidden layer, and records that it decodes from draws of the prior, with rough posteriors."""
    model = vae(space, likelihood or Bernoulli(1), hidden=(16,))
    for parameter in model.decoder.parameters():
        parameter.mul_(3.0)
    (manifold,), (prior,) = model.latent.manifold.factors, model.latent.prior().parts
    z = prior.rsample((RECORDS,))
    x = torch.bernoulli(model.mean(model.decode(z.flatten(1))))
    if model.latent.signature.components[0].family in ("vmf", "ps"):
        parameters = torch.cat([z.flatten(1), torch.full((RECORDS, 1), narrow**-2)], -1)
    else:
        raw = torch.full((RECORDS, model.latent.parameter_dim - 2), math.log(math.expm1(narrow)))
        parameters = torch.cat([manifold.logmap0(z).flatten(1), raw], -1)
    return model, {"x": x, "parameters": parameters}


@pytest.mark.parametrize("space", SPACES)
def test_the_prior_has_mass_one_on_the_grid(space):
    nodes = grid(vae(space, Bernoulli(1)), 0.25, 5.5, 3.0, 10**6)
    assert nodes.log_weight.exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_a_single_branch_lacks_the_mass_beyond_the_injectivity_radius_and_is_not_given(caplog):
    model, records = bent("s2")
    model.latent = build("s2", principal=True)
    found = quadrature(model, records)
    assert found.mass == pytest.approx(-math.expm1(-(math.pi**2) / 2), abs=1e-5)  # of Rayleigh's law
    metrics = quadrature_metrics(found)
    assert metrics["test.ll_quadrature"] is None and metrics["test.ll_quadrature_mass"] == found.mass
    assert "test.ll_quadrature is null" in caplog.text


def test_a_linear_gaussian_model_has_its_closed_form():
    model, records, evidence = flat()
    found = quadrature(model, records)
    torch.testing.assert_close(found.value, evidence, atol=2e-3, rtol=0)
    metrics = quadrature_metrics(found)
    assert list(metrics) == list(QUADRATURE_KEYS)
    assert metrics["test.ll_quadrature"] == pytest.approx(evidence.mean().item(), abs=5e-4)
    assert metrics["test.ll_quadrature_n"] == RECORDS and metrics["test.ll_quadrature_error"] < 0.01


def test_the_error_bounds_what_a_coarse_grid_does_not_see():
    model, records, evidence = flat()
    wide = records | {"parameters": records["parameters"] + torch.tensor([0.0, 0.0, 1.5, 1.5])}
    found = quadrature(model, wide)
    metrics = quadrature_metrics(found)
    wrong = (found.value - evidence).abs().mean().item()
    assert 0.05 < wrong < 2 * metrics["test.ll_quadrature_error"]
    assert metrics["test.ll_quadrature"] is None and metrics["test.ll_quadrature_error"] > 0.05


FULL = [pytest.param(space, marks=pytest.mark.full) for space in ("e2", "s2", "d2", "s2:ps:k=2", "u2:k=-0.7", "p2:rn")]


@pytest.mark.parametrize("space", ["s2:vmf", "h2", *FULL])
def test_importance_sampling_agrees_within_its_error(space):
    """With the widest posteriors, about the prior's, whose weights are bounded: their errors can be trusted."""
    model, records = bent(space)
    records = {name: each[:20] for name, each in records.items()}
    widest = torch.zeros_like(records["parameters"])
    widest[:, model.latent.parameter_dim - model.latent.families[0].widths[-1] :] = math.log(math.expm1(1 - 1e-5))
    if model.latent.signature.components[0].family in ("vmf", "ps"):
        widest[:, -1] = -20.0  # a concentration of 1
    found = quadrature(model, records)
    sampled = log_likelihood(model, records | {"parameters": widest}, samples=20_000)
    z = (sampled.value - found.value) / sampled.se
    assert z.abs().max() < 4.0 and quadrature_metrics(found)["test.ll_quadrature"] is not None


def test_likelihoods_that_are_not_linear_in_the_record_are_integrated_as_they_are():
    model, records = bent("h2")
    observed, nodes = [records["x"][:9]], grid(model, 0.5, 4.0, 4.0, 10**5)
    fast = integrated(model, nodes, observed)
    model.likelihood = type("Other", (nn.Module,), {"forward": lambda _, output, x: Bernoulli(1)(output, x)})()
    torch.testing.assert_close(integrated(model, nodes, observed), fast, atol=1e-4, rtol=0)


def test_grids_keep_to_their_nodes_and_error_grows(monkeypatch):
    model, records = bent("h2", narrow=0.05)
    monkeypatch.setattr("mcvae.evaluation.quadrature.MOST_NODES", 3000)
    few = quadrature(model, records)
    monkeypatch.setattr("mcvae.evaluation.quadrature.MOST_NODES", 60_000)
    many = quadrature(model, records)
    assert few.nodes <= 3000 < many.nodes <= 60_000
    assert (few.value - few.coarse).abs().mean() > (many.value - many.coarse).abs().mean()


def test_records_in_groups_and_equal_calls_give_equal_bits(monkeypatch):
    model, records = bent("s2:vmf")
    records = {name: torch.cat([each] * 5) for name, each in records.items()}  # three blocks
    state = torch.random.get_rng_state()
    first = quadrature(model, records)
    assert torch.equal(first.value, quadrature(model, records).value)
    assert torch.equal(torch.random.get_rng_state(), state)
    monkeypatch.setattr("mcvae.evaluation.quadrature.RECORD_BYTES", 1)
    monkeypatch.setattr("mcvae.evaluation.quadrature.OUTPUT_BYTES", 1000)
    torch.testing.assert_close(quadrature(model, records).value, first.value, atol=1e-5, rtol=0)


def test_numbers_that_are_none_are_never_given():
    nothing = Quadrature(torch.tensor([math.nan]), torch.tensor([0.0]), 1.0, 5)
    assert quadrature_metrics(nothing)["test.ll_quadrature"] is None


@pytest.mark.parametrize(
    ("latent", "kind", "dataset", "answer"),
    [
        *((space, "vae", "mnist", True) for space in ("e2", "s2:vmf", "u2:learn", "p2:k=-3")),
        *((space, "vae", "mnist", False) for space in ("e3", "2s2", "e1,h1", "2h1", "s1")),
        ("e2", "autoencoder", "mnist", False),
        ("e2", "vae", "qm9", False),
        ("e2", "vae", "celeba", True),
    ],
)
def test_one_component_of_two_dimensions_is_integrated(latent, kind, dataset, answer):
    config = SimpleNamespace(signature=parse(latent), model=SimpleNamespace(kind=kind), dataset=dataset)
    assert has_quadrature(config) is answer
