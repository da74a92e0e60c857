"""What the latent space knows of the labels: k nearest neighbours under the manifold's own geodesic distance.

References are posterior locations of training records, queries those of test records; no classifier is trained.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .blocks import count, device_of, locations

CHUNK_BYTES = 4 * 2**20
SEED = 20_180_402  # of the draw of labelled training records: the same for every run, so that runs can be paired


def nearest(
    latent: Any, queries: Tensor, references: Tensor, neighbours: int, chunk_bytes: int = CHUNK_BYTES
) -> Tensor:
    """Indices int64 [n, k] of the ``k = min(neighbours, references)`` nearest references, the nearest first.

    Distances are ``latent.dist``: geodesic, with each component's curvature; sqrt(sum of squares) over a product.

    Args:
        queries: [n, ambient_dim]. references: [m, ambient_dim].
        chunk_bytes: bound of one temporary [chunk, m, ambient_dim].
    """
    k = min(neighbours, len(references))
    row = references.numel() * references.element_size()
    step = max(1, chunk_bytes // row)
    # Written into one tensor: small results between large temporaries would leave gigabytes of holes in the heap.
    result = torch.empty(len(queries), k, dtype=torch.int64, device=queries.device)
    for start in range(0, len(queries), step):
        part = queries[start : start + step].unsqueeze(1)
        result[start : start + step] = latent.dist(part, references.unsqueeze(0)).topk(k, largest=False).indices
    return result


def majority(labels: Tensor) -> Tensor:
    """The commonest of each row's labels; of equally common ones that of the nearest neighbour.

    Args:
        labels: integer [n, k, ...], neighbours in order of distance.

    Returns:
        [n, ...]
    """
    k = labels.shape[1]
    votes = (labels.unsqueeze(1) == labels.unsqueeze(2)).sum(1)  # [n, k, ...]: how many share the neighbour's label
    order = torch.arange(k, device=labels.device).reshape(1, k, *[1] * (labels.ndim - 2))
    winner = (votes * k - order).argmax(1, keepdim=True)
    return labels.gather(1, winner).squeeze(1)


def balanced_accuracy(predicted: Tensor, truth: Tensor) -> Tensor:
    """(TPR + TNR) / 2 of each binary attribute; NaN where the truth is constant.

    Args:
        predicted, truth: 0/1 [n, attributes].
    """
    hit = (predicted == truth).double()
    positive = truth.double()
    rate = [(hit * weight).sum(0) / weight.sum(0) for weight in (positive, 1 - positive)]
    return (rate[0] + rate[1]) / 2


def draw(total: int, labels: int) -> Tensor:
    """``labels`` of ``total`` training records, in a fixed random order: a smaller budget is a part of a larger one."""
    generator = torch.Generator().manual_seed(SEED)
    return torch.randperm(total, generator=generator)[:labels]


@torch.inference_mode()
def knn_metrics(
    model: torch.nn.Module,
    train: Mapping[str, Tensor],
    test: Mapping[str, Tensor],
    loc: Tensor,
    *,
    neighbours: int = 5,
    labels: int = 10_000,
) -> dict[str, float | int | None]:
    """Accuracy of the geodesic kNN classifier on a test split; empty for data without labels or attributes.

    With ``labels`` (mnist): ``test.knn_accuracy``. With ``attributes`` (celeba): ``test.knn_balanced_accuracy`` is the
    mean of (TPR + TNR) / 2 over the ``test.knn_attributes`` attributes that are not constant on the test split (0.5 is
    chance), ``test.knn_accuracy`` the mean share of right answers over them, and ``test.knn_majority`` that share for
    the answer that most training references have.

    Args:
        loc: [N, ambient_dim], posterior locations of the test split.
        neighbours: k. labels: training records that may be looked at.
    """
    name = next((name for name in ("labels", "attributes") if name in test), None)
    if name is None:
        return {}
    device = device_of(model)
    records = draw(count(train), labels)
    answers = train[name][records].to(device)
    references = locations(model, train, records)
    truth = test[name].to(device)
    predicted = majority(answers[nearest(model.latent, loc, references, neighbours)])
    protocol = {"test.knn_neighbours": min(neighbours, len(records)), "test.knn_labels": len(records)}
    if name == "labels":
        return {"test.knn_accuracy": (predicted == truth).double().mean().item(), **protocol}
    balanced = balanced_accuracy(predicted, truth)
    varied = ~balanced.isnan()
    constant = (answers.double().mean(0) > 0.5).to(truth.dtype)  # what most references have

    def mean(values: Tensor) -> float | None:
        return values.double().mean().item() if varied.any() else None

    return {
        "test.knn_balanced_accuracy": mean(balanced[varied]),
        "test.knn_accuracy": mean((predicted == truth)[:, varied]),
        "test.knn_majority": mean((constant == truth)[:, varied]),
        "test.knn_attributes": int(varied.sum()),
        **protocol,
    }
