"""Stopped anywhere, the workflow goes on where it was and ends with the same bits."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from workspace import ROOT, SMALL, Workspace, environment

LONG = {
    "study": "long",
    "experiments": {
        "digits": {
            "dataset": "mnist",
            "latents": ["h2"],
            "hidden": [[256, 128]],
            "training": {"epochs": 200, "batch_size": 64},
            "evaluation": {"importance_samples": 2, "images": 20},
        }
    },
}


def drive(workspace, *arguments):
    """The command that ``make`` runs, in the workspace."""
    for name in ("Snakefile", "workflow", "profiles"):
        link = workspace.folder / name
        if not link.exists():
            link.symlink_to(ROOT / name)
    return [sys.executable, str(ROOT / "workflow/drive.py"), "--config", str(workspace.config), "--", *arguments]


def wait_for(condition, seconds=90.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def running(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.slow
@pytest.mark.ray
def test_a_killed_driver_leaves_a_run_that_resumes_to_equal_bits(tmp_path):
    undisturbed, killed = Workspace(tmp_path / "a", LONG), Workspace(tmp_path / "b", LONG)
    undisturbed.snakemake("runs")
    # A process group of its own, so that all of it can be killed and nothing else.
    child = subprocess.Popen(
        drive(killed, "runs"),
        cwd=killed.folder,
        env=environment(),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: list(killed.folder.glob("results/runs/*/*/.checkpoint/state.safetensors")))

    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    again = subprocess.run(drive(killed, "runs"), cwd=killed.folder, env=environment(), capture_output=True, text=True)
    assert again.returncode == 2 and "drives this folder already" in again.stderr, "Snakemake itself still runs"

    os.killpg(child.pid, signal.SIGKILL)
    owners = json.loads((killed.folder / "results/.owner").read_text())["pids"]
    wait_for(lambda: not any(running(pid) for pid in owners))
    done = subprocess.run(drive(killed, "runs"), cwd=killed.folder, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    (run,) = killed.run_folders()
    assert json.loads((run / "provenance.json").read_text())["resumed"] >= 1
    assert killed.science() == undisturbed.science()
    assert not (killed.folder / "results/.owner").exists()


def test_a_second_driver_is_refused_while_the_first_lives(tmp_path):
    workspace = Workspace(tmp_path, SMALL)
    code = "import sys, os; sys.path.insert(0, sys.argv[1]); import drive; drive.write_owner(os.getppid())"
    subprocess.run([sys.executable, "-c", code, str(ROOT / "workflow")], cwd=tmp_path, env=environment(), check=True)
    done = subprocess.run(drive(workspace), cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 2 and f"process {os.getpid()} drives this folder already" in done.stderr
    assert "Traceback" not in done.stderr


def test_bad_input_of_make_is_one_sentence(tmp_path):
    workspace = Workspace(tmp_path, {"experiments": {"x": {"dataset": "mnist", "latents": ["q2"]}}})
    done = subprocess.run(drive(workspace), cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "unknown geometry" in done.stderr
