"""The `ray` executor through trouble: killed workers and drivers, full memory; equal results, nothing left behind."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from rays import ENVIRONMENT, LONG, LONG_SCRIPT, PLUGINS, RayCluster, gone, snakemake, start, wait_for, write_files

pytest.importorskip("ray")
pytestmark = [pytest.mark.ray, pytest.mark.slow]

SNAKEFILE = """
rule all:
    input: expand("run_{i}.txt", i=range(config.get("runs", 6))), "sum.txt"
rule run:
    output: "run_{i}.txt"
    script: "scripts/run.py"
rule sum:
    input: expand("run_{i}.txt", i=range(config.get("runs", 6)))
    output: "sum.txt"
    shell: "cat {input} > {output}"
"""
RUN = """
import os, time
import numpy
name = snakemake.wildcards.i
with open(f"try_{name}_{os.getpid()}_{time.time_ns()}", "w") as file:
    file.write(str(os.getpid()))
numpy.random.seed(int(name))
bits = 0.0
for _ in range(10):
    bits += float(numpy.random.rand(1000).sum())
    time.sleep(0.1)
with open(snakemake.output[0], "w") as file:
    file.write(bits.hex() + "\\n")
with open(f"end_{name}", "a") as file:
    file.write("ended\\n")
"""
FILES = {"Snakefile": SNAKEFILE, "scripts/run.py": RUN}


def expected(runs):
    """The results of the grid, computed here."""
    import numpy

    lines = []
    for seed in range(runs):
        generator, bits = numpy.random.RandomState(seed), 0.0
        for _ in range(10):
            bits += float(generator.rand(1000).sum())
        lines.append(bits.hex() + "\n")
    return "".join(lines)


def workers(driver):
    """The worker processes of a driver with a Ray of its own."""
    try:
        children = psutil.Process(driver.pid).children(recursive=True)
        return [child for child in children if child.name().startswith("ray::Worker")]
    except psutil.NoSuchProcess:
        return []


@pytest.mark.parametrize(
    ("kills", "runs"), [(3, 6), pytest.param(20, 24, marks=pytest.mark.full)], ids=["3 kills", "20 kills"]
)
def test_workers_killed_at_random_moments_change_nothing_in_the_results(tmp_path, kills, runs):
    write_files(tmp_path, FILES)
    moments, done = random.Random(kills), 0
    arguments = ("--ray-cpus", "2", "-j", "8", "--retries", str(kills), "--config", f"runs={runs}")
    driver = start(tmp_path, *arguments)
    while done < kills and driver.poll() is None:
        time.sleep(moments.uniform(0.1, 1.5))
        for worker in moments.sample(workers(driver), k=1) if workers(driver) else ():
            worker.kill()
            done += 1
    assert driver.wait(600) == 0, (tmp_path / "out").read_text()
    assert done == kills, "the grid ended before all kills"
    assert (tmp_path / "sum.txt").read_text() == expected(runs)
    assert {path.read_text() for path in tmp_path.glob("end_*")} == {"ended\n"}, "a job was done twice"
    said = (tmp_path / "out").read_text()
    errors = said.count("died while the job ran") + said.count("did not start:")
    assert errors == said.count("Trying to restart job") <= kills


@pytest.mark.parametrize("moment", ["at work", "idle"])
def test_a_killed_worker_fails_the_job_that_it_had_begun_and_no_other(tmp_path, moment):
    """Without retries: a job that was sent to a worker already dead is sent to another one."""
    write_files(tmp_path, {
        "Snakefile": "localrules: pause\n"
                     "rule all:\n    input: 'first', 'second'\n"
                     "rule first:\n    output: 'first'\n    script: 'scripts/first.py'\n"
                     "rule pause:\n    input: 'first'\n    output: 'pause'\n"
                     "    shell: 'touch paused; while [ ! -e go ]; do sleep 0.1; done; touch {output}'\n"
                     "rule second:\n    input: 'pause'\n    output: 'second'\n    script: 'scripts/first.py'\n",
        "scripts/first.py": "import os, time\nopen('began', 'w').write(str(os.getpid()))\n"
                            "time.sleep(0 if os.path.exists('idle') else 1000)\n"
                            "open(snakemake.output[0], 'w').close()\n",
    })  # fmt: skip
    if moment == "idle":
        (tmp_path / "idle").touch()
    driver = start(tmp_path, "--ray-cpus", "1", "-j", "1")
    wait_for((tmp_path / ("paused" if moment == "idle" else "began")).exists, process=driver, folder=tmp_path)
    time.sleep(0.2)
    os.kill(int((tmp_path / "began").read_text()), signal.SIGKILL)
    (tmp_path / "go").touch()
    code = driver.wait(120)
    said = (tmp_path / "out").read_text()
    assert (code == 0) == (moment == "idle"), said
    assert ("died while the job ran" in said) == (moment == "at work")


def test_a_killed_driver_leaves_no_process_and_the_next_one_goes_on(tmp_path):
    first = 'rule first:\n    output: "first.txt"\n    shell: "echo x >> first.ends; touch {output}"\n'
    snakefile = LONG.replace('"shell.txt"\nrule script', '"shell.txt", "first.txt"\nrule script') + first
    write_files(tmp_path, {"Snakefile": snakefile, "scripts/long.py": LONG_SCRIPT})
    driver = start(tmp_path, "--ray-cpus", "3", "-j", "3")
    began = [tmp_path / name for name in ("script.began", "shell.began", "first.txt")]
    wait_for(lambda: all(path.exists() for path in began), process=driver, folder=tmp_path)
    wait_for(lambda: "Finished jobid" in (tmp_path / "out").read_text(), process=driver, folder=tmp_path)
    processes = psutil.Process(driver.pid).children(recursive=True)
    assert len([process for process in processes if process.name() == "sleep"]) == 2
    folders = [process.cmdline() for process in processes if "gcs_server" in process.name()]
    ray_folder = Path(re.search(r"--session-dir=(\S+?)/session_", " ".join(folders[0]))[1])
    driver.kill()
    driver.wait()
    assert gone(processes, 30), psutil.wait_procs(processes, timeout=0)[1]
    wait_for(lambda: not ray_folder.exists(), 30)
    (tmp_path / "go").touch()
    snakemake(tmp_path, "--ray-cpus", "2", "-j", "2", "--rerun-incomplete", "--nolock")
    ends = {path.name: len(path.read_text().split()) for path in tmp_path.glob("*.ends")}
    assert ends == {"script.ends": 1, "shell.ends": 1, "first.ends": 1}


def test_a_script_of_a_killed_worker_leaves_no_process_on_a_cluster_that_others_started(tmp_path):
    write_files(tmp_path, {"Snakefile": LONG.replace(', "shell.txt"', ""), "scripts/long.py": LONG_SCRIPT})
    cluster = RayCluster(1)
    try:
        driver = start(tmp_path, "-j", "1", "--ray-address", cluster.address, environment=cluster.environment)
        wait_for((tmp_path / "script.began").exists, process=driver, folder=tmp_path)
        raylet = psutil.Process(cluster.started[0]["raylet"])
        (worker,) = [child for child in raylet.children() if child.name().startswith("ray::Worker")]
        (sleeper,) = [child for child in worker.children(recursive=True) if child.name() == "sleep"]
        worker.kill()
        assert gone([sleeper])
        assert driver.wait(120) == 1
    finally:
        cluster.stop()


@pytest.mark.full
def test_memory_that_ends_is_the_cause_of_the_error(tmp_path):
    write_files(tmp_path, {
        "Snakefile": "rule all:\n    output: 'a'\n    script: 'scripts/a.py'\n",
        "scripts/a.py": "import time\nprint('began', flush=True)\ntime.sleep(1000)\n",
    })  # fmt: skip
    # Ray's own watch over memory, with a bound that is passed already.
    environment = ENVIRONMENT | {"RAY_memory_usage_threshold": "0.001", "RAY_memory_monitor_refresh_ms": "1000"}
    done = snakemake(tmp_path, "--ray-cpus", "1", "-j", "1", environment=environment, check=False)
    assert done.returncode == 1
    assert re.search(
        r"worker \d+ (\(process \d+\) |did not start: it )was killed because its node ran out of memory \(\(IP: ",
        done.stderr,
    ), done.stderr


LATE = """
import psutil, ray, sys
from types import SimpleNamespace
from ray._private import node
from snakemake_executor_plugin_ray.cluster import Cluster
usual, fails = node.Node.__init__, [int(sys.argv[1])]
def late(self, *args, **kwargs):
    usual(self, *args, **kwargs)
    if fails[0]:
        fails[0] -= 1
        raise Exception({"late": "The node timed out during startup.", "other": "no port\\nis free"}[sys.argv[2]])
