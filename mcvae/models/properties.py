"""What predicts properties from latent points: a straight path beside a curved one.

Energies of atomisation are nearly linear in the composition, and wanted to a hundredth of their spread.
"""

from torch import Tensor, nn

from .mlp import FirstLayer


class PropertyHead(nn.Module):
    """[..., decoder_dim] -> [..., targets]: W₀ f + W₃ SiLU(W₂ SiLU(f)) with the features f = W₁ code."""

    def __init__(self, decoder_dim: int, state: int, targets: int, first: FirstLayer = nn.Linear) -> None:
        super().__init__()
        self.read = first(decoder_dim, state)
        self.straight = nn.Linear(state, targets)
        self.curved = nn.Sequential(nn.SiLU(), nn.Linear(state, state), nn.SiLU(), nn.Linear(state, targets))

    def forward(self, code: Tensor) -> Tensor:
        """Properties in standard deviations of the training data."""
        features = self.read(code)
        return self.straight(features) + self.curved(features)
