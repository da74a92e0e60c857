"""Stand-ins for the data sets, written as their official raw files, so that one code path reads all sources.

Digits come from scikit-learn's bundled set; faces and molecules have modules of their own, imported when called for.
"""

import gzip
import hashlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from ..datasets import CONTROLS
from ..files import write_bytes
from ..sources import check_dataset

SIDE, BOX = 28, 20


def write(dataset: str, folder: str | os.PathLike) -> None:
    """Write the stand-in of ``dataset`` into ``folder`` as official raw files."""
    WRITERS[check_dataset(dataset)](folder)


def write_digits(folder: str | os.PathLike) -> None:
    """Write 1,797 handwritten digits as MNIST's four IDX files: 1,540 in ``train``, 257 in ``t10k`` (6:1).

    Each 8x8 image is enlarged to 20x20 (bicubic, in Pillow's fixed-point arithmetic, hence the same bytes everywhere)
    and set in the middle of 28x28, as MNIST's digits are. The shuffle is fixed; each split is balanced.
    """
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    labels = digits.target.astype(np.uint8)
    small = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    images = np.zeros((len(small), SIDE, SIDE), np.uint8)
    border = (SIDE - BOX) // 2
    for image, source in zip(images, small, strict=True):
        image[border:-border, border:-border] = Image.fromarray(source).resize((BOX, BOX), Image.Resampling.BICUBIC)
    development = len(labels) * 6 // 7
    parts = np.split(balanced_order(labels), [development * 5 // 6, development])
    train, validation, test = (np.array(sorted(part.tolist(), key=_hash)) for part in parts)
    for prefix, records in (("train", np.concatenate([train, validation])), ("t10k", test)):
        write_idx(Path(folder) / f"{prefix}-images-idx3-ubyte.gz", images[records])
        write_idx(Path(folder) / f"{prefix}-labels-idx1-ubyte.gz", labels[records])


def _hash(record: int) -> bytes:
    """A key that shuffles record numbers in the same way everywhere, whatever a generator's next version does."""
    return hashlib.sha256(b"%d" % record).digest()


def balanced_order(labels: np.ndarray) -> np.ndarray:
    """A fixed permutation of the records in which every stretch holds the classes in their proportions.

    A record's place is its rank among the hashes of its class's record numbers, divided by the size of the class.
    """
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = sorted(np.flatnonzero(labels == label).tolist(), key=_hash)
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return np.lexsort((labels, place))


def write_idx(path: Path, array: np.ndarray) -> None:
    """Write a uint8 array as gzipped IDX: 0x0800 + its dimensions, big-endian sizes, bytes; no time, no name."""
    header = (0x0800 + array.ndim).to_bytes(4) + b"".join(size.to_bytes(4) for size in array.shape)
    write_bytes(path, gzip.compress(header + array.astype(np.uint8).tobytes(), mtime=0))


def _write_faces(folder: str | os.PathLike) -> None:
    from .faces import write_faces

    write_faces(folder)


def _write_molecules(folder: str | os.PathLike) -> None:
    from .molecules import write_molecules

    write_molecules(folder)


def _write_control(name: str, folder: str | os.PathLike) -> None:
    from .controls import write_control

    write_control(name, folder)


WRITERS: dict[str, Callable[[str | os.PathLike], None]] = {
    "mnist": write_digits,
    "celeba": _write_faces,
    "qm9": _write_molecules,
} | {name: partial(_write_control, name) for name in CONTROLS}
