"""Stopped anywhere, the workflow goes on where it was and ends with the same bits."""

import contextlib
import csv
import importlib.util
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest
from workspace import ROOT, SMALL, Workspace, environment

from mcvae.errors import UserError

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
    try:
        # Ray takes a minute to start on a busy machine.
        wait_for(lambda: list(killed.folder.glob("results/runs/*/*/.checkpoint/state.safetensors")), 240)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        command, where = drive(killed, "runs"), {"cwd": killed.folder, "env": environment()}
        again = subprocess.run(command, capture_output=True, text=True, **where)
        assert again.returncode == 2 and "drives this folder already" in again.stderr, "Snakemake itself still runs"
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    owners = json.loads((killed.folder / "results/.owner").read_text())["pids"]
    wait_for(lambda: not any(running(pid) for pid in owners))
    done = subprocess.run(command, capture_output=True, text=True, **where)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    (run,) = killed.run_folders()
    assert json.loads((run / "provenance.json").read_text())["resumed"] >= 1
    assert killed.science() == undisturbed.science()
    assert not (killed.folder / "results/.owner").exists()


@pytest.mark.full
@pytest.mark.slow
def test_a_driver_killed_at_random_moments_doubles_nothing_in_mlflow(tmp_path):
    """With its Snakemake and its jobs; the follower of MLflow outlives it, and the next driver starts another."""
    pytest.importorskip("mlflow")
    from mcvae import tracking

    study = json.loads(json.dumps(SMALL))
    study["experiments"]["digits"]["training"] = {"epochs": 60, "batch_size": 64}
    undisturbed, killed = Workspace(tmp_path / "a", study), Workspace(tmp_path / "b", study)
    undisturbed.snakemake("runs")
    chance, command = random.Random(0), drive(killed, "runs", "--executor", "local")
    for _ in range(5):
        child = subprocess.Popen(
            command,
            cwd=killed.folder,
            env=environment(),
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(chance.uniform(2, 25))
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    done = subprocess.run(command, cwd=killed.folder, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert killed.science() == undisturbed.science()

    client = tracking.open_store(killed.folder / "results")
    shown = client.search_runs([client.get_experiment_by_name("digits-standin").experiment_id])
    assert sorted(run.data.tags["mcvae.run"] for run in shown) == [folder.name for folder in killed.run_folders()]
    for run in shown:
        (folder,) = killed.folder.glob(f"results/runs/*/{run.data.tags['mcvae.run']}")
        with open(folder / "history.csv") as file:
            losses = [(int(row["epoch"]), float(row["train.loss"])) for row in csv.DictReader(file)]
        curve = client.get_metric_history(run.info.run_id, "train.loss")
        assert sorted((point.step, point.value) for point in curve) == losses
        assert run.info.status == "FINISHED"


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """The module of the driver, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    spec = importlib.util.spec_from_file_location("drive", ROOT / "workflow/drive.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("look", [["-n"], ["-np"], ["all", "--dry-run"], ["--report=r.html"], ["-D"]])
def test_arguments_that_only_look_are_told_from_those_that_make_files(driver, look):
    assert not driver.makes_files(look)
    assert driver.makes_files([]) and driver.makes_files(["-pF", "results/new.csv", "--executor", "local", "-j", "2"])


RACE = """
import sys, time; sys.path.insert(0, sys.argv[1])
import drive
from pathlib import Path
print("ready", flush=True)
while not Path("go").exists():
    time.sleep(0.001)
try:
    print("drives" if drive.take() in (True, False) else "", flush=True)
except drive.UserError as error:
    print(error, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("left", [None, "dead"])
def test_of_drivers_that_start_at_once_one_drives(left, driver, tmp_path):
    if left:
        driver.OWNER.parent.mkdir()
        driver.write_owner(2**22 + 1)  # above every process id
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(ROOT / "workflow")],
            env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(4)
    ]  # fmt: skip
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    (tmp_path / "go").touch()
    said = [racer.stdout.readline() for racer in racers]
    (winner,) = (racer for racer, text in zip(racers, said, strict=True) if text == "drives\n")
    assert all(f"process {winner.pid} drives this folder already" in text for text in said if text != "drives\n")
    for racer in racers:
        racer.communicate()
    assert driver.take(), "it died without a word"


def test_a_process_that_has_a_dead_drivers_id_is_no_driver(driver):
    driver.OWNER.parent.mkdir()
    pid, start = os.getpid(), driver.started(os.getpid())
    for since, after_another in ((start - 60, True), (start, None)):
        owner = {"pids": [pid], "started": [since], "host": socket.gethostname()}
        driver.OWNER.write_text(json.dumps(owner))
        if after_another:
            assert driver.take()
        else:
            with pytest.raises(UserError, match=f"process {pid} drives this folder already"):
                driver.take()


def test_a_driver_of_another_host_is_believed_alive(driver):
    driver.OWNER.parent.mkdir()
    driver.OWNER.write_text(json.dumps({"pids": [1], "started": [None], "host": "elsewhere"}))
    with pytest.raises(UserError, match="process 1 on host elsewhere drives this folder; if it is gone, delete that"):
        driver.take()
    driver.OWNER.unlink()
    assert not driver.take() and driver.owning()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pids": [], "started": [1.0], "host": "x"}'])
def test_an_owner_that_says_nothing_is_one_sentence(text, driver):
    driver.OWNER.parent.mkdir()
    driver.OWNER.write_text(text)
    with pytest.raises(UserError, match="says not who drives this folder; if nobody does, delete that file"):
        driver.take()


@pytest.mark.parametrize("fault", ["killed", "taken over"])
def test_nothing_is_started_by_a_driver_that_is_killed_or_owns_no_more(fault, driver, tmp_path):
    """A Snakemake that nobody has written down would be unknown to the next driver."""
    driver.take()
    command = [sys.executable, "-c", "open('started', 'w')"]
    if fault == "taken over":
        driver.OWNER.unlink()
        with pytest.raises(UserError, match="is gone, or another driver's; this one stops"):
            driver.run(command)
    else:
        driver.OWNER.unlink()
        code = (
            "import sys, os, signal; sys.path.insert(0, sys.argv[1]); import drive; drive.take()\n"
            "drive.write_owner = lambda *pids: os.kill(os.getpid(), signal.SIGKILL)\n"
            "drive.run(sys.argv[2:])"
        )
        code = code.replace("drive.take()", "drive.take(); drive.owning = lambda: True")
        done = subprocess.run([sys.executable, "-c", code, str(ROOT / "workflow"), *command], env=environment())
        assert done.returncode == -signal.SIGKILL
        time.sleep(0.5)
    assert not (tmp_path / "started").exists()
    driver.OWNER.unlink(missing_ok=True)
    driver.take()
    assert driver.run(command) == 0 and (tmp_path / "started").exists()


def test_a_driver_leaves_the_owner_that_replaced_it(driver):
    with driver.owned(None):
        driver.OWNER.write_text(json.dumps({"pids": [1], "started": [None], "host": "elsewhere"}))
    assert json.loads(driver.OWNER.read_text())["host"] == "elsewhere"


def test_the_locks_of_a_snakemake_that_was_started_by_hand_are_respected(driver, tmp_path):
    driver.LOCKS.mkdir(parents=True)
    (driver.LOCKS / "0.output.lock").write_text("results/x")
    driver.OWNER.parent.mkdir()
    driver.write_owner(2**22 + 1)
    by_hand = subprocess.Popen([sys.executable, "-c", "input()", "snakemake", "all"], stdin=subprocess.PIPE)
    job = subprocess.Popen([sys.executable, "-c", "input()", "snakemake", "--mode", "x"], stdin=subprocess.PIPE)
    try:
        wait_for(lambda: by_hand.pid in driver.by_hand())
        with pytest.raises(UserError, match=f"snakemake, process {by_hand.pid}, works in this folder"):
            with driver.owned(None):
                pass
        assert driver.by_hand() == [by_hand.pid], "a job that a dead Snakemake left is none"
        assert (driver.LOCKS / "0.output.lock").exists() and not driver.OWNER.exists()
    finally:
        for process in (by_hand, job):
            process.kill()
            process.communicate()


@pytest.mark.slow
def test_sigterm_ends_a_driver_and_all_that_it_started_under_the_local_executor(tmp_path):
    workspace = Workspace(tmp_path / "a", LONG)
    command = drive(workspace, "runs", "--executor", "local")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    child = subprocess.Popen(command, cwd=workspace.folder, env=environment(), start_new_session=True, **quiet)
    try:
        wait_for(lambda: list(workspace.folder.glob("results/runs/*/*/.checkpoint/state.safetensors")), 240)
        started = psutil.Process(child.pid).children(recursive=True)
        child.send_signal(signal.SIGTERM)
        wait_for(lambda: child.poll() is not None, 240)
        wait_for(lambda: not any(running(each.pid) for each in started))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    assert child.returncode != 0 and not (workspace.folder / "results/.owner").exists()


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
