"""The images that are trained on: prepared MNIST where it is at hand, else embedded digits, shifted to as many records.

Speed does not depend on the pixels; the likelihoods beside a peer's do, so the table says which images they are.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from .. import data
from ..data import embedded, store
from ..errors import UserError
from ..files import read_json

PREPARED = Path("resources/prepared")
SHIFT = 3  # pixels; the digits have a border of 4
OFFICIAL = 70_000


@contextmanager
def images(folder: Path | None, records: tuple[int, int, int]) -> Iterator[tuple[data.Dataset, str]]:
    """A prepared data set, and a sentence that says what it is.

    Args:
        folder: prepared MNIST; None for what ``mcvae prepare`` has left here, or else for the embedded digits.
        records: how many embedded digits, a split.
    """
    folder = folder or prepared_here()
    if folder is not None:
        dataset = data.load(folder)
        if dataset.name != "mnist":
            raise UserError(f"{folder}: holds {dataset.name}; the benchmarks need prepared mnist")
        yield dataset, f"{dataset.size('train'):,} training images of {dataset.stats['source_note']}"
        return
    with tempfile.TemporaryDirectory(prefix="mcvae-bench-") as temporary:
        yield (
            data.load(enlarged(Path(temporary), records)),
            (
                f"{records[0]:,} training images made from 1,797 embedded 8x8 digits by enlarging and shifting "
                "(for MNIST give --data with a prepared folder)"
            ),
        )


def prepared_here() -> Path | None:
    """The official MNIST among the prepared data of this folder, if it is there."""
    for path in sorted(PREPARED.glob("mnist-*/stats.json")):
        stats = read_json(path)
        if not stats["stand_in"] and sum(stats["counts"].values()) == OFFICIAL:
            return path.parent
    return None


def enlarged(folder: Path, records: tuple[int, int, int]) -> Path:
    """Prepare the embedded digits, each repeated with shifts of up to 3 pixels, into a folder below ``folder``."""
    embedded.write("mnist", folder / "raw")
    small = data.load(data.prepare("mnist", folder / "raw", folder / "small"))
    generator, prepared = np.random.default_rng(0), folder / "prepared"
    parts = [
        shifted(*(small.split(split)[name].numpy() for name in ("images", "labels")), count, generator)
        for split, count in zip(store.SPLITS, records, strict=True)
    ]
    tensors = {
        name: store.save_tensor(prepared, name, np.concatenate(arrays))
        for name, arrays in zip(("images", "labels"), zip(*parts, strict=True), strict=True)
    }
    store.write_splits(prepared, *records)
    store.write_stats(prepared, folder / "raw", "mnist", tensors, dict(zip(store.SPLITS, records, strict=True)))
    return prepared


def shifted(
    images: np.ndarray, labels: np.ndarray, count: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """``count`` images and labels: the given ones over and over, each moved by its own whole pixels."""
    index = np.arange(count) % len(images)
    down, right = generator.integers(-SHIFT, SHIFT + 1, size=(2, count))
    moved = np.empty((count, *images.shape[1:]), images.dtype)
    for y in range(-SHIFT, SHIFT + 1):
        for x in range(-SHIFT, SHIFT + 1):
            here = (down == y) & (right == x)
            moved[here] = np.roll(images[index[here]], (y, x), (1, 2))
    return moved, labels[index]
