"""The Ray that jobs run on: started here and stopped at the end, or joined and left alone.

Ray is imported inside `connect` only, because Snakemake imports every plugin that it finds.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import secrets
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from typing import Any

import psutil
from snakemake_interface_common.exceptions import WorkflowError

from . import guard
from .demand import Demand, describe
from .joining import HINT, SharedFolder, reach, runtime_environment

# Read by Ray when it is imported or when its processes start. Each may be overridden from outside.
ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",  # drivers of different modes cannot talk to each other: one mode everywhere
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": "A worker died or was killed",  # reported as the error of its job
}
LOCAL_ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Ray's switch for "one machine only": listen on 127.0.0.1, not 0.0.0.0
    "RAY_process_group_cleanup_enabled": "1",  # a worker's children die with it
    "RAY_prestart_worker_first_driver": "0",  # processes that no job would use
}
# Numbers for a dashboard that is not there: without them an idle Ray takes half as much of a core.
QUIET_ENVIRONMENT = {
    "RAY_enable_metrics_collection": "0",
    "RAY_event_stats": "0",
    "RAY_task_events_report_interval_ms": "0",
    "REPORTER_UPDATE_INTERVAL_MS": "60000",
}
OBJECT_STORE_BYTES = 80 * 2**20  # jobs exchange files: the smallest store that Ray accepts
REFRESH_SECONDS = 5.0
STARTS, TIMED_OUT = 3, "timed out during startup"  # on a busy machine Ray misses its own limit of 30 s
FOLDER = ".snakemake/ray"  # logs of jobs, and what shows whether nodes share the working directory


@dataclass
class Cluster:
    """A connection to Ray.

    `started` tells whether this driver started it, `totals` what all nodes have together, `nodes` what each has by its
    id, `hosts` where each is; `scheduling` and `wait` are the settings of those names.
    """

    started: bool
    folder: str | None = None
    scheduling: str = "spread"
    wait: bool = False
    totals: dict[str, float] = field(default_factory=dict)
    nodes: dict[str, dict[str, float]] = field(default_factory=dict)
    hosts: dict[str, str] = field(default_factory=dict)
    connected: bool = True
    _shared: SharedFolder | None = None
    _measured: float = 0.0

    @classmethod
    def connect(cls, settings: Any) -> Cluster:
        """Start a local Ray (address `local`) or join a running one.

        Raises WorkflowError if there is no such cluster, or one that this driver cannot work with.
        """
        address = settings.address or "local"
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        cluster = cls._start(settings) if address == "local" else cls._join(address, settings)
        atexit.register(cluster.disconnect)  # also when Snakemake ends without shutting its executor down
        try:
            nodes = cluster._measure()
            if not cluster.started:
                cluster._shared = SharedFolder(FOLDER)
                cluster._shared.check(nodes)
        except BaseException:
            cluster.disconnect()
            raise
        return cluster

    @classmethod
    def _start(cls, settings: Any) -> Cluster:
        for name, value in (LOCAL_ENVIRONMENT | ({} if settings.dashboard else QUIET_ENVIRONMENT)).items():
            os.environ.setdefault(name, value)
        # A token of its own: no file in the home folder, and nobody else can use this cluster.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        for _ in range(STARTS - 1):
            try:
                return cls._init(settings)
            except WorkflowError as error:
                if TIMED_OUT not in str(error):
                    raise
        return cls._init(settings)

    @classmethod
    def _init(cls, settings: Any) -> Cluster:
        import ray

        # A folder of its own, with a short name (sockets lie in it): other drivers do not find this cluster.
        root = tempfile.gettempdir()
        folder = tempfile.mkdtemp(prefix="ray-", dir=root if len(root) < 30 else "/tmp")
        cluster, before = cls(started=True, folder=folder), set(psutil.Process().children(recursive=True))
        try:
            ray.init(
                address="local",
                num_cpus=settings.cpus,
                num_gpus=settings.gpus,
                include_dashboard=settings.dashboard,
                dashboard_host="127.0.0.1",
                object_store_memory=OBJECT_STORE_BYTES,
                _temp_dir=folder,
                **_common(settings),
            )
            guard.over_folder(folder, [process.pid for process in _children(before)])
        except BaseException as error:
            for process in _children(before):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            cluster.disconnect()
            if isinstance(error, Exception) and not isinstance(error, WorkflowError):
                reason = " ".join(str(error).split())[:500]
                raise WorkflowError(f"Ray could not be started on this machine ({reason}).") from error
            raise
        return cluster

    @classmethod
    def _join(cls, address: str, settings: Any) -> Cluster:
        import ray

        try:
            ray.init(address=reach(address), **_common(settings))
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            reason = " ".join(str(error).split())[:500] or type(error).__name__
            raise WorkflowError(f"--ray-address {address}: the cluster cannot be joined ({reason}); {HINT}.") from error
        return cls(started=False, scheduling=settings.scheduling or "spread", wait=settings.wait)

    def _measure(self) -> list[dict[str, Any]]:
        import ray

        alive = [node for node in ray.nodes() if node["Alive"]]
        self.nodes = {node["NodeID"]: node["Resources"] for node in alive}
        self.hosts = {node["NodeID"]: node["NodeManagerAddress"] for node in alive}
        self.totals = {}
        for node in self.nodes.values():
            for name, amount in node.items():
                self.totals[name] = self.totals.get(name, 0) + amount
        self._measured = time.monotonic()
        return alive

    def refresh(self) -> bool:
        """Look at most every few seconds at a joined cluster; whether its nodes have changed."""
        if self.started or time.monotonic() - self._measured < REFRESH_SECONDS:
            return False
        before = set(self.nodes)
        self._measure()
        return before != set(self.nodes)

    def expire(self) -> None:
        """Something died: look again at the next opportunity."""
        self._measured = 0.0

    @property
    def probe(self) -> tuple[str, str, str] | None:
        """What a new worker checks about its node."""
        return None if self._shared is None else self._shared.probe

    def where(self, node: str) -> str:
        """` on 10.0.0.5`, and nothing for a Ray of this driver's own."""
        return "" if self.started else f" on {self.hosts.get(node, 'a new node')}"

    def placement(self, demand: Demand, held: list[tuple[str, Demand]]) -> tuple[Any, str | None]:
        """Ray's scheduling strategy for a new worker, and the node that it names; `held`: workers' node and demand."""
        if self.started or self.scheduling == "spread":
            return "DEFAULT" if self.started else "SPREAD", None
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        asked, free = demand.resources, {name: dict(resources) for name, resources in self.nodes.items()}
        for node, theirs in held:
            for name, amount in theirs.resources.items() if node in free else ():
                free[node][name] = free[node].get(name, 0) - amount
        fits = [node for node, room in free.items() if all(room.get(name, 0) >= asked[name] for name in asked)]
        if not fits:
            return "DEFAULT", None
        node = min(fits, key=lambda node: (*(free[node].get(name, 0) for name in ("GPU", "CPU")), node))
        # Others may use the cluster too: a wish, not a condition.
        return NodeAffinitySchedulingStrategy(node, soft=True, _spill_on_unavailable=True), node

    def holds(self, demand: Demand) -> bool:
        """Whether some node is large enough for the demand."""
        return any(
            all(node.get(name, 0) >= amount for name, amount in demand.resources.items())
            for node in self.nodes.values()
        )

    def check(self, demand: Demand, rule: str) -> None:
        """Raise WorkflowError if no node is large enough for the demand: Ray itself would wait for ever."""
        if self.wait or self.holds(demand):
            return
        asked = demand.resources
        largest = {name: max((node.get(name, 0) for node in self.nodes.values()), default=0) for name in asked}
        remedy = "" if self.started else ", or, if the cluster can grow, wait for it (--ray-wait)"
        raise WorkflowError(
            f"Rule {rule} asks for {describe(asked)}, but the largest node of the Ray cluster has {describe(largest)}: "
            "lower the rule's threads or resources (--set-threads, --set-resources, --max-threads) or use a larger one"
            f"{remedy}."
        )

    def disconnect(self) -> None:
        """Leave the cluster; stop it only if this driver started it."""
        if not self.connected:
            return
        self.connected = False
        atexit.unregister(self.disconnect)
        import ray

        ray.shutdown()
        if self._shared is not None:
            self._shared.remove()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def _common(settings: Any) -> dict[str, Any]:
    """What starting and joining have in common."""
    return {
        "namespace": settings.namespace or None,
        "runtime_env": runtime_environment(settings.runtime_env),
        "log_to_driver": False,
        "logging_level": logging.ERROR,
    }


def _children(before: set[psutil.Process]) -> list[psutil.Process]:
    """The processes that this one, or what it started, has started since."""
    return [process for process in psutil.Process().children(recursive=True) if process not in before]
