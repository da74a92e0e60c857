"""One model interface for all data sets and latent spaces: shapes, bounds, learning, and independence of the batch."""

import math

import pytest
import torch

from mcvae.errors import UserError
from mcvae.models import build
from mcvae.training.adam import Adam

DATASETS = ("mnist", "celeba", "qm9")
LATENTS = ("e3", "s2", "h2", "h2,s2,e2")


@pytest.fixture
def model(run_config, stats):
    def make(dataset="mnist", latent="e2", seed=0, **config):
        torch.manual_seed(seed)
        return build(run_config(dataset, latent, **config), stats(dataset))

    return make


@pytest.mark.parametrize("latent", LATENTS)
@pytest.mark.parametrize("dataset", DATASETS)
def test_the_elbo_is_reconstruction_less_kl_for_every_latent_space(dataset, latent, model, raw_batch):
    m = model(dataset, latent)
    inputs = m.prepare(raw_batch(dataset))
    terms = m.terms(inputs)
    assert terms.kl.shape == (6, len(latent.split(",")))
    torch.testing.assert_close(terms.elbo, terms.reconstruction - terms.kl.sum(-1))
    expected = -terms.elbo.mean()
    if dataset == "qm9":
        expected = expected + 10.0 * terms.property_error.mean()
    else:
        assert terms.property_error is None
    torch.testing.assert_close(terms.loss, expected)


def test_beta_weighs_the_kl_in_the_loss_alone(model, raw_batch):
    m = model("mnist", "h2,e2")
    inputs = m.prepare(raw_batch("mnist"))
    torch.manual_seed(1)
    full = m.terms(inputs)
    torch.manual_seed(1)
    half = m.terms(inputs, beta=0.5)
    torch.testing.assert_close(full.elbo, half.elbo)
    torch.testing.assert_close(half.loss, -(half.reconstruction - 0.5 * half.kl.sum(-1)).mean())


@pytest.mark.parametrize("dataset", DATASETS)
def test_decoding_takes_any_sample_dimensions(dataset, model, raw_batch):
    m = model(dataset, "h2,s2")
    inputs = m.prepare(raw_batch(dataset))
    z = m.posterior(inputs).rsample(torch.Size([3]))
    assert z.shape == (3, 6, 6)
    output = m.decode(z, inputs)
    ll = m.log_likelihood(output, inputs)
    assert ll.shape == (3, 6)
    torch.testing.assert_close(ll[1], m.log_likelihood(m.decode(z[1], inputs), inputs))
    assert m.mean(output).shape[: 2 + inputs.observed.dim() - 1] == (3, *inputs.observed.shape)


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_record_does_not_depend_on_its_batch(dataset, model, raw_batch):
    protocol = {"mnist": "threshold"}.get(dataset)
    m = model(dataset, "s3", protocol=protocol)
    batch = raw_batch(dataset)
    whole = m.prepare(batch)
    one = m.prepare({name: tensor[2:3] for name, tensor in batch.items()})
    z = m.posterior(whole).loc
    torch.testing.assert_close(z[2:3], m.posterior(one).loc)
    torch.testing.assert_close(m.decode(z, whole)[2:3], m.decode(z[2:3], one))


