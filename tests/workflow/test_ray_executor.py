"""The `ray` executor: the same files as Snakemake's local executor, in warm workers, through trouble."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest
from rays import ENVIRONMENT, LONG, LONG_SCRIPT, PLUGINS, START_SECONDS

sys.path.insert(0, str(PLUGINS))

WorkflowError = pytest.importorskip("snakemake_interface_common.exceptions").WorkflowError
from snakemake_executor_plugin_ray.cluster import Cluster  # noqa: E402
from snakemake_executor_plugin_ray.demand import MEGABYTE, Demand  # noqa: E402

SNAKEFILE = """
configfile: "config.yaml"
localrules: all, here
rule all:
    input: "dump_a.json", "probe.json", "wide.txt", "shell.txt", "kept.txt", "killed.txt", "here.txt"
rule dump:
    input: first="config.yaml"
    output: main="dump_{name}.json", more=["more_{name}_1", "more_{name}_2"]
    params: run={"k": [1, None, 2.5]}, text="x y", flag=config["flag"]
    log: "logs/dump_{name}.log"
    resources: mem_mb=100
    script: "scripts/dump.py"
rule pollute:
    output: touch("polluted")
    script: "scripts/pollute.py"
rule probe:
    input: "polluted"
    output: "probe.json"
    script: "other/probe.py"
rule wide:
    input: "probe.json"
    output: "wide.txt"
    threads: 2
    script: "scripts/wide.py"
rule shell:
    input: "temporary.txt"
    output: "shell.txt"
    shell: "cat {input} > {output}; echo {threads} >> {output}"
rule temporary:
    output: temp("temporary.txt")
    script: "scripts/write.py"
rule kept:
    input: "shell.txt"
    output: protected("kept.txt")
    script: "scripts/write.py"
rule killed:
    output: "killed.txt"
    retries: 1
    script: "scripts/killed.py"
rule here:
    output: "here.txt"
    shell: "echo here > {output}"
rule bad:
    output: "bad_{name}.txt"
    log: "logs/bad_{name}.log"
    script: "scripts/bad.py"
"""

SCRIPTS = {
    "scripts/dump.py": """
import json, os, sys
from pathlib import Path
named = lambda items: {"all": list(items), "named": {k: v for k, v in items.items()}}
main = sys.modules["__main__"]
state = {
    "input": named(snakemake.input), "output": named(snakemake.output), "params": named(snakemake.params),
    "wildcards": named(snakemake.wildcards), "log": named(snakemake.log), "resources": named(snakemake.resources),
    "threads": snakemake.threads, "config": snakemake.config, "rule": snakemake.rule, "scriptdir": snakemake.scriptdir,
    "bench_iteration": snakemake.bench_iteration, "name": __name__, "file": __file__,
    "real": os.path.dirname(__real_file__), "main": main.snakemake is snakemake, "argv": len(sys.argv),
    "path": [entry for entry in sys.path if "runtime-cache" not in entry],
    "tmp": os.environ.get("TMPDIR"), "cwd": os.getcwd(), "stdin": sys.stdin.read(),
}
print("said on standard output", flush=True)
os.system("echo said by a child")
Path(snakemake.output.main).write_text(json.dumps(state))
for path in snakemake.output.more:
    Path(path).touch()
Path(snakemake.log[0]).write_text("logged")
""",
    "scripts/helper.py": "name = 'scripts'\n",
    "other/helper.py": "name = 'other'\n",
    "scripts/pollute.py": """
import atexit, logging, os, random, signal, sys, warnings
import multiprocessing
import helper, numpy, torch, matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
assert helper.name == "scripts"
with open("pid", "w") as file: file.write(str(os.getpid()))
here = os.getcwd()
def at_the_end():
    with open(here + "/atexit", "w") as file: file.write("ran")
