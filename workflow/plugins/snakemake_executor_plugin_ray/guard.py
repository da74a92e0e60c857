"""Ends what outlives its owner: a worker's job command, what a killed worker's scripts started, a killed driver's Ray.

Started as a script: `guard.py COMMAND...` runs a command; `--group PID` and `--folder PID PATH PID...` watch.
"""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

GRACE_SECONDS = 3.0
WATCH_SECONDS = 1.0
FOLDER_TRIES = 20


def main(command: list[str]) -> int:
    """Run the command in this process group and end the group at the end of standard input; its exit code.

    Whatever kills the worker, which holds the other end, closes that pipe; and should it kill this process too, as Ray
    does with a worker's children, the watch ends the group. 128 + signal for a killed command.
    """
    leader = os.getpid()
    watcher = watch(leader, lambda: _kill_group(leader))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # sent to the whole group below
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, preexec_fn=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL)
    )
    threading.Thread(target=_end_with_input, args=(process,), daemon=True).start()
    code = process.wait()
    os.kill(watcher, signal.SIGKILL)  # what a command leaves running on purpose, it may
    return code if code >= 0 else 128 - code


def _end_with_input(process: subprocess.Popen) -> None:
    while os.read(0, 1024):
        pass
    os.killpg(0, signal.SIGTERM)
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    os.killpg(0, signal.SIGKILL)


def over_own_group() -> None:
    """Make this process the leader of a group, in which its children are too, and have the group die with it.

    No pipe tells of this end, because forked children of a script would hold it open; and what waits is no child of
    this process, because a script may wait for all of its children.
    """
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    _start("--group", os.getpid())


def over_folder(folder: str, processes: list[int]) -> None:
    """When this process is gone, kill the given ones and delete the folder.

    Of a killed driver's Ray, agents live on for a minute, in which they try to tell of the end.
    """
    _start("--folder", os.getpid(), folder, *processes)


def _start(*arguments: object) -> None:
    command = [sys.executable, "-I", "-S", __file__, *map(str, arguments)]
    null = subprocess.DEVNULL
    subprocess.run(command, stdin=null, stdout=null, stderr=null, start_new_session=True, check=True)


def watch(owner: int, clear: Callable[[], None]) -> int:
    """Call a function when a process is gone, in a process of its own, whose id is returned."""
    ended = _handle(owner)
    watcher = os.fork()
    if watcher > 0:
        return watcher
    os.setsid()  # no signal to the group or to the terminal ends it
    os.closerange(0, 3)
    if ended is not None:
        select.select([ended], [], [])
    else:
        while _lives(owner):
            time.sleep(WATCH_SECONDS)
    clear()
    os._exit(0)


def _handle(process: int) -> int | None:
    """A descriptor that stands for a process, where the system has such (Linux): ids are used again."""
    try:
        return os.pidfd_open(process)
    except (AttributeError, OSError):
        return None


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _clear_folder(folder: str, handles: list[int]) -> None:
    for handle in handles:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    for _ in range(FOLDER_TRIES):  # Ray's last processes still write there
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.exists(folder):
            return
        time.sleep(WATCH_SECONDS)


if __name__ == "__main__":
    if sys.argv[1] == "--group":
        group = int(sys.argv[2])
        watch(group, lambda: _kill_group(group))
    elif sys.argv[1] == "--folder":
        found = [handle for handle in map(_handle, map(int, sys.argv[4:])) if handle is not None]
        watch(int(sys.argv[2]), lambda: _clear_folder(sys.argv[3], found))
    else:
        sys.exit(main(sys.argv[1:]))
