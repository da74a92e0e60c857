"""The Ray that jobs run on: started here and stopped at the end, or joined and left alone.

Ray is imported inside `connect` only, because Snakemake imports every plugin that it finds.
"""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import shutil
import tempfile
from dataclasses import dataclass, field

from snakemake_interface_common.exceptions import WorkflowError

from .demand import Demand, describe

# Read by Ray when it is imported or when its processes start. Each may be overridden from outside.
ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",  # drivers of different modes cannot talk to each other: one mode everywhere
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": "A worker died or was killed",  # reported as the error of its job
}
LOCAL_ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Ray's switch for "one machine only": listen on 127.0.0.1, not 0.0.0.0
    "RAY_process_group_cleanup_enabled": "1",  # a worker's children die with it
}
OBJECT_STORE_BYTES = 80 * 2**20  # jobs exchange files: the smallest store that Ray accepts


@dataclass
class Cluster:
    """A connection to Ray.

    `started` tells whether this driver started it, `totals` what all nodes have together, `nodes` what each has.
    """

    started: bool
    folder: str | None = None
    totals: dict[str, float] = field(default_factory=dict)
    nodes: list[dict[str, float]] = field(default_factory=list)
    connected: bool = True

    @classmethod
    def connect(cls, settings) -> Cluster:
        """Start a local Ray (address `local`) or join a running one.

        Raises WorkflowError if there is no such cluster.
        """
        address = settings.address or "local"
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        if address == "local":
            cluster = cls._start(settings)
        else:
            cluster = cls._join(address)
        atexit.register(cluster.disconnect)  # also when Snakemake ends without shutting its executor down
        cluster._measure()
        return cluster

    @classmethod
    def _start(cls, settings) -> Cluster:
        for name, value in LOCAL_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        # A token of its own: no file in the home folder, and nobody else can use this cluster.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        import ray

        # A folder of its own, with a short name (sockets lie in it): other drivers do not find this cluster.
        root = tempfile.gettempdir()
        folder = tempfile.mkdtemp(prefix="ray-", dir=root if len(root) < 30 else "/tmp")
        cluster = cls(started=True, folder=folder)
        try:
            ray.init(
                address="local",
                num_cpus=settings.cpus,
                num_gpus=settings.gpus,
                include_dashboard=settings.dashboard,
                dashboard_host="127.0.0.1",
                object_store_memory=OBJECT_STORE_BYTES,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _temp_dir=folder,
            )
        except BaseException:
            cluster.disconnect()
            raise
        return cluster

    @classmethod
    def _join(cls, address: str) -> Cluster:
        import ray

        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise WorkflowError(
                f"--ray-address {address}: no Ray cluster could be joined there ({reason}); give the host:port that "
                "`ray start --head` printed, 'auto' on a machine of the cluster, or 'local' to start one."
            ) from error
        return cls(started=False)

    def _measure(self) -> None:
        import ray

        self.nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self.totals = {}
        for node in self.nodes:
            for name, amount in node.items():
                self.totals[name] = self.totals.get(name, 0) + amount

    def check(self, demand: Demand, rule: str) -> None:
        """Raise WorkflowError if no node is large enough for the demand: Ray itself would wait for ever."""
        asked = demand.resources
        if any(all(node.get(name, 0) >= amount for name, amount in asked.items()) for node in self.nodes):
            return
        largest = {name: max((node.get(name, 0) for node in self.nodes), default=0) for name in asked}
        raise WorkflowError(
            f"Rule {rule} asks for {describe(asked)}, but the largest node of the Ray cluster has {describe(largest)}: "
            "lower the rule's threads or resources (--set-threads, --set-resources, --max-threads) or use a larger one."
        )

    def disconnect(self) -> None:
        """Leave the cluster; stop it only if this driver started it."""
        if not self.connected:
            return
        self.connected = False
        atexit.unregister(self.disconnect)
        import ray

        ray.shutdown()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
