"""A study on a cluster of two nodes through trouble: equal bits, and nothing doubled in MLflow."""

import csv
import os
import random
import signal
import subprocess
import sys
import time

import psutil
import pytest
from rays import RayCluster, gone, wait_for
from workspace import ROOT, Workspace, environment

pytest.importorskip("ray")
pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.full]

STUDY = {
    "study": "trouble",
    "experiments": {
        "digits": {
            "dataset": "mnist",
            "latents": ["e2", "h2", "s2:vmf"],
            "hidden": [[128, 64]],
            "seeds": 2,
            "training": {"epochs": 120, "batch_size": 64},
            "evaluation": {"importance_samples": 2, "images": 20},
        }
    },
}
KILLS = 20


def training(process):
    """Whether a process is in the midst of a run."""
    try:
        return any("results/runs" in file.path for file in process.open_files())
    except psutil.Error:  # it ends just now
        return False


def kill_a_node(cluster, driver, folder):
    """The node without the head, while it trains."""
    raylet = psutil.Process(cluster.started[1]["raylet"])
    wait_for(lambda: any(map(training, raylet.children())), process=driver, folder=folder)
    workers = raylet.children(recursive=True)
    os.kill(raylet.pid, signal.SIGKILL)
    assert gone(workers)


def kill_workers(cluster, driver, folder):
    """Twenty times a worker of either node, at random moments from the first run's begin."""
    chance, killed = random.Random(KILLS), 0
    raylets = [psutil.Process(node["raylet"]) for node in cluster.started]
    while killed < KILLS:
        wait_for(lambda: list(folder.glob("results/runs/*/*/history.csv")), process=driver, folder=folder)
        time.sleep(chance.uniform(0.1, 2.5))
        workers = [child for raylet in raylets for child in raylet.children() if child.name().startswith("ray::Worker")]
        if workers:
            chance.choice(workers).kill()
            killed += 1


@pytest.mark.parametrize("trouble", [kill_a_node, kill_workers])
def test_trouble_on_a_cluster_changes_no_bit_of_a_study_and_doubles_nothing_in_mlflow(tmp_path, trouble):
    pytest.importorskip("mlflow")
    from mcvae import tracking

    undisturbed, disturbed = Workspace(tmp_path / "a", STUDY), Workspace(tmp_path / "b", STUDY)
    undisturbed.snakemake("runs")
    for name in ("Snakefile", "workflow", "profiles"):
        (disturbed.folder / name).symlink_to(ROOT / name)
    cluster = RayCluster(2, 2)  # data are prepared by two threads
    try:
        with open(disturbed.folder / "out", "w") as out:
            driver = subprocess.Popen(
                [sys.executable, str(ROOT / "workflow/drive.py"), "--config", str(disturbed.config), "--", "runs",
                 "--ray-address", cluster.address, "--retries", str(KILLS)],
                cwd=disturbed.folder, env=environment() | joining(cluster), stdout=out, stderr=out,
                start_new_session=True,
            )  # fmt: skip
        try:
            trouble(cluster, driver, disturbed.folder)
            code = driver.wait(900)
        finally:
            driver.kill()
            driver.wait()
        assert code == 0, (disturbed.folder / "out").read_text()[-5000:]
    finally:
        cluster.stop()
    assert "Trying to restart job" in (disturbed.folder / "out").read_text()
    assert disturbed.science() == undisturbed.science() and len(undisturbed.run_folders()) == 6

    client = tracking.open_store(disturbed.folder / "results")
    shown = client.search_runs([client.get_experiment_by_name("digits-standin").experiment_id])
    assert sorted(run.data.tags["mcvae.run"] for run in shown) == [folder.name for folder in disturbed.run_folders()]
    for run in shown:
        assert run.info.status == "FINISHED"
        (folder,) = disturbed.folder.glob(f"results/runs/*/{run.data.tags['mcvae.run']}")
        with open(folder / "history.csv") as file:
            losses = [(int(row["epoch"]), float(row["train.loss"])) for row in csv.DictReader(file)]
        curve = client.get_metric_history(run.info.run_id, "train.loss")
        assert sorted((point.step, point.value) for point in curve) == losses


def joining(cluster):
    """What a process needs to join the cluster."""
    return {name: cluster.environment[name] for name in cluster.environment if name.startswith("RAY_")}
