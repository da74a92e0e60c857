"""CelebA: the official archive and annotation texts -> uint8 tensors of cropped faces in the order of the partition.

The archive is read member by member and never unpacked; images are decoded and resized in threads and written in order.
"""

import logging
import os
import zipfile
from collections import deque
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..sources import CELEBA_IMAGES, MANIFEST
from . import store
from .celeba_archive import ARCHIVE, CROP, list_members, open_archive, read_face
from .celeba_texts import Declared, read_attributes, read_manifest, read_numbers

PARTITION_TEXT, ATTRIBUTE_TEXT, IDENTITY_TEXT = "list_eval_partition.txt", "list_attr_celeba.txt", "identity_CelebA.txt"
SIZES = (32, 64, 128)
_CHUNK = 64

log = logging.getLogger(__name__)


# A member of the archive, and what a manifest declares of it.
_Image = tuple[zipfile.ZipInfo, Declared | None]


@dataclass(frozen=True)
class _Records:
    """The images to prepare, in the order of the partition; ``declared`` of a subset by its manifest."""

    names: list[str]
    partition: np.ndarray
    attributes: np.ndarray
    identities: np.ndarray
    attribute_names: list[str]
    declared: dict[str, Declared]
    subset: str | None


def _match(raw: Path, names: Collection[str], members: dict[str, zipfile.ZipInfo], listing: Path) -> None:
    """The archive must hold the listed images, all of them and no other."""
    missing = [name for name in names if name not in members]
    if missing:
        hint = "" if listing.name == MANIFEST else f"; a subset must be declared by {MANIFEST}"
        lacking = f"{len(missing)} of the {len(names)} images of {listing.name} are missing, such as {missing[0]}"
        raise UserError(f"{raw / ARCHIVE}: {lacking}{hint}")
    extra = sorted(set(members) - set(names))
    if extra:
        raise UserError(f"{raw / ARCHIVE}: {len(extra)} images are not in {listing.name}, such as {extra[0]}")


def _check_counts(raw: Path, counts: dict[str, int]) -> None:
    """Without a manifest, the three texts are about all images: of the official set, or of the stand-in."""
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        raise UserError(f"{raw}: the texts disagree on the number of images: {listed}")
    count = counts[PARTITION_TEXT]
    if count != CELEBA_IMAGES and not store.read_source(raw)["stand_in"]:
        raise UserError(
            f"{raw / PARTITION_TEXT}: lists {count:,} images of CelebA's {CELEBA_IMAGES:,}; "
            f"a subset must be declared by {MANIFEST}"
        )


def _identities(raw: Path, names: list[str], identity: dict[str, int], declared: dict[str, Declared]) -> np.ndarray:
    """int32 [N]; every image must have one, the same that a manifest declares."""
    path = raw / IDENTITY_TEXT
    unknown = [name for name in names if name not in identity]
    if unknown:
        lacking = f"has no identity for {len(unknown)} of {len(names)} images, such as {unknown[0]}"
        raise UserError(f"{path}: {lacking}")
    for name, facts in declared.items():
        if facts.identity not in (None, identity[name]):
            where = f"{raw / MANIFEST}, line {facts.number}"
            raise UserError(f"{where}: {name} has identity {facts.identity}; {IDENTITY_TEXT} says {identity[name]}")
    return np.array([identity[name] for name in names], np.int32)


def _select(raw: Path, members: dict[str, zipfile.ZipInfo]) -> _Records:
    """Join archive, manifest, partition, attributes and identities; every listed image must be there."""
    partition = read_numbers(raw / PARTITION_TEXT, 0, 2)
    manifest = raw / MANIFEST
    declared = read_manifest(manifest, partition) if manifest.exists() else {}
    listing = manifest if declared else raw / PARTITION_TEXT
    names = sorted(declared or partition, key=lambda name: (partition[name], name))
    _match(raw, declared or partition, members, listing)
    attribute_names, attributes, described = read_attributes(raw / ATTRIBUTE_TEXT, set(names))
    identity = read_numbers(raw / IDENTITY_TEXT, 0, 2**31 - 1)
    identities = _identities(raw, names, identity, declared)
    if not declared:
        _check_counts(raw, {PARTITION_TEXT: len(partition), ATTRIBUTE_TEXT: described, IDENTITY_TEXT: len(identity)})
    parts = np.array([partition[name] for name in names])
    train, validation, test = (int(count) for count in np.bincount(parts, minlength=3))
    if 0 in (train, validation, test):
        raise UserError(f"{listing}: {train} training, {validation} validation and {test} test images; none may be 0")
    split = f"({train:,} train, {validation:,} validation, {test:,} test)"
    return _Records(
        names,
        parts,
        np.frombuffer(b"".join(attributes[name] for name in names), np.uint8).reshape(len(names), -1),
        identities,
        attribute_names,
        declared,
        f"{len(names):,} of {CELEBA_IMAGES:,} images {split}" if declared and len(names) < CELEBA_IMAGES else None,
    )


