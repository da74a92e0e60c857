"""Likelihoods of pictures of 256 levels a channel: a scale for every pixel, and the levels themselves.

Outputs are [..., B, channels, S, S] with as many channels as ``channels`` says; observed pixels are levels / 255 in
[0, 1], [B, C, S, S]; results are [..., B], nats a picture. ``log_level`` turns log-densities into log-probabilities of
levels (see :mod:`mcvae.evaluation.bits`).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .likelihoods import LEVEL, SCALE_GAIN

COMPONENTS = 5  # of a mixture
_START = 0.25  # scale of an untrained model, in units of the pixels' range
_RAW_START = math.log(math.expm1(_START))
_LEAST_SCALE = LEVEL / 10  # of a logistic: a tenth of a level holds all its mass in one


class PixelGaussian(nn.Module):
    """A normal at every pixel and channel, mean and scale from z: the sigma-VAE with a scale a pixel.

    log N(x; sigmoid(a), s), s = 1/255 + softplus(b) (Rybkin et al. 2021, § 3.1). The density is per unit of
    [0, 1]; with no scale below the distance of two levels, density times distance sums to at most 1 over the levels.
    """

    def __init__(self, event_dim: int) -> None:
        super().__init__()
        self.event_dim = event_dim
        self.log_level = math.log(LEVEL)

    @staticmethod
    def channels(colours: int) -> int:
        """Channels of the decoder's output: means, then scales."""
        return 2 * colours

    def forward(self, output: Tensor, observed: Tensor) -> Tensor:
        """Log-likelihood [..., B] in nats an example."""
        mean, raw = output.chunk(2, -3)
        scale = LEVEL + F.softplus(raw + _RAW_START)
        standard = (observed - mean.sigmoid()) / scale
        each = -0.5 * standard.square() - scale.log() - 0.5 * math.log(2 * math.pi)
        return each.flatten(-self.event_dim).sum(-1)

    def mean(self, output: Tensor) -> Tensor:
        """Mean of the pixels, in [0, 1]."""
        return output.chunk(2, -3)[0].sigmoid()


def log_levels(observed: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """log P(level) of a logistic cut into 256 levels, elementwise; the outermost hold the tails (Kingma et al. 2016).

    P(x) = S((x + w/2 - mean) / scale) - S((x - w/2 - mean) / scale), S the logistic function, w = 1/255. With a and b
    the two arguments, S(a) - S(b) = S(a) S(-b) (1 - e^(b-a)): no difference is taken, so nothing underflows.
    """
    above = (observed + LEVEL / 2 - mean) / scale
    below = (observed - LEVEL / 2 - mean) / scale
    under, over = F.logsigmoid(above), F.logsigmoid(-below)
    between = under + over + torch.log(-torch.expm1(-LEVEL / scale))
    return torch.where(observed < LEVEL / 2, under, torch.where(observed > 1 - LEVEL / 2, over, between))


class Logistic(nn.Module):
    """Levels of a logistic of one learned scale around sigmoid(output): a probability, no density."""

    log_level = 0.0

    def __init__(self, event_dim: int, scale: float = _START / 2) -> None:
        super().__init__()
        self.event_dim = event_dim
        self.raw_scale = nn.Parameter(torch.tensor(scale).log() / SCALE_GAIN)

    @staticmethod
    def channels(colours: int) -> int:
        """Channels of the decoder's output."""
        return colours

    def forward(self, output: Tensor, observed: Tensor) -> Tensor:
        """Log-probability [..., B] in nats an example."""
        scale = _LEAST_SCALE + (self.raw_scale * SCALE_GAIN).exp()
        return log_levels(observed, self.mean(output), scale).flatten(-self.event_dim).sum(-1)

    def mean(self, output: Tensor) -> Tensor:
        """Location of the pixels, in [0, 1]; the mean, but for the tails that the outermost levels hold."""
        return output.sigmoid()


class LogisticMixture(nn.Module):
    """A mixture of discretised logistics at a pixel; green leans on red, blue on both (Salimans et al. 2017, eq. 3).

    Of each component: a weight, and of each colour a location, a scale and a coefficient in (-1, 1); red, green and
    blue of a pixel come from the same component. The probability of the levels is exact.
    """

    log_level = 0.0

    def __init__(self, event_dim: int, components: int = COMPONENTS) -> None:
        super().__init__()
        self.event_dim, self.components = event_dim, components

    @staticmethod
    def channels(colours: int, components: int = COMPONENTS) -> int:
        """Channels of the decoder's output. Raises: ValueError unless there are three colours."""
        if colours != 3:
            raise ValueError(f"{colours} colours: the mixture is one of red, green and blue")
        return 10 * components

    def parts(self, output: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What an output says. Weights (logs) [..., K, S, S]; locations, scales and coefficients [..., 3, K, S, S]."""
        weights, rest = output.split([self.components, 9 * self.components], -3)
        location, raw, coefficient = rest.unflatten(-3, (3, 3, self.components)).unbind(-5)
        # The untrained locations lie between black and white, where the pictures are.
        scale = _LEAST_SCALE + F.softplus(raw + _RAW_START)
        return weights.log_softmax(-3), 0.5 + 0.5 * location, scale, coefficient.tanh()

    def forward(self, output: Tensor, observed: Tensor) -> Tensor:
        """Log-probability [..., B] in nats an example; output [..., B, 10 K, S, S]."""
        weights, location, scale, coefficient = self.parts(output)
        red, green, _ = observed.unsqueeze(-3).unbind(-4)  # [B, 1, S, S]
        mean = _leaning(location, coefficient, red, green)
        each = log_levels(observed.unsqueeze(-3), mean, scale).sum(-4) + weights
        return each.logsumexp(-3).flatten(1 - self.event_dim).sum(-1)

    def mean(self, output: Tensor) -> Tensor:
        """Mean of the pixels [..., B, 3, S, S], in [0, 1], but for the part of a scale that the outermost levels cut.

        A component's red is cut to [0, 1] before green leans on it, and its green before blue does, as levels are.
        """
        weights, location, _, coefficient = self.parts(output)
        first, second, third = coefficient.unbind(-4)
        red, green, blue = location.unbind(-4)
        red = red.clamp(0, 1)
        green = (green + first * red).clamp(0, 1)
        blue = (blue + second * red + third * green).clamp(0, 1)
        return (weights.exp().unsqueeze(-4) * torch.stack([red, green, blue], -4)).sum(-3)


def _leaning(location: Tensor, coefficient: Tensor, red: Tensor, green: Tensor) -> Tensor:
    """Locations [..., 3, K, S, S] given red and green of the pixel: m_r, m_g + c_0 r, m_b + c_1 r + c_2 g."""
    first, second, third = coefficient.unbind(-4)
    shift = torch.stack([torch.zeros_like(first), first * red, second * red + third * green], -4)
    return location + shift
