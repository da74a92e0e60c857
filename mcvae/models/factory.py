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
from .graph import GraphEncoder
from .graph_decoder import GraphCategorical, GraphDecoder
from .gyroplane import GyroplaneLayer
from .inputs import DynamicBinary, Grey, MixedBinary, Molecules, Observations, StaticBinary, ThresholdBinary
from .likelihoods import Bernoulli, Categorical, Gaussian, RealGaussian
from .mlp import FirstLayer, MLPDecoder, MLPEncoder, mlp
from .pixels import Logistic, LogisticMixture, PixelGaussian
from .properties import PropertyHead
from .residual import ResidualDecoder, ResidualEncoder
from .sequence import DraftDecoder, SequenceDecoder, SequenceEncoder
from .vae import VAE
from .wae import WaeDecoder, WaeEncoder

KINDS: dict[str, type[Model]] = {"vae": VAE, "autoencoder": Autoencoder}
PIXELS: dict[str, type[nn.Module]] = {
    "dynamic": DynamicBinary,
    "threshold": ThresholdBinary,
    "mixed": MixedBinary,
    "grey": Grey,
    "static": StaticBinary,
}
NETWORKS: dict[str, tuple[type[nn.Module], type[nn.Module]]] = {
    "plain": (ConvEncoder, ConvDecoder),
    "wae": (WaeEncoder, WaeDecoder),
    "residual": (ResidualEncoder, ResidualDecoder),
}
PICTURES = {
    "gaussian": Gaussian,
    "pixel-gaussian": PixelGaussian,
    "logistic": Logistic,
    "logistic-mixture": LogisticMixture,
}


def _shape(stats: Mapping[str, Any], tensor: str) -> list[int]:
    """Shape of one record."""
    return list(stats["tensors"][tensor]["shape"][1:])


def _mnist(
    config: RunConfig, stats: Mapping[str, Any], encoder_dim: int, decoder_dim: int, first: FirstLayer
) -> dict[str, Any]:
    shape, hidden = _shape(stats, "images"), config.model.hidden
    return {
        "encoder": MLPEncoder(shape, hidden, encoder_dim, config.model.activation),
        "decoder": MLPDecoder(decoder_dim, hidden, shape, first, config.model.activation),
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
    encoder, decoder = NETWORKS[config.model.network]
    likelihood = PICTURES[config.model.likelihood]
    output = [likelihood.channels(shape[0]), *shape[1:]]
    return {
        "encoder": encoder(shape, channels, encoder_dim, precision),
        "decoder": decoder(decoder_dim, channels, output, first, precision),
        "likelihood": likelihood(len(shape)),
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
    options, (embedding, state), targets = config.model, config.model.hidden, len(stats["targets"])
    precision = getattr(torch, options.networks)
    vocabulary, length = len(stats["vocabulary"]), _shape(stats, "tokens")[0] - 1
    if options.encoder == "graph":
        encoder = GraphEncoder(_shape(stats, "atoms")[0], embedding, state, encoder_dim, precision=precision)
        head = PropertyHead(decoder_dim, state, targets, first)
    else:
        encoder = SequenceEncoder(vocabulary, embedding, state, encoder_dim)
        head = mlp([decoder_dim, state, state, targets], first)
    if options.decoder == "graph":
        size = _shape(stats, "atoms")[0]
        decoder, likelihood = GraphDecoder(decoder_dim, embedding, state, size, first, precision), GraphCategorical()
    elif options.decoder == "draft":
        decoder = DraftDecoder(decoder_dim, vocabulary, embedding, state, length, first, precision)
        likelihood = Categorical()
    else:
        decoder = SequenceDecoder(decoder_dim, vocabulary, embedding, state, length, first)
        likelihood = Categorical()
    return {
        "encoder": encoder,
        "decoder": decoder,
        "likelihood": likelihood,
        "protocol": Molecules(stats, options.encoder, options.decoder, options.word_dropout),
        "head": head,
        "property_weight": options.property_weight,
        "kl_weight": options.kl_weight,
        "free_bits": options.free_bits,
    }


def _vectors(
    config: RunConfig, stats: Mapping[str, Any], encoder_dim: int, decoder_dim: int, first: FirstLayer
) -> dict[str, Any]:
    shape, hidden = _shape(stats, "observations"), config.model.hidden
    return {
        "encoder": MLPEncoder(shape, hidden, encoder_dim, config.model.activation),
        "decoder": MLPDecoder(decoder_dim, hidden, shape, first, config.model.activation),
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
        concentration=config.model.concentration,
    )
    parts = BUILDERS[config.dataset](config, stats, kind.encoder_dim(space), space.decoder_dim, _first_layer(space))
    return kind(space, **parts)


def _first_layer(space: latents.LatentSpace) -> FirstLayer:
    """What reads the latent points: a linear layer of their coordinates, or signed distances to hyperplanes."""
    if space.gyroplanes:
        return lambda _, width: GyroplaneLayer(space.manifold, width)
    return nn.Linear
