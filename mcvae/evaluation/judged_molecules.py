"""What molecules that a model made are worth: their property as the model reads them anew, and as the data have it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from ..data.smiles import tensors_of
from ..data.store import SPLITS
from ..errors import UserError
from .blocks import predicted_properties

JUDGED = (
    *("valid", "distinct", "new", "same", "known", "nearer"),
    *(f"{name}_{split}" for name in ("known", "nearer") for split in SPLITS),
    *("error_decoded", "error_true", "error_prediction"),
)
Metrics = dict[str, float | int | None]


class Record(NamedTuple):
    """Of a molecule in the data: its split, as a place in ``SPLITS``, and the true ``value`` of a property."""

    split: int
    value: float


class Judged(NamedTuple):
    """Of molecules ``smiles`` [n], None for none: a property ``predicted`` [n] by the model that reads them anew, NaN
    where it cannot; its ``true`` value [n] and their ``split`` [n], NaN and -1 where they are not in the data."""

    smiles: Sequence[str | None]
    predicted: np.ndarray
    true: np.ndarray
    split: np.ndarray


def records_of(smiles: Sequence[str], values: Iterable[float], splits: Mapping[str, tuple[int, int]]) -> dict:
    """{SMILES: :class:`Record`} of all data; of a molecule that is there twice, the first: training comes first."""
    split = np.concatenate([np.full(splits[name][1] - splits[name][0], i) for i, name in enumerate(SPLITS)])
    found: dict[str, Record] = {}
    for text, where, value in zip(smiles, split.tolist(), values, strict=True):
        found.setdefault(text, Record(where, float(value)))
    return found


def judged(
    model: nn.Module,
    smiles: Sequence[str | None],
    index: int,
    records: Mapping[str, Record],
    stats: Mapping[str, Any],
) -> Judged:
    """Molecules with property ``index`` as the model reads them anew and as the data have it, in its unit."""
    unknown = Record(-1, np.nan)
    found = [records.get(text or "", unknown) for text in smiles]
    predicted = read_again(model, smiles, stats)[:, index]
    return Judged(smiles, predicted, np.array([r.value for r in found]), np.array([r.split for r in found], np.int8))


def read_again(model: nn.Module, smiles: Sequence[str | None], stats: Mapping[str, Any]) -> np.ndarray:
    """Predicted properties float64 [N, T] of molecules as the encoder reads them, in their units; NaN for one that has
    no place in the tensors (more than nine atoms, several fragments, a symbol that the data lack).

    As :func:`.blocks.predicted_properties` predicts those of a split; equal molecules are read once.
    """
    targets = stats["targets"]
    batches: dict[str, Mapping[str, torch.Tensor]] = {}
    for text in dict.fromkeys(text for text in smiles if text):
        try:
            batches[text] = tensors_of([text], stats)
        except UserError:
            continue
    nothing = np.full(len(targets), np.nan)
    found: dict[str | None, np.ndarray] = {}
    if batches:
        tensors = {name: torch.cat([each[name] for each in batches.values()]) for name in model.protocol.reads}
        values = predicted_properties(model, tensors).numpy()
        values = values * [target["std"] for target in targets] + [target["mean"] for target in targets]
        found = dict(zip(batches, values, strict=True))
    return np.array([found.get(text, nothing) for text in smiles]).reshape(len(smiles), len(targets))


def describe_judged(found: Judged, start: Sequence[str], before: np.ndarray, wanted: float) -> Metrics:
    """The numbers of :data:`JUDGED`, of molecules that were made from others.

    ``valid`` counts those that can be read anew, one molecule of at most nine heavy atoms; ``distinct`` the different
    ones among these, ``new`` those of them that are neither in the training split nor at the start; ``same`` those that
    are still the molecule of the start. ``known`` counts the others that are in the data, ``nearer`` those among these
    whose true value is nearer to ``wanted`` than that of their start; with ``_train``, ``_validation``, ``_test`` a
    split's. Errors are mean distances in the property's unit, None of nothing: ``decoded``, of the prediction anew from
    ``wanted``; ``true``, of the true value of the known ones from ``wanted``; ``prediction``, of the prediction anew of
    those of them that were not trained on from their true value.

    Args:
        start: the molecules that these were made from, and ``before`` [n], the true values of these.
    """
    read = ~np.isnan(found.predicted)
    valid = [text for text, whole in zip(found.smiles, read, strict=True) if whole]
    same = np.array([text == own for text, own in zip(found.smiles, start, strict=True)], bool)
    known = read & ~same & (found.split >= 0)
    nearer = known & (np.abs(found.true - wanted) < np.abs(before - wanted))
    trained = {text for text, split in zip(found.smiles, found.split, strict=True) if split == SPLITS.index("train")}
    metrics: Metrics = {
        "valid": len(valid),
        "distinct": len(set(valid)),
        "new": len(set(valid) - trained - set(start)),
        "same": int((read & same).sum()),
    }
    for name, those in (("known", known), ("nearer", nearer)):
        metrics[name] = int(those.sum())
        metrics |= {f"{name}_{split}": int((those & (found.split == i)).sum()) for i, split in enumerate(SPLITS)}
    untrained = known & (found.split != SPLITS.index("train"))
    apart = (
        ("decoded", np.abs(found.predicted - wanted)[read]),
        ("true", np.abs(found.true - wanted)[known]),
        ("prediction", np.abs(found.predicted - found.true)[untrained]),
    )
    return metrics | {f"error_{name}": float(away.mean()) if len(away) else None for name, away in apart}
