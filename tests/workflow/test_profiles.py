"""The profiles: their keys are options of Snakemake, their rules exist, and studies are planned with them."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from workspace import ROOT, SMALL, Workspace, environment

PROFILES = ROOT / "profiles"
NAMES = sorted(path.name for path in PROFILES.iterdir() if path.is_dir())
RULES = set(re.findall(r"^rule (\w+):", "".join(p.read_text() for p in ROOT.glob("workflow/rules/*.smk")), re.M))
# What a run's results, or what is made anew, depends on: the same on every kind of machine.
SCIENCE = ("rerun-triggers", "rerun-incomplete", "keep-going", "logger", "logger-grid-watch", "scheduler")

# An argument parser exits at what it does not know: the profiles that it refuses are printed.
PARSE = """
import sys
from snakemake.cli import get_argument_parser
for profile in sys.argv[1:]:
    try:
        get_argument_parser(profiles=[profile]).parse_args([])
    except SystemExit:
        print(profile)
"""

# As much of the Slurm plugin as the parser and a dry run need, where it is not installed.
SLURM = """
from dataclasses import dataclass
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.settings import CommonSettings, ExecutorSettingsBase
@dataclass
class ExecutorSettings(ExecutorSettingsBase):
    pass
class Executor(RemoteExecutor):
    pass
common_settings = CommonSettings(
    non_local_exec=True, implies_no_shared_fs=False, job_deploy_sources=False, pass_envvar_declarations_to_cmd=True,
    auto_deploy_default_storage_provider=False,
)
"""


def read(name):
    return yaml.safe_load((PROFILES / name / "config.yaml").read_text())


@pytest.fixture(scope="module")
def plugins(tmp_path_factory):
    """The environment, with a stand-in for the Slurm plugin at the end of the path."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "snakemake_executor_plugin_slurm").mkdir()
    (folder / "snakemake_executor_plugin_slurm/__init__.py").write_text(SLURM)
    values = environment()
    return {**values, "PYTHONPATH": f"{values['PYTHONPATH']}{os.pathsep}{folder}"}


