"""The worker pool: one Ray actor a slot, made on demand, used again while it fits, replaced when old, stale or dead.

Jobs are served in the order in which Snakemake submits them. The pool keeps the books of what its workers hold, and
asks Ray for a worker only when the cluster has room for it (or may grow); idle workers of another shape make way.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from snakemake_interface_common.exceptions import WorkflowError

from .cluster import Cluster
from .demand import MEGABYTE, Demand
from .tasks import Slot, Task, cause_of_death, cause_of_start, died, family, may_pass, see_end, unavailable

KILL_SECONDS = 5.0
DOUBT_SECONDS = 60.0
PENDING_SECONDS = 30.0
STARTS = 3  # workers that die in a row before they have begun: then it is no accident
LOSSES = 3  # the same for a job that no worker lived to begin
STARTING = 100  # at once, on a cluster that can grow


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
    _news: deque[tuple[Slot, Any]] = field(default_factory=deque)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _count: int = 0
    _failed_starts: int = 0
    _closed: bool = False

    def submit(self, task: Task) -> None:
        with self._lock:
            self._queue.append(task)
            self._dispatch()

    def collect(self) -> None:
        """Take in what has happened since the last call and give idle workers new jobs."""
        with self._lock:
            while self._news and not self._closed:
                slot, future = self._news.popleft()
                if slot not in self._slots:
                    continue  # retired since
                if slot.pid is None:
                    self._take_start(slot, future)
                else:
                    self._take_result(slot, future)
            if self._queue and not self._closed:
                if self.cluster.refresh():
                    self._refuse_impossible()
                self._make_way()
                self._dispatch()

    def close(self) -> None:
        """Kill every worker and wait until, on this machine, no process of theirs is left."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._queue.clear()
            here = [slot.pid for slot in self._slots if slot.pid is not None and self.cluster.started]
            processes = [process for pid in here for process in family(pid)]
            for slot in list(self._slots):
                self._retire(slot)
        see_end(processes, KILL_SECONDS)  # a worker's children go with it, job commands when they miss it

    # Jobs to workers

    def _dispatch(self) -> None:
        """Serve the queue from its head: idle workers first, then those that are starting, then new ones."""
        starting = [slot for slot in self._slots if slot.pid is None]
        place = 0
        while place < len(self._queue) and not self._closed:
            task = self._queue[place]
            slot = self._idle(task.demand)
            if slot is not None:
                del self._queue[place]
                self._run(slot, task)
                continue
            mine = next((slot for slot in starting if task.demand.served_by(slot.demand)), None)
            if mine is not None:
                starting.remove(mine)
            elif self._find_room(task.demand):
                self._start(task.demand)
            else:
                return  # nobody overtakes a job that waits for room
            place += 1

    def _idle(self, demand: Demand) -> Slot | None:
        idle = [slot for slot in self._slots if slot.pid is not None and slot.task is None]
        fitting = [slot for slot in idle if demand.served_by(slot.demand)]
        return min(fitting, key=lambda slot: slot.demand.memory, default=None)

    def _run(self, slot: Slot, task: Task) -> None:
        slot.task = task
        task.clear_log()
        self.started(task, slot.name)
        self._call(slot, slot.actor.run, task.request)

    def _call(self, slot: Slot, method: Any, argument: Any) -> None:
        def done(future: Any) -> None:
            self._news.append((slot, future))
            self.notify()

        method.remote(argument).future().add_done_callback(done)

    # Workers

    def _find_room(self, demand: Demand) -> bool:
        """Whether a new worker may be asked for; retires idle workers where that, and only that, makes room for it."""
        idle = [slot for slot in self._slots if slot.pid is not None and slot.task is None]
        if self._has_room(demand, [slot for slot in self._slots if slot not in idle]):
            while not self._has_room(demand, self._slots):
                self._retire(idle.pop(0))
            return True
        return self.cluster.wait and sum(slot.pid is None for slot in self._slots) < STARTING

    def _has_room(self, demand: Demand, slots: list[Slot]) -> bool:
        for name, amount in demand.resources.items():
            held = sum(slot.demand.resources.get(name, 0) for slot in slots)
            if held + amount > self.cluster.totals.get(name, 0) + 1e-6:
                return False
        return True

    def _start(self, demand: Demand) -> None:
        import ray

        from .worker import Worker

        self._count += 1
        held = [(slot.node, slot.demand) for slot in self._slots if slot.node is not None]
        strategy, node = self.cluster.placement(demand, held)
        options = {**demand.options, "max_restarts": 0, "scheduling_strategy": strategy}
        actor = ray.remote(Worker).options(**options).remote(demand.cpus)
        slot = Slot(actor=actor, demand=demand, name=f"worker {self._count}", node=node)
        self._slots.append(slot)
        self._call(slot, actor.hello, self.cluster.probe)

    def _take_start(self, slot: Slot, future: Any) -> None:
        """A worker says hello, or did not live to say it."""
        error = future.exception()
        if error is None and future.result()["complaint"] is None:
            slot.pid, slot.node = future.result()["pid"], future.result()["node"]
            slot.name += self.cluster.where(slot.node)
            self._failed_starts = 0
            return
        self._retire(slot)
        self.cluster.expire()
        self._failed_starts += 1
        final = self._failed_starts >= STARTS or error is None or not may_pass(error)
        task = next((task for task in self._queue if task.demand.served_by(slot.demand)), None)
        if not final or task is None:
            return
        if error is None:
            where, said = self.cluster.where(future.result()["node"]), future.result()["complaint"]
            cause = f"{slot.name}{where} cannot work: its node {said}."
        else:
            cause = f"{slot.name} did not start: {cause_of_start(error)}"
        self._queue.remove(task)
        self._finish(task, {"ok": False, "cause": cause})

    def _take_result(self, slot: Slot, future: Any) -> None:
        """A job ended, or its worker did."""
        error, now = future.exception(), time.monotonic()
        if unavailable(error) and now - (slot.doubted or now) < DOUBT_SECONDS:
            slot.doubted = slot.doubted or now  # no contact: the answer to another call will tell why
            again = threading.Timer(1.0, self._call, (slot, slot.actor.hello, None))
            again.daemon = True
            again.start()
            return
        if slot.doubted is not None and error is None:
            error = ConnectionError("contact with the worker was lost for a while, and with it the job's answer")
        task, slot.task = slot.task, None
        slot.jobs += 1
        outcome = {"ok": False, "stale": None} if error is not None else future.result()
        if error is not None:
            self._retire(slot)
            self.cluster.expire()
            task.lost += 1
            if not task.begun and task.lost < LOSSES and died(error):
                self._queue.appendleft(task)  # the worker was dead before it had the job: no failure of the job
                return
            outcome["cause"] = f"{slot.name} (process {slot.pid}) {cause_of_death(error)}"
        elif "stale" in outcome:
            self._retire(slot)
            self._queue.appendleft(task)
            return
        elif self._worn_out(slot, outcome):
            self._retire(slot)
        self._finish(task, outcome)

    def _finish(self, task: Task, outcome: dict) -> None:
        task.outcome = outcome
        self.unreported += 1

    def _retire(self, slot: Slot) -> None:
        import ray

        self._slots.remove(slot)
        ray.kill(slot.actor, no_restart=True)

    def _make_way(self) -> None:
        """Give up idle workers while Ray cannot place a new one: the books know totals, Ray knows single nodes."""
        if len(self.cluster.nodes) < 2 and not self.cluster.wait:
            return
        now = time.monotonic()
        if any(slot.pid is None and now - slot.since > PENDING_SECONDS for slot in self._slots):
            for slot in [slot for slot in self._slots if slot.pid is not None and slot.task is None]:
                self._retire(slot)

    def _refuse_impossible(self) -> None:
        """The cluster has other nodes than before: jobs that none of them can hold any more end here."""
        for task in list(self._queue):
            try:
                self.cluster.check(task.demand, task.job.name)
            except WorkflowError as error:
                self._queue.remove(task)
                self._finish(task, {"ok": False, "cause": str(error)})
        for slot in [slot for slot in self._slots if slot.pid is None and not self.cluster.holds(slot.demand)]:
            self._retire(slot)

    def _worn_out(self, slot: Slot, outcome: dict) -> bool:
        recycle, bound = self.settings.recycle or 0, self.settings.recycle_mb or 0
        old = 0 < recycle <= slot.jobs or 0 < bound * MEGABYTE < outcome["memory"]
        return old or outcome["left"] is not None
