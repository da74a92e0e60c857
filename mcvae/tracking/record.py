"""What MLflow is told about a run, read from its folder: parameters, tags, rows of metrics, times, artifacts.

No MLflow here: a :class:`RunFiles` is the state that a sync compares with the store.
"""

import csv
import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ..config import RunConfig
from ..files import canonical_json, digest, read_json
from ..findings.statistics import flatten

ARTIFACTS = ("run.json", "history.csv", "training.json", "metrics.json", "provenance.json")
MAX_VALUE = 500  # characters: what every version of MLflow accepts for a parameter
MAX_TAG = 5000
_FORBIDDEN = re.compile(r"[^\w\-. :/]")


@dataclass(frozen=True)
class RunFiles:
    """A run's folder at one moment. ``rows[i]`` are the finite metrics of one epoch, ``lines[i]`` its text."""

    folder: Path
    config: Mapping[str, Any]
    lines: tuple[str, ...]
    rows: tuple[tuple[int, Mapping[str, float]], ...]
    training: Mapping[str, Any]
    metrics: Mapping[str, Any]
    provenance: Mapping[str, Any]

    @property
    def id(self) -> str:
        """The run's id, which is its folder's name."""
        return self.folder.name

    @property
    def finished(self) -> bool:
        """Evaluated, or diverged: nothing more will come."""
        return bool(self.metrics)

    @property
    def status(self) -> str | None:
        """``finished`` or ``diverged``; None while it is under way."""
        return self.metrics.get("status")

    def parameters(self) -> dict[str, str]:
        """The canonical configuration with flat keys: ``training.epochs``, ``model.hidden``."""
        return {key: shorten(_text(value), MAX_VALUE) for key, value in flatten(self.config).items()}

    def final(self) -> dict[str, float]:
        """The finite numbers of metrics.json; what history.csv has too, or could, is ``final.…``."""
        numbers = {key: number(value) for key, value in self.metrics.items()}
        return {
            clean(f"final.{key}" if key.startswith(("train.", "validation.", "curvature.")) else key): value
            for key, value in numbers.items()
            if value is not None
        }

    def tags(self) -> dict[str, str]:
        """What one filters and groups by in MLflow."""
        signature = RunConfig.model_validate(dict(self.config)).signature
        letters = "".join(dict.fromkeys(component.letter for component in signature.components))
        tags = {
            "mcvae.dataset": self.config["dataset"],
            "mcvae.data": self.config["data"],
            "mcvae.signature": str(signature),
            "mcvae.geometry": letters,
            "mcvae.dim": signature.dim,
            "mcvae.kind": self.config["model"]["kind"],
            "mcvae.seed": self.config["seed"],
            "mcvae.code": self.provenance.get("code_digest"),
            "mcvae.device": self.provenance.get("device"),
            "mlflow.source.git.commit": self.provenance.get("commit"),
            "mcvae.cause": self.metrics.get("cause"),
        }
        return {key: shorten(str(value), MAX_TAG) for key, value in tags.items() if value is not None}

    def artifacts(self, figures: Iterable[tuple[Path, str]] = ()) -> list[tuple[Path, str]]:
        """Files and the folders, within the MLflow run, that they belong to."""
        own = [self.folder / name for name in ARTIFACTS if (self.folder / name).is_file()]
        own += sorted(self.folder.glob("metrics-*.json"))
        return [(path, "") for path in own] + list(figures)

    def prefix(self, count: int) -> str:
        """Digest of the first ``count`` rows of the history."""
        return digest("\n".join(self.lines[: count + 1]))

    def started(self) -> int:
        """Milliseconds since 1970 at which the run began, as far as its files tell."""
        return _milliseconds(self.provenance.get("started")) or _modified(self.folder / "run.json")

    def ended(self) -> int:
        """Milliseconds since 1970 at which the run ended, or was last heard of."""
        paths = [self.folder / name for name in ARTIFACTS]
        return _milliseconds(self.provenance.get("finished")) or max(_modified(p) for p in paths if p.is_file())

    def time_of(self, epoch: int) -> int:
        """Milliseconds since 1970 of an epoch: evenly between start and end of a finished run, else the file's time."""
        start, end = self.started(), _milliseconds(self.provenance.get("finished"))
        if end is None or not self.rows:
            return _modified(self.folder / "history.csv")
        return start + round((end - start) * min(1.0, epoch / max(1, self.rows[-1][0])))

    def state(self) -> str:
        """Digest of everything above; equal states need no sync."""
        content = [self.config, self.lines, self.training, self.metrics, self.provenance]
        return digest(canonical_json(content))


def read(folder: Path) -> RunFiles:
    """Read a run's folder; files that are not there yet read as empty.

    Raises:
        UserError: there is no run.json, or a JSON file is broken.
    """
    lines, rows = _history(folder / "history.csv")
    return RunFiles(
        folder=folder,
        config=read_json(folder / "run.json"),
        lines=lines,
        rows=rows,
        training=_optional(folder / "training.json"),
        metrics=_optional(folder / "metrics.json"),
        provenance=_optional(folder / "provenance.json"),
    )


def _history(path: Path) -> tuple[tuple[str, ...], tuple[tuple[int, dict[str, float]], ...]]:
    try:
        lines = tuple(path.read_text(encoding="utf-8").splitlines())
    except FileNotFoundError:
        return (), ()
    rows = []
    for row in csv.DictReader(lines):
        epoch = int(row.pop("epoch"))
        numbers = {clean(key): number(value) for key, value in row.items()}
        rows.append((epoch, {key: value for key, value in numbers.items() if value is not None}))
    return lines, tuple(rows)


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def number(value: Any) -> float | None:
    """A finite number, or None: MLflow's curves have no place for null, NaN, or text."""
    if value is None or value == "" or isinstance(value, bool):
        return None
    try:
        result = float(value)
    except (TypeError, ValueError):
        return None
    return result if math.isfinite(result) else None


def clean(key: str) -> str:
    """A metric's name without the characters that MLflow refuses."""
    return _FORBIDDEN.sub("_", key)


def shorten(text: str, limit: int) -> str:
    """At most ``limit`` characters; what is cut off shows as an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def fingerprint(paths: Iterable[tuple[Path, str]]) -> list[list[str]]:
    """Names and contents of files, for a state."""
    return [[f"{place}/{path.name}", hashlib.sha256(path.read_bytes()).hexdigest()] for path, place in paths]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else canonical_json(value)


def _milliseconds(moment: str | None) -> int | None:
    return None if moment is None else round(datetime.fromisoformat(moment).timestamp() * 1000)


def _modified(path: Path) -> int:
    return path.stat().st_mtime_ns // 1_000_000
