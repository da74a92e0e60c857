"""Warm workers of the `ray` executor: when they are replaced, what they hold of a GPU, and equal bits at any age."""

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter

import pytest
from rays import ENVIRONMENT, PLUGINS, snakemake, write_files

pytest.importorskip("ray")

CHAIN = """
rule all:
    input: "step_{last}.json"
rule step:
    output: "step_{{i}}.json"
    input: lambda wildcards: [f"step_{{int(wildcards.i) - 1}}.json"] if int(wildcards.i) else []
    script: "scripts/step.py"
"""


def steps(folder):
    """What the jobs of the chain wrote, in their order."""
    paths = sorted(folder.glob("step_*.json"), key=lambda path: int(re.search(r"\d+", path.name)[0]))
    return [json.loads(path.read_text()) for path in paths]


def chain(folder, last, script, *arguments, files=(), environment=None):
    """Run jobs one after another on one slot; what each wrote."""
    write_files(folder, {"Snakefile": CHAIN.format(last=last), "scripts/step.py": script, **dict(files)})
    snakemake(folder, "--ray-cpus", "1", "-j", "1", *arguments, environment=environment)
    return steps(folder)


DUMP = "import json, os\n{}\nwith open(snakemake.output[0], 'w') as file: json.dump({}, file)\n"


@pytest.mark.parametrize(
    ("arguments", "hold", "workers"),
    [
        (("--ray-recycle", "2"), "", [2, 2, 2]),
        pytest.param(
            ("--ray-recycle-mb", "400"), "import builtins\n"
            "builtins.held = getattr(builtins, 'held', []) + [bytearray(os.urandom(1)) * 200_000_000]", [2, 2, 2],
            marks=pytest.mark.full,
        ),
    ],
    ids=["after two jobs", "above 400 MB"],
)  # fmt: skip
@pytest.mark.ray
@pytest.mark.slow
def test_a_worker_is_replaced_after_so_many_jobs_or_above_so_much_memory(tmp_path, arguments, hold, workers):
    processes = chain(tmp_path, 5, DUMP.format(hold, "os.getpid()"), *arguments)
    counts = Counter(processes)
    assert [counts[process] for process in dict.fromkeys(processes)] == workers


EDIT = """
import firstparty
from pathlib import Path
value = firstparty.VALUE
if snakemake.wildcards.i == "1":  # somebody edits the package while the workflow runs
    Path(firstparty.__file__).write_text("VALUE = 'edited'\\n")
"""


@pytest.mark.ray
@pytest.mark.slow
def test_an_edited_package_gets_a_fresh_worker_and_an_untouched_one_does_not(tmp_path):
    package = {"package/firstparty.py": "VALUE = 'as it was'\n"}
    write_files(tmp_path, package)
    time.sleep(0.1)
    path = os.pathsep.join([str(tmp_path / "package"), ENVIRONMENT["PYTHONPATH"]])
    said = chain(
        tmp_path,
        4,
        DUMP.format(EDIT, "[firstparty.VALUE, os.getpid()]"),
        environment=ENVIRONMENT | {"PYTHONPATH": path},
    )
    values, processes = zip(*said, strict=True)
    assert values == ("as it was", "as it was", "edited", "edited", "edited")
    assert processes[0] == processes[1] != processes[2] == processes[3] == processes[4]


FRESH = """
import json, os, sys, time
sys.path[:0] = {paths!r}
from snakemake_executor_plugin_ray.freshness import Sources
from pathlib import Path
NOW = time.time_ns()
def write(name, text, when=NOW - 100 * 10**9):
    Path("lib", name + ".py").write_text(text)
    os.utime("lib/" + name + ".py", ns=(when, when))
def look():
    said.append(sources.changed())
for name in ("before", "during", "gone"):
    write(name, "x = 1\\n")
write("future", "x = 1\\n", NOW + 10**13)  # a wrong clock
said, sources = [], Sources(time.time())
look()
begin = time.time()
import before, future, gone, numpy
sources.learn(begin)
look()
write("before", "x = 22\\n")
look()
write("before", "x = 1\\n")
look()
os.unlink("lib/gone.py")
look()
write("gone", "x = 1\\n")
look()
begin = time.time()
write("during", "x = 3\\n", time.time_ns())
import during
sources.learn(begin)
look()
print(json.dumps([each and os.path.basename(each) for each in said]))
assert not [path for path in sources._files if "numpy" in path or "site-packages" in path], sources._files
assert any("freshness" in path for path in sources._files)
"""


