"""MNIST: the four official IDX files -> images, labels and ids in the order train, validation, test.

The train file is cut 5:1 into train and validation (50,000 and 10,000 of the official one); t10k is the test split.
"""

import gzip
import math
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from . import store

SIDE, CLASSES = 28, 10
LARGEST = 10_000_000
BLOCK = 4096


def prepare(
    raw: str | os.PathLike, prepared: str | os.PathLike, options: Mapping[str, Any] | None = None, threads: int = 1
) -> None:
    """Write images uint8 [N,28,28], labels uint8 [N], ids int32 [N], splits.json and stats.json into ``prepared``.

    ``ids`` are record numbers: 0.. in the train file, going on in the t10k file. MNIST has no options; ``threads`` is
    there because every preparation takes it (one is enough: the work is a second of zlib).
    Raises: UserError naming the file that is missing, truncated, no gzip, no IDX, or of the wrong shape.
    """
    if options:
        raise UserError(f"data.mnist: unknown option {', '.join(sorted(options))}; MNIST has none")
    raw, prepared = Path(raw), Path(prepared)
    prepared.mkdir(parents=True, exist_ok=True)
    parts = [read_pair(raw, prefix) for prefix in ("train", "t10k")]
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    development, test = (len(part[1]) for part in parts)
    train = development * 5 // 6
    splits = store.write_splits(prepared, train, development - train, test)
    tensors = {
        "images": store.save_tensor(prepared, "images", images),
        "labels": store.save_tensor(prepared, "labels", labels),
        "ids": store.save_tensor(prepared, "ids", np.arange(len(labels), dtype=np.int32)),
    }
    mean, std = pixel_moments(images[:train])
    counts = {name: stop - start for name, (start, stop) in splits.items()}
    classes = {
        name: np.bincount(labels[start:stop], minlength=CLASSES).tolist() for name, (start, stop) in splits.items()
    }
    store.write_stats(prepared, raw, "mnist", tensors, counts, mean=mean, std=std, classes=classes)


def read_pair(raw: Path, prefix: str) -> tuple[np.ndarray, np.ndarray]:
    """Images [n,28,28] and labels [n] of ``train`` or ``t10k``, checked against each other."""
    image_path, label_path = (raw / f"{prefix}-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1"))
    images, labels = read_idx(image_path, 3), read_idx(label_path, 1)
    if images.shape[1:] != (SIDE, SIDE):
        raise UserError(f"{image_path}: expected images of {SIDE}x{SIDE}, got {images.shape[1]}x{images.shape[2]}")
    if len(images) != len(labels):
        raise UserError(f"{label_path}: {len(labels):,} labels for the {len(images):,} images of {image_path.name}")
    if len(labels) < 6 and prefix == "train":
        raise UserError(f"{label_path}: {len(labels)} records are too few for a train and a validation split")
    if len(labels) == 0:
        raise UserError(f"{label_path}: holds no record")
    if labels.max() >= CLASSES:
        record = int(np.argmax(labels >= CLASSES))
        raise UserError(f"{label_path}: record {record}: label {labels[record]} is not a digit from 0 to 9")
    return images, labels


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """The uint8 array of a gzipped IDX file of the given number of dimensions.

    Format: two zero bytes, 8 for uint8, the number of dimensions; big-endian 32-bit sizes; the bytes (LeCun's page).
    """
    try:
        with gzip.open(path) as file:
            header = file.read(4 + 4 * dimensions)
            if len(header) < 4 + 4 * dimensions or header[:4] != bytes((0, 0, 8, dimensions)):
                raise UserError(f"{path}: not IDX of {dimensions}-dimensional uint8 (starts with {header[:4]!r})")
            shape = tuple(int.from_bytes(header[i : i + 4]) for i in range(4, len(header), 4))
            if shape[0] > LARGEST or max(shape[1:], default=0) > 1024:
                raise UserError(f"{path}: announces an array of {' x '.join(map(str, shape))}, which MNIST is not")
            size = math.prod(shape)
            data = file.read(size + 1)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; MNIST needs its four official files") from None
    except EOFError:
        raise UserError(f"{path}: truncated: the gzip stream ends too early") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path}: not a gzip file ({_start(path)}; {error})") from None
    if len(data) != size:
        got = "more" if len(data) > size else f"{len(data):,}"
        raise UserError(f"{path}: expected {size:,} bytes for {' x '.join(map(str, shape))}, got {got}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _start(path: Path) -> str:
    with open(path, "rb") as file:
        start = file.read(32)
    return "an HTML page" if start.lstrip()[:5].lower() in (b"<!doc", b"<html") else f"starts with {start[:8]!r}"


def pixel_moments(images: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of all pixels scaled to [0, 1], exact from their histogram."""
    histogram = np.zeros(256, np.int64)
    for start in range(0, len(images), BLOCK):
        histogram += np.bincount(images[start : start + BLOCK].ravel(), minlength=256)
    values = [int(count) for count in histogram]
    total = sum(values)
    first = sum(value * count for value, count in enumerate(values))
    second = sum(value * value * count for value, count in enumerate(values))
    return first / (255 * total), math.sqrt(second * total - first * first) / (255 * total)