atexit.register(at_the_end)
multiprocessing.set_start_method("spawn")
os.environ["POLLUTED"] = "1"; os.environ.pop("HOME", None); os.umask(0o077)
sys.path.insert(0, "/nonsense"); sys.argv.append("x"); sys.setrecursionlimit(5000)
signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.signal(signal.SIGUSR1, signal.SIG_IGN); signal.alarm(1000)
warnings.simplefilter("error"); logging.basicConfig(level=logging.DEBUG); logging.getLogger("x").setLevel(5)
logging.disable(logging.INFO); random.seed(0); numpy.random.seed(0); numpy.seterr(all="raise"); torch.manual_seed(0)
torch.set_grad_enabled(False); torch.set_default_dtype(torch.float64); torch.set_num_threads(2)
torch.use_deterministic_algorithms(True); torch.set_default_device("meta")
torch.set_autocast_enabled("cpu", True); torch.backends.mkldnn.enabled = False; torch.backends.cudnn.enabled = False
torch.set_printoptions(precision=1); numpy.set_printoptions(precision=1); numpy.seterrcall(print)
torch.backends.cuda.enable_math_sdp(False)
import asyncio, builtins, decimal, gc, locale, socket, time
from snakemake.shell import shell
asyncio.run(asyncio.sleep(0)); decimal.getcontext().prec = 3; gc.disable(); socket.setdefaulttimeout(1)
os.environ["TZ"] = "Asia/Tokyo"; time.tzset(); builtins.print = len; logging.captureWarnings(True)
shell.prefix("false; "); locale.setlocale(locale.LC_ALL, "C"); os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
plt.figure(); plt.rcParams["lines.linewidth"] = 17
os.chdir("/"); sys.stdout = None; main = 1
""",
    "other/probe.py": """
import asyncio, decimal, gc, json, locale, logging, os, random, signal, socket, sys, time, warnings
import multiprocessing
import helper, numpy, torch, matplotlib
import matplotlib.pyplot as plt
from snakemake.shell import shell
state = {
    "helper": helper.name, "cwd": os.getcwd(),
    "path": [entry for entry in sys.path[1:] if not entry.endswith("-deployments") and "-cache" not in entry],
    "argv": len(sys.argv),
    "umask": os.umask(0), "limit": sys.getrecursionlimit(),
    "signals": [str(signal.getsignal(number)) for number in (2, 10, 15)], "alarm": signal.alarm(0),
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])), "method": multiprocessing.get_start_method(True),
    "warnings": any(entry[0] == "error" and entry[2] is Warning for entry in warnings.filters),
    "logging": [logging.root.level, len(logging.root.handlers), logging.getLogger("x").level,
                logging.root.manager.disable],
    "grad": torch.is_grad_enabled(), "dtype": str(torch.get_default_dtype()), "threads": torch.get_num_threads(),
    "deterministic": torch.are_deterministic_algorithms_enabled(), "device": str(torch.zeros(1).device),
    "seeded": [random.Random(0).random() == random.random(), numpy.random.RandomState(0).rand() == numpy.random.rand(),
               torch.initial_seed() == 0],
    "seterr": numpy.geterr(), "figures": plt.get_fignums(), "width": plt.rcParams["lines.linewidth"],
    "main": "main" in globals(),
    "autocast": torch.is_autocast_enabled("cpu"), "backends": [torch.backends.mkldnn.enabled,
        torch.backends.cudnn.enabled, torch.backends.cuda.math_sdp_enabled()],
    "printed": [str(torch.ones(1) / 3), str(numpy.ones(1) / 3)], "errors": numpy.geterrcall(),
    "zone": time.strftime("%Z", time.localtime(0)), "prec": decimal.getcontext().prec, "gc": gc.isenabled(),
    "socket": socket.getdefaulttimeout(), "print": print.__name__, "shell": shell._process_prefix,
    "locale": locale.setlocale(locale.LC_ALL), "cores": len(os.sched_getaffinity(0)),
    "captured": logging._warnings_showwarning is None,
    "loop": asyncio.get_event_loop_policy().get_event_loop().is_closed(),
}
torch.manual_seed(1)
state["bits"] = (torch.randn(200, 300) @ torch.randn(300, 200)).double().pow(2).sum().item()
names = ("POLLUTED", "HOME", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "TMPDIR")
state["environ"] = {name: os.environ.get(name) for name in names}
with open(snakemake.output[0], "w") as file: json.dump(state, file)
with open("probe_pid", "w") as file: file.write(str(os.getpid()))
""",
    "scripts/wide.py": """
import os, torch
open(snakemake.output[0], "w").write(f"{snakemake.threads} {os.environ['OMP_NUM_THREADS']} {torch.get_num_threads()}")
""",
    "scripts/write.py": "open(snakemake.output[0], 'w').write('written\\n')\n",
    "scripts/killed.py": """
import os, signal
if not os.path.exists("tried"):
    open("tried", "w").close()
    os.kill(os.getpid(), signal.SIGKILL)
open(snakemake.output[0], "w").write("second try")
""",
    "scripts/bad.py": """
import sys
print("before the end")
if snakemake.wildcards.name == "exit":
    sys.exit(3)
