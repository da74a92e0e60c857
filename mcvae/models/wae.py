"""The convolutional network of Wasserstein autoencoders on faces (Tolstikhin et al. 2018, appendix C.2), and of RAEs.

Its decoder begins at twice the encoder's last side, with the widest layer there, and ends with a convolution that
leaves the side as it is. GroupNorm takes the place of batch normalisation (see :mod:`.conv`).
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from .conv import normaliser, reduced_side, stacked
from .mlp import FirstLayer

KERNEL = 5


class WaeEncoder(nn.Module):
    """[B, C, S, S] -> [B, parameters]: 5x5 convolutions that halve the side; ``precision`` as of ``ConvEncoder``."""

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
        layers: list[nn.Module] = []
        for before, after in pairwise([shape[0], *channels]):
            layers += [nn.Conv2d(before, after, KERNEL, stride=2, padding=KERNEL // 2), normaliser(after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * side**2, parameters))

    def forward(self, features: Tensor) -> Tensor:
        """The posterior's raw parameters."""
        *stack, head = self.layers
        return head(stacked(stack, features, self.precision))


class WaeDecoder(nn.Module):
    """[..., decoder_dim] -> [..., C, S, S]: the widest layer at twice the encoder's last side, then doublings of it."""

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
        side = 2 * reduced_side(shape, channels)
        widths = list(reversed(channels))
        layers: list[nn.Module] = [first(decoder_dim, widths[0] * side**2), nn.Unflatten(1, (widths[0], side, side))]
        for before, after in pairwise(widths):
            double = nn.ConvTranspose2d(before, after, KERNEL, stride=2, padding=KERNEL // 2, output_padding=1)
            layers += [normaliser(before), nn.ReLU(), double]
        last = nn.Conv2d(widths[-1], shape[0], KERNEL, padding=KERNEL // 2)
        self.layers = nn.Sequential(*layers, normaliser(widths[-1]), nn.ReLU(), last)

    def forward(self, code: Tensor, prompt: Tensor | None = None) -> Tensor:
        """The likelihood's parameters at every pixel."""
        first, *stack = self.layers
        output = stacked(stack, first(code.flatten(0, -2)), self.precision)
        return output.unflatten(0, code.shape[:-1])
