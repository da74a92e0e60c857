"""One row an epoch: its columns, its text (history.csv), and the sums that it is made from."""

import csv
import io
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..models import Model, Terms
from .team import ALONE, Team

Row = dict[str, float | int | None]
PARTS = ("loss", "elbo", "reconstruction", "kl")


def columns(model: Model) -> list[str]:
    """The header of a model's history."""
    parts = [*PARTS, "property_mae"] if model.head is not None else [*PARTS]
    curvatures = [f"curvature.{i}" for i in range(len(model.latent.curvatures()))]
    splits = [f"{split}.{part}" for split in ("train", "validation") for part in parts]
    return ["epoch", *splits, "beta", "learning_rate", *curvatures]


def to_csv(header: Sequence[str], rows: Sequence[Mapping[str, float | int | None]]) -> str:
    """The rows as CSV: floats by repr, null as an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow(["" if row[name] is None else repr(row[name]) for name in header])
    return text.getvalue()


class Averages:
    """Collects the terms of an epoch where they are computed, and looks at them once."""

    def __init__(self) -> None:
        self._reconstruction: list[Tensor] = []
        self._kl: list[Tensor] = []
        self._error: list[Tensor] = []

    def add(self, terms: Terms) -> None:
        """Keep a batch's terms, by record; nothing is computed and nothing waits for the device."""
        self._reconstruction.append(terms.reconstruction.detach())
        if terms.kl is not None:
            self._kl.append(terms.kl.detach())
        if terms.property_error is not None:
            self._error.append(terms.property_error.detach())

    def means(self, beta: float, property_weight: float, team: Team = ALONE) -> Row:
        """Means over the records, in double precision: the parts, and the loss with the KL weighted by ``beta``.

        The records are those of the whole ``team``.
        """
        reconstruction = team.mean(_whole(self._reconstruction))
        kl = team.mean(_whole(self._kl, per_record=True))
        error = team.mean(_whole(self._error))
        penalty = (0.0 if kl is None else beta * kl) + (0.0 if error is None else property_weight * error)
        row: Row = {
            "loss": -reconstruction + penalty,
            "elbo": None if kl is None else reconstruction - kl,
            "reconstruction": reconstruction,
            "kl": kl,
        }
        return row if error is None else row | {"property_mae": error}


def _whole(parts: list[Tensor], per_record: bool = False) -> Tensor | None:
    if not parts:
        return None
    whole = torch.cat(parts).double()
    return whole.sum(-1) if per_record else whole
