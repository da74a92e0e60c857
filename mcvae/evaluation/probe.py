"""What a linear classifier reads off the latent space: logistic regression on the coordinates of its points.

The label budgets and their draws are those of the kNN classifier, so that the two can be compared draw by draw.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from .blocks import count, locations
from .classification import draw, label_draws, spread
from .property_probes import coordinates

STEPS = 1000  # of L-BFGS at most; some tens are used


def probe_metrics(
    model: torch.nn.Module,
    train: Mapping[str, Tensor],
    test: Mapping[str, Tensor],
    loc: Tensor,
    *,
    budgets: Sequence[int] = (100, 600, 1000),
    draws: int = 20,
    labels: int = 10_000,
) -> dict[str, float | int | None]:
    """Accuracy of a logistic regression trained on few labels; empty for data without ``labels``.

    ``test.probe_accuracy@{budget}`` and ``…_sd`` are mean and standard deviation over ``test.knn_draws`` draws, those
    of :func:`.classification.knn_metrics`. Coordinates are :func:`.property_probes.coordinates` of posterior locations
    (of spheres and flat space the ambient ones, else tangent ones at the origin), standardised by the labelled records;
    the penalty is |w|²/2 beside the summed cross-entropy.

    Args:
        loc: [N, ambient_dim], posterior locations of the test split.
        budgets: labels that are known. draws: of them. labels: training records that they come from.

    Raises:
        UserError: scikit-learn is not installed.
    """
    if "labels" not in test or not budgets:
        return {}
    records = draw(count(train), labels)
    answers, truth = train["labels"][records].numpy(), test["labels"].numpy()
    chosen = label_draws(len(records), budgets, draws)
    queries, references = _coordinates(model, loc), _coordinates(model, locations(model, train, records))
    accuracies = {
        budget: torch.tensor(
            [accuracy(references[each], answers[each], queries, truth) for each in members.numpy()],
            dtype=torch.float64,
        )
        for budget, members in chosen.items()
    }
    return {**spread("probe", budgets, accuracies), "test.knn_draws": draws}


def accuracy(points: np.ndarray, answers: np.ndarray, queries: np.ndarray, truth: np.ndarray) -> float:
    """Share of the queries [N, dim] that a logistic regression on points [n, dim] answers right; one thread.

    Where all answers are one, that is the classifier's answer to everything.

    Raises:
        UserError: scikit-learn is not installed.
    """
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise UserError(f"the logistic probe needs scikit-learn (pip install 'mcvae[data]'): {error}") from None
    if len(np.unique(answers)) == 1:
        return float(np.mean(truth == answers[0]))
    with threadpool_limits(1, user_api="blas"):  # the order of sums, and so the bits, would depend on the threads
        classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=STEPS)).fit(points, answers)
        return float(np.mean(classifier.predict(queries) == truth))


@torch.inference_mode()
def _coordinates(model: torch.nn.Module, loc: Tensor) -> np.ndarray:
    return coordinates(model.latent, loc).double().cpu().numpy()
