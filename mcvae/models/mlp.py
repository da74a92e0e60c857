"""Fully connected networks: the encoder and its mirror image, the decoder, of the MNIST models, and small heads."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor, nn

# A first layer of a network that reads latent points: (width of what it reads, its own width) -> layer.
FirstLayer = Callable[[int, int], nn.Module]
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}


def mlp(widths: Sequence[int], first: FirstLayer = nn.Linear, activation: str = "relu") -> nn.Sequential:
    """Linear layers of the given widths with an activation between them; the first layer as ``first`` makes it."""
    layers: list[nn.Module] = []
    for width_in, width_out in pairwise(widths):
        layers += [(nn.Linear if layers else first)(width_in, width_out), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


class MLPEncoder(nn.Module):
    """[B, *shape] -> [B, parameters]."""

    def __init__(self, shape: Sequence[int], hidden: Sequence[int], parameters: int, activation: str = "relu") -> None:
        super().__init__()
        self.layers = mlp([math.prod(shape), *hidden, parameters], activation=activation)

    def forward(self, features: Tensor) -> Tensor:
        """The posterior's raw parameters."""
        return self.layers(features.flatten(1))


class MLPDecoder(nn.Module):
    """[..., decoder_dim] -> [..., *shape], the hidden layers in reverse order."""

    def __init__(
        self,
        decoder_dim: int,
        hidden: Sequence[int],
        shape: Sequence[int],
        first: FirstLayer = nn.Linear,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.layers = mlp([decoder_dim, *reversed(hidden), math.prod(shape)], first, activation)

    def forward(self, code: Tensor, prompt: Tensor | None = None) -> Tensor:
        """The likelihood's parameters, one a pixel."""
        return self.layers(code).unflatten(-1, self.shape)
