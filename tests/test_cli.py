"""The command line answers mistakes with one sentence and exit code 2, and lists what a study would do."""

import json

import pytest

from mcvae.cli import main
from mcvae.config import schema


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_mistake_is_one_line_on_standard_error(tmp_path, capsys):
    (tmp_path / "bad.yaml").write_text("experiments: {a: {dataset: mnist, latents: [q2]}}")
    assert main(["plan", "--config", "bad.yaml"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("mcvae: bad.yaml: experiments.a.latents[0]: ")


@pytest.mark.parametrize(
    "arguments", [["train", "nowhere"], ["evaluate", "nowhere"], ["fetch", "--config", "none.yaml"]]
)
def test_what_is_not_there_is_named(arguments, capsys):
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and arguments[-1] in err


def test_a_plan_lists_every_run_and_its_state(tmp_path, capsys):
    (tmp_path / "study.yaml").write_text("experiments: {a: {dataset: mnist, latents: [e2, h2], seeds: 2}}")
    assert main(["plan", "--config", "study.yaml"]) == 0
    out = capsys.readouterr().out
    assert out.count("to do") == 4 and "stand-in" in out and "4 different runs" in out


def test_the_schema_is_printed_as_json(capsys):
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == schema()


def test_a_study_is_fetched_prepared_trained_and_evaluated_by_hand(tmp_path, capsys):
    text = "{dataset: mnist, latents: [h2], hidden: [[16]], training: {epochs: 1}}"
    (tmp_path / "study.yaml").write_text(f"experiments: {{a: {text}}}")
    assert main(["prepare", "--config", "study.yaml"]) == 0
    from mcvae.config import load_study
    from mcvae.files import write_text
    from mcvae.grid import plan

    (run,) = plan(load_study("study.yaml")).runs.values()
    write_text(run.folder / "run.json", run.canonical)
    assert main(["train", str(run.folder)]) == 0
    assert main(["evaluate", str(run.folder), "--options", '{"importance_samples": 2, "images": 10}']) == 0
    assert json.loads((run.folder / "metrics.json").read_text())["status"] == "finished"
    assert main(["table", "--config", "study.yaml"]) == 0
    assert main(["report", "--config", "study.yaml"]) == 0
    assert "stand-in" in (tmp_path / "results/reports/default-standin.html").read_text()
