"""One trainer a folder: a lock that goes when its holder dies, however it dies; a holder that looks before it writes.

The kernel keeps the lock (flock). Where a file system has none, or one for each host alone, the note in the file takes
its place: host, process, and when that process started. Whoever takes a folder over makes the file anew, and a trainer
that finds another file than its own stops before it writes.
"""

import errno
import fcntl
import logging
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError

logger = logging.getLogger("mcvae.training")

POLL_SECONDS = 0.2
NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}
BOOT = Path("/proc/sys/kernel/random/boot_id")


class Holder(NamedTuple):
    """Who holds a lock: the text in its file."""

    pid: int
    host: str
    birth: str

    @property
    def here(self) -> bool:
        """Whether it is, or was, a process of this machine."""
        return self.host == socket.gethostname()

    @property
    def dead(self) -> bool:
        """Whether it is known to have ended; of another machine's process nothing is known."""
        return self.here and birth(self.pid) != self.birth

    def __str__(self) -> str:
        return f"process {self.pid}" + ("" if self.here else f" on {self.host}")


@dataclass(frozen=True)
class Lock:
    """A held lock; a process that inherits ``descriptor`` holds it too, as long as it lives."""

    path: Path
    descriptor: int

    def held(self) -> bool:
        """Whether the file is still the one that was locked: deleted or made anew, it is another trainer's."""
        try:
            found = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)  # opened: stat alone may be a network's old answer
        except FileNotFoundError:
            return False
        try:
            return os.path.samestat(os.fstat(found), os.fstat(self.descriptor))
        finally:
            os.close(found)

    def check(self) -> None:
        """Call before writing. Raises a :class:`UserError` if the folder is another trainer's by now."""
        if not self.held():
            folder = self.path.parent
            raise UserError(
                f"{folder}: another trainer has taken over, or .lock was deleted; process {os.getpid()} stops"
            )


@contextmanager
def locked(folder: str | os.PathLike, wait_seconds: float = 0.0) -> Iterator[Lock]:
    """Hold ``folder/.lock`` inside the block, after waiting for another holder for at most ``wait_seconds``.

    Raises:
        UserError: another process (or thread) still trains there.
    """
    path = Path(folder) / ".lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    take = _take if _file_locks(path.parent) else _take_by_note
    end = time.monotonic() + wait_seconds
    while isinstance(found := take(path), str):
        if time.monotonic() >= end:
            raise UserError(f"{path.parent}: {found}")
        time.sleep(POLL_SECONDS)
    lock = Lock(path, found)
    try:
        yield lock
    finally:
        if lock.held():
            path.unlink(missing_ok=True)
        os.close(lock.descriptor)


def _take(path: Path) -> int | str:
    """The descriptor of the locked file, or who has it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        holder = _read(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return f"{holder or 'another process'} is training there; wait for it or stop it"
        # The holder before may have removed the name between our open and our lock: then this is a lock on nothing.
        if Lock(path, descriptor).held():
            if holder is None or holder.here:
                _write(descriptor)
                return descriptor
            # Locks may be one host's alone: should that process live after all, it finds that its file has gone.
            logger.warning("%s: taken over from %s, which no longer holds it", path, holder)
            path.unlink(missing_ok=True)
        os.close(descriptor)


def _take_by_note(path: Path) -> int | str:
    """The same where there are no file locks: whoever makes the file has it."""
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            try:
                found = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            holder = _read(found)
            os.close(found)
            if holder is None or not holder.dead:
                who = f"{holder or 'another process'} is training there"
                return f"{who}; there are no file locks here, so if it is gone, delete {path}"
            path.unlink(missing_ok=True)
            continue
        _write(descriptor)
        return descriptor


def _file_locks(folder: Path) -> bool:
    """Whether the file system has locks, tried on a file of our own."""
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            logger.warning("%s: no file locks here (%s); a note of host and process is the lock", folder, error)
            return False
    return True


def _read(descriptor: int) -> Holder | None:
    pid, _, rest = os.pread(descriptor, 1024, 0).decode(errors="replace").strip().partition(" ")
    host, _, since = rest.partition(" ")
    return Holder(int(pid), host, since) if pid.isdecimal() and host else None


def _write(descriptor: int) -> None:
    own = Holder(os.getpid(), socket.gethostname(), birth(os.getpid()))
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, (" ".join(map(str, own)) + "\n").encode(), 0)
    os.fsync(descriptor)


def birth(pid: int) -> str:
    """What tells a process from all others that have its id: when it started, since which boot; empty if it is gone."""
    if BOOT.exists():
        try:
            text = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return ""
        state, *rest = text.rpartition(")")[2].split()  # the name before may hold anything
        return "" if state in "ZX" else f"{BOOT.read_text().strip()}/{rest[18]}"
    done = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True)
    return done.stdout.strip()
