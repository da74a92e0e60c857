"""The convolutional network of Wasserstein autoencoders on faces (Tolstikhin et al. 2018, appendix C.2), and of RAEs.

Its decoder begins at twice the encoder's last side, with the widest layer there, and ends with a convolution that
leaves the side as it is. GroupNorm takes the place of batch normalisation (see :mod:`.conv`).
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from .conv import Decoder, Encoder, normaliser

KERNEL = 5


class WaeEncoder(Encoder):
    """5x5 convolutions that halve the side."""

    @staticmethod
    def halving(widths: Sequence[int]) -> list[nn.Module]:
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, KERNEL, stride=2, padding=KERNEL // 2), normaliser(after), nn.ReLU()]
        return layers


class WaeDecoder(Decoder):
    """The widest layer at twice the encoder's last side, then doublings of it."""

    grown = 2

    @staticmethod
    def doubling(widths: Sequence[int]) -> list[nn.Module]:
        layers: list[nn.Module] = []
        for before, after in pairwise(widths[:-1]):
            double = nn.ConvTranspose2d(before, after, KERNEL, stride=2, padding=KERNEL // 2, output_padding=1)
            layers += [normaliser(before), nn.ReLU(), double]
        last = nn.Conv2d(widths[-2], widths[-1], KERNEL, padding=KERNEL // 2)
        return [*layers, normaliser(widths[-2]), nn.ReLU(), last]
