"""Files are written whole or not at all, and equal contents have equal text.

Every file that mcvae makes goes through :func:`atomic`: a temporary name beside the target, fsync, ``os.replace``.
"""

import functools
import hashlib
import json
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import UserError


@contextmanager
def atomic(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path``; move it to ``path`` if the block succeeds, delete it if not.

    What processes left there that were killed while they wrote the same file goes first.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{target.name[:120]}.{_place()}-"  # names may be long, and file systems end at 255 bytes
    _remove_stale(target.parent, prefix)
    handle, name = tempfile.mkstemp(".part" + target.suffix, f"{prefix}{os.getpid()}-", target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@functools.cache
def _place() -> str:
    """8 hexadecimal digits of this machine and its process ids: each container may have its own."""
    namespace = Path("/proc/self/ns/pid")
    return digest(f"{socket.gethostname()} {os.readlink(namespace) if namespace.is_symlink() else ''}")


def _remove_stale(folder: Path, prefix: str) -> None:
    """Delete temporary files ``{prefix}{process}-...`` of processes that have ended; others may be writing theirs."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(prefix)]
    for name in names:
        process = name.removeprefix(prefix).partition("-")[0]
        if process.isdecimal() and not _alive(int(process)):
            (folder / name).unlink(missing_ok=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
    """Write ``data`` whole."""
    with atomic(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write ``text`` whole, as UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write ``value`` as indented JSON with a final newline; NaN and infinities are a ``ValueError``."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike) -> Any:
    """Read a JSON file; a missing or broken one is a :class:`UserError` that names it."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None


def canonical_json(value: Any) -> str:
    """The one text of a JSON value: sorted keys, no spaces, floats by repr, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(text: str) -> str:
    """The first 8 hexadecimal digits of the SHA-256 of ``text``."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def sha256_file(path: str | os.PathLike) -> str:
    """The SHA-256 of a file, read in blocks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
