"""How well scores tell two kinds of records apart: the area under the ROC curve, weighted, and the equal error rate."""

from collections.abc import Iterable

import torch
from torch import Tensor


def weighted_auroc(scores: Tensor, truth: Tensor, weights: Iterable[Tensor]) -> Tensor:
    """Area under the ROC curve of records that each count ``weight`` times, float64 [R]; NaN where all are one kind.

    Σ_i w_i (W_<(i) + W_=(i) / 2) / (Σ_i w_i Σ_j w_j), over i that have the property and j that have it not; W_< and W_=
    are the weights of those j that score less than i and as much.

    Args:
        scores: [N]. truth: 0/1 [N]. weights: [r, N], r weightings at a time.
    """
    order = scores.argsort()
    has = truth[order] > 0
    _, group, counts = scores[order].unique_consecutive(return_inverse=True, return_counts=True)
    last = counts.cumsum(0)
    below, through = (last - counts)[group][has], last[group][has]
    found = []
    for part in weights:
        weight = part[:, order].double()
        others = torch.nn.functional.pad((weight * ~has).cumsum(-1), (1, 0))
        ours = weight[:, has]
        beaten = (ours * (others[:, below] + others[:, through])).sum(-1) / 2
        found.append(beaten / (ours.sum(-1) * others[:, -1]))
    return torch.cat(found)


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
