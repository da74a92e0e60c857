"""Official raw files into one folder, whatever the source: the embedded generators, a mirror, or the official servers.

Files that are there and verified are kept, so that a stopped fetch goes on; SHA256SUMS, its output, comes last.
"""

import hashlib
import logging
import os
import zlib
from pathlib import Path

from ..errors import UserError
from ..files import atomic, read_json, sha256_file, write_json, write_text
from ..sources import (
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
            got = _copy_and_hash(origin, temporary)
            if got != expected:
                raise UserError(f"{origin}: expected sha256 {expected} ({mirror / SUMS}), got {got}")
        log.info("%s/%s: copied from %s", dataset, name, mirror)
    return list(files)


def _copy_and_hash(origin: Path, target: Path) -> str:
    sha = hashlib.sha256()
    with open(origin, "rb") as source, open(target, "wb") as sink:
        while block := source.read(BLOCK):
            sha.update(block)
            sink.write(block)
    return sha.hexdigest()


def _download(dataset: str, folder: Path, table: str | os.PathLike, backoff: float) -> list[str]:
    rows = official_files(dataset, table)
    names = list(required_files(dataset, table))
    for name in names:
        if rows[name].made_from:
            _derive(rows[name], rows, folder, backoff)
        else:
            _obtain(rows[name], folder, backoff)
    return names


def _obtain(row: SourceFile, folder: Path, backoff: float) -> Path:
    """The verified official file: downloaded, or in ``folder`` already (by hand, or by a fetch that was stopped)."""
    from .download import download, mismatch

    path = folder / row.file
    if path.is_file():
        wrong = mismatch(path, row)
        if wrong is None:
            return path
        log.warning("%s: %s; downloading it again", path, wrong)
    return download(row, folder, backoff=backoff)


def _derive(row: SourceFile, rows: dict[str, SourceFile], folder: Path, backoff: float) -> None:
    """Make a file from verified official ones; its text has a known checksum too."""
    from .download import checksum
    from .qm9_archive import write_csv

    path, expected = folder / row.file, dict(row.checksums)["content"]
    if path.is_file():
        try:
            if checksum(path, "content") == expected:
                return
            log.warning("%s: not the expected content; making it again", path)
        except (OSError, EOFError, zlib.error) as error:
            log.warning("%s: %s; making it again", path, error)
    archive, atomref = (_obtain(rows[name], folder, backoff) for name in row.made_from)
    with atomic(path) as temporary:
        write_csv(archive, atomref, temporary)
        got = checksum(temporary, "content")
        if got != expected:
            raise UserError(f"{path}: made from {archive.name}; expected content of sha256 {expected}, got {got}")
