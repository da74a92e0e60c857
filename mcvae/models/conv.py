"""Convolutional encoder and decoder for square images: each layer halves, or doubles, the side.

GroupNorm, not BatchNorm: what a record becomes does not depend on the batch that it is in.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from ..errors import UserError
from .mlp import FirstLayer


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(channels, 8), channels)


def _reduced_side(shape: Sequence[int], channels: Sequence[int]) -> int:
    side = shape[-1]
    if shape[-2] != side or side % 2 ** len(channels):
        raise UserError(
            f"hidden {list(channels)}: {len(channels)} halvings of {shape[-2]}x{side} pixels do not come out even; "
            f"give at most {(side & -side).bit_length() - 1} channels"
        )
    return side >> len(channels)


class ConvEncoder(nn.Module):
    """[B, C, S, S] -> [B, parameters]."""

    def __init__(self, shape: Sequence[int], channels: Sequence[int], parameters: int) -> None:
        super().__init__()
        side = _reduced_side(shape, channels)
        layers: list[nn.Module] = []
        for before, after in zip([shape[0], *channels[:-1]], channels, strict=True):
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), _norm(after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * side**2, parameters))

    def forward(self, features: Tensor) -> Tensor:
        """The posterior's raw parameters."""
        return self.layers(features)


class ConvDecoder(nn.Module):
    """[..., decoder_dim] -> [..., C, S, S]."""

    def __init__(
        self, decoder_dim: int, channels: Sequence[int], shape: Sequence[int], first: FirstLayer = nn.Linear
    ) -> None:
        super().__init__()
        side = _reduced_side(shape, channels)
        widths = [*reversed(channels), shape[0]]
        layers: list[nn.Module] = [first(decoder_dim, widths[0] * side**2), nn.Unflatten(1, (widths[0], side, side))]
        for before, after in pairwise(widths):
            layers += [_norm(before), nn.ReLU(), nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, code: Tensor, prompt: Tensor | None = None) -> Tensor:
        """The likelihood's parameters, one a pixel and channel."""
        output = self.layers(code.flatten(0, -2))
        return output.unflatten(0, code.shape[:-1])
