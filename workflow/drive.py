"""What ``make`` runs: Snakemake with its surroundings put in order.

Validates the study first, refuses a second driver in the same folder, clears the locks of a dead one, follows the runs
into MLflow while they train, and leaves a report even when jobs failed. Plain ``snakemake`` works without it.
"""

import argparse
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from mcvae.config import load_study
from mcvae.errors import UserError
from mcvae.files import read_json, write_json
from mcvae.grid import Plan, plan

OWNER = Path("results/.owner")
LOCKS = Path(".snakemake/locks")
REPORT = Path("results/report.html")
FOLLOWER_SECONDS = 120
# The child becomes Snakemake only when it is told to: had its parent died before it wrote the child's id down, a
# Snakemake that nobody knows of would own the folder.
GATE = (
    "import os, sys; pipe = int(sys.argv[1]); told = os.read(pipe, 1); os.close(pipe)\n"
    "if told: os.execv(sys.argv[2], sys.argv[2:])"
)


def main() -> int:
    """Run the study; return the exit code of Snakemake, or 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="config/config.yaml", help="config file of the study")
    parser.add_argument("--data", help="embedded, download or a mirror's folder: replaces data.source")
    parser.add_argument("snakemake", nargs="*", help="arguments for snakemake, after --")
    arguments = parser.parse_args()
    try:
        planned = plan_study(arguments)
        for warning in planned.warnings:
            print(f"mcvae: note: {warning}", file=sys.stderr)
        with owned(arguments):
            return drive(planned, arguments)
    except UserError as error:
        print(f"mcvae: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def plan_study(arguments: argparse.Namespace) -> Plan:
    """The plan of the study that the arguments name, as the files are now."""
    return plan(load_study(arguments.config, arguments.data), arguments.config)


def drive(planned: Plan, arguments: argparse.Namespace) -> int:
    """Run Snakemake beside a follower that keeps MLflow up to date; write a partial report if runs are missing.

    What a search decides makes the study grow: Snakemake runs again until the plan is the one that it was called with.
    """
    if not makes_files(arguments.snakemake):
        return run(snakemake(arguments, *arguments.snakemake))
    while True:
        with following(arguments):
            code = run(snakemake(arguments, *arguments.snakemake))
        if code != 0:
            break
        before, planned = planned, plan_study(arguments)
        new = planned.runs.keys() - before.runs.keys()
        if not new:
            break
        print(f"mcvae: a search goes on: {len(new)} runs more")
    if code < 0:  # Snakemake itself was killed and could not take its locks away
        unlock(arguments)
    missing = [each for each in planned.runs.values() if not (each.folder / "metrics.json").exists()]
    finished = Path(f"results/reports/{planned.name}.html")
    if code == 0 and not missing and finished.exists():
        from mcvae.plotting import copy_report

        copy_report(finished, REPORT)
        print(f"mcvae: {REPORT} is the report of study {planned.name!r}; `make ui` shows the runs in MLflow")
    elif code != 0 and missing:
        from mcvae.plotting import copy_report, write_report

        partial = Path(f"results/reports/{planned.name}.partial.html")
        write_report(planned, Path("results"), partial, partial=True, configfile=arguments.config)
        copy_report(partial, REPORT)
        print(
            f"mcvae: {len(missing)} of the {len(planned.runs)} runs of study {planned.name!r} are missing; "
            f"{REPORT} lists them",
            file=sys.stderr,
        )
    return code if code >= 0 else 128 - code


def snakemake(arguments: argparse.Namespace, *more: str) -> list[str]:
    """The command of Snakemake on the study that the arguments name."""
    # With "=", or these options, which take lists, would swallow the targets that follow.
    command = [sys.executable, "-m", "snakemake", f"--configfile={arguments.config}"]
    if arguments.data:
        command.append("--config=data=" + json.dumps({"source": arguments.data}))
    return [*command, *more]


def makes_files(arguments: list[str]) -> bool:
    """Whether the given Snakemake arguments run jobs, rather than print or check something."""
    looks = (
        "-n --dry-run --dryrun --lint --rulegraph --dag --filegraph --d3dag --list -l --list-target-rules --lt "
        "--list-rules --summary -S --detailed-summary -D --report --unlock --help -h --version -v --touch -t "
        "--cleanup-metadata --archive"
    ).split()
    # Short options may be joined, as in -np; those here take no value.
    joined = [f"-{letter}" for each in arguments if re.fullmatch(r"-[npqkFR]+", each) for letter in each[1:]]
    return not set(looks).intersection([*(argument.split("=")[0] for argument in arguments), *joined])


def run(command: list[str]) -> int:
    """Run a child in the foreground; a Ctrl-C reaches it from the terminal, a SIGTERM is handed on as one.

    Snakemake's own handler of SIGTERM takes a lock that its main thread may hold just then, and waits for ever. The
    child is written into ``results/.owner``: should this process be killed, the child still owns the folder.
    """
    ready, go = os.pipe()
    gate = [sys.executable, "-I", "-S", "-c", GATE, str(ready)]
    # A shell's background process is started with SIGINT ignored, and so would Snakemake be.
    ending = signal.SIGTERM if signal.getsignal(signal.SIGINT) == signal.SIG_IGN else signal.SIGINT
    with subprocess.Popen([*gate, *command], pass_fds=[ready]) as child:
        before = (
            signal.signal(signal.SIGINT, signal.SIG_IGN),
            signal.signal(signal.SIGTERM, lambda *_: child.send_signal(ending)),
        )
        try:
            os.close(ready)
            try:
                if not owning():
                    raise UserError(f"{OWNER}: is gone, or another driver's; this one stops")
                write_owner(os.getpid(), child.pid)
                with suppress(BrokenPipeError):  # a signal came before the child had begun
                    os.write(go, b"1")
            finally:
                os.close(go)
            return child.wait()
        finally:
            signal.signal(signal.SIGINT, before[0])
            signal.signal(signal.SIGTERM, before[1])


def unlock(arguments: argparse.Namespace) -> None:
    """Clear Snakemake's locks on the working directory, whose owner is known to be dead.

    Raises:
        UserError: a Snakemake that was started by hand works there.
    """
    if LOCKS.is_dir() and any(LOCKS.iterdir()):
        others = by_hand()
        if others:
            raise UserError(f"{LOCKS}: snakemake, process {others[0]}, works in this folder; wait for it or end it")
        command = snakemake(arguments, "--unlock", "--executor", "local", "--cores", "1", "--quiet", "all")
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextmanager
def following(arguments: argparse.Namespace) -> Iterator[None]:
    """Keep a process that copies new epochs and finished runs into MLflow; it makes a last round when asked to end."""
    command = [sys.executable, "-m", "mcvae", "track", "--config", arguments.config, "--follow", str(os.getpid())]
    if arguments.data:
        command += ["--data", arguments.data]
    log = Path("logs/track.log")
    log.parent.mkdir(exist_ok=True)
    with open(log, "ab") as file:
        # A session of its own: the terminal's Ctrl-C must not end it before the last round.
        follower = subprocess.Popen(command, stdout=file, stderr=file, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        yield
    finally:
        follower.terminate()
        try:
            code = follower.wait(timeout=FOLLOWER_SECONDS)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            follower.kill()
            code = follower.wait()
        if code != 0:
            print(f"mcvae: MLflow is not up to date (see {log}); `mcvae track` makes it so", file=sys.stderr)


@contextmanager
def owned(arguments: argparse.Namespace) -> Iterator[None]:
    """Hold ``results/.owner`` while driving: refuse a second driver, clear Snakemake's locks after a dead one."""
    after_another = take()
    try:
        if after_another:
            unlock(arguments)
        yield
    finally:
        if owning():
            OWNER.unlink(missing_ok=True)


