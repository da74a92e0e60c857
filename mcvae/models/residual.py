"""A residual encoder and decoder for square images: blocks of two convolutions beside a short way around them.

Pre-activation blocks (He et al. 2016b) with GroupNorm; the second convolution of a block begins at zero, so that a deep
network starts as a shallow one. Sides halve by averages and double by repetition.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .conv import normaliser, reduced_side, stacked
from .mlp import FirstLayer


class Block(nn.Module):
    """[B, before, S, S] -> [B, after, S', S'], with S' = S / 2 (``resize`` "half"), 2 S ("double") or S ("same")."""

    def __init__(self, before: int, after: int, resize: str = "same") -> None:
        super().__init__()
        self.resize = resize
        self.norms = nn.ModuleList([normaliser(before), normaliser(after)])
        self.convolutions = nn.ModuleList(
            [nn.Conv2d(before, after, 3, padding=1), nn.Conv2d(after, after, 3, padding=1)]
        )
        self.around = nn.Identity() if before == after else nn.Conv2d(before, after, 1, bias=False)
        nn.init.zeros_(self.convolutions[1].weight)
        nn.init.zeros_(self.convolutions[1].bias)

    def forward(self, x: Tensor) -> Tensor:
        """The sum of both ways."""
        inside = F.relu(self.norms[0](x))
        if self.resize == "half":
            inside, x = F.avg_pool2d(inside, 2), F.avg_pool2d(x, 2)
        elif self.resize == "double":
            inside, x = (F.interpolate(each, scale_factor=2.0, mode="nearest") for each in (inside, x))
        inside = F.relu(self.norms[1](self.convolutions[0](inside)))
        return self.around(x) + self.convolutions[1](inside)


class ResidualEncoder(nn.Module):
    """[B, C, S, S] -> [B, parameters]: a strided convolution, then a block for each further halving, and one more."""

    def __init__(
        self,
        shape: Sequence[int],
        channels: Sequence[int],
        parameters: int,
        precision: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.precision = precision
        side, last = reduced_side(shape, channels), channels[-1]
        layers: list[nn.Module] = [nn.Conv2d(shape[0], channels[0], 4, stride=2, padding=1)]
        layers += [Block(before, after, "half") for before, after in pairwise(channels)]
        layers += [Block(last, last), normaliser(last), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(last * side**2, parameters))

    def forward(self, features: Tensor) -> Tensor:
        """The posterior's raw parameters."""
        *stack, head = self.layers
        return head(stacked(stack, features, self.precision))


class ResidualDecoder(nn.Module):
    """[..., decoder_dim] -> [..., C, S, S]: the encoder's layers in reverse."""

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
        side, widths = reduced_side(shape, channels), list(reversed(channels))
        layers: list[nn.Module] = [first(decoder_dim, widths[0] * side**2), nn.Unflatten(1, (widths[0], side, side))]
        layers.append(Block(widths[0], widths[0]))
        layers += [Block(before, after, "double") for before, after in pairwise(widths)]
        layers += [normaliser(widths[-1]), nn.ReLU(), nn.ConvTranspose2d(widths[-1], shape[0], 4, stride=2, padding=1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, code: Tensor, prompt: Tensor | None = None) -> Tensor:
        """The likelihood's parameters at every pixel."""
        first, *stack = self.layers
        output = stacked(stack, first(code.flatten(0, -2)), self.precision)
        return output.unflatten(0, code.shape[:-1])
