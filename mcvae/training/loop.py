"""The loop: one epoch of training and validation, what is kept of it, and when a run ends.

Nothing inside an epoch waits for the device: batches are gathered there by index, and the terms are looked at once.
"""

import logging
import math
import time
from collections.abc import Mapping

import torch
from torch import Tensor

from ..config import RunConfig, Training
from ..data.pages import Reader
from ..files import canonical_json
from ..models import Model
from .checkpoint import State
from .history import Averages, Row
from .schedules import curvature_rate, kl_weight, learning_rate
from .seeding import stream

logger = logging.getLogger("mcvae.training")

VALIDATION_BATCH = 512

Tensors = Mapping[str, Tensor]


def run_epoch(config: RunConfig, state: State, train: Tensors, validation: Tensors) -> Row | None:
    """Train and validate once; record the row, and whether it is the best or the end. None if the run diverged."""
    training, progress, model = config.training, state.progress, state.model
    epoch, start = len(progress.history), time.perf_counter()
    beta, rate = kl_weight(training, epoch), learning_rate(training, epoch)
    weight, team = model.property_weight, state.team
    whole = model.kl_weight  # of the KL in the objective, once its warm-up is over
    averages = train_epoch(state, train, training, beta, rate, curvature_rate(training, epoch))
    trained = averages.means(beta * whole, weight, team)
    validated: Row = dict.fromkeys(trained)
    if len(next(iter(validation.values()))):
        share = {name: team.share(tensor) for name, tensor in validation.items()}
        # The same noise each epoch, and none of the training's.
        with stream(config.seed, team.purpose("validation"), state.device):
            validated = validate(model, share).means(whole, weight, team)

    row: Row = {"epoch": epoch + 1}
    row |= {f"train.{k}": v for k, v in trained.items()} | {f"validation.{k}": v for k, v in validated.items()}
    row |= {"beta": beta * whole, "learning_rate": rate}
    row |= {f"curvature.{i}": k for i, k in enumerate(model.latent.curvatures().tolist())}
    progress.cause = not_finite(row, model)
    if progress.cause is not None:
        progress.status = "diverged"
        logger.warning("%s; its configuration: %s", progress.cause, canonical_json(config.canonical()))
        return None
    keep_best(state, row, training)
    logger.info(
        "epoch %d/%d  train loss %.4f  validation loss %s  %.2f s",
        epoch + 1, training.epochs, row["train.loss"], _decimals(row["validation.loss"]), time.perf_counter() - start,
    )  # fmt: skip
    return row


def train_epoch(
    state: State, tensors: Tensors, training: Training, beta: float, rate: float, curvatures: float | None = None
) -> Averages:
    """One pass over the training records in a new order; the last batch may be smaller.

    ``beta`` is the weight of the KL; ``rate`` and ``curvatures`` are the learning rates, None for one of no movement.
    """
    optimizer, team, averages, reader = state.optimizer, state.team, Averages(), Reader(tensors.values())
    size = len(next(iter(tensors.values())))
    order = torch.randperm(size, generator=state.order).to(state.device)
    for index in order.split(training.batch_size):
        share = team.share(index)
        optimizer.zero_grad()  # before the step: the next replay of a CUDA graph writes where they lie
        if len(share):  # of a last batch with fewer records than processes, some have none
            batch = {name: tensor.index_select(0, share) for name, tensor in tensors.items()}
            reader.count(len(share))
            terms = state.terms(batch, beta)
            terms.loss.backward()
            averages.add(terms)
        team.average(optimizer.parameters, len(share), len(index))
        optimizer.step(rate, curvatures, training.gradient_clip)
    return averages


@torch.no_grad()
def validate(model: Model, tensors: Tensors) -> Averages:
    """The terms of every validation record, the KL in full."""
    averages = Averages()
    size = len(next(iter(tensors.values())))
    for start in range(0, size, VALIDATION_BATCH):
        batch = {name: tensor[start : start + VALIDATION_BATCH] for name, tensor in tensors.items()}
        averages.add(model.terms(model.prepare(batch, train=False)))
    return averages


def keep_best(state: State, row: Row, training: Training) -> None:
    """Append the row; keep the weights if it is the best; end the run if patience is exhausted."""
    progress, best = state.progress, state.progress.best
    progress.history.append(row)
    if training.selection == "last" or best is None or row["validation.loss"] < best["validation.loss"]:
        progress.best_epoch, progress.stale = row["epoch"], 0
        for name, tensor in state.model.state_dict().items():
            state.best[name].copy_(tensor)
    # While the KL grows, the full loss may rise and fall again; curvatures that have not moved may yet lower it.
    elif row["epoch"] > max(training.kl_warmup, training.curvature_start):
        progress.stale += 1
        if progress.stale == training.patience:
            progress.status = "finished"


def _decimals(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


def not_finite(row: Row, model: Model) -> str | None:
    """The first part of the loss, or weight, that is not finite, in a sentence; None if all are."""
    for split in ("train", "validation"):
        for part in ("reconstruction", "kl", "property_mae"):
            value = row.get(f"{split}.{part}")
            if value is not None and not math.isfinite(value):
                return f"epoch {row['epoch']}: {split}.{part} was {value}; the run diverged"
    names, weights = zip(*model.named_parameters(), strict=True)
    finite = torch.stack([weight.detach().isfinite().all() for weight in weights]).tolist()
    if not all(finite):
        return f"epoch {row['epoch']}: weight {names[finite.index(False)]} was not finite; the run diverged"
    return None