def take() -> bool:
    """Make ``results/.owner`` this process's; whether a dead driver had left it.

    Drivers that start at the same time come one after the other (a lock, of this host at least), and of two hosts only
    one can make the file.

    Raises:
        UserError: another driver lives, or may live on another host.
    """
    OWNER.parent.mkdir(exist_ok=True)
    with open(OWNER.with_name(".owner.lock"), "a") as guard:
        with suppress(OSError):  # of file systems without locks: there, two that take over at once are not told apart
            fcntl.flock(guard, fcntl.LOCK_EX)
        left = OWNER.exists()
        if left:
            refuse_living()
            OWNER.unlink(missing_ok=True)
        try:
            os.close(os.open(OWNER, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            raise UserError(f"{OWNER}: another driver starts in this folder; wait for it or end it") from None
        write_owner(os.getpid())
    return left


def refuse_living() -> None:
    """Raise a :class:`UserError` unless the driver that ``results/.owner`` names is known to be dead."""
    try:
        owner = read_json(OWNER)
        host, pids, starts = owner["host"], owner["pids"], owner["started"]
        alive = [pid for pid, start in zip(pids, starts, strict=True) if lives(pid, start)]
    except (UserError, KeyError, TypeError, ValueError):
        raise UserError(f"{OWNER}: says not who drives this folder; if nobody does, delete that file") from None
    if host != socket.gethostname():
        raise UserError(
            f"{OWNER}: process {pids[0]} on host {host} drives this folder; if it is gone, delete that file"
        )
    if alive:
        raise UserError(f"{OWNER}: process {alive[0]} drives this folder already; wait for it or end it")


def owning() -> bool:
    """Whether ``results/.owner`` still names this process."""
    try:
        owner = read_json(OWNER)
        return (owner["host"], owner["pids"][0]) == (socket.gethostname(), os.getpid())
    except (UserError, KeyError, TypeError, IndexError):
        return False


def by_hand() -> list[int]:
    """The Snakemakes on this host that work in this folder, jobs of a dead one left out."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "cwd"]):
        command = process.info["cmdline"] or []
        named = any(os.path.basename(word) == "snakemake" for word in command[:4])
        if named and "--mode" not in command and process.info["cwd"] == os.getcwd():
            found.append(process.info["pid"])
    return found


def write_owner(*pids: int) -> None:
    """Say who drives this folder: process ids, when each started, and the host."""
    write_json(OWNER, {"pids": pids, "started": [started(pid) for pid in pids], "host": socket.gethostname()})


def started(pid: int) -> float | None:
    """When a process started, None if it is gone or a zombie: with the pid it names one process for good."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None


def lives(pid: int, start: float | None) -> bool:
    """Whether the process that started then still runs; boot times wander by fractions of a second."""
    now = started(pid)
    return now is not None and start is not None and abs(now - start) < 2


if __name__ == "__main__":
    sys.exit(main())