raise ValueError("a cause to be seen")
""",
}


def write_workflow(folder, snakefile=SNAKEFILE, scripts=SCRIPTS):
    for name, text in {"Snakefile": snakefile, "config.yaml": "flag: 1\n", **scripts}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def snakemake(folder, *arguments, check=True):
    command = [sys.executable, "-m", "snakemake", "--scheduler", "greedy", "--nocolor", *arguments]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=600)
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One run of the workflow on Ray with two failing targets, then the same files made by the local executor."""
    folder = tmp_path_factory.mktemp("ray")
    write_workflow(folder)
    ray = snakemake(
        folder, "--executor", "ray", "--ray-cpus", "2", "-j", "1", "--keep-going", "--", "all", "bad_raise.txt",
        "bad_exit.txt", check=False,
    )  # fmt: skip
    again = snakemake(folder, "--executor", "ray", "-j", "1")
    changed = snakemake(folder, "-n", "--config", "flag=2")
    made = {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}
    logs = {str(path.relative_to(folder)): path.read_text() for path in folder.glob(".snakemake/ray/**/*.log")}
    for name in ("dump_a.json", "probe.json", "polluted"):
        (folder / name).unlink()
    snakemake(folder, "--executor", "local", "-j", "1", "--", "dump_a.json", "probe.json")
    local = {name: (folder / name).read_text() for name in ("dump_a.json", "probe.json")}
    return SimpleNamespace(ray=ray, again=again, changed=changed, made=made, logs=logs, local=local, folder=folder)


@pytest.mark.ray
def test_a_script_sees_the_snakemake_object_that_the_local_executor_gives_it(runs):
    assert json.loads(runs.made["dump_a.json"]) == json.loads(runs.local["dump_a.json"])


@pytest.mark.ray
def test_a_job_after_a_polluting_one_finds_what_a_fresh_process_has(runs):
    assert runs.made["pid"] == runs.made["probe_pid"], "the two jobs did not share a worker"
    assert json.loads(runs.made["probe.json"]) == json.loads(runs.local["probe.json"])
    assert runs.made["atexit"] == "ran"


@pytest.mark.ray
def test_output_of_a_script_and_its_children_goes_to_the_log_of_the_executor(runs):
    assert runs.logs[".snakemake/ray/dump/name_a.log"] == "said on standard output\nsaid by a child\n"
    assert (runs.folder / "logs/dump_a.log").read_text() == "logged"


@pytest.mark.ray
def test_threads_of_a_rule_are_the_threads_of_its_worker(runs):
    assert runs.made["wide.txt"] == "2 2 2"


@pytest.mark.ray
def test_shell_rules_local_rules_temporary_and_protected_files_work_as_everywhere(runs):
    assert runs.made["shell.txt"] == "written\n1\n"
    assert runs.made["here.txt"] == "here\n"
    assert "temporary.txt" not in runs.made
    assert not os.stat(runs.folder / "kept.txt").st_mode & 0o222


@pytest.mark.ray
def test_a_failing_script_is_reported_with_its_cause_and_the_end_of_its_log(runs):
    assert runs.ray.returncode != 0
    assert "message: ValueError: a cause to be seen" in runs.ray.stderr
    assert "message: the script ended with exit code 3." in runs.ray.stderr
    assert re.search(r"before the end\n\s+Traceback .*\n\s+File .*bad\.py", runs.ray.stderr)


@pytest.mark.ray
def test_a_killed_worker_is_a_job_error_and_the_next_try_gets_a_new_worker(runs):
    assert runs.made["killed.txt"] == "second try"
    assert "died while the job ran" in runs.ray.stderr


@pytest.mark.ray
def test_a_second_run_does_nothing_and_a_changed_parameter_reruns_its_job_alone(runs):
    assert "Nothing to be done" in runs.again.stderr
    assert re.search(r"dump\s+1\n", runs.changed.stdout + runs.changed.stderr)
    assert "params have changed" in (runs.changed.stdout + runs.changed.stderr).lower()
    assert not re.search(r"probe\s+1\n", runs.changed.stdout + runs.changed.stderr)


@pytest.mark.ray
@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_an_interrupt_leaves_no_process_and_the_next_run_goes_on(tmp_path, number):
    write_workflow(tmp_path, LONG, {"scripts/long.py": LONG_SCRIPT})
    command = [sys.executable, "-m", "snakemake", "--executor", "ray", "--ray-cpus", "2", "-j", "2"]
    with open(tmp_path / "out", "w") as out:
        driver = subprocess.Popen(
            command, cwd=tmp_path, env=ENVIRONMENT, stdout=out, stderr=out, start_new_session=True
        )
    deadline = time.monotonic() + START_SECONDS
    while not ((tmp_path / "script.began").exists() and (tmp_path / "shell.began").exists()):
        assert driver.poll() is None and time.monotonic() < deadline, (tmp_path / "out").read_text()
        time.sleep(0.2)
    processes = psutil.Process(driver.pid).children(recursive=True)
    assert len([process for process in processes if process.name() == "sleep"]) == 2
    driver.send_signal(number)
    assert driver.wait(60) != 0
    _, alive = psutil.wait_procs(processes, timeout=1)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
    (tmp_path / "go").touch()
    snakemake(tmp_path, "--executor", "local", "-j", "2", "--rerun-incomplete")
    assert (tmp_path / "script.txt").exists() and (tmp_path / "shell.txt").exists()


