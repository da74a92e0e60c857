"""From a run's configuration and the prepared data's ``stats.json`` to a model: one function a data set, in a table."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from .. import latent as latents
from ..config import RunConfig
from ..datasets import CONTROLS
from ..errors import UserError
from .autoencoder import Autoencoder
from .base import Model
from .conv import ConvDecoder, ConvEncoder
from .gyroplane import GyroplaneLayer
from .inputs import DynamicBinary, Grey, MixedBinary, Molecules, Observations, StaticBinary, ThresholdBinary
from .likelihoods import Bernoulli, Categorical, Gaussian, RealGaussian
from .mlp import FirstLayer, MLPDecoder, MLPEncoder, mlp
from .sequence import SequenceDecoder, SequenceEncoder
from .vae import VAE

KINDS: dict[str, type[Model]] = {"vae": VAE, "autoencoder": Autoencoder}
PIXELS: dict[str, type[nn.Module]] = {
    "dynamic": DynamicBinary,
    "threshold": ThresholdBinary,
    "mixed": MixedBinary,
    "grey": Grey,
    "static": StaticBinary,
}


def _shape(stats: Mapping[str, Any], tensor: str) -> list[int]:
    """Shape of one record."""
    return list(stats["tensors"][tensor]["shape"][1:])


def _mnist(
    config: RunConfig, stats: Mapping[str, Any], encoder_dim: int, decoder_dim: int, first: FirstLayer
) -> dict[str, Any]:
    shape, hidden = _shape(stats, "images"), config.model.hidden
    return {
        "encoder": MLPEncoder(shape, hidden, encoder_dim),
        "decoder": MLPDecoder(decoder_dim, hidden, shape, first),
        "likelihood": Bernoulli(len(shape)),
        "protocol": PIXELS[config.protocol](),
    }


def _celeba(
    config: RunConfig, stats: Mapping[str, Any], encoder_dim: int, decoder_dim: int, first: FirstLayer
) -> dict[str, Any]:
    shape, channels = _shape(stats, "images"), config.model.hidden
    if not channels:
        raise UserError("hidden []: a convolutional model needs at least one layer, such as [32, 64]")
    precision = getattr(torch, config.model.convolutions)
    return {
        "encoder": ConvEncoder(shape, channels, encoder_dim, precision),
        "decoder": ConvDecoder(decoder_dim, channels, shape, first, precision),
        "likelihood": Gaussian(len(shape)),
        "protocol": Grey(),
    }


def _qm9(
    config: RunConfig, stats: Mapping[str, Any], encoder_dim: int, decoder_dim: int, first: FirstLayer
) -> dict[str, Any]:
    if len(config.model.hidden) != 2:
        raise UserError(
            f"hidden {list(config.model.hidden)}: a sequence model has two widths, of the embedding and of the GRU's "
            "state, such as [64, 256]"
        )
    embedding, state = config.model.hidden
    vocabulary, length = len(stats["vocabulary"]), _shape(stats, "tokens")[0] - 1
    return {
        "encoder": SequenceEncoder(vocabulary, embedding, state, encoder_dim),
        "decoder": SequenceDecoder(decoder_dim, vocabulary, embedding, state, length, first),
        "likelihood": Categorical(),
        "protocol": Molecules(stats),
        "head": mlp([decoder_dim, state, state, len(stats["targets"])], first),
        "property_weight": config.model.property_weight,
    }


def _vectors(
    config: RunConfig, stats: Mapping[str, Any], encoder_dim: int, decoder_dim: int, first: FirstLayer
) -> dict[str, Any]:
    shape, hidden = _shape(stats, "observations"), config.model.hidden
    return {
        "encoder": MLPEncoder(shape, hidden, encoder_dim),
        "decoder": MLPDecoder(decoder_dim, hidden, shape, first),
        "likelihood": RealGaussian(len(shape)),
        "protocol": Observations(),
    }


BUILDERS = {"mnist": _mnist, "celeba": _celeba, "qm9": _qm9} | dict.fromkeys(CONTROLS, _vectors)


def build(config: RunConfig, stats: Mapping[str, Any]) -> Model:
    """The untrained model of a run, initialised from torch's default stream, in float32 on the CPU.

    ``stats`` is the prepared data's ``stats.json``: shapes, vocabulary, targets.

    Raises:
        UserError: hidden layers that do not fit the data set.
    """
    kind = KINDS[config.model.kind]
    space = latents.build(
        config.signature,
        decoder_input=config.model.decoder_input,
        prior_scale=config.model.prior_scale,
        principal=config.model.principal,
    )
    parts = BUILDERS[config.dataset](config, stats, kind.encoder_dim(space), space.decoder_dim, _first_layer(space))
    return kind(space, **parts)


def _first_layer(space: latents.LatentSpace) -> FirstLayer:
    """What reads the latent points: a linear layer of their coordinates, or signed distances to hyperplanes."""
    if space.gyroplanes:
        return lambda _, width: GyroplaneLayer(space.manifold, width)
    return nn.Linear
