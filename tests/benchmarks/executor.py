"""What the `ray` executor costs: `python tests/benchmarks/executor.py [--only jobs|start|idle]`.

Every number is of a Snakemake process of its own; the table says which bars hold. Needs a quiet machine.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

PLUGINS = Path(__file__).parents[2] / "workflow" / "plugins"
ENVIRONMENT = os.environ | {"PYTHONPATH": f"{PLUGINS}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
JOB_BAR, START_BAR, IDLE_BAR = 0.05, 10.0, 5.0  # seconds a job, seconds, per cent of a core
SETTLE_SECONDS = 30.0

SNAKEFILE = """
rule all:
    input: expand("job_{i}.json", i=range(config["jobs"]))
rule job:
    output: "job_{i}.json"
    script: "scripts/job.py"
rule idle:
    output: "idle.txt"
    script: "scripts/idle.py"
"""
JOB = """
import json, time
begin = time.time()
import torch
with open(snakemake.output[0], "w") as file:
    json.dump([begin, time.time()], file)
"""
IDLE = "import time\nopen('began', 'w').close()\ntime.sleep({})\nopen(snakemake.output[0], 'w').close()\n"


def main() -> int:
    """Measure and show; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=200, help="jobs that import torch and write one file")
    parser.add_argument("--slots", type=int, default=2, help="jobs at a time")
    parser.add_argument("--local-jobs", type=int, default=10, help="jobs of the local executor beside them")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each, whose median counts")
    parser.add_argument("--idle-seconds", type=float, default=60.0, help="how long an idle driver is watched")
    parser.add_argument("--only", choices=["jobs", "start", "idle"])
    parser.add_argument("--json", type=Path, help="a file for the numbers")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    print(
        f"{os.cpu_count()} cores, load {load:.1f} before{' (not quiet: numbers mean little)' if load > 0.5 else ''}\n"
    )
    rows = []
    if arguments.only in (None, "jobs", "start"):
        rows += jobs(arguments)
    if arguments.only in (None, "idle"):
        rows += idle(arguments)
    width = max(len(what) for what, *_ in rows)
    print(f"{'what':{width}}  {'bar':>8}  {'measured':>10}")
    for what, value, unit, bar in rows:
        verdict = "" if bar is None else "pass" if value <= bar else "miss"
        print(f"{what:{width}}  {'' if bar is None else f'<= {bar:g}':>8}  {value:>8.3f} {unit:2}  {verdict}".rstrip())
    if arguments.json:
        named = [dict(zip(("what", "value", "unit", "bar"), row, strict=True)) for row in rows]
        arguments.json.write_text(json.dumps({"load": load, "rows": named}, indent=1) + "\n")
    return int(any(bar is not None and value > bar for _, value, _, bar in rows))


def jobs(arguments: argparse.Namespace) -> list[tuple]:
    """Start-up, and seconds a job beyond it, of both executors."""
    count, slots = arguments.jobs, arguments.slots
    ray = [timed("ray", count, slots, "--ray-cpus", str(slots)) for _ in range(arguments.repeat)]
    rows = [
        ("Snakemake and Ray: command to the first job's begin", median(ray, "start"), "s", START_BAR),
        (f"{slots} slots, ray: until each has imported torch", median(ray, "warm"), "s", None),
        (f"{count} jobs, ray: each of the others", median(ray, "each"), "s", JOB_BAR),
        (f"{count} jobs, ray: last end to the exit", median(ray, "stop"), "s", None),
    ]
    if arguments.only != "start" and arguments.local_jobs:
        local = [timed("local", arguments.local_jobs, slots) for _ in range(arguments.repeat)]
        rows += [
            (
                f"{arguments.local_jobs} jobs, local: command to the first job's begin",
                median(local, "start"),
                "s",
                None,
            ),
            (f"{arguments.local_jobs} jobs, local: first begin to last end, each", median(local, "each"), "s", None),
            (f"{count} jobs as a whole, ray", median(ray, "whole"), "s", None),
            (f"{count} jobs as a whole, local (scaled)", scaled(local, arguments.local_jobs, count), "s", None),
        ]
    return rows