PROCESS = """
import json, sys
from pathlib import Path
from snakemake_executor_plugin_ray.worker import Worker
folder, worker, states = Path.cwd(), Worker(1), []
for name in sys.argv[1:]:
    script = folder / name
    preamble = f"import sys; sys.path.append({str(script.parent)!r})\\nclass snakemake: output = ['probe.json']\\n"
    request = {"kind": "script", "log": str(folder / "log"), "cwd": str(folder), "env": {}, "tmpdir": "/tmp",
               "keep": False, "source": preamble + script.read_text(), "name": script.name,
               "folder": str(script.parent)}
    assert worker.run(request)["ok"], (folder / "log").read_text()
"""


def test_a_worker_is_as_clean_after_its_third_polluting_job_as_at_its_first(tmp_path):
    write_workflow(tmp_path)
    states = []
    for jobs in (["other/probe.py"], ["scripts/pollute.py", "other/probe.py"] * 3):
        subprocess.run([sys.executable, "-c", PROCESS, *jobs], cwd=tmp_path, env=ENVIRONMENT, check=True)
        states.append(json.loads((tmp_path / "probe.json").read_text()))
    assert states[0] == states[1]


def test_a_request_beyond_the_cluster_is_refused_in_a_sentence_with_both_sides():
    cluster = Cluster(started=False, nodes={"a": {"CPU": 2, "memory": 4e9}, "b": {"CPU": 8, "memory": 1e9}})
    cluster.check(Demand(cpus=8), "small")
    with pytest.raises(WorkflowError, match=r"Rule big asks for CPU 4, memory 3000 MB, .* has CPU 8, memory 4000 MB"):
        cluster.check(Demand(cpus=4, memory=3000 * MEGABYTE), "big")


def test_demand_reads_threads_memory_gpu_shares_and_custom_resources():
    job = SimpleNamespace(name="r", threads=3, resources={"mem_mb": 5, "gpu_milli": 250, "ray_fast": 2, "tmpdir": "/t"})
    assert Demand.of(job).resources == {"CPU": 3, "GPU": 0.25, "memory": 5e6, "fast": 2}
    job.resources = {"gpu": 1, "gpu_milli": 500}
    with pytest.raises(WorkflowError, match="1500 thousandths"):
        Demand.of(job)
    job.resources = {"ray_kind": "a100"}
    with pytest.raises(WorkflowError, match=r"Rule r has the resource ray_kind='a100': give a whole number\."):
        Demand.of(job)
    job.resources = {"ray_warm": 0}
    assert Demand.of(job).resources == {"CPU": 3}


def test_a_worker_serves_equal_demands_and_those_that_need_less_memory_but_not_much_less():
    worker = Demand(cpus=1, memory=4000 * MEGABYTE)
    assert Demand(cpus=1, memory=2000 * MEGABYTE).served_by(worker)
    assert not Demand(cpus=1, memory=1000 * MEGABYTE).served_by(worker)
    assert not Demand(cpus=1, memory=5000 * MEGABYTE).served_by(worker)
    assert not Demand(cpus=2, memory=4000 * MEGABYTE).served_by(worker)
    assert not Demand(cpus=1, gpu_milli=250, memory=4000 * MEGABYTE).served_by(worker)


def test_a_command_ends_with_the_process_that_started_it(tmp_path):
    from snakemake_executor_plugin_ray import guard

    command = [sys.executable, "-I", "-S", guard.__file__, "/bin/sh", "-c", "trap '' TERM; sleep 1000 & echo $!; wait"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    sleeper = psutil.Process(int(process.stdout.readline()))
    process.stdin.close()
    psutil.wait_procs([sleeper], timeout=10)
    assert process.wait(10) != 0
    assert not sleeper.is_running() or sleeper.status() == psutil.STATUS_ZOMBIE
    process.stdout.close()


def test_plugins_do_not_import_ray_when_snakemake_finds_them():
    code = "import sys, snakemake_executor_plugin_ray, snakemake_logger_plugin_grid; assert 'ray' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, check=True)


def test_the_executor_knows_nothing_of_the_package():
    for path in PLUGINS.rglob("*.py"):
        assert "mcvae" not in path.read_text(), path