def test_every_key_is_an_option_of_snakemake_or_its_plugins(plugins, tmp_path):
    (tmp_path / "config.yaml").write_text("executor: local\nno-such-option: 1\n")
    command = [sys.executable, "-c", PARSE, *(str(PROFILES / name) for name in NAMES), str(tmp_path)]
    done = subprocess.run(command, env=plugins, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == [str(tmp_path)], done.stderr[-1000:]


@pytest.mark.parametrize("name", NAMES)
def test_rules_that_a_profile_names_exist(name):
    profile = read(name)
    named = set(profile.get("set-resources", {})) | set(profile.get("set-threads", {}))
    named |= {group.split("=")[0] for group in profile.get("groups", ())}
    assert named <= RULES


@pytest.mark.parametrize("name", ["cluster", "slurm"])
def test_what_is_made_anew_is_the_same_on_every_kind_of_machine(name):
    default, profile = read("default"), read(name)
    assert {key: profile.get(key) for key in SCIENCE} == {key: default[key] for key in SCIENCE}


def dry_run(folder, values, *arguments):
    """What a dry run of the small study says with these profiles."""
    workspace = Workspace(folder, SMALL)
    place = ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder), f"--configfile={workspace.config}"]
    command = [sys.executable, "-m", "snakemake", *place, "-n", *arguments]
    done = subprocess.run(command, env=values, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout + done.stderr


def test_the_small_study_is_planned_for_slurm_with_a_users_account(tmp_path, plugins):
    accounts = ("--default-resources", "slurm_account=me", "slurm_partition=cpu")
    said = dry_run(tmp_path, plugins, "--workflow-profile", str(PROFILES / "slurm"), *accounts)
    (train,) = {line.strip() for line in said.splitlines() if "runtime=120" in line}
    assert "slurm_account=me" in train and "slurm_partition=cpu" in train and "mem_mb=2000" in train
    assert re.search(r"^train_run +2$", said, re.M) and re.search(r"^evaluate_run +2$", said, re.M)


def test_gpu_shares_are_added_to_a_clusters_profile(tmp_path, plugins):
    arguments = ["--workflow-profile", str(PROFILES / "cluster"), "--profile", str(PROFILES / "gpu")]
    said = dry_run(tmp_path, plugins, *arguments)
    assert len(re.findall(r"gpu_milli=250", said)) == 4, "two trainings and two evaluations"


# profiles/cluster/ray.sbatch

SBATCH = PROFILES / "cluster/ray.sbatch"
STUBS = {
    "srun": """#!/bin/bash
while [[ "$1" == --* ]]; do shift; done
for SLURM_PROCID in 0 1; do SLURM_PROCID=$SLURM_PROCID "$@" & done
wait
""",
    # Stands for Python: says how Ray was started and stays, or, asked for a token or whether Ray is there, says yes.
    "venv/bin/python": """#!/bin/bash
case "$*" in
  *"start"*) echo "$@" >> "$STUB/started"; exec sleep 1000;;
  *token_hex*) printf secret;;
  *) cat > /dev/null;;
esac
""",
    "make": """#!/bin/bash
echo "ARGS=$ARGS RAY_ADDRESS=$RAY_ADDRESS mode=$RAY_AUTH_MODE token=$(cat "$RAY_AUTH_TOKEN_PATH")" > "$STUB/made"
trap 'echo ended > "$STUB/ended"; exit 143' TERM
[ -e "$STUB/long" ] && { sleep 1000 & wait $!; }
exit 7
""",
}


@pytest.fixture
def allocation(tmp_path):
    """A folder in which the batch script runs with stand-ins for Slurm, make and Python, and how to start it."""
    for name, text in STUBS.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    slurm = {"SUBMIT_DIR": str(tmp_path), "JOB_ID": "12345", "JOB_NUM_NODES": "2", "CPUS_PER_TASK": "3"}
    values = {**os.environ, **{f"SLURM_{key}": value for key, value in slurm.items()}, "SLURM_MEM_PER_NODE": "1000"}
    values |= {"PATH": f"{tmp_path}:{os.environ['PATH']}", "VENV": "venv", "STUB": str(tmp_path), "ARGS": "--more"}

    def start():
        return subprocess.Popen(["bash", str(SBATCH)], env=values, stderr=subprocess.PIPE, start_new_session=True)

    return tmp_path, start


def finish(process):
    """Wait for the script; end what stands for Ray, as Slurm ends whatever is left of an allocation."""
    said = process.stderr
    code = process.wait(60)
    os.killpg(process.pid, signal.SIGTERM)
    said.close()
    return code


def test_the_batch_script_starts_a_head_and_a_worker_and_hands_on_what_make_returns(allocation):
    folder, start = allocation
    assert finish(start()) == 7
    head, worker = sorted((folder / "started").read_text().splitlines(), key=lambda line: "--head" not in line)
    address = re.search(r"--node-ip-address=(\S+) --port=(\d+)", head).groups()
    assert address[1] == "22345" and f"--address={address[0]}:22345" in worker
    assert all("--num-cpus=3" in line and "--memory=900000000" in line for line in (head, worker))
    made = (folder / "made").read_text()
    assert made == (
        f"ARGS=--workflow-profile profiles/cluster --more RAY_ADDRESS={address[0]}:22345 mode=token token=secret\n"
    )
    assert not list(folder.glob(".ray-*")), "the token is left behind"


def test_slurms_warning_ends_make_and_then_the_batch_script(allocation):
    folder, start = allocation
    (folder / "long").touch()
    process = start()
    deadline = time.monotonic() + 30
    while not (folder / "made").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert finish(process) == 143
    assert (folder / "ended").exists() and not list(folder.glob(".ray-*"))


def test_the_kuberay_cluster_has_one_image_one_token_and_one_shared_folder():
    documents = yaml.safe_load_all((PROFILES / "cluster/kuberay.yaml").read_text())
    (spec,) = [document["spec"] for document in documents if document["kind"] == "RayCluster"]
    pods = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    containers = [pod["template"]["spec"]["containers"][0] for pod in pods]
    assert len({container["image"] for container in containers}) == 1
    assert spec["authOptions"] == {"mode": "token"} and all(spec["rayVersion"] in c["image"] for c in containers)
    (mounts,) = {str(container["volumeMounts"]) for container in containers}
    (claims,) = {str(pod["template"]["spec"]["volumes"]) for pod in pods}
    assert "persistentVolumeClaim" in claims and "/shared" in mounts
    pinned = re.search(r"^ray(?:\[\w+\])?==(\S+)", Path(ROOT / "constraints.txt").read_text(), re.M)
    assert spec["rayVersion"] == pinned[1]
