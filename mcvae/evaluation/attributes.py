"""What the latent space knows of attributes: a logistic regression on its coordinates for each of them.

Beside it what the same probe reads off as many principal components of the pixels, and what a constant answer gets.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from ..training.ranking import auroc
from ..training.seeding import generator
from .ranking import weighted_auroc

STEPS = 1000  # of L-BFGS at most; some tens are used
RESAMPLES, AT_ONCE = 200, 20  # of the test records
ATTRIBUTE_KEYS = tuple(
    f"test.attribute_{name}"
    for name in (
        "auroc",
        "balanced_accuracy",
        "accuracy",
        "majority",
        "auroc_pca",
        "auroc_se",
        "auroc_gain_se",
        "balanced_accuracy_pca",
        "n",
        "labels",
    )
)


class Probes(NamedTuple):
    """Of each attribute, float64 [A], NaN where the training or the test records are all alike in it.

    ``scores`` float64 [N, A]: the log-odds that the probes give to the queries.
    """

    auroc: Tensor
    balanced_accuracy: Tensor
    accuracy: Tensor
    scores: Tensor


def probes(points: Tensor, answers: Tensor, queries: Tensor, truth: Tensor) -> Probes:
    """Logistic regressions trained on ``points``, and how they answer the ``queries``.

    Coordinates are standardised by the points; the penalty is |w|²/2 beside the summed cross-entropy. Accuracy is that
    of the likelier answer; balanced accuracy, (TPR + TNR) / 2, that of the answer likelier than in training.

    Args:
        points: [n, dim]. answers: 0/1 [n, A]. queries: [N, dim]. truth: 0/1 [N, A].

    Raises:
        UserError: scikit-learn is not installed.
    """
    try:
        from sklearn.linear_model import LogisticRegression
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise UserError(f"attribute probes need scikit-learn (pip install 'mcvae[data]'): {error}") from None
    points, queries = points.double().cpu(), queries.double().cpu()
    mean, scale = points.mean(0), points.std(0)
    scale = scale.where(scale > 0, 1.0)
    known, asked = ((points - mean) / scale).numpy(), ((queries - mean) / scale).numpy()
    labels, truth = answers.cpu().numpy(), truth.cpu()
    varied = (labels.min(0) < labels.max(0)) & (truth.amin(0) < truth.amax(0)).numpy()
    scores = np.zeros((len(asked), labels.shape[1]))
    with threadpool_limits(1, user_api="blas"):  # the order of sums, and so the bits, would depend on the threads
        for index in np.flatnonzero(varied):
            fitted = LogisticRegression(max_iter=STEPS).fit(known, labels[:, index])
            scores[:, index] = fitted.decision_function(asked)
    found, positive = torch.from_numpy(scores), truth.double()
    rate = torch.from_numpy(labels.mean(0)).double()
    above = (found > torch.logit(rate)).double()
    balanced = (
        (above * positive).sum(0) / positive.sum(0) + ((1 - above) * (1 - positive)).sum(0) / (1 - positive).sum(0)
    ) / 2
    right = ((found > 0) == (positive > 0)).double().mean(0)
    none = torch.from_numpy(~varied)
    return Probes(*(each.masked_fill(none, torch.nan) for each in (auroc(found, truth), balanced, right)), found)


def resampled_auroc(scores: Tensor, truth: Tensor) -> Tensor:
    """Mean area under the ROC curve over attributes, of 200 draws of the N records with replacement: float64 [200].

    The same draws for equal N, so that those of two probes are pairs. An attribute that does not vary in a draw is left
    out of that draw. Their standard deviation is the bootstrap's standard error over test records; that of another
    training set is not in it.

    Args:
        scores: [N, A]. truth: 0/1 [N, A], of attributes that vary.
    """
    noise = generator(0, "evaluation/resampled records")
    counts = []
    for _ in range(RESAMPLES):
        drawn = torch.randint(len(truth), (len(truth),), generator=noise)
        counts.append(torch.bincount(drawn, minlength=len(truth)))
    weights = torch.stack(counts)
    each = [weighted_auroc(s, t, weights.split(AT_ONCE)) for s, t in zip(scores.T, truth.T, strict=True)]
    return torch.stack(each).nanmean(0)


def attribute_metrics(
    latent: Probes, pixels: Probes | None, answers: Tensor, truth: Tensor
) -> dict[str, float | int | None]:
    """Means over the ``test.attribute_n`` attributes that vary among training and test records.

    ``test.attribute_auroc``, ``…_balanced_accuracy`` and ``…_accuracy`` of the latent's probes, ``…_auroc_pca`` and
    ``…_balanced_accuracy_pca`` of those of the pixels' principal components, ``…_majority`` the accuracy of answering
    what most of the ``test.attribute_labels`` training records have. ``…_auroc_se`` and ``…_auroc_gain_se``: standard
    errors over test records of ``…_auroc`` and of its difference to ``…_auroc_pca`` (:func:`resampled_auroc`).
    """
    varied = ~latent.auroc.isnan()
    truth = truth.cpu()

    def resampled(found: Probes | None) -> Tensor | None:
        known = found is not None and varied.any()
        return resampled_auroc(found.scores[:, varied], truth[:, varied]) if known else None

    ours, theirs = resampled(latent), resampled(pixels)
    constant = (answers.double().mean(0) > 0.5).cpu() == (truth > 0)

    def mean(values: Tensor | None) -> float | None:
        return values[varied].double().mean().item() if values is not None and varied.any() else None

    values = [
        mean(latent.auroc),
        mean(latent.balanced_accuracy),
        mean(latent.accuracy),
        mean(constant.double().mean(0)),
        mean(None if pixels is None else pixels.auroc),
        None if ours is None else ours.std().item(),
        None if ours is None or theirs is None else (ours - theirs).std().item(),
        mean(None if pixels is None else pixels.balanced_accuracy),
        int(varied.sum()),
        len(answers),
    ]
    return dict(zip(ATTRIBUTE_KEYS, values, strict=True))


def class_directions(tangent: Tensor, attributes: Tensor) -> Tensor:
    """For each attribute the difference [A, dim] of the mean tangent coordinates with and without it.

    A tangent vector at the origin, to be carried by parallel transport to where it is used. NaN for one that all share.

    Args:
        tangent: [N, dim]. attributes: 0/1 [N, A].
    """
    has = attributes.to(tangent)
    return (has.T @ tangent) / has.sum(0).unsqueeze(-1) - ((1 - has).T @ tangent) / (1 - has).sum(0).unsqueeze(-1)


def chosen_attributes(names: list[str], attributes: Mapping[str, Tensor] | Tensor, number: int) -> list[int]:
    """Indices of the ``number`` attributes whose directions are shown: the telling ones first, else the most even."""
    preferred = [names.index(name) for name in PREFERRED if name in names]
    rates = attributes.double().mean(0)
    even = (rates - 0.5).abs().argsort().tolist()
    ordered = dict.fromkeys([*preferred, *even])
    return [index for index in ordered if 0 < rates[index] < 1][:number]


PREFERRED = ("Smiling", "Male", "Young", "Blond_Hair", "Eyeglasses", "Bangs")
