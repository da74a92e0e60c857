"""A run's folder as the figures and the report read it: what is there, and a sentence for what is not."""

import csv
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..datasets import CONTROLS
from ..errors import UserError
from ..files import canonical_json, read_json
from ..options import KIND_NAMES
from ..signature import Signature, parse
from ..sources import NAMES


@dataclass(frozen=True)
class RunFolder:
    """What a run left behind; ``history`` maps a column to its numbers (NaN for an empty cell)."""

    path: Path
    config: dict[str, Any]
    metrics: dict[str, Any]
    provenance: dict[str, Any]
    history: dict[str, list[float]] = field(repr=False)

    @property
    def id(self) -> str:
        """The run's id, which is its folder's name."""
        return self.path.name

    @property
    def dataset(self) -> str:
        return self.config["dataset"]

    @property
    def latent(self) -> str:
        return self.config["latent"]

    @property
    def kind(self) -> str:
        return self.config["model"]["kind"]

    @property
    def seed(self) -> int:
        return self.config["seed"]

    @property
    def signature(self) -> Signature:
        return parse(self.latent)

    @property
    def configuration(self) -> str:
        """What the runs of different seeds have in common, as canonical text."""
        return canonical_json({key: value for key, value in self.config.items() if key != "seed"})

    @property
    def network(self) -> str:
        """What runs must have in common for their latent spaces to be compared: all but the space and the seed."""
        return canonical_json({key: value for key, value in self.config.items() if key not in ("latent", "seed")})

    @property
    def diverged(self) -> bool:
        return self.metrics.get("status") == "diverged"

    def curvatures(self) -> list[float]:
        """The curvature of each component, learned ones as they ended (``curvature.{i}`` of the metrics)."""
        initial = [c.k for c in self.signature.components for _ in range(c.count)]
        learned = [self.metrics.get(f"curvature.{i}") for i in range(len(initial))]
        return [k if value is None else float(value) for k, value in zip(initial, learned, strict=True)]

    def why_empty(self) -> str | None:
        """A sentence if there is nothing to draw, else None."""
        if self.diverged:
            cause = self.metrics.get("cause") or "no cause was recorded"
            epochs = self.metrics.get("epochs")
            when = f" after {epochs} epoch{'' if epochs == 1 else 's'}" if epochs is not None else ""
            return f"This run diverged{when} ({cause}), so there is nothing to draw."
        if not (self.path / "latents.npz").is_file():
            return "This run has no latents.npz: it was not evaluated, so there is nothing to draw."
        return None

    def why_unplaced(self) -> str | None:
        """A sentence if its posterior locations cannot be drawn, else None; of a run that :meth:`why_empty` passes."""
        import numpy as np

        tangent = self.arrays().get("tangent", np.zeros(0))
        if len(tangent) == 0:
            return "The test split of this run holds no records, so there is nothing to draw."
        if not np.isfinite(tangent).all():
            return "Some posterior locations of this run are not finite numbers, so they are not drawn."
        return None

    def arrays(self) -> dict[str, Any]:
        """The arrays of latents.npz."""
        import numpy as np

        with np.load(self.path / "latents.npz", allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}

    def subtitle(self) -> str:
        """Data set, kind and seed, as every figure of one run states them."""
        kind = KIND_NAMES[self.kind]
        return f"{NAMES[self.dataset]} · {kind} · seed {self.seed}"


EXAMPLE = {"mnist": "image", "celeba": "image", "qm9": "molecule"} | dict.fromkeys(CONTROLS, "point")


def read_run(folder: str | Path) -> RunFolder:
    """Read a run's folder; files that are missing (a failed or unfinished run) read as empty.

    Raises:
        UserError: if there is no run.json, or a file is broken.
    """
    path = Path(folder)
    config = read_json(path / "run.json")
    if not isinstance(config, dict) or "latent" not in config:
        raise UserError(f"{path / 'run.json'}: is not a run's configuration; it has no key 'latent'")
    return RunFolder(
        path=path,
        config=config,
        metrics=_optional(path / "metrics.json") or _optional(path / "training.json"),
        provenance=_optional(path / "provenance.json"),
        history=read_history(path / "history.csv"),
    )


def read_history(path: Path) -> dict[str, list[float]]:
    """The columns of a history.csv as numbers; an empty cell, and every cell that is not a number, is NaN."""
    if not path.is_file():
        return {}
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {column: [_number(row[column]) for row in rows] for column in (rows[0] if rows else {})}


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _number(text: str | None) -> float:
    try:
        return float(text) if text else math.nan
    except ValueError:
        return math.nan
