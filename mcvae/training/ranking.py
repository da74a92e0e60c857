"""How well scores tell two kinds of records apart: the area under the ROC curve. Evaluation has more of the kind."""

import torch
from torch import Tensor


def auroc(scores: Tensor, truth: Tensor) -> Tensor:
    """Chance [A] that a record with the property scores above one without; ties count half. NaN where all are one kind.

    (R - n (n + 1) / 2) / (n m), with R the sum of the ranks of the n records that have it (Mann & Whitney 1947).

    Args:
        scores: [N, A]. truth: 0/1 [N, A].
    """
    positive = truth.double()
    n, m = positive.sum(0), (1 - positive).sum(0)
    return ((_ranks(scores) * positive).sum(0) - n * (n + 1) / 2) / (n * m)


def _ranks(scores: Tensor) -> Tensor:
    """Ranks from 1 along the first axis, float64; equal scores share their mean rank."""
    ranks = torch.empty(scores.shape, dtype=torch.float64, device=scores.device)
    for column, values in enumerate(scores.unbind(-1)):
        _, group, counts = values.unique(return_inverse=True, return_counts=True)
        last = counts.cumsum(0).double()
        ranks[:, column] = (last - (counts.double() - 1) / 2)[group]
    return ranks
