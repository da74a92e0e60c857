"""The variational autoencoder over any latent space (Kingma & Welling 2014, eq. 3): one ELBO for all geometries."""

from typing import Any

import torch
from torch import Tensor, nn

from .base import Model, Terms
from .inputs import Inputs


class VAE(Model):
    """ELBO(x) = E_q(z|x)[log p(x|z)] - KL(q(z|x) || p(z)), a KL a component of the latent space."""

    kind = "vae"

    @staticmethod
    def encoder_dim(latent: nn.Module) -> int:
        return latent.parameter_dim

    def posterior(self, inputs: Inputs) -> Any:
        return self.latent.posterior(self.encoder(inputs.features))

    def terms(self, inputs: Inputs, beta: float | Tensor = 1.0) -> Terms:
        q = self.posterior(inputs)
        z = q.rsample()
        reconstruction = self.log_likelihood(self.decode(z, inputs), inputs)
        kl = self.latent.kl(q, self.latent.prior(), z)
        total = kl.sum(-1)
        elbo = reconstruction - total
        error = self.property_error(z, inputs)
        whole = not isinstance(beta, Tensor) and beta == 1  # never looked into on the device
        if self.kl_weight != 1 or self.free_bits:
            objective = reconstruction - beta * self.kl_weight * self.costly(kl)
        else:
            objective = elbo if whole else reconstruction - beta * total
        return Terms(self.penalised(objective, error), elbo, reconstruction, kl, error)

    def costly(self, kl: Tensor) -> Tensor:
        """What a KL [B, components] costs in the objective: Σ_c KL_c, and nothing for free bits; [B].

        A component whose mean over the batch is below ``free_bits`` nats costs them, without a gradient (Kingma et al.
        2016, eq. 15, λ a component).
        """
        if not self.free_bits:
            return kl.sum(-1)
        free = kl.mean(0) < self.free_bits
        return torch.where(free, self.free_bits, kl).sum(-1)
