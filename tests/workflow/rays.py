"""Snakemake on Ray for the tests: workflows in folders of their own, and clusters of several nodes on this machine."""

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

PLUGINS = Path(__file__).parents[2] / "workflow" / "plugins"
ENVIRONMENT = os.environ | {"PYTHONPATH": f"{PLUGINS}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
START_SECONDS = 180  # to the first job, on a machine that is busy with other tests

# A script and a shell command that wait, each with a child, until somebody has made the file `go`.
LONG = """
rule all:
    input: "script.txt", "shell.txt"
rule script:
    output: "script.txt"
    script: "scripts/long.py"
rule shell:
    output: "shell.txt"
    shell: "if [ ! -e go ]; then touch shell.began; sleep 1000; fi; echo done > {output}; echo x >> shell.ends"
"""
LONG_SCRIPT = """
import os, subprocess
if not os.path.exists("go"):
    child = subprocess.Popen(["sleep", "1000"])
    open("script.began", "w").close()
    child.wait()
open(snakemake.output[0], "w").write("done")
open("script.ends", "a").write("x")
"""

# Nodes live as long as this process; it ends with its standard input.
NODES = """
import json, sys, threading, time
import ray
from ray._private.node import Node
from ray._private.parameter import RayParams

def start(cpus, address=None):
    node = Node(RayParams(num_cpus=cpus, num_gpus=0, object_store_memory=80 * 2**20, gcs_address=address,
                          no_monitor=True, min_worker_port=0, max_worker_port=0, node_manager_port=0,
                          node_ip_address="127.0.0.1",
                          include_log_monitor=False, include_dashboard=False, dashboard_agent_listen_port=0),
                head=address is None, shutdown_at_exit=True, spawn_reaper=True)
    print(json.dumps({"address": node.gcs_address, "raylet": node.all_processes["raylet"][0].process.pid,
                      "node": node.node_id}), flush=True)
    return node

def reap():  # a killed raylet must not become a zombie: its workers would take it for alive
    while True:
        for node in nodes:
            node.all_processes["raylet"][0].process.poll()
        time.sleep(0.2)

nodes, address = [], sys.argv[1] if len(sys.argv) > 1 else None
threading.Thread(target=reap, daemon=True).start()
for line in sys.stdin:
    nodes.append(start(int(line), address))
    address = nodes[0].gcs_address
for node in reversed(nodes):
    node.kill_all_processes(check_alive=False, allow_graceful=False)
"""


class Nodes:
    """A process whose children are nodes of a Ray cluster: the head first, or all of them joining `address`."""

    def __init__(self, environment, address=None, prefix=()):
        command = [*prefix, sys.executable, "-c", NODES, *([address] if address else [])]
        self.said = Path(tempfile.mkstemp(dir=environment["RAY_TMPDIR"])[1])
        with open(self.said, "w") as said:
            self.process = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True,
                start_new_session=True,
            )  # fmt: skip

    def add(self, cpus):
        """Start a node: its `address` (of the head), `raylet` (a process id) and `node` (Ray's id)."""
        print(cpus, file=self.process.stdin, flush=True)
        while not (line := self.process.stdout.readline()).startswith("{"):
            assert line, self.said.read_text()
        return json.loads(line)

    def stop(self):
        """End all nodes that are left, and whatever they had started."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.stdin.close()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        for child in psutil.wait_procs(children, timeout=5)[1]:
            child.kill()


class RayCluster:
    """A cluster with a token of its own, on 127.0.0.1."""

    def __init__(self, *cpus):
        self.folder = tempfile.mkdtemp(prefix="r-", dir="/tmp")  # short: sockets lie in it
        self.environment = ENVIRONMENT | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_TMPDIR": self.folder,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            "RAY_enable_metrics_collection": "0",
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_failure_threshold": "10",
        }
        self.nodes = Nodes(self.environment)
        try:
            self.started = [self.nodes.add(count) for count in cpus]
        except BaseException:
            self.stop()
            raise
        self.address = self.started[0]["address"]

    def python(self, code, **more):
        """The last line that a piece of Python prints, with this cluster's environment."""
        done = subprocess.run(
            [sys.executable, "-c", code], env=self.environment | more, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip().splitlines()[-1]

    def stop(self):
        self.nodes.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def write_files(folder, files):
    """Write files, by name, below a folder."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def command(*arguments):
    """The command line of Snakemake on the `ray` executor."""
    return [sys.executable, "-m", "snakemake", "--scheduler", "greedy", "--nocolor", "--executor", "ray", *arguments]


def snakemake(folder, *arguments, environment=None, check=True):
    """Run Snakemake to its end."""
    environment = environment or ENVIRONMENT
    done = subprocess.run(
        command(*arguments), cwd=folder, env=environment, capture_output=True, text=True, timeout=900
    )  # fmt: skip
    assert not check or done.returncode == 0, done.stderr[-5000:]
    return done


def start(folder, *arguments, environment=None):
    """Start Snakemake in the background; what it says goes to the file `out`."""
    with open(folder / "out", "w") as out:
        return subprocess.Popen(
            command(*arguments), cwd=folder, env=environment or ENVIRONMENT, stdout=out, stderr=out,
            start_new_session=True,
        )  # fmt: skip


def wait_for(condition, seconds=START_SECONDS, process=None, folder=None):
    """Wait until a condition holds; the process must live until then."""
    end = time.monotonic() + seconds
    while not condition():
        said = (folder / "out").read_text()[-5000:] if folder else ""
        assert process is None or process.poll() is None, f"ended early: {said}"
        assert time.monotonic() < end, f"waited in vain: {said}"
        time.sleep(0.05)


def gone(processes, seconds=10.0):
    """Whether all of the processes have ended, or end within that time."""
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return not [process for process in alive if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