node.Node.__init__ = late
cluster = Cluster.connect(SimpleNamespace(
    address="local", cpus=1, gpus=0, dashboard=False, namespace=None, runtime_env=None, wait=False, scheduling=None))
print(cluster.totals["CPU"], sum(p.name() == "raylet" for p in psutil.Process().children(recursive=True)))
cluster.disconnect()
"""


@pytest.mark.full
def test_a_ray_that_misses_its_time_to_start_is_started_again_and_any_other_failure_is_a_sentence():
    command = [sys.executable, "-c", LATE]
    environment = ENVIRONMENT | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 64}  # before Ray is imported
    again = subprocess.run([*command, "1", "late"], env=environment, capture_output=True, text=True)
    assert again.stdout.split() == ["1.0", "1"], again.stderr
    fails = subprocess.run([*command, "1", "other"], env=environment, capture_output=True, text=True)
    assert "Ray could not be started on this machine (no port is free)." in fails.stderr


def test_every_death_of_a_worker_has_a_sentence():
    code = """
import json
from ray import exceptions
from snakemake_executor_plugin_ray.tasks import cause_of_death
memory = exceptions.OutOfMemoryError("1 worker(s) were killed due to the node running low on memory. "
    "Memory on the node (IP: 10.0.0.5, ID: 83) was 23.1GB used / 23.5GB limit (0.98)\\n"
    "OOM kill reason: Memory usage\\nmore\\nand more")
