"""The live view: a loop that syncs the runs whose files changed, in a process of its own beside the driver."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from .record import ARTIFACTS
from .store import open_store
from .sync import memberships, sync_run, sync_study

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from ..grid import Plan

log = logging.getLogger(__name__)


def follow(
    plan: "Plan",
    results: Path,
    interval: float = 5.0,
    *,
    uri: str | None = None,
    parent: int | None = None,
    stop: Callable[[], bool] | None = None,
) -> None:
    """Sync the changed runs of a study every ``interval`` seconds, until told to stop; then sync all of it once more.

    It ends on SIGTERM, when ``stop()`` is true, or when the process ``parent`` is no longer this one's parent. SIGINT
    is left to the parent, if there is one: after Ctrl-C, what the driver still writes is synced too. A failure to reach
    the store is logged and tried again; nothing is lost, since the files are the truth.

    Args:
        parent: Process id of the driver.
        stop: Asked at least once a second.

    Raises:
        UserError: the last sync failed.
    """
    ended = threading.Event()
    started = time.time_ns()
    seen: dict[str, tuple] = {}
    client: MlflowClient | None = None
    with _signals(ended, interrupt=parent is None):
        while not _over(ended, parent, stop):
            try:
                client = client or open_store(results, uri)
                _sync_changed(client, plan, results, seen, started)
            except Exception as error:  # a server that is away, a full disk: the next round tries again
                log.warning("MLflow: %s; trying again in %g s", " ".join(str(error).split()), interval)
            deadline = time.monotonic() + interval
            while (rest := deadline - time.monotonic()) > 0 and not _over(ended, parent, stop):
                ended.wait(min(1.0, rest))
        sync_study(plan, results, uri)


def _sync_changed(client: "MlflowClient", plan: "Plan", results: Path, seen: dict[str, tuple], started: int) -> None:
    for identity, names in memberships(plan).items():
        run = plan.runs[identity]
        folder = results / run.place
        files = tuple(_stat(folder / name) for name in ARTIFACTS)
        if files[0] is None or seen.get(identity) == files:
            continue
        newest = max(file[0] for file in files if file is not None)
        # Older files belong to a run that was cut short in an earlier session and waits for its turn.
        sync_run(client, folder, names, live=newest >= started, data=plan.data[run.config.dataset])
        seen[identity] = files


def _stat(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size


def _over(ended: threading.Event, parent: int | None, stop: Callable[[], bool] | None) -> bool:
    return ended.is_set() or (parent is not None and os.getppid() != parent) or (stop is not None and stop())


@contextmanager
def _signals(ended: threading.Event, *, interrupt: bool) -> Iterator[None]:
    """SIGTERM ends the loop, SIGINT too or not at all; outside the main thread, signals are the caller's business."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {signal.SIGTERM: lambda *_: ended.set()}
    handlers[signal.SIGINT] = handlers[signal.SIGTERM] if interrupt else signal.SIG_IGN
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
