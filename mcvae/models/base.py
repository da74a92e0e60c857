"""What every model is made of and answers: prepare, encode, decode, score; a kind of model adds ``terms``."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from .inputs import Inputs


class Terms(NamedTuple):
    """The training objective and its parts; nats an example.

    loss: scalar, the batch's mean of -reconstruction + beta * kl_weight * kl + property_weight * property_error.
    elbo, reconstruction: [B]. kl: [B, components].
    property_error: [B], mean absolute error of the standardised targets.
    ``elbo`` and ``kl`` are None for an autoencoder, ``property_error`` without a property head.
    """

    loss: Tensor
    elbo: Tensor | None
    reconstruction: Tensor
    kl: Tensor | None
    property_error: Tensor | None


class Model(nn.Module, ABC):
    """An encoder, a latent space, a decoder, a likelihood; ``protocol`` prepares batches, ``head`` predicts properties.

    ``latent`` is a :class:`mcvae.latent.LatentSpace`; z is always a point in ambient coordinates, [..., ambient_dim].
    """

    kind: str

    def __init__(
        self,
        latent: nn.Module,
        encoder: nn.Module,
        decoder: nn.Module,
        likelihood: nn.Module,
        protocol: nn.Module,
        head: nn.Module | None = None,
        property_weight: float = 0.0,
        kl_weight: float = 1.0,
        free_bits: float = 0.0,
    ) -> None:
        super().__init__()
        self.latent = latent
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = likelihood
        self.protocol = protocol
        self.head = head
        self.property_weight = property_weight
        self.kl_weight, self.free_bits = kl_weight, free_bits

    @staticmethod
    @abstractmethod
    def encoder_dim(latent: nn.Module) -> int:
        """Width of the encoder's output for a latent space."""

    def prepare(self, batch: Mapping[str, Tensor], train: bool = False) -> Inputs:
        """Apply the protocol to a batch of raw prepared tensors, on their device."""
        return self.protocol(batch, train)

    @abstractmethod
    def posterior(self, inputs: Inputs) -> Any:
        """q(z|x): an object with ``.loc`` [B, ambient_dim] and ``.rsample(sample_shape)``."""

    @abstractmethod
    def terms(self, inputs: Inputs, beta: float | Tensor = 1.0) -> Terms:
        """The objective of one batch, with one sample of z a record; ``beta`` weighs the KL in the loss alone.

        As a tensor, ``beta`` is a value that a compiled function need not be compiled anew for; the bits are the same.
        """

    def decode(self, z: Tensor, inputs: Inputs | None = None) -> Tensor:
        """The likelihood's parameters at z [..., B, ambient_dim]; sequences need ``inputs`` (teacher forcing)."""
        return self.decoder(self.latent.decoder_input(z), None if inputs is None else inputs.prompt)

    def log_likelihood(self, output: Tensor, inputs: Inputs) -> Tensor:
        """log p(x|z) [..., B] in nats, summed over pixels or tokens."""
        return self.likelihood(output, inputs.observed)

    def mean(self, output: Tensor) -> Tensor:
        """E[x|z]: images in [0, 1]; probabilities of tokens."""
        return self.likelihood.mean(output)

    def generate(self, z: Tensor) -> Tensor:
        """Greedily decoded tokens [..., L], or codes of graphs, at z: aligned with ``inputs.observed``; qm9 only."""
        return self.decoder.generate(self.latent.decoder_input(z))

    def properties(self, z: Tensor) -> Tensor | None:
        """Predicted properties [..., T] in standard deviations of the training data; None without a property head."""
        return None if self.head is None else self.head(self.latent.decoder_input(z))

    def property_error(self, z: Tensor, inputs: Inputs) -> Tensor | None:
        """Mean absolute error [B] over the targets: what is reported is what is minimised."""
        predicted = self.properties(z)
        return None if predicted is None else (predicted - inputs.targets).abs().mean(-1)

    def penalised(self, objective: Tensor, error: Tensor | None) -> Tensor:
        """The scalar loss of an objective [B] that is maximised and a property error [B] that is minimised."""
        loss = -objective.mean()
        return loss if error is None else loss + self.property_weight * error.mean()
