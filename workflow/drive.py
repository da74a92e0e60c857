"""What ``make`` runs: Snakemake with its surroundings put in order.

Validates the study first, refuses a second driver in the same folder, clears the locks of a dead one, follows the runs
into MLflow while they train, and leaves a report even when jobs failed. Plain ``snakemake`` works without it.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import psutil

from mcvae.config import load_study
from mcvae.errors import UserError
from mcvae.files import read_json, write_bytes, write_json
from mcvae.grid import Plan, plan

OWNER = Path("results/.owner")
LOCKS = Path(".snakemake/locks")


def main() -> int:
    """Run the study; return the exit code of Snakemake, or 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="config/config.yaml", help="config file of the study")
    parser.add_argument("--data", help="embedded, download or a mirror's folder: replaces data.source")
    parser.add_argument("snakemake", nargs="*", help="arguments for snakemake, after --")
    arguments = parser.parse_args()
    try:
        planned = plan(load_study(arguments.config, arguments.data), arguments.config)
        with owned(arguments.config):
            return drive(planned, arguments)
    except UserError as error:
        print(f"mcvae: {error}", file=sys.stderr)
        return 2


def drive(planned: Plan, arguments: argparse.Namespace) -> int:
    """Run Snakemake beside a follower that keeps MLflow up to date; write a partial report if it fails."""
    command = [sys.executable, "-m", "snakemake", "--configfile", arguments.config, *arguments.snakemake]
    if arguments.data:
        command += ["--config", "data=" + json.dumps({"source": arguments.data})]
    if not makes_files(arguments.snakemake):
        return run(command)
    with following(arguments):
        code = run(command)
    name = planned.study.study
    finished = Path(f"results/reports/{name}.html")
    if code == 0 and finished.exists():
        write_bytes("results/report.html", finished.read_bytes())
        print(f"mcvae: results/report.html is the report of study {name!r}; `make ui` shows the runs in MLflow")
    elif code != 0:
        from mcvae.plotting import write_report

        partial = Path(f"results/reports/{name}.partial.html")
        write_report(planned, Path("results"), partial, partial=True, configfile=arguments.config)
        write_bytes("results/report.html", partial.read_bytes())
        print(f"mcvae: not all of study {name!r} was made; results/report.html lists what is missing", file=sys.stderr)
    return code


def makes_files(arguments: list[str]) -> bool:
    """Whether the given Snakemake arguments run jobs, rather than print or check something."""
    looks = (
        "-n --dry-run --dryrun --lint --rulegraph --dag --filegraph --d3dag --list -l --list-target-rules --lt "
        "--list-rules --summary -S --detailed-summary -D --report --unlock --help -h --version -v --touch -t "
        "--cleanup-metadata --archive"
    ).split()
    return not set(looks).intersection(argument.split("=")[0] for argument in arguments)


def run(command: list[str]) -> int:
    """Run a child in the foreground; a Ctrl-C reaches it from the terminal, a SIGTERM is handed on."""
    child = subprocess.Popen(command)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN), signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    try:
        code = child.wait()
    finally:
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGTERM, before[1])
    return code if code >= 0 else 128 - code


@contextmanager
def following(arguments: argparse.Namespace):
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
            code = follower.wait(timeout=120)
        except subprocess.TimeoutExpired:
            follower.kill()
            code = follower.wait()
        if code != 0:
            print(f"mcvae: MLflow is not up to date (see {log}); `mcvae track` makes it so", file=sys.stderr)


@contextmanager
def owned(config: str):
    """Hold ``results/.owner`` while driving: refuse a second driver, clear Snakemake's locks after a dead one."""
    owner = read_json(OWNER) if OWNER.exists() else None
    if owner is not None:
        if owner["host"] != socket.gethostname():
            raise UserError(
                f"{OWNER}: process {owner['pid']} on host {owner['host']} drives this folder; "
                "if it is gone, delete that file"
            )
        if started(owner["pid"]) == owner["started"]:
            raise UserError(f"{OWNER}: process {owner['pid']} drives this folder already; wait for it or end it")
        if LOCKS.is_dir() and any(LOCKS.iterdir()):
            unlock = [sys.executable, "-m", "snakemake", "--configfile", config, "--unlock", "--quiet", "all"]
            subprocess.run(unlock, check=True, stdout=subprocess.DEVNULL)
    write_json(OWNER, {"pid": os.getpid(), "started": started(os.getpid()), "host": socket.gethostname()})
    try:
        yield
    finally:
        OWNER.unlink(missing_ok=True)


def started(pid: int) -> float | None:
    """When a process started, None if it is gone: with the pid it names one process for good."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return None


if __name__ == "__main__":
    sys.exit(main())