def _decode_chunk(archive: zipfile.ZipFile, images: list[_Image], size: int) -> np.ndarray:
    """Members -> uint8 [len(images), 3, size, size]: decode, centre crop of 148, antialiased bilinear resize.

    Decoding (Pillow; torchvision's decoder gives the same bits, but is deprecated) and resizing (torchvision) release
    the GIL, so threads share the work. A ZipFile may be read from several threads.
    """
    import torch
    from torchvision.transforms.v2.functional import resize

    crops = np.empty((len(images), CROP, CROP, 3), np.uint8)
    for row, (info, declared) in zip(crops, images, strict=True):
        row[...] = read_face(archive, info, declared)
    pixels = torch.from_numpy(crops).permute(0, 3, 1, 2)
    return resize(pixels, [size, size], antialias=True).contiguous().numpy()


def _decode(archive: zipfile.ZipFile, images: list[_Image], size: int, threads: int) -> Iterator[np.ndarray]:
    """Chunks in order, decoded by ``threads`` threads with a bounded number of chunks in memory."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)  # the chunks are the parallelism: torch's own threads would fight for the same cores
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        waiting: deque = deque()
        for start in range(0, len(images), _CHUNK):
            waiting.append(pool.submit(_decode_chunk, archive, images[start : start + _CHUNK], size))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)


def _write_images(
    prepared: Path, archive: zipfile.ZipFile, images: list[_Image], size: int, threads: int, train: int
) -> tuple[list[float], list[float]]:
    """Write images.npy from front to back and return mean and sd per channel of the training pixels, scaled to [0, 1].

    A plain file rather than a memory map: pages of a shared map would count as memory until they are unmapped.
    """
    shape = (len(images), 3, size, size)
    sums, squares, done = np.zeros(3, np.int64), np.zeros(3, np.int64), 0
    with store.tensor_file(prepared, "images") as temporary, open(temporary, "wb") as file:
        header = {"descr": np.dtype(np.uint8).str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for chunk in _decode(archive, images, size, threads):
            file.write(chunk.data)
            part = chunk[: max(0, train - done)]
            sums += part.sum((0, 2, 3), dtype=np.int64)
            squares += np.square(part, dtype=np.uint16).sum((0, 2, 3), dtype=np.int64)
            done += len(chunk)
            if done // 20_000 > (done - len(chunk)) // 20_000:
                log.info("celeba: %d of %d images", done, len(images))
    pixels = train * size * size
    mean = sums / pixels
    deviation = np.sqrt(np.maximum(squares / pixels - mean**2, 0))
    return (mean / 255).tolist(), (deviation / 255).tolist()


def prepare(
    raw: str | os.PathLike, prepared: str | os.PathLike, options: dict[str, Any] | None = None, threads: int = 1
) -> dict[str, Any]:
    """Prepare the CelebA files of ``raw`` into ``prepared`` and return stats.json's content.

    ``options``: ``{"size": 64}``, the side in pixels. Writes images uint8 [N, 3, size, size], attributes uint8 [N, 40]
    (0/1), identities int32 [N] and ids int32 [N] (the number in the file's name), in the order train, validation, test
    of the official partition and by number within. The bits do not depend on ``threads``. Raises :class:`UserError`
    for a file that is missing, broken or inconsistent, with its line or member.
    """
    raw, prepared = Path(raw), Path(prepared)
    options = {"size": 64, **(options or {})}
    size = options.pop("size")
    if options or size not in SIZES:
        allowed = ", ".join(map(str, SIZES))
        raise UserError(f"data.celeba: the only option is size, one of {allowed}; got {size!r} {sorted(options)}")
    with open_archive(raw / ARCHIVE) as archive:
        members = list_members(archive)
        records = _select(raw, members)
        train, validation, test = (int(count) for count in np.bincount(records.partition, minlength=3))
        prepared.mkdir(parents=True, exist_ok=True)
        images = [(members[name], records.declared.get(name)) for name in records.names]
        mean, std = _write_images(prepared, archive, images, size, threads, train)
    tensors = {
        "images": store.describe_tensor(prepared, "images"),
        "attributes": store.save_tensor(prepared, "attributes", records.attributes),
        "identities": store.save_tensor(prepared, "identities", records.identities),
        "ids": store.save_tensor(prepared, "ids", np.array([int(name[:6]) for name in records.names], np.int32)),
    }
    store.write_splits(prepared, train, validation, test)
    counts = {
        "images": len(images), "train": train, "validation": validation, "test": test,
        "identities": len(np.unique(records.identities)),
    }  # fmt: skip
    rates = dict(zip(records.attribute_names, records.attributes[:train].mean(0).tolist(), strict=True))
    more = {"subset": records.subset} if records.subset else {}
    return store.write_stats(
        prepared, raw, "celeba", tensors, counts, **more, size=size, crop=CROP, mean=mean, std=std,
        attributes=records.attribute_names, attribute_rates=rates, failures={},
    )  # fmt: skip
