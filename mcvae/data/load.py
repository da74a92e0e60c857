"""A prepared folder as tensors over memory maps: nothing is read before it is used, nothing can be written back."""

import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..errors import UserError
from ..files import read_json
from .pages import watch
from .store import SPLITS, tensor_path

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Dataset:
    """A prepared data set: ``stats`` as in stats.json, ``splits`` {name: (start, stop)}, ``tensors`` {name: [N, ...]}.

    The tensors lie over private (copy-on-write) memory maps: a change stays in this process.
    """

    name: str
    folder: Path
    stats: dict[str, Any]
    splits: dict[str, tuple[int, int]]
    tensors: dict[str, "Tensor"]

    def __len__(self) -> int:
        return max(stop for _, stop in self.splits.values())

    def size(self, split: str) -> int:
        """Records of ``train``, ``validation`` or ``test``."""
        start, stop = self._bounds(split)
        return stop - start

    def split(self, name: str) -> dict[str, "Tensor"]:
        """The slices of every tensor that belong to ``train``, ``validation`` or ``test``; no copy."""
        start, stop = self._bounds(name)
        return {key: tensor[start:stop] for key, tensor in self.tensors.items()}

    def trained_on(self, records: int | Literal["all"] | None) -> "Dataset":
        """The same data with the first ``records`` of the splits train and validation as train, the others validating.

        None leaves the splits as they are. Raises: UserError for more than there are.
        """
        if records is None:
            return self
        most = self._bounds("validation")[1]
        records = most if records == "all" else records
        if records > most:
            raise UserError(
                f"training.records: {records:,} is more than the {most:,} of train and validation in {self.folder}"
            )
        return replace(self, splits=self.splits | {"train": (0, records), "validation": (records, most)})

    def _bounds(self, name: str) -> tuple[int, int]:
        if name not in self.splits:
            raise UserError(f"{self.folder}: no split {name!r}; choose one of {', '.join(self.splits)}")
        return self.splits[name]

    @cached_property
    def smiles(self) -> list[str]:
        """The canonical SMILES of every record, from smiles.txt (QM9 only)."""
        path = self.folder / "smiles.txt"
        if not path.exists():
            raise UserError(f"{path}: no such file; {self.name} has no SMILES")
        lines = path.read_text(encoding="utf-8").splitlines()
        if len(lines) != len(self):
            raise UserError(f"{path}: {len(lines):,} lines for {len(self):,} records")
        return lines


def load(folder: str | os.PathLike) -> Dataset:
    """Open a prepared folder; every tensor's shape and dtype is checked against stats.json, and the splits cover all.

    Raises: UserError naming the file that is missing or differs.
    """
    import torch

    folder = Path(folder)
    if not (folder / "stats.json").exists():
        raise UserError(f"{folder}: not a prepared data set (no stats.json); prepare it first")
    stats, splits = read_json(folder / "stats.json"), _read_splits(folder / "splits.json")
    records = max(stop for _, stop in splits.values())
    tensors = {}
    for name, entry in stats["tensors"].items():
        array = _open(tensor_path(folder, name))
        if list(array.shape) != entry["shape"] or array.dtype.name != entry["dtype"] or len(array) != records:
            raise UserError(
                f"{tensor_path(folder, name)}: {array.dtype.name} {list(array.shape)} where stats.json says "
                f"{entry['dtype']} {entry['shape']} and splits.json {records:,} records"
            )
        tensors[name] = torch.from_numpy(array)
    return Dataset(stats["dataset"], folder, stats, splits, tensors)


def _open(path: Path) -> np.ndarray:
    try:
        # Mode "c", not "r": torch warns of read-only arrays, and a private map protects the file all the same.
        return watch(np.load(path, mmap_mode="c", allow_pickle=False))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file, though stats.json lists it") from None
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{path}: not a readable .npy file ({error})") from None


def _read_splits(path: Path) -> dict[str, tuple[int, int]]:
    splits = {name: tuple(bounds) for name, bounds in read_json(path).items()}
    edges = [edge for name in SPLITS for edge in splits.get(name, ())]
    if set(splits) != set(SPLITS) or edges[0] != 0 or edges != sorted(edges) or edges[1:-1:2] != edges[2:-1:2]:
        raise UserError(f"{path}: expected {', '.join(SPLITS)} as adjoining [start, stop] from 0, got {splits}")
    return splits
