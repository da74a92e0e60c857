"""Laws of the bound and the importance-sampled log-likelihood, on a linear-Gaussian model whose log p(x) is known."""

import math
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch.distributions import Independent, MultivariateNormal, Normal

from mcvae.evaluation import likelihood
from mcvae.evaluation.blocks import SIZE, locations
from mcvae.evaluation.likelihood import bound, bound_metrics, likelihood_metrics, log_likelihood

DIM, PIXELS, NOISE = 3, 8, 0.7


class Q(NamedTuple):
    loc: torch.Tensor
    scale: torch.Tensor

    @property
    def _base(self):
        return Normal(self.loc, self.scale)

    def rsample(self, shape=()):
        return self._base.rsample(torch.Size(shape))

    def log_prob(self, z):
        return self._base.log_prob(z)


class LinearGaussian(nn.Module):
    """z ~ N(0, 1), x | z ~ N(W z, σ²); q has the true mean, and ``widen`` times the scale of a mean-field posterior."""

    kind = "vae"

    def __init__(self, widen: float = 1.3, correlated: bool = True):
        super().__init__()
        weight = torch.randn(PIXELS, DIM, generator=torch.Generator().manual_seed(3))
        if not correlated:
            weight = torch.linalg.qr(weight)[0]
        self.weight = nn.Parameter(weight)
        self.widen = widen
        self.latent = SimpleNamespace(prior=lambda: Normal(torch.zeros(DIM), torch.ones(DIM)))

    def prepare(self, batch, train=False):
        x = batch["x"]
        return x + (torch.rand(x.shape) - 0.5) if batch.get("dynamic") is not None else x

    def posterior(self, x):
        precision = torch.eye(DIM) + self.weight.T @ self.weight / NOISE**2
        loc = torch.linalg.solve(precision, self.weight.T @ x.T / NOISE**2).T
        return Q(loc, self.widen * precision.diagonal().rsqrt().expand_as(loc))

    def decode(self, z, inputs=None):
        return z @ self.weight.T

    def log_likelihood(self, output, x):
        return Independent(Normal(output, NOISE), 1).log_prob(x)

    def terms(self, x, beta=1.0):
        q = self.posterior(x)
        z = q.rsample()
        reconstruction = self.log_likelihood(self.decode(z), x)
        kl = (q.scale**2 + q.loc**2 - 1).div(2) - q.scale.log()
        return SimpleNamespace(elbo=reconstruction - kl.sum(-1), reconstruction=reconstruction, kl=kl)

    def log_evidence(self, x):
        covariance = self.weight @ self.weight.T + NOISE**2 * torch.eye(PIXELS)
        return MultivariateNormal(torch.zeros(PIXELS), covariance).log_prob(x)


@pytest.fixture
def records():
    generator = torch.Generator().manual_seed(0)
    model = LinearGaussian()
    z = torch.randn(300, DIM, generator=generator)
    return {"x": (z @ model.weight.T).detach() + NOISE * torch.randn(300, PIXELS, generator=generator)}


def test_log_likelihood_agrees_with_the_evidence_within_its_error(records):
    model = LinearGaussian()
    result = log_likelihood(model, records, samples=2000)
    z = (result.value - model.log_evidence(records["x"]).detach()) / result.se
    assert abs(z.mean()) < 4 / math.sqrt(len(z)) + 0.1  # the bias of order 1/S is what the 0.1 allows
    assert 0.8 < z.std() < 1.2
    assert (result.ess > 100).all() and (result.ess <= 2000 * (1 + 1e-9)).all()


def test_log_likelihood_with_the_true_posterior_has_no_error(records):
    model = LinearGaussian(widen=1.0, correlated=False)  # orthogonal W: the posterior factorises, all weights are equal
    result = log_likelihood(model, records, samples=50)
    torch.testing.assert_close(result.value.float(), model.log_evidence(records["x"]).detach(), atol=1e-4, rtol=0)
    assert result.se.max() < 1e-5
    torch.testing.assert_close(result.ess, torch.full_like(result.ess, 50))


def test_log_likelihood_grows_with_the_samples_from_the_elbo_to_the_evidence(records):
    model = LinearGaussian(widen=1.8)
    evidence = model.log_evidence(records["x"]).mean().item()
    elbo = bound(model, records, samples=64).elbo.mean().item()
    means = [log_likelihood(model, records, samples=s).value.mean().item() for s in (4, 32, 512)]
    assert elbo < means[0] < means[1] < means[2] < evidence + 0.02
    one = log_likelihood(model, records, samples=1)
    assert abs(one.value.mean().item() - elbo) < 4 * one.value.std().item() / math.sqrt(300)
    assert one.se.isnan().all()


