"""The driver's records of jobs and workers, and the sentences for how a worker ended."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, field
from typing import Any

import psutil

from .demand import Demand

NODE_DIED = "because its node has died."


@dataclass(eq=False)
class Task:
    """One job on its way: what to run, and, once `outcome` is set, how it ended (`ok`, `cause`)."""

    job: Any
    demand: Demand
    request: dict
    outcome: dict | None = None
    lost: int = 0

    def clear_log(self) -> None:
        """Remove an earlier try's log: its presence tells that the job has begun."""
        try:
            os.unlink(self.request["log"])
        except FileNotFoundError:
            pass

    @property
    def begun(self) -> bool:
        """Whether a worker has begun the job."""
        return os.path.exists(self.request["log"])


@dataclass(eq=False)
class Slot:
    """One worker: starting while `pid` is None, idle while `task` is None. `node` is the id of its Ray node.

    `doubted`: since when Ray has no contact with it and cannot tell what became of it.
    """

    actor: Any
    demand: Demand
    name: str
    node: str | None = None
    pid: int | None = None
    task: Task | None = None
    jobs: int = 0
    doubted: float | None = None
    since: float = field(default_factory=time.monotonic)


def cause_of_death(error: BaseException) -> str:
    """One sentence for what Ray reports when a worker did not answer."""
    from ray import exceptions

    detail = " ".join(str(error).split())
    if isinstance(error, exceptions.OutOfMemoryError):
        used = detail.partition("Memory on the node ")[2].partition(" OOM kill")[0]
        return (
            f"was killed because its node ran out of memory ({used or 'see the log of the raylet'}); "
            "ask for more with mem_mb or run fewer jobs at once."
        )
    if isinstance(error, exceptions.ActorDiedError) and NODE_DIED in detail:
        return f"was lost with its node: {detail.partition(NODE_DIED)[2].strip(' .')}."
    if isinstance(error, exceptions.RayActorError):
        reason = _exit_detail(detail)
        return f"died while the job ran (a kill signal, the out-of-memory killer or a crash): {reason}"
    return f"failed outside the job: {type(error).__name__}: {detail[:500]}"


def cause_of_start(error: BaseException) -> str:
    """The same for a worker that did not live to get a job."""
    from ray import exceptions

    if isinstance(error, exceptions.OutOfMemoryError):
        return f"it {cause_of_death(error)}"
    return " ".join(str(error).split())[:1000]


def _exit_detail(detail: str) -> str:
    known = "Worker exit detail:"
    return detail.split(known)[-1].split("Some common causes")[0].strip() if known in detail else detail


def died(error: BaseException) -> bool:
    """Whether a worker's process ended, rather than that something in it raised an error."""
    from ray import exceptions

    return isinstance(error, exceptions.RayActorError | exceptions.OutOfMemoryError)


def unavailable(error: BaseException | None) -> bool:
    """Whether Ray cannot tell yet what became of a worker."""
    from ray import exceptions

    return isinstance(error, exceptions.ActorUnavailableError)


def may_pass(error: BaseException) -> bool:
    """Whether another start may succeed: not where a runtime environment or the constructor fails."""
    from ray import exceptions

    return not isinstance(error, exceptions.RuntimeEnvSetupError | exceptions.RayTaskError)


def family(pid: int) -> list[psutil.Process]:
    """A process of this machine and everything that it has started; nothing if it is gone."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def see_end(processes: list[psutil.Process], seconds: float) -> None:
    """Wait until processes have ended, and kill those that take longer."""
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
