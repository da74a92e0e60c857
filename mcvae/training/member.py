"""One of the processes that train a run together: started by ``processes``, and gone when its parent is.

What it is to do comes as a line on standard input, which then stays open as long as the parent lives; what it has to
say goes as lines of JSON to what was standard output.
"""

import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed

from .. import data
from ..config import RunConfig
from ..errors import UserError
from .checkpoint import Computation
from .fit import train
from .lock import Lock
from .team import Group, Lost


class Channel(logging.Handler):
    """Standard output as it was, for messages alone: what else is printed goes to standard error."""

    def __init__(self) -> None:
        super().__init__()
        self.file = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(2, 1)

    def say(self, **message: Any) -> None:
        """Send one message."""
        self.file.write(json.dumps(message).encode() + b"\n")

    def emit(self, record: logging.LogRecord) -> None:
        self.say(log=[record.name, record.levelno, record.getMessage()])


def main() -> None:
    """Do what standard input says; the exit code is 0, and the last message says how it ended."""
    channel = Channel()
    request = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if request["rank"] == 0:
        logger = logging.getLogger("mcvae")
        logger.addHandler(channel)
        logger.setLevel(request["level"])
    else:
        logging.disable()  # all say the same
    try:
        status = _train(request, channel)
    except UserError as error:
        channel.say(ending="mistake", text=str(error))
    except Lost as error:
        channel.say(ending="lost", text=f"heard no more of another ({error})")
    except Exception:
        channel.say(ending="fault", text=traceback.format_exc())
    else:
        channel.say(ending="done", text=status)
    os._exit(0)  # whatever still waits for the others, in threads of its own, is not waited for


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def _train(request: dict[str, Any], channel: Channel) -> str:
    config, folder = RunConfig.from_canonical(request["run"]), Path(request["folder"])
    rank, device = request["rank"], torch.device(request["device"])
    if device.type == "cuda":
        device = torch.device("cuda", rank)
        torch.cuda.set_device(device)
    dataset = data.load(request["prepared"]).trained_on(config.training.records)
    lock = Lock(folder / ".lock", request["lock"])
    with _joined(rank, request["size"], device, Path(request["meeting"])) as team:
        return train(
            config,
            dataset,
            folder,
            Computation(**request["how"]),
            str(device),
            lock,
            (lambda row: channel.say(row=row)) if team.leads else None,
            request["checkpoint_seconds"],
            team,
        )


@contextmanager
def _joined(rank: int, size: int, device: torch.device, meeting: Path) -> Iterator[Group]:
    """Inside, the processes have found each other: by a file, so that no port is open before they know each other."""
    try:
        torch.distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if device.type == "cuda" else "cpu:gloo",
            init_method=f"file://{meeting}/members",
            rank=rank,
            world_size=size,
        )
    except RuntimeError as error:
        raise Lost(str(error).partition("\n")[0]) from error
    yield Group(rank, size)
    torch.distributed.destroy_process_group()
