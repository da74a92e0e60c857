"""Weights of networks of others, fetched like data: the official files of the source table, or none.

A mirror that lists them delivers them, else the official servers do; in both cases they are verified by the table.
"""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from ..files import atomic, sha256_file, write_text
from ..sources import SUMS, TABLE, SourceFile, is_mirror, official_files, read_sums
from .fetch import copy_and_hash, obtain

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)


def fetch_weights(
    network: str,
    source: str,
    folder: str | os.PathLike,
    *,
    table: str | os.PathLike = TABLE,
    backoff: float = 1.0,
) -> Path:
    """Make ``folder`` hold the verified weights of a ``network`` of the source table, with SHA256SUMS; return it.

    ``source`` is that of the data: a mirror's files are taken where its SHA256SUMS lists ``{network}/{file}``. A file
    that was put into ``folder`` by hand is verified and kept. ``table`` and ``backoff``: see :func:`mcvae.data.fetch`.

    Raises:
        UserError: naming the file, where to put it by hand, the expected and the actual checksum.
    """
    folder = Path(folder)
    rows = official_files(network, table)
    mirror = Path(source).expanduser() if is_mirror(source) else None
    listed = read_sums(mirror / SUMS) if mirror is not None else {}
    copied = {name: row for name, row in rows.items() if mirror is not None and f"{network}/{name}" in listed}
    for row in copied.values():
        _copy(row, mirror, folder)
    obtain([row for name, row in rows.items() if name not in copied], folder, backoff)
    sums = {name: sha256_file(folder / name) for name in sorted(rows)}
    write_text(folder / SUMS, "".join(f"{value}  {name}\n" for name, value in sums.items()))
    return folder


def _copy(row: SourceFile, mirror: Path, folder: Path) -> None:
    target, expected = folder / row.file, dict(row.checksums)["sha256"]
    if target.is_file() and sha256_file(target) == expected:
        return
    origin = mirror / row.dataset / row.file
    if not origin.is_file():
        raise UserError(f"{origin}: no such file, though {SUMS} lists it")
    with atomic(target) as temporary:
        got = copy_and_hash(origin, temporary)
        if got != expected:
            raise UserError(f"{origin}: expected sha256 {expected} (the official file), got {got}")
    log.info("%s/%s: copied from %s", row.dataset, row.file, mirror)


def read_weights(folder: str | os.PathLike, file: str) -> "dict[str, Tensor]":
    """The tensors by name of one file that :func:`fetch_weights` left in ``folder``; verified, and nothing is unpickled
    but tensors.

    Raises:
        UserError: it is not there, is not what was fetched, or holds anything else.
    """
    import pickle

    import torch

    path = Path(folder) / file
    sums = path.with_name(SUMS)
    if not path.is_file() or not sums.is_file():
        raise UserError(f"{path}: no such weights; `mcvae fetch` fetches those that a study asks for")
    if (got := sha256_file(path)) != (expected := read_sums(sums).get(file)):
        raise UserError(f"{path}: expected sha256 {expected} ({sums.name}), got {got}; fetch it again")
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(f"{path}: no weights ({str(error)[:200]})") from None
    if not isinstance(weights, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in weights.values()):
        raise UserError(f"{path}: holds no tensors by name")
    return dict(weights)
