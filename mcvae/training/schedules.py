"""What changes from epoch to epoch: the learning rate and the weight of the KL. Epochs count from 0 here."""

import math

from ..config import Training


def learning_rate(training: Training, epoch: int) -> float:
    """Adam's step size: constant, or lr (1 + cos(π epoch / epochs)) / 2 (Loshchilov & Hutter 2017, eq. 5)."""
    if training.schedule == "cosine":
        return training.learning_rate * (1 + math.cos(math.pi * epoch / training.epochs)) / 2
    return training.learning_rate


def kl_weight(training: Training, epoch: int) -> float:
    """beta: from 0 in the first epoch in equal steps to 1 after ``kl_warmup`` epochs."""
    return min(1.0, epoch / training.kl_warmup) if training.kl_warmup else 1.0
