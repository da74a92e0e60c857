"""Convolutional encoder and decoder for square images: each layer halves, or doubles, the side.

GroupNorm, not BatchNorm: what a record becomes does not depend on the batch that it is in. The convolutions may
compute in bfloat16, as far as torch's autocast holds that safe; linear layers, and so all geometry, stay in float32.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from ..errors import UserError
from .mlp import FirstLayer


def normaliser(channels: int) -> nn.GroupNorm:
    """In gcd(channels, 8) groups: eight, where that divides the channels; of each record alone."""
    return nn.GroupNorm(math.gcd(channels, 8), channels)


def reduced_side(shape: Sequence[int], channels: Sequence[int]) -> int:
    """Side of [C, S, S] after a halving for each of the channels. Raises: UserError if S is not even so often."""
    side = shape[-1]
    if shape[-2] != side or side % 2 ** len(channels):
        raise UserError(
            f"hidden {list(channels)}: {len(channels)} halvings of {shape[-2]}x{side} pixels do not come out even; "
            f"give at most {(side & -side).bit_length() - 1} channels"
        )
    return side >> len(channels)


def stacked(layers: Iterable[nn.Module], x: Tensor, precision: torch.dtype) -> Tensor:
    """The layers one after another, convolutions in ``precision``; the result has the dtype of ``x``."""
    if precision == torch.float32:
        return _run(layers, x)
    with torch.autocast(x.device.type, precision):
        return _run(layers, x).to(x.dtype)


def _run(layers: Iterable[nn.Module], x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x


class Encoder(nn.Module, ABC):
    """[B, C, S, S] -> [B, parameters]; ``precision`` of the convolutions: float32 or bfloat16.

    Each of the ``channels`` halves the side.
    """

    def __init__(
        self,
        shape: Sequence[int],
        channels: Sequence[int],
        parameters: int,
        precision: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.precision = precision
        side = reduced_side(shape, channels)
        halving = self.halving([shape[0], *channels])
        self.layers = nn.Sequential(*halving, nn.Flatten(), nn.Linear(channels[-1] * side**2, parameters))

    @staticmethod
    @abstractmethod
    def halving(widths: Sequence[int]) -> list[nn.Module]:
        """The layers from the image's channels, the first of the ``widths``, to the last."""

    def forward(self, features: Tensor) -> Tensor:
        """The posterior's raw parameters."""
        *stack, head = self.layers
        return head(stacked(stack, features, self.precision))


class Decoder(nn.Module, ABC):
    """[..., decoder_dim] -> [..., C, S, S], with the encoder's ``channels`` from the last to the first.

    The first layer makes an image of ``grown`` times the encoder's last side.
    """

    grown = 1

    def __init__(
        self,
        decoder_dim: int,
        channels: Sequence[int],
        shape: Sequence[int],
        first: FirstLayer = nn.Linear,
        precision: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.precision = precision
        side = self.grown * reduced_side(shape, channels)
        widths = [*reversed(channels), shape[0]]
        code = first(decoder_dim, widths[0] * side**2)
        self.layers = nn.Sequential(code, nn.Unflatten(1, (widths[0], side, side)), *self.doubling(widths))

    @staticmethod
    @abstractmethod
    def doubling(widths: Sequence[int]) -> list[nn.Module]:
        """The layers from the first of the ``widths`` to the last, the likelihood's channels."""

    def forward(self, code: Tensor, prompt: Tensor | None = None) -> Tensor:
        """The likelihood's parameters at every pixel."""
        first, *stack = self.layers
        output = stacked(stack, first(code.flatten(0, -2)), self.precision)
        return output.unflatten(0, code.shape[:-1])


class ConvEncoder(Encoder):
    """4x4 convolutions that halve the side."""

    @staticmethod
    def halving(widths: Sequence[int]) -> list[nn.Module]:
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), normaliser(after), nn.ReLU()]
        return layers


class ConvDecoder(Decoder):
    """Transposed 4x4 convolutions that double the side."""

    @staticmethod
    def doubling(widths: Sequence[int]) -> list[nn.Module]:
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [normaliser(before), nn.ReLU(), nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)]
        return layers
