"""The worker: a long-lived process of one slot that runs jobs one after another, as a Ray actor."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import subprocess
import sys
import tempfile
import time

import psutil

from . import guard
from .freshness import Sources
from .joining import complaint
from .program import execute
from .sandbox import THREAD_VARIABLES, captured, sandbox

GC_GROWTH_BYTES = 256 * 10**6


class Worker:
    """One slot. Every method runs in the process's main thread, so scripts may set signal handlers."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        # Before numpy or torch is loaded: their thread pools read these once.
        os.environ.update({name: str(threads) for name in THREAD_VARIABLES})
        signal.pthread_sigmask(signal.SIG_SETMASK, [])  # Ray's processes are born with SIGINT blocked
        # What a fresh interpreter has: Ray adds folders of its own to this process's path.
        listing = subprocess.run(
            [sys.executable, "-c", "import sys; print('\\n'.join(filter(None, sys.path)))"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        self.path = listing.stdout.splitlines()
        self.process = psutil.Process()
        self.memory = self.process.memory_info().rss
        self.sources = Sources(self.process.create_time())
        guard.over_own_group()

    def hello(self, shared: tuple[str, str, str] | None) -> dict:
        """{"pid", "node" of this process, "complaint": what keeps it from the driver's files, None if nothing does}."""
        import ray

        said = None if shared is None else complaint(*shared)
        return {"pid": os.getpid(), "node": ray.get_runtime_context().get_node_id(), "complaint": said}

    def run(self, request: dict) -> dict:
        """Run one job; {"ok", "cause" of a failure, "memory" in bytes afterwards, "left": why no other job should run
        here, or None}. A job's own error is not raised.

        {"stale"} instead, a changed source file of what this process has imported: the job needs a new process.
        """
        stale = self.sources.changed()
        if stale is not None:
            return {"ok": False, "stale": stale}
        importlib.invalidate_caches()  # another job may have written a module since
        begin, left = time.time(), None
        try:
            os.makedirs(os.path.dirname(request["log"]), exist_ok=True)
            open(request["log"], "wb").close()  # tells the driver that the job has begun
            if request["kind"] == "script":
                cause, left = self._run_script(request)
            else:
                cause = self._run_command(request)
        except OSError as error:
            cause = f"the worker could not run the job: {type(error).__name__}: {error}"
        if os.path.exists(request["log"]) and os.path.getsize(request["log"]) == 0:
            os.unlink(request["log"])
        self.sources.learn(begin)
        return {"ok": cause is None, "cause": cause, "memory": self._settle(), "left": left}

    def _run_script(self, request: dict) -> tuple[str | None, str | None]:
        """The cause of a failure, and what the script left behind."""
        folder = os.path.join(request["cwd"], ".snakemake", "scripts")
        os.makedirs(folder, exist_ok=True)
        handle, path = tempfile.mkstemp(suffix="." + request["name"], dir=folder)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(request["source"])
        try:
            with captured(request["log"]), sandbox(request, path, self.path, self.threads) as remains:
                cause, left = execute(path, request["source"])
            return cause, left or next(iter(remains), None)
        finally:
            if not request["keep"]:
                os.unlink(path)

    def _run_command(self, request: dict) -> str | None:
        with open(request["log"], "wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, "/bin/sh", "-c", request["command"]],
                stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT,
                cwd=request["cwd"], env=os.environ | request["env"], start_new_session=True,
            )  # fmt: skip
            code = process.wait()
        process.stdin.close()
        return None if code == 0 else f"the job command ended with exit code {code}."

    def _settle(self) -> int:
        """Resident memory after a job, in bytes; what the job left in reference cycles is freed if it is much."""
        memory = self.process.memory_info().rss
        if memory > self.memory + GC_GROWTH_BYTES:
            gc.collect()
            torch = sys.modules.get("torch")
            if torch is not None and torch.cuda.is_initialized():
                torch.cuda.empty_cache()
            self.memory = memory = self.process.memory_info().rss
        return memory