def test_chunks_do_not_change_the_estimate(records):
    model = LinearGaussian()
    whole = log_likelihood(model, records, samples=70, decoder_bytes=2**40)
    single = log_likelihood(model, records, samples=70, decoder_bytes=1)
    for a, b in zip(whole, single, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_pieces_of_records_do_not_change_the_estimate_of_a_model(make_model):
    model = make_model("h2,e1")
    images = {"images": torch.randint(0, 256, (SIZE + 5, 8, 8), generator=torch.Generator().manual_seed(2)).byte()}
    whole = log_likelihood(model, images, samples=40, decoder_bytes=2**40)
    for decoder_bytes in (1, 64 * 4 * 30):  # a record, and 30 records at a time
        pieces = log_likelihood(model, images, samples=40, decoder_bytes=decoder_bytes)
        torch.testing.assert_close(pieces.value, whole.value, atol=1e-4, rtol=0)
        torch.testing.assert_close(pieces.pareto_k, whole.pareto_k, atol=1e-3, rtol=0)


def test_a_posterior_that_is_too_narrow_is_told_by_the_tail_of_its_weights(records):
    wide, narrow = (
        likelihood_metrics(log_likelihood(LinearGaussian(widen), records, samples=500), 500) for widen in (1.3, 0.4)
    )
    assert wide["test.ll_pareto_k"] < 0.5 and wide["test.ll_pareto_k_high"] < 0.05
    assert narrow["test.ll_pareto_k"] > 0.65 and narrow["test.ll_pareto_k_high"] > 0.6
    few = likelihood_metrics(log_likelihood(LinearGaussian(), records, samples=20), 20)
    assert few["test.ll_pareto_k"] is None and few["test.ll_pareto_k_high"] is None


def test_running_sum_is_logsumexp_in_any_order_of_magnitude():
    generator = torch.Generator().manual_seed(1)
    log_weight = 300 * torch.randn(40, 7, generator=generator, dtype=torch.float64) - 5000
    log_weight[:10, 0] = -torch.inf
    log_weight[20:, 1] = -torch.inf
    running = likelihood._RunningSum()
    for part in log_weight.split(10):
        running.add(part)
    value, se, ess = running.result()
    torch.testing.assert_close(value, log_weight.logsumexp(0) - math.log(40))
    weight = (log_weight - log_weight.amax(0)).exp()
    torch.testing.assert_close(se, weight.std(0) / math.sqrt(40) / weight.mean(0))
    torch.testing.assert_close(ess, weight.sum(0) ** 2 / (weight**2).sum(0))


def test_running_sum_reports_impossible_and_broken_records_as_such():
    running = likelihood._RunningSum()
    running.add(torch.tensor([[-torch.inf, torch.nan, 0.0], [-torch.inf, 0.0, 0.0]]))
    running.add(torch.tensor([[-torch.inf, 0.0, 0.0], [-torch.inf, 0.0, 0.0]]))
    value = running.result()[0]
    assert value[0] == -torch.inf and value[1].isnan() and value[2].abs() < 1e-7


def test_equal_calls_give_equal_bits_and_leave_the_random_state_alone(records):
    model = LinearGaussian()
    dynamic = {**records, "dynamic": torch.ones(300)}
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    first = log_likelihood(model, dynamic, samples=25), bound(model, dynamic), locations(model, dynamic)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(6)
    second = log_likelihood(model, dynamic, samples=25), bound(model, dynamic), locations(model, dynamic)
    for a, b in zip([*first[0], *first[1], first[2]], [*second[0], *second[1], second[2]], strict=True):
        assert torch.equal(a, b)


def test_every_measure_sees_the_same_binarisation_and_blocks_differ(records):
    seen = []

    class Spy(LinearGaussian):
        def posterior(self, x):
            seen.append(x)
            return super().posterior(x)

    model = Spy()
    same = {"x": torch.zeros(2 * SIZE, PIXELS), "dynamic": torch.ones(2 * SIZE)}
    log_likelihood(model, same, samples=2)
    bound(model, same, samples=3)
    assert torch.equal(seen[0], seen[2]) and torch.equal(seen[1], seen[-1])
    assert not torch.equal(seen[0], seen[1])


def test_standard_error_of_the_mean_is_the_spread_of_repeated_test_sets():
    model = LinearGaussian()
    generator = torch.Generator().manual_seed(7)
    z = torch.randn(60, 200, DIM, generator=generator)
    x = (z @ model.weight.T).detach() + NOISE * torch.randn(60, 200, PIXELS, generator=generator)
    metrics = [likelihood_metrics(log_likelihood(model, {"x": part}, samples=8), 8) for part in x]
    means = torch.tensor([m["test.ll"] for m in metrics])
    stated = torch.tensor([m["test.ll_se"] for m in metrics]).mean()
    assert 0.75 < means.std() / stated < 1.25
    assert all(0 < m["test.ll_mc_se"] < m["test.ll_se"] for m in metrics)


def test_bound_is_reconstruction_minus_kl_and_its_components_add_up(records):
    metrics = bound_metrics(bound(LinearGaussian(), records))
    assert metrics["test.elbo"] == pytest.approx(metrics["test.reconstruction"] - metrics["test.kl"], abs=1e-5)
    assert metrics["test.kl"] == pytest.approx(sum(metrics[f"test.kl.{i}"] for i in range(DIM)), abs=1e-5)
