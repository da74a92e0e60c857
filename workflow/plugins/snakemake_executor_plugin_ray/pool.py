"""The worker pool: one Ray actor a slot, made on demand, used again while it fits, replaced when old or dead.

Jobs are served in the order in which Snakemake submits them. The pool keeps the books of what its workers hold, and
asks Ray for a worker only when the cluster has room for it; idle workers of another shape make way.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psutil

from .cluster import Cluster
from .demand import MEGABYTE, Demand

KILL_SECONDS = 5.0
PENDING_SECONDS = 30.0


@dataclass(eq=False)
class Task:
    """One job on its way: what to run, and, once `outcome` is set, how it ended (`ok`, `cause`)."""

    job: Any
    demand: Demand
    request: dict
    outcome: dict | None = None


@dataclass(eq=False)
class Slot:
    """The driver's record of one worker."""

    actor: Any
    demand: Demand
    name: str
    pid: int | None = None
    task: Task | None = None
    jobs: int = 0
    since: float = field(default_factory=time.monotonic)


@dataclass
class Pool:
    """Workers of a cluster. `submit` is called by Snakemake's main thread, `collect` by its polling thread.

    `notify` is called, from any thread, when there is something to collect; `started(task, worker)` when a job leaves
    the queue. `unreported` counts the finished tasks that the executor has not yet reported.
    """

    cluster: Cluster
    settings: Any
    notify: Callable[[], None]
    started: Callable[[Task, str], None]
    unreported: int = 0
    _queue: deque[Task] = field(default_factory=deque)
    _slots: list[Slot] = field(default_factory=list)
    _finished: deque[tuple[Slot, Any]] = field(default_factory=deque)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _count: int = 0
    _closed: bool = False

    def submit(self, task: Task) -> None:
        with self._lock:
            self._queue.append(task)
            self._dispatch()

    def collect(self) -> None:
        """Take in what has finished since the last call and give the freed workers new jobs."""
        with self._lock:
            while self._finished and not self._closed:
                slot, future = self._finished.popleft()
                task, slot.task = slot.task, None
                slot.jobs += 1
                task.outcome = self._outcome(slot, future)
                self.unreported += 1
                if task.outcome.get("died") or self._worn_out(slot, task.outcome):
                    self._retire(slot)
            self._make_way()
            self._dispatch()

    def close(self) -> None:
        """Kill every worker and wait until, on this machine, no process of theirs is left."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._queue.clear()
            processes = [process for slot in self._slots for process in self._processes(slot)]
            for slot in list(self._slots):
                self._retire(slot)
        # A worker's children go with it, and job commands when they miss it; make sure of both.
        _, alive = psutil.wait_procs(processes, timeout=KILL_SECONDS)
        for process in alive:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue

    def _processes(self, slot: Slot) -> list[psutil.Process]:
        """A worker on this machine and everything that its job started."""
        if slot.pid is None or not self.cluster.started:
            return []
        try:
            worker = psutil.Process(slot.pid)
            return [worker, *worker.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _dispatch(self) -> None:
        while self._queue and not self._closed:
            slot = self._slot_for(self._queue[0].demand)
            if slot is None:
                return
            slot.task = self._queue.popleft()
            self.started(slot.task, slot.name)
            future = slot.actor.run.remote(slot.task.request).future()
            future.add_done_callback(lambda done, slot=slot: self._on_done(slot, done))

    def _on_done(self, slot: Slot, future) -> None:
        self._finished.append((slot, future))
        self.notify()

    def _slot_for(self, demand: Demand) -> Slot | None:
        idle = [slot for slot in self._slots if slot.task is None]
        fitting = [slot for slot in idle if demand.served_by(slot.demand)]
        if fitting:
            return min(fitting, key=lambda slot: slot.demand.memory)
        while not self._has_room(demand):
            if not idle:
                return None
            self._retire(idle.pop(0))
        return self._start(demand)

    def _has_room(self, demand: Demand) -> bool:
        for name, amount in demand.resources.items():
            held = sum(slot.demand.resources.get(name, 0) for slot in self._slots)
            if held + amount > self.cluster.totals.get(name, 0) + 1e-6:
                return False
        return True

    def _start(self, demand: Demand) -> Slot:
        import ray

        from .worker import Worker

        self._count += 1
        actor = ray.remote(Worker).options(max_restarts=0, **demand.options).remote(demand.cpus)
        slot = Slot(actor=actor, demand=demand, name=f"worker {self._count}")
        self._slots.append(slot)
        actor.pid.remote().future().add_done_callback(lambda done: self._on_pid(slot, done))
        return slot

    @staticmethod
    def _on_pid(slot: Slot, future) -> None:
        if future.exception() is None:  # else the job's own call reports why the worker did not start
            slot.pid = future.result()

    def _retire(self, slot: Slot) -> None:
        import ray

        self._slots.remove(slot)
        ray.kill(slot.actor, no_restart=True)

    def _make_way(self) -> None:
        """Give up idle workers while Ray cannot place a new one: the books know totals, Ray knows single nodes."""
        if len(self.cluster.nodes) < 2:
            return
        now = time.monotonic()
        if any(slot.pid is None and now - slot.since > PENDING_SECONDS for slot in self._slots):
            for slot in [slot for slot in self._slots if slot.task is None]:
                self._retire(slot)

    def _worn_out(self, slot: Slot, outcome: dict) -> bool:
        recycle, bound = self.settings.recycle or 0, self.settings.recycle_mb or 0
        return 0 < recycle <= slot.jobs or 0 < bound * MEGABYTE < outcome["memory"]

    def _outcome(self, slot: Slot, future) -> dict:
        error = future.exception()
        if error is None:
            return future.result()
        if slot.pid is None:
            return {"ok": False, "died": True, "cause": f"{slot.name} did not start: {' '.join(str(error).split())}"}
        return {"ok": False, "died": True, "cause": f"{slot.name} (process {slot.pid}) {_cause_of_death(error)}"}


def _cause_of_death(error: BaseException) -> str:
    """One sentence for what Ray reports when a worker did not answer."""
    from ray import exceptions

    if isinstance(error, exceptions.OutOfMemoryError):
        return "was killed because its node ran out of memory; ask for more with mem_mb or run fewer jobs at once."
    detail = " ".join(str(error).split())
    if isinstance(error, exceptions.ActorDiedError) and "node" in detail and "died" in detail.split("node")[-1][:20]:
        return f"was lost with its node: {detail}"
    if isinstance(error, exceptions.RayActorError):
        known = "Worker exit detail:"
        reason = detail.split(known)[-1].split("Some common causes")[0].strip() if known in detail else detail
        return f"died while the job ran (a kill signal, the out-of-memory killer or a crash): {reason}"
    return f"failed outside the job: {type(error).__name__}: {detail}"
