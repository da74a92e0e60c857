"""What changes from epoch to epoch: the learning rates and the weight of the KL. Epochs count from 0 here."""

import math

from ..options import Training


def learning_rate(training: Training, epoch: int) -> float:
    """Adam's step size: constant, or lr (1 + cos(π epoch / epochs)) / 2 (Loshchilov & Hutter 2017, eq. 5)."""
    return _scheduled(training.learning_rate, training, epoch)


def curvature_rate(training: Training, epoch: int) -> float | None:
    """Adam's step size for curvatures, under the same schedule; None before ``curvature_start``."""
    if epoch < training.curvature_start:
        return None
    rate = training.curvature_learning_rate
    return _scheduled(training.learning_rate if rate is None else rate, training, epoch)


def kl_weight(training: Training, epoch: int) -> float:
    """beta: from 0 in the first epoch in equal steps to 1 after ``kl_warmup`` epochs."""
    return min(1.0, epoch / training.kl_warmup) if training.kl_warmup else 1.0


def _scheduled(rate: float, training: Training, epoch: int) -> float:
    if training.schedule == "cosine":
        return rate * (1 + math.cos(math.pi * epoch / training.epochs)) / 2
    return rate
