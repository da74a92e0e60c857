"""Official raw files into one folder, whatever the source: the embedded generators, a mirror, or the official servers.

Files that are there and verified are kept, so that a stopped fetch goes on; SHA256SUMS, its output, comes last.
"""

import hashlib
import logging
import os
import zlib
from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError
from ..files import atomic, read_json, sha256_file, write_json, write_text
from ..sources import (
    HOMEPAGES,
    SUMS,
    TABLE,
    SourceFile,
    check_dataset,
    describe,
    mirror_files,
    official_files,
    origin,
    raw_digest,
    read_sums,
    required_files,
)

log = logging.getLogger(__name__)

BLOCK = 1 << 20
SOURCE = "source.json"


def fetch(
    dataset: str, source: str, folder: str | os.PathLike, *, table: str | os.PathLike = TABLE, backoff: float = 1.0
) -> Path:
    """Make ``folder`` hold the raw files of ``dataset``, all verified, with source.json and SHA256SUMS; return it.

    ``source`` is ``embedded``, ``download`` or a mirror folder. ``table`` and ``backoff`` (seconds before the first
    retry) serve tests and private mirrors.
    Raises: UserError naming the file, the expected and the actual checksum, and the URL or the mirror.
    """
    folder = Path(folder)
    digest = raw_digest(check_dataset(dataset), source, table)
    if _is_done(folder, digest, dataset, table):
        log.info("%s: %s is complete and verified", dataset, folder)
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    if origin(dataset, source) == "embedded":
        names = _generate(dataset, folder)
    elif source == "download":
        names = _download(dataset, folder, table, backoff)
    else:
        names = _copy(dataset, Path(source).expanduser(), folder, table)
    write_json(folder / SOURCE, {"dataset": dataset, "raw_digest": digest, **describe(dataset, source, table)})
    sums = {name: sha256_file(folder / name) for name in sorted([*names, SOURCE])}
    write_text(folder / SUMS, "".join(f"{value}  {name}\n" for name, value in sums.items()))
    return folder


def _is_done(folder: Path, digest: str, dataset: str, table: str | os.PathLike) -> bool:
    """Whether a finished fetch of this very digest lies in ``folder``, every byte of it as it was left."""
    try:
        sums = read_sums(folder / SUMS)
    except UserError:
        return False
    if not {*required_files(dataset, table), SOURCE} <= set(sums):
        return False
    if any(not (folder / name).is_file() or sha256_file(folder / name) != value for name, value in sums.items()):
        return False
    return read_json(folder / SOURCE)["raw_digest"] == digest


def _generate(dataset: str, folder: Path) -> list[str]:
    from .embedded import write

    write(dataset, folder)
    names = list(required_files(dataset))
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise RuntimeError(f"the generator of {dataset} did not write {', '.join(missing)}")
    return names


def _copy(dataset: str, mirror: Path, folder: Path, table: str | os.PathLike) -> list[str]:
    files = mirror_files(dataset, mirror, table)
    for name, expected in files.items():
        target = folder / name
        if target.is_file() and sha256_file(target) == expected:
            continue
        origin = mirror / dataset / name
        with atomic(target) as temporary:
            got = copy_and_hash(origin, temporary)
            if got != expected:
                raise UserError(f"{origin}: expected sha256 {expected} ({mirror / SUMS}), got {got}")
        log.info("%s/%s: copied from %s", dataset, name, mirror)
    return list(files)


def copy_and_hash(origin: Path, target: Path) -> str:
    sha = hashlib.sha256()
    with open(origin, "rb") as source, open(target, "wb") as sink:
        while block := source.read(BLOCK):
            sha.update(block)
            sink.write(block)
    return sha.hexdigest()


def _download(dataset: str, folder: Path, table: str | os.PathLike, backoff: float) -> list[str]:
    rows = official_files(dataset, table)
    names = list(required_files(dataset, table))
    derived = [rows[name] for name in names if rows[name].made_from and not _is_made(rows[name], folder)]
    ingredients = [rows[name] for row in derived for name in row.made_from]
    obtain([*(rows[name] for name in names if not rows[name].made_from), *ingredients], folder, backoff)
    for row in derived:
        _make(row, folder)
    return names


def obtain(rows: Sequence[SourceFile], folder: Path, backoff: float) -> None:
    """Make ``folder`` hold these official files, verified: downloaded, or there already, by hand or by a stopped fetch.

    Raises: UserError when all were tried, with a line for each that is missing: where it belongs, its size and
    checksum, what is wrong with what lies there, and every URL with its reason.
    """
    from .download import Undelivered, download, mismatch

    missing = []
    for row in rows:
        path = folder / row.file
        wrong = mismatch(path, row) if path.is_file() else "no such file"
        if wrong is None:
            continue
        if path.is_file():
            log.warning("%s: %s; downloading it again", path, wrong)
        try:
            download(row, folder, backoff=backoff)
        except Undelivered as error:
            missing.append(f"{path} ({row.bytes:,} bytes, {row.identity}): {wrong}; not downloaded: {error}")
    if missing:
        files = "1 file" if len(missing) == 1 else f"{len(missing)} files"
        lines = "".join(f"\n  {line}" for line in missing)
        name = rows[0].dataset
        raise UserError(
            f"{name}: {files} could not be downloaded; get the official ones in a browser ({HOMEPAGES[name]}), put "
            "them at the paths below and run again (they are verified before use), or set data.source to a mirror "
            f"folder:{lines}"
        )


def _is_made(row: SourceFile, folder: Path) -> bool:
    """Whether a file made from official ones is there; its text has a known checksum too."""
    from .download import checksum

    path = folder / row.file
    if not path.is_file():
        return False
    try:
        if checksum(path, "content") == dict(row.checksums)["content"]:
            return True
        log.warning("%s: not the expected content; making it again", path)
    except (OSError, EOFError, zlib.error) as error:
        log.warning("%s: %s; making it again", path, error)
    return False


def _make(row: SourceFile, folder: Path) -> None:
    from .download import checksum
    from .qm9_archive import write_csv

    path, expected = folder / row.file, dict(row.checksums)["content"]
    archive, atomref = (folder / name for name in row.made_from)
    with atomic(path) as temporary:
        write_csv(archive, atomref, temporary)
        got = checksum(temporary, "content")
        if got != expected:
            raise UserError(f"{path}: made from {archive.name}; expected content of sha256 {expected}, got {got}")
