"""What stands on either side of a ratio does the work that it is said to do."""

import math

import numpy as np
import pytest
import torch
from scipy import special
from torch.utils.flop_counter import FlopCounterMode

from mcvae.bench import gpu, likelihood, memory, peers, usual
from mcvae.bench.records import shifted
from mcvae.bench.steps import Bench, configuration, epoch, linear_shapes, matrix_products, products, steps
from mcvae.errors import UserError
from mcvae.evaluation import log_likelihood
from mcvae.training.fit import initial_state


@pytest.fixture(scope="module")
def bench(digits, tiny):
    return Bench(digits, tiny)


def model_of(bench, latent, **options):
    return initial_state(configuration(latent, **options), bench.dataset.stats, "cpu").model


def flops(run):
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


@pytest.mark.parametrize("latent", ["e5", "h2,s2,e2"])
def test_the_bare_products_are_those_of_a_training_step(latent, bench):
    model = model_of(bench, latent)
    batch = {"images": bench.dataset.split("train")["images"][:128]}
    ours = flops(lambda: model.terms(model.prepare(batch, train=True)).loss.backward())
    assert flops(products(bench, latent).run) == ours


def test_the_bare_products_forward_are_those_of_the_decoder(bench):
    model = model_of(bench, "e5")
    images = {"images": bench.dataset.split("test")["images"][:16]}
    with likelihood.decoder_products(model) as made:
        whole = flops(lambda: log_likelihood(model, images, samples=4))
    encoder = flops(lambda: model.encoder(torch.zeros(16, 28, 28)))
    assert flops(likelihood.products(made, "cpu")) == whole - encoder
    assert sum(rows for rows, _, outputs in made if outputs == 784) >= 16 * 4
    before = len(made)
    model.decode(torch.zeros(1, 5))
    assert len(made) == before


def test_products_compute_what_a_linear_layer_and_its_backward_do():
    assert linear_shapes(torch.nn.ModuleDict({"encoder": torch.nn.Linear(3, 2), "decoder": torch.nn.Linear(2, 3)})) == [
        (3, 2),
        (2, 3),
    ]
    run = matrix_products([(3, 2), (2, 3)], 4, "cpu")
    jobs = next(cell.cell_contents for cell in run.__closure__ if isinstance(cell.cell_contents, list))
    run()
    assert len(jobs) == 5  # the pixels need no gradient
    for left, right, out in jobs:
        torch.testing.assert_close(out, left @ right)


def test_a_step_trains_and_an_epoch_sees_every_record(bench, monkeypatch):
    seen = []
    monkeypatch.setattr("mcvae.bench.steps.train_epoch", lambda state, train, *rest: seen.append(len(train["images"])))
    for contender, records, units in ((steps(bench, "e5", batch=64), 64, 1), (epoch(bench, "e5"), 300, 1)):
        contender.run()
        assert seen.pop() == records and contender.units == units


def test_training_steps_change_the_weights(bench, monkeypatch):
    from mcvae.bench import steps as module

    states = []
    monkeypatch.setattr(
        module, "initial_state", lambda *arguments: states.append(initial_state(*arguments)) or states[-1]
    )
    contender = steps(bench, "e5")
    before = [p.detach().clone() for p in states[0].model.parameters()]
    contender.run()
    assert all(not torch.equal(a, b) for a, b in zip(before, states[0].model.parameters(), strict=True))


@pytest.mark.parametrize("ambient", [3, 6, 21])
def test_the_usual_von_mises_fisher_is_one(ambient):
    torch.manual_seed(0)
    kappa = 7.0
    loc = torch.nn.functional.normalize(torch.randn(ambient), dim=-1).expand(20_000, ambient)
    q = usual.RejectionVonMisesFisher(loc, torch.full((20_000, 1), kappa))
    z = q.rsample()
    torch.testing.assert_close(z.norm(dim=-1), torch.ones(20_000), atol=1e-4, rtol=0)
    cosine = (z * loc).sum(-1).double()
    exact = special.ive(ambient / 2, kappa) / special.ive(ambient / 2 - 1, kappa)
    assert abs(cosine.mean() - exact) < 4 * cosine.std() / math.sqrt(20_000)


