"""The executor: hands Snakemake's jobs to the worker pool and reports what became of them.

Snakemake's polling thread starts before `__post_init__` and calls `check_active_jobs` in a loop; that call waits for
an event, so a finished job is reported within milliseconds and an idle driver wakes once a second.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator

from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface

from . import script
from .cluster import FOLDER, Cluster
from .demand import Demand
from .pool import Pool
from .tasks import Task

TAIL_LINES = 20
NAME_BYTES = 255


class Executor(RemoteExecutor):
    """Runs jobs on Ray: Python scripts in warm workers, everything else as the ordinary job command."""

    def __init__(self, workflow, logger):
        self._cluster: Cluster | None = None
        self._pool: Pool | None = None
        self._wake = threading.Event()
        self._closing = False
        self._old_sigterm = None
        super().__init__(workflow, logger)  # starts the polling thread, then calls __post_init__

    def __post_init__(self) -> None:
        jobs = [job for job in self.dag.needrun_jobs() if not job.is_local]
        if jobs:  # else there is nothing to do, or nothing for Ray
            self._connect(jobs)

    def _connect(self, jobs: list[JobExecutorInterface]) -> None:
        """Start or join Ray, and refuse at once what the cluster could never run."""
        try:
            self._cluster = Cluster.connect(self.executor_settings)
            for job in jobs:
                self._cluster.check(Demand.of(job), job.name)
            self._pool = Pool(self._cluster, self.executor_settings, notify=self._wake.set, started=self._log_start)
        except BaseException:
            self._close()
            raise

    # Submission (Snakemake's main thread)

    def run_job(self, job: JobExecutorInterface) -> None:
        self._terminate_like_interrupt()
        if self._pool is None:  # the first job came with a checkpoint
            self._connect([job])
        try:
            task = self._task(job)
        except Exception as error:  # the job's failure, not the workflow's: others go on, and it may be tried again
            said = " ".join(str(error).split()) or type(error).__name__
            self.report_job_error(SubmittedJobInfo(job=job), msg=said)
            return
        self.report_job_submission(SubmittedJobInfo(job=job, aux={"task": task}))
        self._pool.submit(task)

    def _task(self, job: JobExecutorInterface) -> Task:
        """What a worker needs to run the job."""
        demand = Demand.of(job)
        self._cluster.check(demand, job.name)  # again: resources may depend on input files or on the attempt
        python_script = script.warm_script(job, self.workflow)
        log = os.path.abspath(shortened(job.logfile_suggestion(FOLDER)))
        request = {"log": log, "cwd": os.getcwd(), "env": dict(self.envvars())}
        if python_script is not None:
            request |= script.request(python_script, job, self.workflow)
        else:
            request |= {"kind": "command", "command": self.format_job_exec(job)}
        return Task(job=job, demand=demand, request=request)

    def _log_start(self, task: Task, worker: str) -> None:
        """Say that a job left the queue; `running` lets a progress display tell queued jobs from running ones."""
        from snakemake.settings.enums import Quietness

        self.logger.info(
            f"Job {task.job.jobid} (rule {task.job.name}) runs in {worker}.",
            extra={"running": [task.job.jobid], "quietness": Quietness.PROGRESS},
        )

    # Status (Snakemake's polling thread)

    async def check_active_jobs(self, active_jobs: list[SubmittedJobInfo]) -> AsyncIterator[SubmittedJobInfo]:
        pool = self._pool
        if pool is None or not pool.unreported:
            if not self._closing:
                self._wake.wait(timeout=1.0)
        self._wake.clear()
        if pool is not None and not self._closing:
            pool.collect()
        for job_info in active_jobs:
            task: Task = job_info.aux["task"]
            if task.outcome is None or self._closing:
                yield job_info
                continue
            pool.unreported -= 1
            if task.outcome["ok"]:
                self.report_job_success(job_info)
            else:
                self._report_failure(job_info, task)

    async def sleep(self) -> None:
        """The waiting is done in `check_active_jobs`; this only yields while a new job is being registered."""
        await asyncio.sleep(0.005)

    def _report_failure(self, job_info: SubmittedJobInfo, task: Task) -> None:
        log = task.request["log"]
        message, logs = task.outcome["cause"], []
        if os.path.exists(log):
            logs = [os.path.relpath(log)]
            tail = _tail(log, TAIL_LINES)
            if tail:
                message += f"\n    last lines of {logs[0]}:\n" + "\n".join(f"        {line}" for line in tail)
        self.report_job_error(job_info, msg=message, aux_logs=logs)

    def print_job_error(self, job_info: SubmittedJobInfo, msg: str | None = None, **kwargs) -> None:
        job_info.job.log_error(msg, **kwargs)  # the cause is in msg: no hint at some cluster log

    # The end

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        self._closing = True
        if self._pool is not None:
            self._pool.close()

    def shutdown(self) -> None:
        self._closing = True
        self._wake.set()
        super().shutdown()
        self._close()
        if self._old_sigterm is not None:
            signal.signal(signal.SIGTERM, self._old_sigterm)
            self._old_sigterm = None

    def _close(self) -> None:
        self._closing, self.wait = True, False
        self._wake.set()
        if self._pool is not None:
            self._pool.close()
        if self._cluster is not None:
            self._cluster.disconnect()

    def _terminate_like_interrupt(self) -> None:
        """Let SIGTERM cancel the jobs, as Ctrl-C does: Snakemake's own handler would wait for the running ones.

        Snakemake installs its handler after the executor's construction, hence not in `__post_init__`.
        """
        if self._old_sigterm is None and threading.current_thread() is threading.main_thread():
            self._old_sigterm = signal.signal(signal.SIGTERM, signal.default_int_handler)

    def get_python_executable(self) -> str:
        return sys.executable if self._cluster.started else super().get_python_executable()


def shortened(path: str) -> str:
    """The path with a digest for the end of each part that is longer than file systems allow."""
    parts = path.split("/")
    long = [part if len(part.encode()) <= NAME_BYTES else _digested(part) for part in parts]
    return "/".join(long)


def _digested(part: str) -> str:
    start = part.encode()[: NAME_BYTES - 40].decode(errors="ignore")
    return f"{start}-{hashlib.sha256(part.encode()).hexdigest()[:16]}{'.log' if part.endswith('.log') else ''}"


def _tail(path: str, lines: int) -> list[str]:
    """The last lines of a text file, read from its last 16 kB."""
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - 16384))
        return file.read().decode(errors="replace").splitlines()[-lines:]
