"""What the latent space knows of the labels: k nearest neighbours under the manifold's own geodesic distance.

References are posterior locations of training records, queries those of test records; no classifier is trained.
Label budgets ask how few labels suffice: each is drawn many times from the same labelled records, alike for every run.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..training.seeding import generator
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
    return nearest_among(latent, queries, references, neighbours, (), chunk_bytes)[0]


def nearest_among(
    latent: Any,
    queries: Tensor,
    references: Tensor,
    neighbours: int,
    draws: Sequence[Tensor],
    chunk_bytes: int = CHUNK_BYTES,
) -> list[Tensor]:
    """:func:`nearest` among all references, [n, k], then among each of ``draws`` of them, from the same distances.

    Args:
        draws: int64 [R, b], each: R sets of b references. The result for it is [n, R, min(neighbours, b)], also indices
            of references.
    """
    row = references.numel() * references.element_size()
    step = max(1, chunk_bytes // row)

    def empty(*shape: int) -> Tensor:
        # Written into one tensor: small results between large temporaries would leave gigabytes of holes in the heap.
        return torch.empty(len(queries), *shape, dtype=torch.int64, device=queries.device)

    whole = empty(min(neighbours, len(references)))
    parts = [empty(len(each), min(neighbours, each.shape[1])) for each in draws]
    for start in range(0, len(queries), step):
        rows = slice(start, start + step)
        distances = latent.dist(queries[rows].unsqueeze(1), references.unsqueeze(0))
        whole[rows] = distances.topk(whole.shape[1], largest=False).indices
        for each, part in zip(draws, parts, strict=True):
            found = distances[:, each].topk(part.shape[-1], largest=False).indices
            part[rows] = each.expand(len(found), -1, -1).gather(-1, found)
    return [whole, *parts]


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


def label_draws(total: int, budgets: Sequence[int], draws: int) -> dict[int, Tensor]:
    """For each budget the labels that are looked at, int64 [draws, budget]: indices into ``total`` labelled records.

    Without replacement in a draw, and independent between draws; within a draw a smaller budget is a part of a larger
    one. The same for every run. Budgets above ``total`` are left out.
    """
    budgets = [budget for budget in sorted(set(budgets)) if budget <= total]
    most = max(budgets, default=0)
    orders = [
        torch.randperm(total, generator=generator(0, f"evaluation/labels/{index}"))[:most] for index in range(draws)
    ]
    return {budget: torch.stack([order[:budget] for order in orders]) for budget in budgets}


def budget_keys(name: str, budgets: Sequence[int]) -> list[str]:
    """``test.{name}_accuracy@{labels}`` and its ``_sd`` for each budget."""
    return [f"test.{name}_accuracy@{budget}{end}" for budget in sorted(set(budgets)) for end in ("", "_sd")]


def spread(name: str, budgets: Sequence[int], accuracies: Mapping[int, Tensor]) -> dict[str, float | None]:
    """Mean and standard deviation (n - 1; None for one draw) over draws of ``accuracies[budget]`` [draws].

    None where a budget has none: there were not as many labelled records.
    """
    metrics: dict[str, float | None] = dict.fromkeys(budget_keys(name, budgets))
    for budget, values in accuracies.items():
        metrics[f"test.{name}_accuracy@{budget}"] = values.mean().item()
        metrics[f"test.{name}_accuracy@{budget}_sd"] = values.std().item() if len(values) > 1 else None
    return metrics


@torch.inference_mode()
def knn_metrics(
    model: torch.nn.Module,
    train: Mapping[str, Tensor],
    test: Mapping[str, Tensor],
    loc: Tensor,
    *,
    neighbours: int = 5,
    labels: int = 10_000,
    budgets: Sequence[int] = (),
    draws: int = 20,
) -> dict[str, float | int | None]:
    """Accuracy of the geodesic kNN classifier on a test split; empty for data without labels or attributes.

    With ``labels`` (mnist): ``test.knn_accuracy``. With ``attributes`` (celeba): ``test.knn_balanced_accuracy`` is the
    mean of (TPR + TNR) / 2 over the ``test.knn_attributes`` attributes that are not constant on the test split (0.5 is
    chance), ``test.knn_accuracy`` the mean share of right answers over them, and ``test.knn_majority`` that share for
    the answer that most training references have.

    With ``budgets`` (mnist; attributes have none) also ``test.knn_accuracy@{budget}`` and ``…_sd``, mean and standard
    deviation over ``test.knn_draws`` draws of that many of the ``labels`` records (Davidson et al. 2018, table 2). Each
    draw is a uniform sample of the training split, but two may share records. None for budgets above ``labels``.

    Args:
        loc: [N, ambient_dim], posterior locations of the test split.
        neighbours: k. labels: training records that may be looked at. budgets: numbers of them. draws: of a budget.
    """
    name = next((name for name in ("labels", "attributes") if name in test), None)
    if name is None:
        return {}
    device = device_of(model)
    records = draw(count(train), labels)
    answers = train[name][records].to(device)
    references = locations(model, train, records)
    truth = test[name].to(device)
    few = label_draws(len(records), budgets if name == "labels" else (), draws)
    sets = [each.to(device) for each in few.values()]
    found, *among = nearest_among(model.latent, loc, references, neighbours, sets)
    predicted = majority(answers[found])
    protocol = {"test.knn_neighbours": min(neighbours, len(records)), "test.knn_labels": len(records)}
    if name == "labels":
        metrics = {"test.knn_accuracy": (predicted == truth).double().mean().item(), **protocol}
        return metrics | _knn_budgets(budgets, draws, dict(zip(few, among, strict=True)), answers, truth)
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


def _knn_budgets(
    budgets: Sequence[int], draws: int, found: Mapping[int, Tensor], answers: Tensor, truth: Tensor
) -> dict[str, float | int | None]:
    """The metrics of label budgets whose neighbours ``found[budget]`` [N, draws, k] are; nothing without budgets."""
    if not budgets:
        return {}
    accuracies = {}
    for budget, each in found.items():
        predicted = majority(answers[each.flatten(0, 1)]).unflatten(0, each.shape[:2])
        accuracies[budget] = (predicted == truth.unsqueeze(-1)).double().mean(0)
    return {**spread("knn", budgets, accuracies), "test.knn_draws": draws}
