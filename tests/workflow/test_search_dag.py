"""A search is made rung by rung: one `make` to its end, or one call of Snakemake a rung."""

import copy
import csv
import json
import os
import subprocess
import sys

import pytest
from workspace import ROOT, Workspace, environment

from mcvae.config import load_study
from mcvae.files import read_json, write_json
from mcvae.grid import plan
from mcvae.search import decide

STUDY = {
    "study": "hunt",
    "experiments": {
        "find": {
            "dataset": "mnist",
            "search": {"dim": 2, "rungs": [1, 2], "keep": 0.5},
            "hidden": [[16]],
            "seeds": 1,
            "training": {"batch_size": 256},
            "evaluation": {"importance_samples": 2, "images": 20},
        }
    },
}
FIRST = {
    "fetch_raw": 1,
    "prepare_data": 1,
    "train_run": 3,
    "evaluate_run": 3,
    "plot_curves": 1,
    "write_table": 1,
    "rank_signatures": 1,
    "write_report": 1,
    "track_study": 1,
    "choose_rung": 1,
    "all": 1,
}


def planned(workspace):
    before = os.getcwd()
    os.chdir(workspace.folder)
    try:
        return plan(load_study(workspace.config))
    finally:
        os.chdir(before)


def counted(jobs):
    jobs.pop("total", None)
    return jobs


def make(workspace, *arguments):
    """What the Makefile calls, on Ray as the default profile says."""
    for name in ("Snakefile", "workflow", "profiles"):
        link = workspace.folder / name
        if not link.exists():
            link.symlink_to(ROOT / name)
    command = [sys.executable, str(ROOT / "workflow/drive.py"), "--config", str(workspace.config), "--"]
    profile = ["--workflow-profile", str(ROOT / "profiles/default"), "--cores", "2"]
    done = subprocess.run(
        [*command, *profile, *arguments],
        cwd=workspace.folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout + done.stderr


def test_a_dry_run_counts_the_first_rung_and_with_its_decision_the_second(tmp_path):
    workspace = Workspace(tmp_path, STUDY)
    first = counted(workspace.jobs())
    assert {rule: count for rule, count in first.items() if rule in FIRST} == FIRST
    assert not any(rule.startswith(("plot_latent", "plot_samples")) for rule in first)
    (experiment,) = planned(workspace).experiments.values()
    (rung,) = experiment.rungs
    results = tmp_path / "results"
    for number, member in enumerate(rung.members):
        write_json(results / member.place / "training.json", {"status": "finished", "validation.loss": float(number)})
    decision = decide(rung, results)
    assert decision["survivors"] == ["e2", "s2"]
    write_json(results / rung.place, decision)
    second = counted(workspace.jobs())
    assert second["train_run"] == 5 and second["evaluate_run"] == 5
    assert second["plot_latent"] == 2, "of the last rung alone"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    workspace = Workspace(tmp_path_factory.mktemp("hunt"), STUDY)
    return workspace, make(workspace)


@pytest.mark.slow
@pytest.mark.ray
def test_one_make_goes_through_all_rungs(made):
    workspace, output = made
    assert "a search goes on: 2 runs more" in output
    (experiment,) = planned(workspace).experiments.values()
    assert [len(rung.members) for rung in experiment.rungs] == [3, 2]
    assert len(workspace.run_folders()) == 5
    results = workspace.folder / "results"
    decision = read_json(results / experiment.rungs[0].place)
    losses = {each["latent"]: each["validation.loss"] for each in decision["candidates"]}
    assert decision["survivors"] == sorted(losses, key=losses.get)[:2]
    with open(results / "tables/find-standin.ranking.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["rank"] for row in rows] == ["1", "2", "3"] and [row["rung"] for row in rows] == ["2", "2", "1"]
    assert rows[0]["finding"] == "leader" and rows[1]["finding"] == "no difference established"
    assert rows[2]["latent"] not in decision["survivors"] and rows[2]["test.ll"] == ""
    assert "All 2 rungs are trained." in (results / "tables/find-standin.ranking.md").read_text()
    assert (results / "report.html").stat().st_size > 0


@pytest.mark.slow
@pytest.mark.ray
def test_a_second_make_of_a_search_does_nothing(made):
    workspace, _ = made
    before = workspace.science()
    assert "Nothing to be done" in make(workspace)
    assert workspace.jobs() == {} and workspace.science() == before


@pytest.mark.slow
@pytest.mark.ray
def test_a_seed_more_starts_again_at_the_first_rung(made):
    workspace, _ = made
    study = copy.deepcopy(STUDY)
    study["experiments"]["find"]["seeds"] = 2
    workspace.write(study)
    try:
        jobs = workspace.jobs()
        assert jobs["train_run"] == 3 and jobs["choose_rung"] == 1
        (experiment,) = planned(workspace).experiments.values()
        assert len(experiment.rungs) == 1
    finally:
        workspace.write(STUDY)
    assert workspace.jobs() == {}


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.ray
def test_snakemake_alone_makes_a_rung_a_call(tmp_path):
    study = copy.deepcopy(STUDY)
    study["experiments"]["find"]["search"] |= {"letters": ["e", "s"]}
    workspace = Workspace(tmp_path, study)
    workspace.snakemake(executor="ray")
    assert len(workspace.run_folders()) == 2
    ranking = (tmp_path / "results/tables/find-standin.ranking.md").read_text()
    assert "a search that goes on" in ranking and "rung 1 of 2 is trained" in ranking
    assert json.loads(next(tmp_path.glob("results/searches/find-standin/rung-1-*.json")).read_text())["rung"] == 1
    assert workspace.jobs()["train_run"] == 1