def test_a_changed_deleted_or_just_written_first_party_file_is_noticed_and_installed_ones_are_not_looked_at(tmp_path):
    (tmp_path / "lib").mkdir()
    code = FRESH.format(paths=[str(PLUGINS), str(tmp_path / "lib")])
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [None, None, "before.py", None, "gone.py", None, "during.py"]


BITS = """
import numpy, torch
torch.manual_seed(3)
model = torch.nn.Sequential(torch.nn.Linear(20, 30), torch.nn.Tanh(), torch.nn.Linear(30, 1))
optimizer = torch.optim.Adam(model.parameters(), 1e-2)
generator = numpy.random.default_rng(5)
data = torch.from_numpy(generator.standard_normal((64, 20))).float()
for _ in range(20):
    optimizer.zero_grad()
    loss = (model(data + 0.1 * torch.randn(64, 20)) - data.sum(1, keepdim=True)).pow(2).mean()
    loss.backward()
    optimizer.step()
bits = [parameter.double().sum().item().hex() for parameter in model.parameters()]
# What a job may leave behind: the next one must not notice.
torch.set_default_dtype(torch.float64); torch.set_num_threads(2); torch.set_flush_denormal(True)
torch.use_deterministic_algorithms(True); numpy.random.seed(1)
"""


@pytest.mark.ray
@pytest.mark.slow
def test_a_job_as_a_workers_first_and_as_its_thirtieth_gives_the_same_bits(tmp_path):
    said = chain(tmp_path, 29, DUMP.format(BITS, "[bits, os.getpid()]"))
    assert len(said) == 30 and len({process for _, process in said}) == 1
    assert all(bits == said[0][0] for bits, _ in said)
    snakemake(tmp_path, "--executor", "local", "-j", "1", "--force", "step_0.json")
    assert steps(tmp_path)[0][0] == said[0][0]


GPUS = """
rule all:
    input: expand("job_{i}.json", i=range(24))
rule job:
    output: "job_{i}.json"
    resources: gpu_milli=250
    script: "scripts/job.py"
"""
GPU_JOB = """
import json, os, time
card, begin = os.environ.get("CUDA_VISIBLE_DEVICES"), time.time()
open("began_" + snakemake.wildcards.i, "w").close()
if not os.listdir("ends"):  # the first ones wait until eight are at work
    while len([name for name in os.listdir() if name.startswith("began_")]) < 8:
        time.sleep(0.05)
    time.sleep(0.5)  # a ninth would begin now
open("ends/" + snakemake.wildcards.i, "w").close()
json.dump([os.getpid(), card, begin, time.time()], open(snakemake.output[0], "w"))
"""


@pytest.mark.ray
@pytest.mark.slow
def test_quarters_of_two_gpus_are_eight_jobs_at_a_time_four_on_each_and_a_worker_keeps_its_card(tmp_path):
    write_files(tmp_path, {"Snakefile": GPUS, "scripts/job.py": GPU_JOB, "ends/.keep": ""})
    (tmp_path / "ends/.keep").unlink()
    snakemake(tmp_path, "--ray-cpus", "16", "--ray-gpus", "2", "-j", "24", environment=without_cards())
    jobs = [json.loads((tmp_path / f"job_{i}.json").read_text()) for i in range(24)]
    cards = {}
    for process, card, _, _ in jobs:
        cards.setdefault(process, set()).add(card)
    assert all(len(seen) == 1 for seen in cards.values()), "a worker changed its card"
    assert Counter(card for seen in cards.values() for card in seen) == {"0": 4, "1": 4}
    at_once = [[card for _, card, begin, end in jobs if begin <= moment < end] for _, _, moment, _ in jobs]
    assert max(map(len, at_once)) == 8
    assert max(Counter(now)[card] for now in at_once for card in "01") == 4


def without_cards():
    """The environment without a choice of cards from outside."""
    return {name: value for name, value in ENVIRONMENT.items() if name != "CUDA_VISIBLE_DEVICES"}
