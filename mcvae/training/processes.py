"""One run trained by several processes, one a device: they are started, listened to, and never outlive their parent.

The parent computes nothing. It holds the run's lock, which its processes inherit, and one end of a pipe to each of
them: when it dies, however it dies, the pipes close and they end. When one of them dies, it ends the others.
"""

import json
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config import RunConfig
from ..errors import UserError
from .checkpoint import Computation
from .history import Row
from .lock import Lock

GRACE_SECONDS = 5.0  # in which the cause of an end is heard of: whom it leaves alone may be the first to complain
STARTER = (
    "import sys; root = sys.argv.pop(); root in sys.path or sys.path.insert(0, root)\n"
    "from mcvae.training.member import main; main()"
)


@dataclass(eq=False)
class Member:
    """One of the processes: what it has said so far, and how it ended (a message, or an exit code alone)."""

    rank: int
    process: subprocess.Popen
    rest: bytes = b""
    ending: dict[str, Any] | None = field(default=None)

    @property
    def number(self) -> int:
        """What its messages are read from."""
        return self.process.stdout.fileno()

    def read(self) -> list[dict[str, Any]] | None:
        """New messages; None when there will be no more."""
        received = os.read(self.number, 1 << 16)
        *lines, self.rest = (self.rest + received).split(b"\n")
        messages = [json.loads(line) for line in lines]
        self.ending = next((message for message in messages if "ending" in message), self.ending)
        if received:
            return messages
        code = self.process.wait()
        if self.ending is None:
            self.ending = {"ending": "died", "text": _fate(code)}
        return None


def train_together(
    config: RunConfig,
    prepared: str | os.PathLike,
    folder: Path,
    how: Computation,
    device: str,
    lock: Lock,
    on_epoch: Callable[[Row], None] | None,
    checkpoint_seconds: float,
) -> str:
    """Train the run with ``config.training.devices`` processes; the status.

    Raises:
        UserError: one of them died, or was stopped by a mistake of the user's.
        RuntimeError: with the traceback of any other error in one of them.
    """
    request = {
        "run": config.canonical(),
        "prepared": os.path.abspath(prepared),
        "folder": os.path.abspath(folder),
        "how": how._asdict(),
        "device": device,
        "size": config.training.devices,
        "lock": lock.descriptor,
        "checkpoint_seconds": checkpoint_seconds,
        "level": logging.getLogger("mcvae").getEffectiveLevel(),
    }
    members: list[Member] = []
    with tempfile.TemporaryDirectory(prefix="mcvae-") as meeting:  # its name is known to this user alone
        try:
            for rank in range(config.training.devices):
                members.append(Member(rank, _start(request | {"rank": rank, "meeting": meeting})))
            _listen(members, on_epoch)
            return _verdict(members, folder)
        finally:
            for member in members:
                member.process.kill()
                member.process.wait()
                member.process.stdin.close()
                member.process.stdout.close()


def _start(request: dict[str, Any]) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", STARTER, str(Path(__file__).resolve().parents[2])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | _environment(request["how"]["threads"]),
        pass_fds=[request["lock"]],
        start_new_session=True,  # a Ctrl-C is for the parent
    )
    process.stdin.write(json.dumps(request).encode() + b"\n")
    process.stdin.flush()
    return process


def _environment(threads: int) -> dict[str, str]:
    """Threads, and the loopback interface: what the processes say to each other stays on this machine."""
    loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "lo")
    return {"OMP_NUM_THREADS": str(threads), "GLOO_SOCKET_IFNAME": loopback, "NCCL_SOCKET_IFNAME": loopback}


def _listen(members: list[Member], on_epoch: Callable[[Row], None] | None) -> None:
    """Pass on rows and log lines until all have ended, or one has failed and the cause had time to show."""
    end: float | None = None
    with selectors.DefaultSelector() as selector:
        for member in members:
            selector.register(member.number, selectors.EVENT_READ, member)
        while selector.get_map():
            ready = selector.select(None if end is None else max(0.0, end - time.monotonic()))
            if not ready and end is not None:
                return
            for key, _ in ready:
                messages = key.data.read()
                if messages is None:
                    selector.unregister(key.fd)
                for message in messages or ():
                    _pass_on(message, on_epoch)
            endings = [member.ending["ending"] for member in members if member.ending is not None]
            if len(endings) == len(members) or set(endings) - {"done", "lost"}:
                return
            if "lost" in endings and end is None:
                end = time.monotonic() + GRACE_SECONDS


def _pass_on(message: dict[str, Any], on_epoch: Callable[[Row], None] | None) -> None:
    if "row" in message and on_epoch is not None:
        on_epoch(message["row"])
    elif "log" in message:
        name, level, text = message["log"]
        logging.getLogger(name).log(level, "%s", text)


def _verdict(members: list[Member], folder: Path) -> str:
    for kind in ("mistake", "fault", "died", "lost"):
        for member in members:
            if member.ending is None or member.ending["ending"] != kind:
                continue
            text = member.ending["text"]
            if kind == "mistake":
                raise UserError(text)
            if kind == "fault":
                raise RuntimeError(f"process {member.rank + 1} of {len(members)} that trained {folder}:\n{text}")
            raise UserError(
                f"{folder}: process {member.process.pid}, {member.rank + 1} of {len(members)} that trained this run "
                f"together, {text}; started again, the run goes on from its checkpoint"
            )
    return members[0].ending["text"]


def _fate(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    known = {each.value: each.name for each in signal.Signals}
    return f"was killed by {known.get(-code, f'signal {-code}')}"
