"""Fully connected networks: the encoder and its mirror image, the decoder, of the MNIST models, and small heads."""

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


def mlp(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers of the given widths with ReLU between them."""
    layers: list[nn.Module] = []
    for width_in, width_out in pairwise(widths):
        layers += [nn.Linear(width_in, width_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class MLPEncoder(nn.Module):
    """[B, *shape] -> [B, parameters]."""

    def __init__(self, shape: Sequence[int], hidden: Sequence[int], parameters: int) -> None:
        super().__init__()
        self.layers = mlp([math.prod(shape), *hidden, parameters])

    def forward(self, features: Tensor) -> Tensor:
        """The posterior's raw parameters."""
        return self.layers(features.flatten(1))


class MLPDecoder(nn.Module):
    """[..., decoder_dim] -> [..., *shape], the hidden layers in reverse order."""

    def __init__(self, decoder_dim: int, hidden: Sequence[int], shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.layers = mlp([decoder_dim, *reversed(hidden), math.prod(shape)])

    def forward(self, code: Tensor, prompt: Tensor | None = None) -> Tensor:
        """The likelihood's parameters, one a pixel."""
        return self.layers(code).unflatten(-1, self.shape)
