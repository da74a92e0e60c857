"""Which module turns which raw files into tensors; each is imported only when its data set is prepared."""

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from ..datasets import CONTROLS
from ..errors import UserError
from ..sources import check_dataset

PREPARERS = {"mnist": ".mnist", "celeba": ".celeba", "qm9": ".qm9"} | dict.fromkeys(CONTROLS, ".controls")


def prepare(
    dataset: str,
    raw: str | os.PathLike,
    prepared: str | os.PathLike,
    options: Mapping[str, Any] | None = None,
    threads: int = 1,
) -> Path:
    """Fill ``prepared`` with the tensors, splits.json and, last, stats.json of the raw folder's data set; return it.

    What was prepared there before stays whole until the first new tensor takes its place.
    """
    raw, prepared = Path(raw), Path(prepared)
    if not raw.is_dir():
        raise UserError(f"{raw}: no such folder of raw files; fetch {check_dataset(dataset)} first")
    prepared.mkdir(parents=True, exist_ok=True)
    module = import_module(PREPARERS[check_dataset(dataset)], __package__)
    module.prepare(raw, prepared, dict(options or {}), threads=threads)
    return prepared
