"""Convolutions in bfloat16: rounding there, float32 everywhere else."""

import pytest
import torch
from torch import nn

from mcvae.models.conv import ConvDecoder, ConvEncoder

SHAPE, CHANNELS, DIM = (3, 16, 16), (8, 16), 6
ROUNDING = 2.0**-8  # of a bfloat16, relative


def pair(precision, seed=0):
    torch.manual_seed(seed)
    encoder = ConvEncoder(SHAPE, CHANNELS, DIM, precision)
    return encoder, ConvDecoder(DIM, CHANNELS, SHAPE, precision=precision)


@pytest.fixture
def images():
    return torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(1))


def dtypes_inside(module, x):
    """The dtype of what each layer makes, by its kind."""
    found = {}
    handles = [
        m.register_forward_hook(lambda m, _, out: found.setdefault(type(m), set()).add(out.dtype))
        for m in module.modules()
    ]
    module(x)
    for handle in handles:
        handle.remove()
    return found


def test_outputs_are_float32_and_those_of_float32_up_to_rounding(images):
    outputs = []
    for precision in (torch.float32, torch.bfloat16):
        encoder, decoder = pair(precision)
        code = encoder(images)
        outputs.append((code, decoder(code.expand(2, 5, DIM))))
    for exact, rounded in zip(*outputs, strict=True):
        assert rounded.dtype == torch.float32 and rounded.shape == exact.shape
        error = (rounded - exact).norm() / exact.norm()
        assert 0 < error < 4 * ROUNDING  # not the same code: something was rounded


def test_convolutions_alone_are_in_bfloat16(images):
    encoder, decoder = pair(torch.bfloat16)
    for module, x, convolution in ((encoder, images, nn.Conv2d), (decoder, torch.rand(5, DIM), nn.ConvTranspose2d)):
        found = dtypes_inside(module, x)
        assert found[convolution] == {torch.bfloat16}
        assert found[nn.Linear] == found[type(module)] == {torch.float32}
    assert all(p.dtype == torch.float32 for m in (encoder, decoder) for p in m.parameters())


@pytest.mark.parametrize("part", [0, 1])
def test_gradients_are_float32_finite_and_nearly_those_of_float32(part, images):
    x = images if part == 0 else torch.randn(5, DIM, generator=torch.Generator().manual_seed(2))
    found = []
    for precision in (torch.float32, torch.bfloat16):
        module = pair(precision)[part]
        output = module(x)
        weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(3))
        found.append(torch.autograd.grad((weights * output).sum(), list(module.parameters())))
    scale = max(exact.norm() for exact in found[0])
    for exact, rounded in zip(*found, strict=True):
        assert rounded.dtype == torch.float32 and rounded.isfinite().all()
        # Rounding turns some ReLUs on or off, and a bias before its channel's own norm has no gradient but noise.
        assert (rounded - exact).norm() < 0.2 * exact.norm() + 0.01 * scale


def test_what_is_around_the_convolutions_is_untouched(images):
    """The context ends with them: geometry and likelihood compute in the dtype that they are given."""
    encoder, _ = pair(torch.bfloat16)
    encoder(images)
    assert not torch.is_autocast_enabled("cpu")
    assert (torch.rand(2, 2) @ torch.rand(2, 2)).dtype == torch.float32


def test_in_float32_nothing_is_rounded_and_old_weights_fit(images):
    encoder, decoder = pair(torch.float32)
    assert torch.equal(encoder(images), encoder.layers(images))
    code = torch.rand(5, DIM)
    assert torch.equal(decoder(code), decoder.layers(code))
    names = [list(module.state_dict()) for module in pair(torch.bfloat16)]
    assert names == [list(encoder.state_dict()), list(decoder.state_dict())]