def timed(executor: str, count: int, slots: int, *more: str) -> dict[str, float]:
    """One run in a folder of its own: seconds to the first job, until every worker is warm, and so on.

    The first job of a worker imports torch; in ordinary processes every job does, and none is warm.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, JOB)
        begin = time.time()
        command = snakemake(executor, "--config", f"jobs={count}", "-j", str(count if executor == "ray" else slots))
        done = subprocess.run([*command, *more], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
        whole = time.time() - begin
        if done.returncode != 0:
            raise SystemExit(done.stderr[-3000:])
        times = [json.loads(path.read_text()) for path in folder.glob("job_*.json")]
    begins, ends = zip(*times, strict=True)
    first, warm = min(begins), sorted(ends)[slots - 1] if executor == "ray" else min(begins)
    return {
        "start": first - begin,
        "warm": warm - first,
        "each": (max(ends) - warm) / (count - slots if executor == "ray" else count),
        "stop": begin + whole - max(ends),
        "whole": whole,
    }


def idle(arguments: argparse.Namespace) -> list[tuple]:
    """The share of a core of a driver, and of all processes that it started, while one long job sleeps."""
    length = arguments.idle_seconds + SETTLE_SECONDS + 10
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, IDLE.format(length))
        command = snakemake("ray", "--config", "jobs=1", "-j", "1", "--ray-cpus", "1", "idle.txt")
        driver = subprocess.Popen(
            command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            while not (folder / "began").exists():
                if driver.poll() is not None:
                    raise SystemExit("the driver ended before its job began")
                time.sleep(0.2)
            time.sleep(SETTLE_SECONDS)
            before, start = spent(driver.pid), time.monotonic()
            time.sleep(arguments.idle_seconds)
            after, seconds = spent(driver.pid), time.monotonic() - start
        finally:
            driver.terminate()
            driver.wait(120)
    shares = {key: 100 * (after[key] - before.get(key, 0.0)) / seconds for key in after}
    rows = [
        ("idle driver", sum(share for (pid, _), share in shares.items() if pid == driver.pid), "%", IDLE_BAR),
        ("idle driver with all of Ray's processes", sum(shares.values()), "%", IDLE_BAR),
    ]
    return rows + [
        (f"    {title}", share, "%", None) for (_, title), share in sorted(shares.items(), key=lambda i: -i[1])
    ]


def spent(pid: int) -> dict[tuple[int, str], float]:
    """Processor seconds of a process and all that it has started, by process id and a short name."""
    processes, seconds = psutil.Process(pid), {}
    for process in [processes, *processes.children(recursive=True)]:
        try:
            times, words = process.cpu_times(), process.cmdline()
        except psutil.NoSuchProcess:
            continue
        names = [re.sub(r".*/", "", word) for word in words if word.endswith(".py") or "ray::" in word] or words[:1]
        title = "snakemake" if process.pid == pid else re.sub(r".*/", "", names[0] if names else process.name())
        seconds[process.pid, title.strip()] = times.user + times.system
    return seconds


def prepare(folder: Path, script: str) -> None:
    """The workflow of the benchmark."""
    (folder / "scripts").mkdir()
    (folder / "Snakefile").write_text(SNAKEFILE)
    for name in ("job", "idle"):
        (folder / "scripts" / f"{name}.py").write_text(script)


def snakemake(executor: str, *arguments: str) -> list[str]:
    """The command line of Snakemake."""
    base = [sys.executable, "-m", "snakemake", "--executor", executor, "--scheduler", "greedy", "--quiet", "all"]
    return [*base, *arguments]


def median(runs: list[dict[str, float]], key: str) -> float:
    """Of that number over the runs."""
    return statistics.median(run[key] for run in runs)


def scaled(runs: list[dict[str, float]], count: int, jobs: int) -> float:
    """How long so many jobs would take, from runs of `count`."""
    return median(runs, "whole") + (jobs - count) * median(runs, "each")


if __name__ == "__main__":
    sys.exit(main())