@pytest.mark.parametrize("ambient", [3, 6, 21])
def test_the_usual_divergence_and_its_gradient_are_right(ambient):
    v, kappa = ambient / 2 - 1, torch.tensor([[0.7], [7.0], [70.0]], dtype=torch.float64, requires_grad=True)
    q = usual.RejectionVonMisesFisher(torch.eye(ambient, dtype=torch.float64)[:1].expand(3, -1), kappa)

    def exact(x):
        log_constant = v * np.log(x) - (v + 1) * np.log(2 * np.pi) - np.log(special.ive(v, x)) - x
        log_area = np.log(2) + (v + 1) * np.log(np.pi) - special.gammaln(v + 1)
        return x * special.ive(v + 1, x) / special.ive(v, x) + log_constant + log_area

    x = kappa.detach().numpy().ravel()
    divergence = q.kl_uniform()
    np.testing.assert_allclose(divergence.detach().numpy(), exact(x), rtol=1e-9)
    (gradient,) = torch.autograd.grad(divergence.sum(), kappa)
    np.testing.assert_allclose(
        gradient.numpy().ravel(), (exact(x * 1.00001) - exact(x * 0.99999)) / (2e-5 * x), rtol=1e-5
    )


@pytest.mark.parametrize("spherical", [False, True])
def test_the_usual_loop_learns(spherical, bench):
    torch.manual_seed(0)
    run = usual.epoch(bench, 5, spherical=spherical).run
    first = run()
    for _ in range(15):
        last = run()
    assert last < 0.6 * first


@pytest.mark.parametrize("name, latent", list(peers.PEERS.items()))
def test_the_peer_has_the_same_network(name, latent, bench):
    pytest.importorskip("pythae")
    theirs = peers.network(name)
    count = sum(p.numel() for p in theirs.parameters() if p.requires_grad)
    assert count == sum(p.numel() for p in model_of(bench, latent).parameters())


def test_our_bound_and_theirs_are_of_one_objective(bench):
    """With the same weights, pythae's VAE and ours have the same grey bound, up to the draw of z."""
    pytest.importorskip("pythae")
    model, theirs = model_of(bench, "e5", protocol="grey"), peers.network("VAE")
    linear = [m for part in (model.encoder, model.decoder) for m in part.modules() if isinstance(m, torch.nn.Linear)]
    hidden, decoder = theirs.encoder.hidden[0], theirs.decoder.layers[0]
    with torch.no_grad():
        for target, source in ((hidden[0], linear[0]), (hidden[2], linear[1]), (decoder[0], linear[3])):
            target.load_state_dict(source.state_dict())
        for target, source in ((decoder[2], linear[4]), (decoder[4], linear[5])):
            target.load_state_dict(source.state_dict())
        # Scales without a dependence on x: ours are softplus(b) + 1e-5, theirs exp(b/2).
        linear[2].weight[5:] = 0.0
        linear[2].bias[5:] = 0.3
        theirs.encoder.loc.weight.copy_(linear[2].weight[:5])
        theirs.encoder.loc.bias.copy_(linear[2].bias[:5])
        theirs.encoder.spread.weight.zero_()
        theirs.encoder.spread.bias.fill_(2 * math.log(math.log1p(math.exp(0.3)) + 1e-5))
    torch.manual_seed(0)
    images = {"images": bench.dataset.split("test")["images"].repeat(20, 1, 1)}
    from mcvae.training.loop import validate

    ours = validate(model, images).means(1.0, 0.0)["elbo"]
    assert peers._their_bound(theirs, images["images"].flatten(1) / 255) == pytest.approx(ours, rel=1e-3)


def test_the_flops_of_a_face_model_are_counted(bench):
    from mcvae.config import RunConfig
    from mcvae.models import build
    from mcvae.options import Model, Training

    config = RunConfig(
        dataset="celeba", data="00000000", protocol="standard", latent="e4", seed=0,
        model=Model(hidden=(4,), likelihood="gaussian"), training=Training(),
    )  # fmt: skip
    model = build(config, {"tensors": {"images": {"shape": [1, 3, 8, 8]}}})
    assert gpu.forward_flops(model, torch.zeros(1, 3, 8, 8, dtype=torch.uint8)) > 0


def test_digits_are_repeated_and_shifted_whole():
    source = np.zeros((3, 28, 28), np.uint8)
    source[:, 4:24, 4:24] = np.random.default_rng(1).integers(1, 255, (3, 20, 20))
    images, labels = shifted(source, np.arange(3, dtype=np.uint8), 200, np.random.default_rng(0))
    assert images.shape == (200, 28, 28) and labels.tolist() == [i % 3 for i in range(200)]
    assert (images.sum((1, 2), dtype=np.int64) == source.sum((1, 2), dtype=np.int64)[labels]).all()
    assert len({image.tobytes() for image in images}) > 100


def test_a_process_of_its_own_tells_its_memory(bench):
    result = memory.child("import", str(bench.dataset.folder / "images.npy"))
    assert result["peak"] > 5e7
    assert memory.held("VmHWM") >= memory.held("VmRSS") > 0
    with pytest.raises(UserError, match=r"measures memory \(nothing\) failed: KeyError: 'nothing'"):
        memory.child("nothing")
