"""How prepared data lie on disk: one ``.npy`` file a tensor, written whole, and the ``stats.json`` that describes them.

``save_tensor`` takes an array, ``open_tensor`` a memory map to be filled piece by piece; ``write_stats`` comes last.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..files import atomic, read_json, sha256_file, write_json

SPLITS = ("train", "validation", "test")


def tensor_path(folder: str | os.PathLike, name: str) -> Path:
    """Where the tensor ``name`` of a prepared folder lies."""
    return Path(folder) / f"{name}.npy"


def describe_tensor(folder: str | os.PathLike, name: str) -> dict[str, Any]:
    """The entry of a written tensor in stats.json: ``{"shape": [...], "dtype": "uint8", "sha256": of the file}``."""
    path = tensor_path(folder, name)
    array = np.load(path, mmap_mode="r" if path.stat().st_size > 4096 else None, allow_pickle=False)
    return {"shape": list(array.shape), "dtype": array.dtype.name, "sha256": sha256_file(path)}


@contextmanager
def tensor_file(folder: str | os.PathLike, name: str) -> Iterator[Path]:
    """A temporary path that gets the name ``{name}.npy`` when the block succeeds."""
    with atomic(tensor_path(folder, name)) as temporary:
        yield temporary
        _unfinish(folder)


def _unfinish(folder: str | os.PathLike) -> None:
    """Right before the first file is replaced: an old stats.json would call a mixture of old and new files finished.

    Until then, a preparation that fails leaves the folder as it was.
    """
    (Path(folder) / "stats.json").unlink(missing_ok=True)


def save_tensor(folder: str | os.PathLike, name: str, array: np.ndarray) -> dict[str, Any]:
    """Write ``array`` whole as ``{folder}/{name}.npy`` and return its entry for stats.json."""
    with tensor_file(folder, name) as temporary, open(temporary, "wb") as file:
        np.save(file, np.ascontiguousarray(array), allow_pickle=False)
    return describe_tensor(folder, name)


@contextmanager
def open_tensor(
    folder: str | os.PathLike, name: str, shape: tuple[int, ...], dtype: np.typing.DTypeLike
) -> Iterator[np.ndarray]:
    """Yield a zero-filled writable memory map of ``shape``; it gets the name ``{name}.npy`` when the block succeeds.

    Never holds the tensor in memory. Afterwards ``describe_tensor(folder, name)`` gives its entry for stats.json.
    """
    if 0 in shape:
        raise ValueError(f"tensor {name!r}: shape {shape} holds nothing")
    with tensor_file(folder, name) as temporary:
        array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.dtype(dtype), shape=tuple(shape))
        yield array
        array.flush()
        del array


def write_splits(folder: str | os.PathLike, train: int, validation: int, test: int) -> dict[str, list[int]]:
    """Write splits.json for records in the order train, validation, test; return it as ``{name: [start, stop]}``."""
    bounds = np.cumsum([0, train, validation, test]).tolist()
    splits = {name: bounds[i : i + 2] for i, name in enumerate(SPLITS)}
    _unfinish(folder)
    write_json(Path(folder) / "splits.json", splits)
    return splits


def read_source(raw: str | os.PathLike) -> dict[str, Any]:
    """``{"source_note", "stand_in", "subset"}`` as the fetch recorded them in the raw folder's source.json.

    A folder that was not made by a fetch has none: its note says that the source is not recorded.
    """
    path = Path(raw) / "source.json"
    if not path.exists():
        return {"source_note": f"files of unrecorded source ({path.parent.name})", "stand_in": False, "subset": None}
    facts = read_json(path)
    return {key: facts[key] for key in ("source_note", "stand_in", "subset")}


def write_stats(
    prepared: str | os.PathLike,
    raw: str | os.PathLike,
    dataset: str,
    tensors: Mapping[str, Mapping[str, Any]],
    counts: Mapping[str, Any],
    **more: Any,
) -> dict[str, Any]:
    """Write stats.json, a preparation's last file, and return it: the source's facts, counts, tensors and ``more``."""
    stats = {"dataset": dataset, **read_source(raw), "counts": dict(counts), "tensors": dict(tensors), **more}
    write_json(Path(prepared) / "stats.json", stats)
    return stats
