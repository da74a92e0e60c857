"""What is made, and what is left alone: the job graph of studies."""

import copy
import shutil
import subprocess
import sys

import pytest
from workspace import ROOT, SMALL, Workspace, environment

from mcvae.files import sha256_file


@pytest.fixture
def workspace(finished, tmp_path) -> Workspace:
    shutil.copytree(finished.folder, tmp_path / "copy")
    return Workspace(tmp_path / "copy", SMALL)


def seeds(number):
    study = copy.deepcopy(SMALL)
    study["experiments"]["digits"]["seeds"] = number
    return study


def test_a_dry_run_counts_the_jobs_of_the_small_study(tmp_path):
    assert Workspace(tmp_path, SMALL).jobs() == {
        "fetch_raw": 1,
        "prepare_data": 1,
        "train_run": 2,
        "evaluate_run": 2,
        "plot_curves": 1,
        "plot_differences": 1,
        "plot_latent": 2,
        "plot_atlas": 2,
        "plot_density": 2,
        "write_globe": 1,
        "plot_reconstructions": 2,
        "plot_samples": 2,
        "plot_decoder_grid": 2,
        "plot_interpolations": 2,
        "plot_traversals": 2,
        "write_table": 1,
        "write_report": 1,
        "track_study": 1,
        "all": 1,
        "total": 29,
    }


def test_the_small_study_ends_in_a_report(finished):
    results = finished.folder / "results"
    assert len(finished.run_folders()) == 2
    for run in finished.run_folders():
        names = {path.name for path in run.iterdir()}
        assert names >= {
            "run.json",
            "model.safetensors",
            "history.csv",
            "metrics.json",
            "latents.npz",
            "provenance.json",
        }
        assert ".checkpoint" not in names
    for path in (
        "tables/digits-standin.csv",
        "tables/digits-standin.md",
        "tables/digits-standin.tex",
        "figures/digits-standin/curves.svg",
        "mlflow.db",
    ):
        assert (results / path).stat().st_size > 0
    page = (results / "reports/small-standin.html").read_text()
    assert "stand-in" in page and (results / "report.html").read_text() == page.replace('href="../', 'href="')


def test_a_second_run_does_nothing(finished):
    assert "Nothing to be done" in finished.snakemake(executor="ray")


def test_the_local_executor_makes_the_same_bits(finished, tmp_path):
    local = Workspace(tmp_path, SMALL)
    local.snakemake("runs", executor="local")
    assert local.science() == finished.science()


def test_the_local_executor_keeps_to_its_cores(tmp_path):
    """However many jobs the profile hands to Ray."""
    local = Workspace(tmp_path, seeds(2))
    local.snakemake("runs", "--cores", "1", executor="local")
    (log,) = tmp_path.glob(".snakemake/log/*.log")
    at_once, most = 0, 0
    for line in log.read_text().splitlines():
        at_once += line.startswith(("rule ", "localrule ")) - line.startswith("Finished jobid")
        most = max(most, at_once)
    assert most == 1 and len(local.run_folders()) == 4


def test_a_seed_more_makes_exactly_its_jobs(workspace):
    workspace.write(seeds(2))
    assert workspace.jobs() == {
        "train_run": 2,
        "evaluate_run": 2,
        "plot_curves": 1,
        "plot_differences": 1,
        "write_table": 1,
        "write_report": 1,
        "track_study": 1,
        "all": 1,
        "total": 10,
    }


def test_a_latent_less_trains_and_evaluates_nothing(workspace):
    study = copy.deepcopy(SMALL)
    study["experiments"]["digits"]["latents"] = ["h2"]
    workspace.write(study)
    assert workspace.jobs() == {
        "plot_curves": 1,
        "write_table": 1,
        "write_report": 1,
        "track_study": 1,
        "all": 1,
        "total": 5,
    }


def test_switching_the_source_and_back_redoes_nothing(workspace):
    (raw,) = workspace.folder.glob("resources/raw/mnist-*")
    mirror = workspace.folder / "mirror"
    (mirror / "mnist").mkdir(parents=True)
    lines = []
    for path in sorted(raw.glob("*.gz")):
        shutil.copy(path, mirror / "mnist" / path.name)
        lines.append(f"{sha256_file(path)}  mnist/{path.name}\n")
    (mirror / "SHA256SUMS").write_text("".join(lines))
    before = workspace.science()
    switch = (f'--config=data={{"source": "{mirror}"}}',)
    assert workspace.jobs(*switch)["train_run"] == 2
    workspace.snakemake("runs", *switch)
    assert workspace.jobs("runs", *switch) == {}
    assert workspace.jobs() == {}
    after = workspace.science()
    assert before.items() <= after.items() and len(after) == 2 * len(before)


@pytest.mark.parametrize("arguments", [["--lint"], ["--rulegraph"], ["--list-target-rules"], ["--summary"]])
def test_snakemakes_own_questions_are_answered(finished, arguments):
    output = finished.snakemake(*arguments)
    assert "Traceback" not in output


def test_the_root_door_runs_the_default_study_from_a_clone():
    command = [sys.executable, "-m", "snakemake", "-n", "--executor", "local", "--cores", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment(), timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "train_run" in done.stdout or "Nothing to be done" in done.stdout + done.stderr


@pytest.mark.parametrize(
    "change, words",
    [
        ({"latents": ["q2"]}, "experiments.digits.latents[0]: latent 'q2': unknown geometry"),
        ({"training": {"batch_size": 10**6}}, "experiments.digits.training.batch_size: 1000000 is more than"),
    ],
)
def test_bad_input_is_one_sentence_before_anything_starts(tmp_path, change, words):
    study = copy.deepcopy(SMALL)
    study["experiments"]["digits"].update(change)
    workspace = Workspace(tmp_path, study)
    output = workspace.snakemake(check=False)
    assert words in output and "study.yaml" in output and "Traceback" not in output
    assert not (tmp_path / "results").exists()
