"""The plain autoencoder: a point for every record, no posterior, no prior; its ELBO and KL do not exist."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from .base import Model, Terms
from .inputs import Inputs


class Point(NamedTuple):
    """The posterior of an autoencoder: all its mass at ``loc`` [B, ambient_dim]."""

    loc: Tensor

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """The point, repeated: [*sample_shape, B, ambient_dim]."""
        return self.loc.expand(*sample_shape, *self.loc.shape)


class Autoencoder(Model):
    """Maximises log p(x | z = f(x)) over a Euclidean latent space."""

    kind = "autoencoder"

    @staticmethod
    def encoder_dim(latent: nn.Module) -> int:
        return latent.ambient_dim

    def posterior(self, inputs: Inputs) -> Point:
        return Point(self.encoder(inputs.features))

    def terms(self, inputs: Inputs, beta: float | Tensor = 1.0) -> Terms:
        z = self.posterior(inputs).loc
        reconstruction = self.log_likelihood(self.decode(z, inputs), inputs)
        error = self.property_error(z, inputs)
        return Terms(self.penalised(reconstruction, error), None, reconstruction, None, error)
