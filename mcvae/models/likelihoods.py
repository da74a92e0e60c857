"""How a decoder's output becomes a density of the data: log p(x | z) in nats, and the mean of x.

Outputs may have leading sample dimensions [..., B, *event]; observed data are [B, *event]; results are [..., B].
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .inputs import PAD

# Adam moves a parameter by about its learning rate a step, whatever the gradient; the logarithm of the pixel noise has
# far to go, so its parameter is stretched.
SCALE_GAIN = 5.0
LEVEL = 1 / 255  # distance of two of the 256 levels of a pixel, in units of its range


class Bernoulli(nn.Module):
    """Independent pixels from logits: log p(x|z) = sum_i x_i l_i - softplus(l_i).

    For grey pixels in [0, 1] this is the cross-entropy in common use, which is not a normalised density.
    """

    def __init__(self, event_dim: int) -> None:
        super().__init__()
        self.event_dim = event_dim

    def forward(self, output: Tensor, observed: Tensor) -> Tensor:
        """Log-likelihood [..., B] in nats an example."""
        return _BernoulliLikelihood.apply(output.flatten(-self.event_dim), observed.flatten(-self.event_dim))

    def mean(self, output: Tensor) -> Tensor:
        """Probability of a one."""
        return output.sigmoid()


class _BernoulliLikelihood(torch.autograd.Function):
    """Σ x l - softplus(l) over the last axis, in half the time of torch's cross-entropy; its gradient in l is x - σ(l).

    = Σ (x - 1/2) l - |l| / 2 + log σ(|l|), with one logarithm for a product of factors σ(|l|), which lie in [1/2, 1]:
    up to 112 of them stay far from underflow.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor, x: Tensor) -> Tensor:
        size = logits.shape[-1]
        group = next(n for n in range(112, 0, -1) if size % n == 0)
        magnitude = logits.abs()
        linear = (logits * (x - 0.5)).sub_(magnitude, alpha=0.5).sum(-1)
        return linear + magnitude.sigmoid_().unflatten(-1, (-1, group)).prod(-1).log().sum(-1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        logits, x = ctx.saved_tensors
        gradient = gradient.unsqueeze(-1)
        by_x = (gradient * logits).sum_to_size(x.shape) if ctx.needs_input_grad[1] else None
        return gradient * (x - logits.sigmoid()), by_x


class Gaussian(nn.Module):
    """Independent pixels of one learned scale around sigmoid(output): the σ-VAE (Rybkin et al. 2021, eq. 4).

    The density is of pixels as real numbers in [0, 1], per unit of that range.
    """

    def __init__(self, event_dim: int, scale: float = 0.25) -> None:
        super().__init__()
        self.event_dim = event_dim
        self.raw_scale = nn.Parameter(torch.tensor(scale).log() / SCALE_GAIN)

    @property
    def log_scale(self) -> Tensor:
        """log σ."""
        return self.raw_scale * SCALE_GAIN

    @staticmethod
    def channels(colours: int) -> int:
        """Channels of the decoder's output."""
        return colours

    @property
    def log_level(self) -> float | None:
        """log of the distance of two levels, density times which is a probability; None for σ below that distance.

        Σ_n N(nh; μ, σ) h = 1 + 2 Σ_m cos(2πmμ/h) exp(-2 (πmσ/h)²) (Poisson): above 1 by 5e-9 at most if σ >= h.
        """
        return math.log(LEVEL) if self.log_scale.item() >= math.log(LEVEL) else None

    def forward(self, output: Tensor, observed: Tensor) -> Tensor:
        """Log-likelihood [..., B] in nats an example."""
        squares = (observed - self.mean(output)).square().flatten(-self.event_dim).sum(-1)
        count = observed[0].numel()
        normaliser = count * (self.log_scale + 0.5 * math.log(2 * math.pi))
        return -0.5 * squares * (-2 * self.log_scale).exp() - normaliser

    def mean(self, output: Tensor) -> Tensor:
        """Mean of the pixels, in [0, 1]."""
        return output.sigmoid()


class RealGaussian(Gaussian):
    """The same around the output itself: coordinates of any range, a density per unit of each."""

    @property
    def log_level(self) -> None:
        """Real numbers have no levels."""
        return None

    def mean(self, output: Tensor) -> Tensor:
        """Mean of the coordinates."""
        return output


class Categorical(nn.Module):
    """A sequence of tokens from logits [..., B, L, V]; padding does not count."""

    def forward(self, output: Tensor, observed: Tensor) -> Tensor:
        """Log-likelihood [..., B] in nats a sequence; observed [B, L]."""
        observed = observed.expand(output.shape[:-1])
        loss = F.cross_entropy(output.flatten(0, -2), observed.flatten(), ignore_index=PAD, reduction="none")
        return -loss.view(observed.shape).sum(-1)

    def mean(self, output: Tensor) -> Tensor:
        """Probabilities of the tokens."""
        return output.softmax(-1)