print(json.dumps([cause_of_death(memory), cause_of_death(exceptions.RayActorError()),
                  cause_of_death(RuntimeError("a b\\nc"))]))
"""
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    memory, died, other = json.loads(done.stdout)
    assert memory == (
        "was killed because its node ran out of memory ((IP: 10.0.0.5, ID: 83) was 23.1GB used / 23.5GB limit (0.98)); "
        "ask for more with mem_mb or run fewer jobs at once."
    )
    assert died.startswith("died while the job ran")
    assert other == "failed outside the job: RuntimeError: a b c"


WATCH = """
import os, subprocess, sys
sys.path.insert(0, sys.argv[1])
from snakemake_executor_plugin_ray import guard
guard.over_own_group()
child = subprocess.Popen(["sleep", "1000"])
print(child.pid, flush=True)
try:
    os.waitpid(-1, os.WNOHANG)
    child.kill(); child.wait()
    os.wait()
except ChildProcessError:
    print("no child of its own", flush=True)
subprocess.Popen(["sleep", "1000"])
print(os.fork() or "forked", flush=True)
import time; time.sleep(1000)
"""


def test_what_a_killed_process_had_started_dies_with_it_and_the_watch_is_no_child():
    process = subprocess.Popen([sys.executable, "-c", WATCH, str(PLUGINS)], stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    assert process.stdout.readline() == "no child of its own\n"
    process.stdout.readline()
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) == 2
    process.kill()
    process.wait()
    process.stdout.close()
    assert gone(children)
