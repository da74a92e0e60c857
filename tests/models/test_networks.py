"""The networks of faces: shapes, sizes, and what each is known for."""

import pytest
import torch
from torch import nn

from mcvae.config import Model, RunConfig, Training
from mcvae.errors import UserError
from mcvae.models import build
from mcvae.models.factory import NETWORKS, PICTURES
from mcvae.models.residual import Block
from mcvae.models.wae import WaeDecoder, WaeEncoder

STATS = {"tensors": {"images": {"shape": [9, 3, 16, 16]}}}


def config(latent="e4", **model):
    return RunConfig(
        dataset="celeba",
        data="00000000",
        protocol="standard",
        latent=latent,
        model=Model(**{"hidden": (8, 16), "likelihood": "gaussian"} | model),
        training=Training(),
        seed=0,
    )


@pytest.fixture
def images():
    return torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("likelihood", PICTURES)
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("latent", ["e4", "s3:vmf,h2"])
def test_every_network_trains_with_every_likelihood(network, likelihood, latent, images):
    torch.manual_seed(0)
    model = build(config(latent, network=network, likelihood=likelihood), STATS)
    terms = model.terms(model.prepare({"images": images}, train=True))
    terms.loss.backward()
    assert terms.loss.isfinite() and terms.reconstruction.shape == (5,)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    z = model.latent.prior().rsample((2, 5))
    pictures = model.mean(model.decode(z))
    assert pictures.shape == (2, 5, 3, 16, 16) and 0 <= pictures.min() and pictures.max() <= 1


@pytest.mark.parametrize("network", NETWORKS)
def test_a_record_does_not_depend_on_its_batch(network, images):
    torch.manual_seed(0)
    model = build(config(network=network), STATS)
    together = model.encoder(model.prepare({"images": images}).features)
    alone = model.encoder(model.prepare({"images": images[2:3]}).features)
    torch.testing.assert_close(together[2:3], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", NETWORKS)
def test_sides_that_do_not_halve_evenly_are_refused(network):
    with pytest.raises(UserError, match="5 halvings of 16x16"):
        build(config(network=network, hidden=(4,) * 5), STATS)


def test_the_wae_has_the_layers_of_the_paper():
    """Tolstikhin et al. (2018), appendix C.2: 64x64 to a code of 64, and a decoder that begins with 8x8x1024."""
    shape, channels = (3, 64, 64), (128, 256, 512, 1024)
    with torch.device("meta"):
        encoder, decoder = WaeEncoder(shape, channels, 64), WaeDecoder(64, channels, shape)
    halvings = [m for m in encoder.modules() if isinstance(m, nn.Conv2d)]
    assert [(m.out_channels, m.kernel_size, m.stride) for m in halvings] == [(c, (5, 5), (2, 2)) for c in channels]
    first = next(m for m in decoder.modules() if isinstance(m, nn.Linear))
    assert first.out_features == 8 * 8 * 1024
    doublings = [m.out_channels for m in decoder.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert doublings == [512, 256, 128]
    last = [m for m in decoder.modules() if isinstance(m, nn.Conv2d)]
    assert [(m.in_channels, m.out_channels, m.stride) for m in last] == [(128, 3, (1, 1))]
    assert decoder(torch.zeros(2, 3, 64, device="meta")).shape == (2, 3, 3, 64, 64)


@pytest.mark.parametrize(("resize", "side"), [("same", 8), ("half", 4), ("double", 16)])
@pytest.mark.parametrize("after", [4, 6])
def test_a_new_block_is_its_short_way(resize, side, after):
    """Its last convolution begins at zero."""
    torch.manual_seed(0)
    block, x = Block(4, after, resize), torch.rand(2, 4, 8, 8)
    result = block(x)
    assert result.shape == (2, after, side, side)
    if after == 4:
        torch.testing.assert_close(result.mean((2, 3)), x.mean((2, 3)))  # averages and repetitions keep the mean


def test_half_precision_stays_in_the_convolutions(images):
    torch.manual_seed(0)
    for network in NETWORKS:
        model = build(config(network=network, convolutions="bfloat16"), STATS)
        terms = model.terms(model.prepare({"images": images}))
        assert terms.loss.dtype == torch.float32 and terms.loss.isfinite()
