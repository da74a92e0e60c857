"""Snakemake executor plugin `ray`: runs the jobs of a workflow on a Ray cluster, or on a local Ray of its own.

Python scripts run inside long-lived worker processes; every other job runs as the ordinary Snakemake job command.
"""

from dataclasses import dataclass, field

from snakemake_interface_executor_plugins.settings import CommonSettings, ExecutorSettingsBase

from .executor import Executor

__all__ = ["Executor", "ExecutorSettings", "common_settings"]


@dataclass
class ExecutorSettings(ExecutorSettingsBase):
    """Settings of the executor; each one is the command line flag --ray-NAME."""

    address: str | None = field(
        default="local",
        metadata={
            "type": str,
            "help": "Where to run: 'local' starts a Ray on this machine and stops it at the end; host:port joins a "
            "running cluster and leaves it running, 'auto' the one of RAY_ADDRESS or of this machine's `ray start`.",
        },
    )
    cpus: int | None = field(
        default=None,
        metadata={"type": int, "help": "CPU slots of a local Ray (default: the CPUs of this machine)."},
    )
    gpus: int | None = field(
        default=None,
        metadata={"type": int, "help": "GPUs of a local Ray (default: the GPUs of this machine)."},
    )
    dashboard: bool = field(
        default=False,
        metadata={"help": "Start the dashboard of a local Ray, on 127.0.0.1 only."},
    )
    runtime_env: str | None = field(
        default=None,
        metadata={
            "type": str,
            "help": "A JSON or YAML file with Ray's runtime environment for the jobs (env_vars, pip, ...).",
        },
    )
    scheduling: str | None = field(
        default="spread",
        metadata={
            "type": str,
            "choices": ["spread", "pack"],
            "help": "Where on a cluster of several nodes a worker starts: 'spread' over all nodes, or 'pack': the "
            "fullest first, which leaves whole nodes to jobs that need them or to be scaled down.",
        },
    )
    namespace: str | None = field(
        default=None,
        metadata={"type": str, "help": "Ray's name space for this driver (default: an anonymous one)."},
    )
    wait: bool = field(
        default=False,
        metadata={
            "help": "The cluster can grow: queue jobs that are larger than all of its present nodes, instead of "
            "refusing them, and ask Ray for more workers than fit now.",
        },
    )
    recycle: int | None = field(
        default=500,
        metadata={"type": int, "help": "Replace a worker process after this many jobs (0: never)."},
    )
    recycle_mb: int | None = field(
        default=8000,
        metadata={
            "type": int,
            "help": "Replace a worker process that holds more memory than this between two jobs, in MB (0: no bound).",
        },
    )


common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    pass_envvar_declarations_to_cmd=True,
    auto_deploy_default_storage_provider=False,
    init_seconds_before_status_checks=0,
)
