"""Distances of two sets of features: Fréchet's, of the normals with their moments, and the kernel distance.

Of the features that :mod:`mcvae.evaluation.inception` reads these are FID and KID; of others they are not.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from ..training.seeding import generator


class Moments:
    """Mean and covariance of features, added up block by block in float64."""

    def __init__(self, width: int) -> None:
        self.count = 0
        self.total = torch.zeros(width, dtype=torch.float64)
        self.products = torch.zeros(width, width, dtype=torch.float64)

    def add(self, features: Tensor) -> None:
        """Add features [B, width]."""
        block = features.double().cpu()
        self.count += len(block)
        self.total += block.sum(0)
        self.products += block.T @ block

    @property
    def mean(self) -> Tensor:
        """[width]"""
        return self.total / self.count

    @property
    def covariance(self) -> Tensor:
        """Unbiased, [width, width]."""
        centred = self.products - self.count * torch.outer(self.mean, self.mean)
        return centred / (self.count - 1)


def moments(blocks: Iterable[Tensor]) -> Moments:
    """Moments of blocks of features [B, width]."""
    result = None
    for block in blocks:
        result = Moments(block.shape[1]) if result is None else result
        result.add(block)
    if result is None or result.count < 2:
        raise ValueError("moments of fewer than two features")
    return result


def frechet_distance(first: Moments, second: Moments) -> float:
    """|m_1 - m_2|² + tr(C_1 + C_2 - 2 (C_1 C_2)^(1/2)) (Dowson & Landau 1982, eq. 4; Heusel et al. 2017).

    tr (C_1 C_2)^(1/2) is the sum of the singular values of C_1^(1/2) C_2^(1/2), so roots are of symmetric matrices
    alone, and matrices without full rank do no harm.
    """
    shift = (first.mean - second.mean).square().sum()
    overlap = torch.linalg.svdvals(_root(first.covariance) @ _root(second.covariance)).sum()
    return float(shift + first.covariance.trace() + second.covariance.trace() - 2 * overlap)


def frechet_distance_of(first: Tensor, second: Tensor) -> float:
    """:func:`frechet_distance` of features [N, width], [M, width], without a wide covariance where there are few.

    tr (C_1 C_2)^(1/2) is the sum of the singular values of F_1 F_2ᵀ for any factors C = Fᵀ F: the centred features over
    √(N - 1) are one.
    """
    if min(len(first), len(second)) < 2:
        raise ValueError("moments of fewer than two features")
    (mean, factor), (other_mean, other_factor) = _factor(first), _factor(second)
    overlap = torch.linalg.svdvals(factor @ other_factor.T).sum()
    spread = factor.square().sum() + other_factor.square().sum()
    return float((mean - other_mean).square().sum() + spread - 2 * overlap)


def _factor(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [width] and F [<= width, width] with covariance Fᵀ F, float64."""
    if len(features) > features.shape[1]:
        found = moments(features.split(1024))
        return found.mean, _root(found.covariance)
    few = features.double().cpu()
    return few.mean(0), (few - few.mean(0)) / (len(few) - 1) ** 0.5


def _root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T


def kernel_distance(first: Tensor, second: Tensor) -> float:
    """The unbiased squared maximum mean discrepancy of features [N, width], [M, width], with the cubic kernel.

    k(x, y) = (x·y / width + 1)³ (Bińkowski et al. 2018, § 4; eq. 4 for the estimate, which may be negative).
    """
    first, second = first.double().cpu(), second.double().cpu()
    n, m, width = len(first), len(second), first.shape[1]

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / width + 1).pow(3)

    own = kernel(first, first).fill_diagonal_(0).sum() / (n * (n - 1))
    other = kernel(second, second).fill_diagonal_(0).sum() / (m * (m - 1))
    return float(own + other - 2 * kernel(first, second).mean())


def kernel_distances(first: Tensor, second: Tensor, size: int, subsets: int = 100) -> Tensor:
    """:func:`kernel_distance` of ``subsets`` pairs of random subsets of ``size`` features each, float64 [subsets].

    Without replacement in a subset; the same subsets for sets of equal numbers. KID is their mean, its error their
    standard deviation (Bińkowski et al. 2018, § 4).
    """
    order = generator(0, "evaluation/kernel distance")

    def subset(features: Tensor) -> Tensor:
        return features[torch.randperm(len(features), generator=order)[:size]]

    return torch.tensor([kernel_distance(subset(first), subset(second)) for _ in range(subsets)], dtype=torch.float64)
