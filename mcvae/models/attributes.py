"""A small convolutional network that tells attributes from pictures; its features are where samples are compared.

It is the project's own, trained on its training split: distances in its features are no FID, and are not called so.
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from .conv import normaliser

CHANNELS, FEATURES = (16, 32, 64, 128), 64


class AttributeClassifier(nn.Module):
    """Pictures [B, C, S, S] in [0, 1] -> ``features`` [B, 64] -> logits [B, attributes]."""

    def __init__(self, shape: Sequence[int], attributes: int) -> None:
        super().__init__()
        self.shape, side = list(shape), shape[-1]
        self.auroc: float | None = None  # mean over attributes on the validation split, of a trained one
        halvings = min(len(CHANNELS), (side & -side).bit_length() - 1)
        widths = CHANNELS[:halvings]
        layers: list[nn.Module] = []
        for before, after in pairwise([shape[0], *widths]):
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), normaliser(after), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * (side >> halvings) ** 2, FEATURES))
        self.head = nn.Sequential(nn.ReLU(), nn.Dropout(0.3), nn.Linear(FEATURES, attributes))

    def features(self, pictures: Tensor) -> Tensor:
        """[B, 64], before the last layer."""
        return self.body(2 * pictures - 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits [B, attributes]."""
        return self.head(self.features(pictures))
