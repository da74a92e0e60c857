"""A residual encoder and decoder for square images: blocks of two convolutions beside a short way around them.

Pre-activation blocks (He et al. 2016b) with GroupNorm; the second convolution of a block begins at zero, so that a deep
network starts as a shallow one. Sides halve by averages and double by repetition.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from .conv import Decoder, Encoder, normaliser


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


class ResidualEncoder(Encoder):
    """A strided convolution, then a block for each further halving, and one more."""

    @staticmethod
    def halving(widths: Sequence[int]) -> list[nn.Module]:
        layers: list[nn.Module] = [nn.Conv2d(widths[0], widths[1], 4, stride=2, padding=1)]
        layers += [Block(before, after, "half") for before, after in pairwise(widths[1:])]
        return [*layers, Block(widths[-1], widths[-1]), normaliser(widths[-1]), nn.ReLU()]


class ResidualDecoder(Decoder):
    """The encoder's layers in reverse."""

    @staticmethod
    def doubling(widths: Sequence[int]) -> list[nn.Module]:
        layers: list[nn.Module] = [Block(widths[0], widths[0])]
        layers += [Block(before, after, "double") for before, after in pairwise(widths[:-1])]
        last = nn.ConvTranspose2d(widths[-2], widths[-1], 4, stride=2, padding=1)
        return [*layers, normaliser(widths[-2]), nn.ReLU(), last]
