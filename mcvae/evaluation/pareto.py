"""How far importance sampling can be trusted: the shape k̂ of the tail of the weights, record by record.

Vehtari, Simpson, Gelman, Yao & Gabry (2024), "Pareto smoothed importance sampling", JMLR 25; the fit is of Zhang &
Stephens (2009), "A new and efficient estimation method for the generalized Pareto distribution", Technometrics 51.
"""

from math import ceil, floor, log10, sqrt

import torch
from torch import Tensor

SMALLEST_TAIL = 5  # weights; of fewer no shape is told
PRIOR_WEIGHT, PRIOR_SHAPE = 10.0, 0.5  # a weakly informative prior of the shape, worth so many weights


def tail_size(samples: int) -> int:
    """Number of the largest weights that count as the tail: min(S / 5, 3 √S) (appendix H), rounded up."""
    return ceil(min(samples / 5, 3 * sqrt(samples)))


def threshold(samples: int) -> float:
    """The shape above which an estimate from S samples is not to be trusted: min(1 - 1 / log₁₀ S, 0.7) (eq. 13).

    Above 0.7 the error falls too slowly for any S in reach; below, S suffices if k̂ is under the first bound. Not
    defined (NaN) for S below 2.
    """
    return min(1 - 1 / log10(samples), 0.7) if samples > 1 else float("nan")


def tail_shape(log_weight: Tensor, samples: int) -> Tensor:
    """k̂ of each record, from its largest weights.

    The excesses over the largest weight that is not in the tail, w - u, are taken for a generalised Pareto
    distribution of shape k: E w^m is finite for m < 1/k only.

    Args:
        log_weight: [tail + 1 or more, B], any order: at least the ``tail_size(samples) + 1`` largest of the S
            log-weights, each up to a constant of its record.
        samples: S.

    Returns:
        [B]; NaN where there is no tail to speak of: fewer than 5 weights, or all of them equal, with which nothing is
        wrong. +inf where the tail is beyond the range of floating point numbers, or weights are all 0 or not numbers.
    """
    tail = tail_size(samples)
    if tail < SMALLEST_TAIL or len(log_weight) <= tail:
        return torch.full_like(log_weight[0], torch.nan)
    largest = log_weight.topk(tail + 1, 0).values
    weight = (largest - largest[0]).exp()
    excess = (weight[:-1] - weight[-1]).flip(0)  # ascending, the largest 1 at most
    shape = fit_generalized_pareto(excess)
    constant = excess[-1] <= 10 * torch.finfo(excess.dtype).eps
    return torch.where(constant, torch.nan, torch.where(largest[0].isfinite(), shape, torch.inf))


def fit_generalized_pareto(excess: Tensor) -> Tensor:
    """The shape k of generalised Pareto distributions, one a column; Zhang & Stephens (2009), with a prior on k.

    With θ = -k/σ the likelihood is profiled: k(θ) = mean log(1 - θ x). The estimate of θ is its mean over a grid under
    the profile likelihood, and k is drawn towards 1/2 with the weight of 10 observations.

    Args:
        excess: [n, B], n >= 5, ascending, x >= 0.

    Returns:
        [B]; +inf where the lower quartile is 0 beside excesses that are not.
    """
    n = len(excess)
    points = 30 + floor(sqrt(n))
    quartile, largest = excess[floor(n / 4 + 0.5) - 1], excess[-1]
    vanished = (quartile <= 0) & (largest > 0)
    quartile = torch.where(quartile > 0, quartile, 1.0)
    index = torch.arange(1, points + 1, dtype=excess.dtype, device=excess.device).unsqueeze(-1)
    theta = 1 / largest + (1 - (points / (index - 0.5)).sqrt()) / (3 * quartile)  # [points, B]
    # One point of the grid at a time: [points, n, B] would be large where n is.
    shape = torch.stack([torch.log1p(-each * excess).mean(0) for each in theta])
    log_likelihood = n * ((-theta / shape).log() - shape - 1)
    weight = log_likelihood.softmax(0)
    estimate = torch.log1p(-(theta * weight).sum(0) * excess).mean(0)
    estimate = (n * estimate + PRIOR_WEIGHT * PRIOR_SHAPE) / (n + PRIOR_WEIGHT)
    return torch.where(vanished, torch.inf, estimate)


class LargestWeights:
    """The largest of a stream of log-weights, as many as :func:`tail_shape` needs; the memory grows with √S only."""

    def __init__(self, samples: int) -> None:
        self.samples, self.size = samples, tail_size(samples) + 1
        self.kept: Tensor | None = None

    def add(self, log_weight: Tensor) -> None:
        """Add weights [s, B]."""
        joined = log_weight if self.kept is None else torch.cat([self.kept, log_weight])
        self.kept = joined if len(joined) <= self.size else joined.topk(self.size, 0, sorted=False).values

    def shape(self) -> Tensor:
        """k̂ of each record, [B]."""
        return tail_shape(self.kept, self.samples)
