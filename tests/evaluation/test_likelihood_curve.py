"""Laws of the bound against the number of samples: from the ELBO upwards, at the draws of the log-likelihood."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, Normal

from mcvae.evaluation.blocks import SIZE
from mcvae.evaluation.likelihood import curve_keys, curve_metrics, likelihood_curve, log_likelihood
from mcvae.latent import build

DIM, PIXELS, NOISE = 2, 5, 0.7
SIZES = (1, 5, 10, 50, 100)


class LinearGaussian(nn.Module):
    """z ~ N(0, 1), x | z ~ N(W z, 0.7²), and a posterior of the prior's width about a shrunken z."""

    kind = "vae"

    def __init__(self):
        super().__init__()
        self.latent = build(f"e{DIM}")
        self.weight = nn.Parameter(torch.randn(PIXELS, DIM, generator=torch.Generator().manual_seed(3)))

    def prepare(self, batch, train=False):
        return batch["x"]

    def posterior(self, x):
        loc = torch.linalg.lstsq(self.weight, x.T).solution.T
        return self.latent.posterior(torch.cat([0.8 * loc, torch.full_like(loc, 0.1)], -1))

    def decode(self, z, inputs=None):
        return z @ self.weight.T

    def log_likelihood(self, output, x):
        return Normal(output, NOISE).log_prob(x).sum(-1)

    def log_evidence(self, x):
        covariance = self.weight @ self.weight.T + NOISE**2 * torch.eye(PIXELS)
        return MultivariateNormal(torch.zeros(PIXELS), covariance).log_prob(x)

    def elbo(self, x):
        """In closed form."""
        q = self.posterior(x)
        scale = q.parts[0].scale.reshape(len(x), DIM)
        loc = q.loc
        kl = (0.5 * (scale**2 + loc**2 - 1) - scale.log()).sum(-1)
        spread = (scale**2 @ self.weight.square().T).sum(-1)
        return self.log_likelihood(loc @ self.weight.T, x) - spread / (2 * NOISE**2) - kl


@pytest.fixture(scope="module")
def model():
    return LinearGaussian().requires_grad_(False)


@pytest.fixture(scope="module")
def records(model):
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(SIZE + 70, DIM, generator=generator)
    return {"x": z @ model.weight.T + NOISE * torch.randn(len(z), PIXELS, generator=generator)}


def test_one_sample_is_the_elbo_and_many_are_the_evidence(model, records):
    curve = likelihood_curve(model, records, samples=(1, 2000))
    error = (curve.se.square().sum(0).sqrt() / len(curve.value)).tolist()
    assert curve.value[:, 0].mean() == pytest.approx(model.elbo(records["x"]).mean().item(), abs=4 * error[0])
    evidence = model.log_evidence(records["x"]).mean().item()
    assert curve.value[:, 1].mean() == pytest.approx(evidence, abs=4 * error[1] + 2e-3)  # a bias of order 1/S
    z = (curve.value[:, 0] - model.elbo(records["x"])) / curve.se[:, 0]
    assert 0.85 < z.std() < 1.15


def test_no_record_falls_where_sizes_divide_each_other(model, records, make_model):
    images = {"images": torch.randint(0, 256, (20, 8, 8), generator=torch.Generator().manual_seed(2)).byte()}
    for curve in (
        likelihood_curve(model, records, samples=SIZES),
        likelihood_curve(make_model("h2,s2:vmf,e1"), images, samples=SIZES),
    ):
        assert (curve.value.diff(dim=-1) >= -1e-9).all()
        assert curve.value[:, -1].mean() > curve.value[:, 0].mean() + 0.05


@pytest.mark.parametrize("latent", ["e2", "h2:rn,2s2:vmf"])
def test_the_largest_number_of_samples_is_the_log_likelihood(latent, make_model):
    built = make_model(latent)
    images = {"images": torch.randint(0, 256, (SIZE + 3, 8, 8), generator=torch.Generator().manual_seed(2)).byte()}
    curve = likelihood_curve(built, images, samples=(3, 70))
    whole = log_likelihood(built, images, samples=70)
    torch.testing.assert_close(curve.value[:, 1], whole.value, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(curve.se[:, 1], whole.se, rtol=1e-9, atol=1e-12)
    first = likelihood_curve(built, images, samples=(64, 70)).value[:, 0]  # two whole batches of draws
    torch.testing.assert_close(first, log_likelihood(built, images, samples=64).value)


def test_points_of_the_curve_do_not_depend_on_where_it_ends(model, records):
    short, long = (likelihood_curve(model, records, samples=sizes) for sizes in ((10, 20), (10, 1000)))
    error = (short.se[:, 0].square() + long.se[:, 0].square()).sum().sqrt() / len(short.value)
    assert short.value[:, 0].mean() == pytest.approx(long.value[:, 0].mean().item(), abs=4 * error.item())
    assert long.se[:, 0].mean() < 0.3 * short.se[:, 0].mean()


def test_standard_errors_are_the_spread_of_repeated_records(model, records):
    same = {"x": records["x"][:1].expand(600, -1)}
    curve = likelihood_curve(model, same, samples=(1, 7, 40, 200))
    ratio = curve.se.square().mean(0).sqrt() / curve.value.std(0)
    assert ((ratio > 0.85) & (ratio < 1.15)).all()


def test_sizes_are_sorted_and_equal_calls_give_equal_bits(model, records):
    torch.manual_seed(4)
    state = torch.random.get_rng_state()
    first = likelihood_curve(model, records, samples=(50, 1, 10, 10))
    assert torch.equal(torch.random.get_rng_state(), state)
    second = likelihood_curve(model, records, samples=(1, 10, 50), decoder_bytes=2**30)
    assert first.samples == second.samples == (1, 10, 50)
    torch.testing.assert_close(first.value, second.value, rtol=1e-5, atol=1e-5)
    third = likelihood_curve(model, records, samples=(1, 10, 50))
    assert torch.equal(first.value, third.value) and torch.equal(first.se, third.se)


def test_metrics_are_means_with_the_error_of_the_draws(model, records):
    curve = likelihood_curve(model, records, samples=(1, 50))
    metrics = curve_metrics(curve, (1, 50))
    assert list(metrics) == curve_keys((50, 1))
    n = len(records["x"])
    assert metrics["test.ll@50"] == pytest.approx(curve.value[:, 1].mean().item())
    assert metrics["test.ll@50_mc_se"] == pytest.approx(math.sqrt((curve.se[:, 1] ** 2).sum()) / n)
    assert metrics["test.ll_curve_n"] == n
    alone = curve_metrics(likelihood_curve(model, records, samples=(1,)), (1,))
    assert alone["test.ll@1_mc_se"] is None and alone["test.ll@1"] is not None


def test_an_autoencoder_has_no_curve_and_sizes_are_checked(make_model, model, records):
    built = make_model("e2", kind="autoencoder")
    assert likelihood_curve(built, records, samples=(1, 5)) is None
    assert curve_metrics(None, (1, 5)) == dict.fromkeys(curve_keys((1, 5)))
    for wrong in ((), (0, 5)):
        with pytest.raises(ValueError, match="samples"):
            likelihood_curve(model, records, samples=wrong)