def test_the_elbo_bounds_the_log_likelihood_from_below(model, raw_batch):
    m = model("mnist", "e2", protocol="threshold")
    inputs = m.prepare(raw_batch("mnist"))
    with torch.no_grad():
        q = m.posterior(inputs)
        z = q.rsample(torch.Size([4000]))
        ll = m.log_likelihood(m.decode(z, inputs), inputs)
        weights = ll + (m.latent.prior().log_prob(z) - q.log_prob(z)).sum(-1)
        exact = weights.logsumexp(0) - math.log(4000)
        elbo = torch.stack([m.terms(inputs).elbo for _ in range(2000)]).mean(0)
    assert (elbo < exact).all()
    torch.testing.assert_close(elbo, weights.mean(0), atol=0.15, rtol=0)


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("latent", ("e4", "h2,s2"))
def test_the_loss_of_a_small_batch_falls(dataset, latent, model, raw_batch):
    m = model(dataset, latent)
    batch = raw_batch(dataset)
    optimizer = Adam(m.parameters())
    losses = []
    for _ in range(60):
        loss = m.terms(m.prepare(batch, train=True)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step(1e-2)
        losses.append(loss.item())
    assert sum(losses[-5:]) / 5 < losses[0] - 0.1 * abs(losses[0])


@pytest.mark.parametrize("dataset", DATASETS)
def test_an_autoencoder_has_neither_elbo_nor_kl(dataset, model, raw_batch):
    m = model(dataset, "e3", kind="autoencoder")
    inputs = m.prepare(raw_batch(dataset))
    terms = m.terms(inputs)
    assert terms.elbo is None and terms.kl is None
    point = m.posterior(inputs)
    assert torch.equal(point.rsample(torch.Size([2]))[1], point.loc)
    error = 0 if terms.property_error is None else 10.0 * terms.property_error.mean()
    torch.testing.assert_close(terms.loss, -terms.reconstruction.mean() + error)


def test_every_parameter_learns(model, raw_batch):
    for dataset in DATASETS:
        m = model(dataset, "s2,e2")
        m.terms(m.prepare(raw_batch(dataset), train=True)).loss.backward()
        idle = [name for name, p in m.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        assert not idle, (dataset, idle)


def test_dynamic_binarisation_has_the_pixel_as_its_mean(model):
    m = model("mnist")
    images = torch.arange(256, dtype=torch.uint8).repeat(20_000, 1).view(20_000, 16, 16)
    torch.manual_seed(0)
    mean = m.prepare({"images": images}).observed.mean(0).flatten()
    expected = torch.arange(256) / 255
    assert ((mean - expected).abs() <= 5 * (expected * (1 - expected) / 20_000).sqrt() + 1e-12).all()


def test_threshold_and_grey_draw_nothing(model, raw_batch):
    batch = raw_batch("mnist")
    for protocol in ("threshold", "grey"):
        m = model("mnist", protocol=protocol)
        before = torch.get_rng_state()
        observed = m.prepare(batch).observed
        assert torch.equal(before, torch.get_rng_state())
        assert ((observed > 0.5) == (batch["images"] > 127)).all()


def test_generated_sequences_end_in_padding_and_have_the_observed_shape(model, raw_batch):
    m = model("qm9", "h2")
    inputs = m.prepare(raw_batch("qm9"))
    z = m.posterior(inputs).rsample(torch.Size([2]))
    tokens = m.generate(z)
    assert tokens.shape == (2, *inputs.observed.shape)
    assert not (tokens == 1).any()
    for sequence in tokens.flatten(0, 1).tolist():
        end = sequence.index(2) if 2 in sequence else len(sequence)
        assert 0 not in sequence[:end] and set(sequence[end + 1 :]) <= {0}


def test_generation_follows_the_teacher_forced_decoder(model, raw_batch):
    m = model("qm9", "e3")
    inputs = m.prepare(raw_batch("qm9"))
    z = m.posterior(inputs).loc
    tokens = m.generate(z)
    prompt = torch.cat([torch.ones_like(tokens[:, :1]), tokens[:, :-1]], -1)
    logits = m.decode(z, inputs._replace(prompt=prompt))
    logits[..., :2] = -torch.inf
    real = tokens != 0
    assert torch.equal(logits.argmax(-1)[real], tokens[real])


def test_properties_are_standardised_and_hidden_words_are_only_for_training(model, raw_batch):
    m = model("qm9")
    batch = raw_batch("qm9", 200)
    inputs = m.prepare(batch)
    torch.testing.assert_close(inputs.targets.mean(0), torch.zeros(12), atol=1e-5, rtol=0)
    torch.testing.assert_close(inputs.targets.std(0), torch.ones(12))
    assert torch.equal(inputs.prompt[:, 1:], inputs.observed[:, :-1])
    trained = m.prepare(batch, train=True)
    assert torch.equal(trained.observed, inputs.observed)
    assert 0 < (trained.prompt != inputs.prompt).float().mean() < 0.2
    assert (trained.prompt[:, 0] == 1).all()


def test_a_sequence_decoder_without_a_prompt_says_what_to_do(model):
    m = model("qm9")
    with pytest.raises(ValueError, match="generate"):
        m.decode(torch.zeros(1, 2))


@pytest.mark.parametrize(
    ("dataset", "hidden", "word"), [("celeba", (4, 4, 4, 4), "at most 3"), ("qm9", (8,), "two widths")]
)
def test_hidden_layers_that_do_not_fit_are_one_sentence(dataset, hidden, word, model):
    with pytest.raises(UserError, match=word):
        model(dataset, hidden=hidden)


@pytest.mark.parametrize("dataset", ["mnist", "sphere"])
def test_the_activation_follows_every_hidden_layer_of_both_networks(dataset, run_config):
    """The same weights by hand, with tanh: relu is what it would be without the option."""
    own = run_config("mnist")
    networks = {}
    for activation in ("relu", "tanh"):
        options = own.model.model_copy(update={"hidden": (5, 4), "activation": activation, "likelihood": "bernoulli"})
        shape = {"tensors": {"images": {"shape": [9, 3, 3]}, "observations": {"shape": [9, 7]}}}
        protocol = "dynamic" if dataset == "mnist" else "standard"
        config = own.model_copy(update={"model": options, "dataset": dataset, "protocol": protocol})
        torch.manual_seed(0)
        networks[activation] = build(config, shape)
    for name, function in (("relu", torch.relu), ("tanh", torch.tanh)):
        for network in (networks[name].encoder, networks[name].decoder):
            linear = [layer for layer in network.layers if isinstance(layer, torch.nn.Linear)]
            x = torch.randn(2, linear[0].in_features)
            expected = linear[2](function(linear[1](function(linear[0](x)))))
            torch.testing.assert_close(network(x).flatten(1), expected)
    assert networks["relu"].state_dict().keys() == networks["tanh"].state_dict().keys()
