"""One trainer a folder: an advisory lock that the kernel lets go of when its holder dies, however it dies."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import UserError

POLL_SECONDS = 0.2


@contextmanager
def locked(folder: str | os.PathLike, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold ``folder/.lock`` inside the block, after waiting for another holder for at most ``wait_seconds``.

    Raises:
        UserError: another process (or thread) still trains there.
    """
    path = Path(folder) / ".lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _acquire(path, time.monotonic() + wait_seconds)
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _acquire(path: Path, end: float) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            if time.monotonic() >= end:
                raise UserError(f"{path.parent}: process {holder} is training there; wait for it or stop it") from None
            time.sleep(POLL_SECONDS)
            continue
        # The holder before may have removed the name between our open and our lock: then this is a lock on nothing.
        try:
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)
