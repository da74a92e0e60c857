"""How well scores tell two kinds of records apart: the area under the ROC curve and the equal error rate."""

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


def equal_error_rate(scores: Tensor, truth: Tensor) -> float:
    """The rate at which as many are wrongly accepted as wrongly refused, on the straight lines between thresholds.

    Args:
        scores: [N], of both kinds; the higher are accepted. truth: 0/1 [N].
    """
    order = scores.double().argsort(descending=True)
    ordered, right = scores[order], truth[order].double()
    last = torch.cat([ordered[1:] != ordered[:-1], torch.ones(1, dtype=torch.bool, device=scores.device)])
    zero = torch.zeros(1, dtype=torch.float64, device=scores.device)
    refused = 1 - torch.cat([zero, (right.cumsum(0) / right.sum())[last]])
    accepted = torch.cat([zero, ((1 - right).cumsum(0) / (1 - right).sum())[last]])
    gap = refused - accepted  # falls from 1 to -1
    after = int((gap <= 0).nonzero()[0])
    before = after - 1
    share = gap[before] / (gap[before] - gap[after])
    return float(accepted[before] + share * (accepted[after] - accepted[before]))
