"""Jobs of runs that several processes train: what they are given, and the same bits from every executor."""

import copy
import re

import pytest
from workspace import ROOT, SMALL, Workspace

STUDY = copy.deepcopy(SMALL)
STUDY["experiments"]["digits"] |= {
    "latents": ["h2"],
    "training": {"epochs": 3, "batch_size": 128, "devices": 2},
}
STUDY["experiments"]["alone"] = SMALL["experiments"]["digits"] | {"latents": ["e2"]}


def given(output):
    """Threads and resources of the training jobs of a dry run, by the latent of their run."""
    found = {}
    for job in output.split("\n\n"):
        if "rule train_run:" in job:
            run = re.search(r"run=(\S+?)-s0-", job).group(1)
            threads = re.search(r"threads: (\d+)", job)
            resources = dict(re.findall(r"(\w+)=(\d+)", re.search(r"resources: (.*)", job).group(1)))
            found[run] = (int(threads.group(1)) if threads else 1, resources)
    return found


def test_a_job_has_a_thread_its_memory_and_a_gpu_for_every_process(tmp_path):
    workspace = Workspace(tmp_path, STUDY)
    plain = given(workspace.snakemake("-n", "--printshellcmds", "runs"))
    assert {run: (threads, more["mem_mb"]) for run, (threads, more) in plain.items()} == {
        "h2": (2, "4000"),
        "e2": (1, "2000"),
    }
    shares = given(workspace.snakemake("-n", "--printshellcmds", "--profile", str(ROOT / "profiles/gpu"), "runs"))
    assert {run: (threads, more["gpu_milli"]) for run, (threads, more) in shares.items()} == {
        "h2": (2, "2000"),
        "e2": (1, "250"),
    }


@pytest.mark.slow
@pytest.mark.ray
def test_a_warm_worker_and_a_process_of_its_own_train_them_to_the_same_bits(tmp_path):
    study = copy.deepcopy(STUDY)
    del study["experiments"]["alone"]
    local, warm = Workspace(tmp_path / "local", study), Workspace(tmp_path / "warm", study)
    local.snakemake("runs")
    warm.snakemake("runs", executor="ray")
    assert local.science() == warm.science() and len(local.science()) > 0
    (folder,) = warm.run_folders()
    log = (folder / "train.log").read_text()
    assert "1 thread(s) on each of 2 x cpu; from the start" in log and log.count("epoch 3/3") == 1
