"""Scripts that lean on the end of their process, or on a process of their own, in warm workers."""

import json
import os
import subprocess
import sys

import pytest
from rays import ENVIRONMENT, PLUGINS, snakemake, write_files

pytest.importorskip("ray")
sys.path.insert(0, str(PLUGINS))

WORKER = """
import json, os, sys
from snakemake_executor_plugin_ray.worker import Worker
worker, said = Worker(1), []
for folder, name in json.loads(sys.argv[1]):
    request = {"kind": "script", "log": os.path.abspath("log"), "cwd": os.getcwd(), "env": {}, "tmpdir": None,
               "keep": False, "source": open(f"{folder}/{name}").read(), "name": name, "folder": folder}
    outcome = worker.run(request)
    log = open("log").read() if os.path.exists("log") else ""
    said.append({"ok": outcome["ok"], "cause": outcome["cause"], "left": outcome["left"], "log": log,
                 "out": open("out").read() if os.path.exists("out") else None})
    if os.path.exists("out"):
        os.unlink("out")
print(json.dumps(said))
"""


def run_scripts(folder, *scripts, path=""):
    """What became of each of them, one after another in one worker, and of the file ``out`` at its end."""
    write_files(folder, {f"scripts/{i}.py": text for i, text in enumerate(scripts)})
    jobs = json.dumps([("scripts", f"{i}.py") for i in range(len(scripts))])
    environment = ENVIRONMENT | {
        "PYTHONPATH": os.pathsep.join([str(path), ENVIRONMENT["PYTHONPATH"]]).strip(os.pathsep)
    }
    done = subprocess.run(
        [sys.executable, "-c", WORKER, jobs], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


WRITE = "import time\ndef write():\n    time.sleep(0.3)\n    open('out', 'w').write('written')\n"
LATE = {
    "a file that is left open": "def f(x): return str(x)\nout = open('out', 'w')\nout.write(f('written'))",
    "a thread": WRITE + "import threading\nthreading.Thread(target=write).start()",
    "a pool of threads": WRITE + "from concurrent.futures import ThreadPoolExecutor\n"
    "pool = ThreadPoolExecutor(2)\npool.submit(write)",
    "a pool that a function forgot": WRITE + "from concurrent.futures import ThreadPoolExecutor\n"
    "def start():\n    ThreadPoolExecutor(1).submit(write)\nstart()",
    "a pool of processes": WRITE + "import multiprocessing\nfrom concurrent.futures import ProcessPoolExecutor\n"
    "pool = ProcessPoolExecutor(1, multiprocessing.get_context('fork'))\npool.submit(write)",
    "a process": WRITE + "import multiprocessing\nmultiprocessing.get_context('fork').Process(target=write).start()",
    "atexit, with one call that fails": "import atexit\natexit.register(lambda: open('out', 'w').write('written'))\n"
    "def fail(): raise ValueError('said')\natexit.register(fail)",
    "a fork that leaves": "import os, sys\npid = os.fork()\nif pid == 0: sys.exit(5)\n"
    "assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5\nopen('out', 'w').write('written')",
    "a fork that writes": "import os\npid = os.fork()\nif pid == 0: out = open('out', 'w'); out.write('written')\n"
    "else: os.waitpid(pid, 0)",
}


@pytest.mark.parametrize("script", LATE.values(), ids=LATE)
def test_what_a_script_leaves_to_the_end_of_its_process_is_done_when_the_job_ends(tmp_path, script):
    (outcome,) = run_scripts(tmp_path, script)
    assert outcome["ok"] and outcome["out"] == "written" and outcome["left"] is None, outcome
    assert os.listdir(tmp_path / ".snakemake/scripts") == []


def test_a_library_keeps_its_pool_for_the_next_script(tmp_path):
    pool = "import concurrent.futures\npool = concurrent.futures.ThreadPoolExecutor(1)\npool.submit(int)\n"
    write_files(tmp_path, {"lib/library.py": pool})
    use = "import library\nassert library.pool.submit(int).result() == 0\nopen('out', 'w').write(str(id(library)))"
    first, second = run_scripts(tmp_path, use, use, path=tmp_path / "lib")
    assert first["ok"] and second["ok"] and first["out"] == second["out"], (first, second)


def test_a_daemon_thread_that_goes_on_costs_the_worker_and_not_the_job(tmp_path):
    script = "import threading, time\ndef on(): time.sleep(1000)\nthreading.Thread(target=on, daemon=True).start()"
    outcome, _ = run_scripts(tmp_path, script, "pass")
    assert outcome["ok"] and "still runs" in outcome["left"]


def test_a_limit_that_cannot_be_raised_again_costs_the_worker(tmp_path):
    lower = "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (500, 500))\n"
    forbid = "def setrlimit(*given): raise ValueError\nresource.setrlimit = setrlimit"  # as it is but for root
    (outcome,) = run_scripts(tmp_path, lower + forbid)
    assert outcome["ok"] and "limit" in outcome["left"]


CLOSED = "import sys\nwith open('mine', 'w') as file:\n    sys.stderr = sys.stdout = file\n    {}"


@pytest.mark.parametrize(
    ("script", "cause", "said"),
    [
        (CLOSED.format("raise ValueError('why')"), "ValueError: why", "ValueError: why"),
        ("import sys\nsys.stderr = None\nsys.exit('bye')", "the script ended with exit code 1.", "bye"),
        ("import sys\nsys.exit(True)", "the script ended with exit code 1.", ""),
    ],
    ids=["closed", "none", "true"],
)
def test_a_failure_keeps_its_cause_without_standard_error(tmp_path, script, cause, said):
    (outcome,) = run_scripts(tmp_path, script)
    assert not outcome["ok"] and outcome["cause"] == cause and said in outcome["log"], outcome


def test_modules_of_folders_that_scripts_put_on_the_path_are_not_taken_for_each_other(tmp_path):
    write_files(tmp_path, {f"{name}/util.py": f"NAME = {name!r}\n" for name in "ab"})
    use = "import sys\nsys.path.insert(0, {!r})\nimport util\nopen('out', 'w').write(util.NAME)"
    said = run_scripts(tmp_path, *(use.format(name) for name in "aba"))
    assert [outcome["out"] for outcome in said] == ["a", "b", "a"]


SNAKEFILE = """
import threading
rule all:
    input: "late.txt", "grown.txt", "unsent.txt"
rule early:
    output: "early.txt"
    script: "scripts/who.py"
rule unsent:
    output: "unsent.txt"
    params: lock=lambda wildcards: threading.Lock()
    script: "scripts/who.py"
rule grown:
    output: "grown.txt"
    retries: 1
    resources: mem_mb=lambda wildcards, attempt: 100 if attempt == 1 else 10**9
    script: "scripts/fail.py"
rule late:
    input: "early.txt"
    output: "late.txt"
    script: "scripts/who.py"
"""
WHO = "import sys\nopen(snakemake.output[0], 'w').write('warm' if 'ray' in sys.modules else 'cold')\n"


@pytest.mark.ray
@pytest.mark.slow
def test_a_job_that_cannot_be_sent_fails_alone(tmp_path):
    write_files(tmp_path, {"Snakefile": SNAKEFILE, "scripts/who.py": WHO, "scripts/fail.py": "raise SystemExit(3)"})
    done = snakemake(tmp_path, "--ray-cpus", "1", "-j", "4", "--keep-going", check=False)
    assert done.returncode == 1 and "Traceback (most recent call last)" not in done.stderr, done.stderr
    assert (tmp_path / "late.txt").exists() and not (tmp_path / "unsent.txt").exists()
    assert "Trying to restart job" in done.stderr and "Rule grown asks for CPU 1, memory 1000000000 MB" in done.stderr
    assert "lock" in done.stderr.lower()


def test_a_log_of_a_long_wildcard_has_a_name_that_file_systems_allow():
    from snakemake_executor_plugin_ray.executor import shortened

    assert shortened("a/b/w_x.log") == "a/b/w_x.log"
    one, other = (shortened(f"a/w_{'é' * 200}{end}.log") for end in "xy")
    assert one != other and all(
        len(path.split("/")[1].encode()) <= 255 and path.endswith(".log") for path in (one, other)
    )


ORDINARY = """
rule all:
    input: expand("{name}.txt", name=["warm", "cold", "benchmark", "shadow", "first", "second", "piped", "checked"])
rule warm:
    output: "warm.txt"
    script: "scripts/who.py"
rule cold:
    output: "cold.txt"
    resources: ray_warm=0
    script: "scripts/who.py"
rule benchmark:
    output: "benchmark.txt"
    benchmark: "benchmark.tsv"
    script: "scripts/who.py"
rule shadow:
    output: "shadow.txt"
    shadow: "minimal"
    script: "scripts/who.py"
rule first:
    output: "first.txt"
    group: "both"
    script: "scripts/who.py"
rule second:
    input: "first.txt"
    output: "second.txt"
    group: "both"
    script: "scripts/who.py"
rule into:
    output: pipe("pipe")
    script: "scripts/who.py"
rule piped:
    input: "pipe"
    output: "piped.txt"
    shell: "cat {input} > {output}"
checkpoint check:
    output: "check.txt"
    script: "scripts/who.py"
rule checked:
    input: lambda wildcards: checkpoints.check.get().output[0]
    output: "checked.txt"
    script: "scripts/who.py"
"""


@pytest.mark.ray
@pytest.mark.slow
def test_jobs_that_need_a_process_of_their_own_have_one(tmp_path):
    write_files(tmp_path, {"Snakefile": ORDINARY, "scripts/who.py": WHO})
    snakemake(tmp_path, "--ray-cpus", "2", "-j", "4")
    said = {path.stem: path.read_text() for path in tmp_path.glob("*.txt")}
    assert {name for name, how in said.items() if how == "warm"} == {"warm", "check", "checked"}
    assert set(said.values()) == {"warm", "cold"} and len(said) == 9
    assert (tmp_path / "benchmark.tsv").read_text().startswith("s\t")
