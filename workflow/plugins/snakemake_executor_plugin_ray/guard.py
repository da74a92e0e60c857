"""Runs one command in a process group of its own and ends the whole group when its parent is gone.

Started as a script by a worker that holds the other end of standard input: whatever kills the worker closes that pipe.
"""

import os
import signal
import subprocess
import sys
import threading

GRACE_SECONDS = 3.0


def main(command: list[str]) -> int:
    """Run the command; its exit code, or 128 + signal."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # sent to the whole group below
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, preexec_fn=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL)
    )
    threading.Thread(target=_watch, args=(process,), daemon=True).start()
    code = process.wait()
    return code if code >= 0 else 128 - code


def _watch(process: subprocess.Popen) -> None:
    while os.read(0, 1024):
        pass
    os.killpg(0, signal.SIGTERM)
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
