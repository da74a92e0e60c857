"""CelebA: the official archive and annotation texts -> uint8 tensors of cropped faces in the order of the partition.

The archive is read member by member and never unpacked; images are decoded and resized in threads and written in order.
"""

import io
import logging
import os
import re
import zipfile
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import UserError
from ..files import atomic
from . import store
from .celeba_texts import read_attributes, read_manifest, read_numbers

ARCHIVE = "img_align_celeba.zip"
MANIFEST = "img_align_celeba.MANIFEST.tsv"
CROP, WIDTH, HEIGHT = 148, 178, 218
_BOX = (15, 35, 15 + CROP, 35 + CROP)
SIZES = (32, 64, 128)
_MEMBER = re.compile(r"img_align_celeba/(\d{6}\.jpg)")
# An aligned face takes 3 to 40 kB; deflate cannot shrink a JPEG much: what claims more is no face.
_MAX_BYTES, _MAX_RATIO = 1 << 20, 20
_CHUNK = 64

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Records:
    """The images to prepare, in the order of the partition."""

    names: list[str]
    partition: np.ndarray
    attributes: np.ndarray
    identities: np.ndarray
    attribute_names: list[str]
    subset: str | None


def _open_archive(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (zipfile.BadZipFile, OSError) as error:
        with open(path, "rb") as file:
            start = file.read(40)
        raise UserError(f"{path}: not a complete zip archive ({error}); it begins with {start!r}") from None


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """``NNNNNN.jpg`` -> member. Names and declared sizes are checked before anything is read."""
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        if info.filename in ("img_align_celeba/", "./"):
            continue
        where = f"{archive.filename}, member {info.filename[:80]!r}"
        match = _MEMBER.fullmatch(info.filename)
        if match is None:
            raise UserError(f"{where}: not of the form img_align_celeba/NNNNNN.jpg")
        if match[1] in members:
            raise UserError(f"{where}: is there twice")
        if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UserError(f"{where}: encrypted or compressed in a way that CelebA never uses")
        if info.file_size > _MAX_BYTES or info.file_size > _MAX_RATIO * max(info.compress_size, 1):
            sizes = f"{info.compress_size} bytes that unpack to {info.file_size}"
            raise UserError(f"{where}: {sizes}; at most {_MAX_BYTES} bytes and a factor of {_MAX_RATIO} are allowed")
        members[match[1]] = info
    return members


def _match(raw: Path, names: list[str], members: dict[str, zipfile.ZipInfo], listing: Path) -> None:
    """The archive must hold the listed images, all of them and no other."""
    missing = [name for name in names if name not in members]
    if missing:
        hint = "" if listing.name == MANIFEST else f"; a subset must be declared by {MANIFEST}"
        lacking = f"{len(missing)} of the {len(names)} images of {listing.name} are missing, such as {missing[0]}"
        raise UserError(f"{raw / ARCHIVE}: {lacking}{hint}")
    extra = sorted(set(members) - set(names))
    if extra:
        raise UserError(f"{raw / ARCHIVE}: {len(extra)} images are not in {listing.name}, such as {extra[0]}")


def _select(raw: Path, members: dict[str, zipfile.ZipInfo]) -> _Records:
    """Join archive, manifest, partition, attributes and identities; every listed image must be there."""
    partition = read_numbers(raw / "list_eval_partition.txt", 0, 2)
    manifest = raw / MANIFEST
    names = read_manifest(manifest, partition) if manifest.exists() else list(partition)
    listing = manifest if manifest.exists() else raw / "list_eval_partition.txt"
    _match(raw, names, members, listing)
    names.sort(key=lambda name: (partition[name], name))
    attribute_names, attributes = read_attributes(raw / "list_attr_celeba.txt", set(names))
    identity = read_numbers(raw / "identity_CelebA.txt", 0, 2**31 - 1)
    unknown = [name for name in names if name not in identity]
    if unknown:
        lacking = f"has no identity for {len(unknown)} of {len(names)} images, such as {unknown[0]}"
        raise UserError(f"{raw / 'identity_CelebA.txt'}: {lacking}")
    parts = np.array([partition[name] for name in names])
    train, validation, test = (int(count) for count in np.bincount(parts, minlength=3))
    if 0 in (train, validation, test):
        raise UserError(f"{listing}: {train} training, {validation} validation and {test} test images; none may be 0")
    return _Records(
        names,
        parts,
        np.frombuffer(b"".join(attributes[name] for name in names), np.uint8).reshape(len(names), -1),
        np.array([identity[name] for name in names], np.int32),
        attribute_names,
        f"{len(names):,} of {len(partition):,} images ({train:,} train, {validation:,} validation, {test:,} test)"
        if len(names) < len(partition)
        else None,
    )


def _read_face(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Image.Image:
    """One member's centre crop of 148x148. The size is looked at before anything is decoded."""
    where = f"{archive.filename}, member {info.filename!r}"
    try:
        with Image.open(io.BytesIO(archive.read(info)), formats=("JPEG",)) as image:
            if image.size != (WIDTH, HEIGHT):
                got = f"{image.size[0]}x{image.size[1]}"
                raise UserError(f"{where}: {got} pixels; the aligned images have {WIDTH}x{HEIGHT}")
            crop = image.crop(_BOX)
            return crop if crop.mode == "RGB" else crop.convert("RGB")
    except (zipfile.BadZipFile, zlib.error, Image.DecompressionBombError, EOFError, OSError) as error:
        raise UserError(f"{where}: not a whole JPEG image ({(str(error) or repr(error)).splitlines()[0]})") from None


def _decode_chunk(archive: zipfile.ZipFile, infos: list[zipfile.ZipInfo], size: int) -> np.ndarray:
    """Members -> uint8 [len(infos), 3, size, size]: decode, centre crop of 148, antialiased bilinear resize.

    Decoding (Pillow; torchvision's decoder gives the same bits, but is deprecated) and resizing (torchvision) release
    the GIL, so threads share the work. A ZipFile may be read from several threads.
    """
    import torch
    from torchvision.transforms.v2.functional import resize

    crops = np.empty((len(infos), CROP, CROP, 3), np.uint8)
    for row, info in zip(crops, infos, strict=True):
        row[...] = _read_face(archive, info)
    images = torch.from_numpy(crops).permute(0, 3, 1, 2)
    return resize(images, [size, size], antialias=True).contiguous().numpy()


def _decode(archive: zipfile.ZipFile, infos: list[zipfile.ZipInfo], size: int, threads: int) -> Iterator[np.ndarray]:
    """Chunks in order, decoded by ``threads`` threads with a bounded number of chunks in memory."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)  # the chunks are the parallelism: torch's own threads would fight for the same cores
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        waiting: deque = deque()
        for start in range(0, len(infos), _CHUNK):
            waiting.append(pool.submit(_decode_chunk, archive, infos[start : start + _CHUNK], size))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)


def _write_images(
    prepared: Path, archive: zipfile.ZipFile, infos: list[zipfile.ZipInfo], size: int, threads: int, train: int
) -> tuple[list[float], list[float]]:
    """Write images.npy from front to back and return mean and sd per channel of the training pixels, scaled to [0, 1].

    A plain file rather than a memory map: pages of a shared map would count as memory until they are unmapped.
    """
    shape = (len(infos), 3, size, size)
    sums, squares, done = np.zeros(3, np.int64), np.zeros(3, np.int64), 0
    with atomic(store.tensor_path(prepared, "images")) as temporary, open(temporary, "wb") as file:
        header = {"descr": np.dtype(np.uint8).str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for chunk in _decode(archive, infos, size, threads):
            file.write(chunk.data)
            part = chunk[: max(0, train - done)]
            sums += part.sum((0, 2, 3), dtype=np.int64)
            squares += np.square(part, dtype=np.uint16).sum((0, 2, 3), dtype=np.int64)
            done += len(chunk)
            if done // 20_000 > (done - len(chunk)) // 20_000:
                log.info("celeba: %d of %d images", done, len(infos))
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
    with _open_archive(raw / ARCHIVE) as archive:
        members = _members(archive)
        records = _select(raw, members)
        train, validation, test = (int(count) for count in np.bincount(records.partition, minlength=3))
        prepared.mkdir(parents=True, exist_ok=True)
        infos = [members[name] for name in records.names]
        mean, std = _write_images(prepared, archive, infos, size, threads, train)
    tensors = {
        "images": store.describe_tensor(prepared, "images"),
        "attributes": store.save_tensor(prepared, "attributes", records.attributes),
        "identities": store.save_tensor(prepared, "identities", records.identities),
        "ids": store.save_tensor(prepared, "ids", np.array([int(name[:6]) for name in records.names], np.int32)),
    }
    store.write_splits(prepared, train, validation, test)
    counts = {
        "images": len(infos), "train": train, "validation": validation, "test": test,
        "identities": len(np.unique(records.identities)),
    }  # fmt: skip
    rates = dict(zip(records.attribute_names, records.attributes[:train].mean(0).tolist(), strict=True))
    more = {"subset": records.subset} if records.subset else {}
    return store.write_stats(
        prepared, raw, "celeba", tensors, counts, **more, size=size, crop=CROP, mean=mean, std=std,
        attributes=records.attribute_names, attribute_rates=rates, failures={},
    )  # fmt: skip
