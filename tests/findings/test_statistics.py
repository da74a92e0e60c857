"""Rows over seeds: what belongs together, what counts, and that nothing is invented."""

import json
import math

import numpy as np
import pytest

from mcvae.config import validate_study
from mcvae.errors import UserError
from mcvae.findings import statistics
from mcvae.grid import plan

STUDY = {
    "experiments": {
        "grid": {
            "dataset": "mnist",
            "latents": ["s2", "e2", "h2"],
            "hidden": [[64], [256, 128]],
            "kinds": ["vae", "autoencoder"],
            "seeds": 3,
        }
    }
}


@pytest.fixture
def experiment():
    return plan(validate_study(STUDY)).experiments["grid-standin"]


def record(run, status="finished", **metrics):
    return {"run": run.id, "config": run.config.canonical(), "status": status, "cause": None, "metrics": metrics}


def test_runs_that_differ_by_their_seed_alone_are_one_row_in_grid_order(experiment):
    records = [record(run, x=float(i)) for i, run in enumerate(experiment.runs)]
    table = statistics.summarise(records)
    expected = dict.fromkeys(
        (run.config.latent, run.config.model.kind, "x".join(map(str, run.config.model.hidden)))
        for run in experiment.runs
    )
    assert list(table[["latent", "kind", "hidden"]].itertuples(index=False, name=None)) == list(expected)
    assert (table["seeds"] == 3).all()


def test_order_within_a_row_does_not_matter(experiment):
    random = np.random.default_rng(0)
    runs = experiment.runs[:3]
    numbers = [0.1, 0.2, 0.7]
    tables = []
    for order in (range(3), random.permutation(3)):
        tables.append(statistics.summarise([record(runs[0], x=numbers[i]) for i in order]))
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize("count", [2, 3, 10])
@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_mean_and_deviation_agree_with_numpy_and_do_not_drift_with_an_offset(count, offset):
    numbers = np.random.default_rng(count).normal(size=count)
    shifted = list(numbers + offset)
    assert statistics.mean(shifted) == pytest.approx(np.mean(shifted))
    assert statistics.deviation(shifted) == pytest.approx(np.std(numbers, ddof=1), rel=1e-6)


def test_one_seed_has_no_deviation_and_none_has_no_mean(experiment):
    table = statistics.summarise([record(experiment.runs[0], x=1.5)], ["x", "y"])
    assert table["x"].tolist() == [1.5] and math.isnan(table["x sd"][0])
    assert table[["y", "y sd"]].isna().all(axis=None)
    assert statistics.mean([]) is None and statistics.deviation([]) is None and statistics.deviation([1.0]) is None


def test_numbers_of_diverged_and_missing_runs_are_never_used(experiment):
    first, second, third = experiment.runs[:3]
    records = [record(first, x=1.0), record(second, "diverged", x=1e9), record(third, "missing")]
    table = statistics.summarise(records, ["x"])
    assert table[["seeds", "diverged", "missing", "x"]].values.tolist() == [[1, 1, 1, 1.0]]
    assert math.isnan(table["x sd"][0])


def test_null_is_left_out_and_never_zero(experiment):
    runs = experiment.runs[:2]
    table = statistics.summarise([record(runs[0], x=None, y=2.0), record(runs[1], x=None, y=None)])
    assert list(table.columns[-2:]) == ["y", "y sd"]
    assert statistics.summarise([record(run, x=None) for run in runs], ["x"])["x"].isna().all()


def test_rows_that_look_alike_show_what_tells_them_apart(experiment):
    study = json.loads(json.dumps(STUDY))
    study["experiments"]["grid"]["training"] = {"epochs": 7}
    other = plan(validate_study(study)).experiments["grid-standin"].runs[0]
    table = statistics.summarise([record(experiment.runs[0], x=1.0), record(other, x=2.0)])
    assert table["training.epochs"].tolist() == ["30", "7"]
    assert "training.epochs" not in statistics.summarise([record(other, x=2.0)]).columns


def test_a_folder_reads_as_it_was_written(tmp_path, experiment):
    run = experiment.runs[0]
    folder = tmp_path / "runs" / "mnist" / run.id
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(run.canonical)
    assert statistics.load_run_record(folder)["status"] == "missing"
    (folder / "metrics.json").write_text('{"status": "diverged", "cause": "loss is not finite"}')
    found = statistics.load_run_record(folder)
    assert (found["run"], found["status"], found["cause"]) == (run.id, "diverged", "loss is not finite")
    assert found["config"] == run.config.canonical()
    assert statistics.experiment_records(experiment, tmp_path)[0] == found
    (folder / "metrics.json").write_text('{"status": "fine"}')
    with pytest.raises(UserError, match="status 'fine'"):
        statistics.load_run_record(folder)


@pytest.mark.parametrize("key", ["test.importance_samples", "test.ll_n", "test.knn_labels", "test.aggregate_n"])
def test_seeds_that_were_scored_differently_have_no_mean(experiment, key):
    first, second, third = experiment.runs[:3]
    rows = [record(first, **{key: 500}), record(second, **{key: 100})]
    with pytest.raises(UserError, match=rf"{first.id} and {second.id} were scored differently \({key}: 500 and 100\)"):
        statistics.group(rows)
    rows[1]["status"] = "diverged"
    assert len(statistics.group([*rows, record(third, **{key: 500.0}), record(experiment.runs[-1], **{key: 7})])) == 2
