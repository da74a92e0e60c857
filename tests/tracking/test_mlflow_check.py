"""``mcvae track --check`` finds whatever MLflow shows otherwise than the files, and nothing else."""

import json
import shutil

import pytest
import yaml

from mcvae.cli import main
from mcvae.errors import UserError

pytest.importorskip("mlflow")

from mcvae import tracking


def differences(made):
    return tracking.check_study(made.plan, made.results).differences


@pytest.fixture
def figures(made):
    """A table and two figures, one of a run."""
    folder = made.results / "figures" / made.experiment
    folder.mkdir(parents=True)
    (folder / f"{made.folder('e2').name}.latent.svg").write_text("one of a run")
    (folder / "curves.svg").write_text("one of all")
    (made.results / "tables").mkdir()
    (made.results / "tables" / f"{made.experiment}.csv").write_text("latent\ne2\n")
    return folder


def test_after_a_sync_mlflow_equals_the_files(figures, made, shown):
    checked = tracking.check_study(made.plan, made.results)
    assert checked.differences == [] and str(checked).startswith("MLflow equals the files: 3 runs")
    assert (checked.runs, checked.models) == (3, 3)
    points = [tracking.record.read(made.folder(*each)) for each in (("h2,e1",), ("e2",), ("e2", "autoencoder"))]
    rows = sum(len(values) + 1 for files in points for _, values in files.rows)
    assert checked.points == rows + sum(len(files.final()) for files in points)
    assert checked.files == 3 * len(tracking.record.ARTIFACTS) + 3


METRIC = "UPDATE metrics SET value = value + 1e-9 WHERE key = 'test.elbo' AND run_uuid = ?"
CHANGES = {
    "metric test.elbo": METRIC,
    "metric train.loss: 1 points where the files have 2": (
        "DELETE FROM metrics WHERE key = 'train.loss' AND step = 2 AND run_uuid = ?"
    ),
    "parameter training.epochs: '3' where the files say '2'": (
        "UPDATE params SET value = '3' WHERE key = 'training.epochs' AND run_uuid = ?"
    ),
    "parameter latent: None": "DELETE FROM params WHERE key = 'latent' AND run_uuid = ?",
    "tag mcvae.data: 'other'": "UPDATE tags SET value = 'other' WHERE key = 'mcvae.data' AND run_uuid = ?",
    "status FAILED where the files say FINISHED": "UPDATE runs SET status = 'FAILED' WHERE run_uuid = ?",
    "0 MLflow runs": "UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = ?",
    "0 models": "UPDATE logged_models SET lifecycle_stage = 'deleted' WHERE source_run_id = ?",
    "is not an output of its run": "DELETE FROM inputs WHERE source_id = ?",
}


def test_what_was_changed_in_the_store_is_named(made, shown):
    folder = made.folder("e2")
    run = shown.run(folder).info.run_id
    for sentence, statement in CHANGES.items():
        with made.changed(statement, run):
            [found] = differences(made)
            assert found.startswith(f"{made.experiment}: {folder.name}: ") and sentence in found
        assert differences(made) == []


def test_a_metric_that_no_file_has_is_named(made, shown):
    shown.client.log_metric(shown.run(made.folder("e2")).info.run_id, "test.invented", 1.0)
    [found] = differences(made)
    assert "metric test.invented: 1 points where the files have 0" in found


def test_a_doubled_run_and_one_without_files_are_named(made, shown):
    experiment = shown.client.get_experiment_by_name(made.experiment).experiment_id
    for identity in (made.folder("e2").name, "e3-s0-01234567"):
        shown.client.create_run(experiment, tags={"mcvae.run": identity})
    doubled, strange = differences(made)
    assert differences(made) == [doubled, strange]  # a check mends nothing
    assert f"{made.folder('e2').name}: 2 MLflow runs where there is one run" in doubled
    assert "e3-s0-01234567: is shown and has no files" in strange


def test_files_that_changed_since_are_named(figures, made, shown):
    folder = made.folder("e2")
    metrics = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps(metrics | {"test.elbo": -1.0}))
    (figures / f"{folder.name}.latent.svg").write_text("another")
    (figures / "curves.svg").unlink()
    (made.results / "tables" / f"{made.experiment}.md").write_text("| e2 |")
    text = "\n".join(found := differences(made))
    assert len(found) == 5, text
    for sentence in (
        "metric test.elbo: ",
        "artifact metrics.json: is another than ",
        f"artifact figures/{folder.name}.latent.svg: is another than ",
        "artifact figures/curves.svg: has no file",
        f"artifact tables/{made.experiment}.md: is not in MLflow",
    ):
        assert sentence in text
    tracking.sync_study(made.plan, made.results)
    assert differences(made) == []


def test_other_weights_in_mlflow_are_named(made, shown):
    [model] = shown.models(made.folder("e2"))
    [other] = shown.models(made.folder("h2,e1"))
    weights = "{}/artifacts/run/model.safetensors".format
    shutil.copy(weights(other.artifact_location), weights(model.artifact_location))
    [found] = differences(made)
    assert f"model {model.model_id}: model.safetensors is another than" in found


def test_an_unfinished_run_is_not_looked_at(made, shown):
    (made.folder("e2") / "metrics.json").unlink()
    checked = tracking.check_study(made.plan, made.results)
    assert checked.runs == 2 and checked.differences == []


def test_the_exit_code_says_whether_all_is_equal(made, shown, monkeypatch, capsys):
    monkeypatch.chdir(made.root)
    (made.root / "study.yaml").write_text(yaml.safe_dump(made.plan.study.model_dump(mode="json", exclude_unset=True)))
    assert main(["track", "--check", "--config", "study.yaml"]) == 0
    assert capsys.readouterr().out.count("\n") == 1
    with made.changed(METRIC, shown.run(made.folder("e2")).info.run_id):
        assert main(["track", "--check", "--config", "study.yaml"]) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert "metric test.elbo" in first and last.startswith("MLflow differs in 1 place")


def test_without_a_store_there_is_nothing_to_check(made):
    (made.results / "mlflow.db").unlink()
    with pytest.raises(UserError, match="nothing in MLflow yet"):
        tracking.check_study(made.plan, made.results)
    assert not (made.results / "mlflow.db").exists()
