"""Which records are trained on, and which weights are kept."""

import csv

import pytest
import torch

from mcvae.data import load
from mcvae.errors import UserError
from mcvae.files import read_json
from mcvae.training import fit, load_run


def history(folder):
    with open(folder / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


def weights(folder, prepared):
    model, _ = load_run(folder, load(prepared).stats, "cpu")
    return model.state_dict()


def test_the_last_epoch_is_kept_if_it_is_to_be(run_config, prepared, tmp_path):
    """With a rate that makes the validation loss rise in the end, the best and the last epoch differ."""
    for name in ("validation", "last"):
        fit(run_config(epochs=12, learning_rate=0.5, selection=name), prepared, tmp_path / name)
    best, last = (read_json(tmp_path / name / "training.json") for name in ("validation", "last"))
    assert best["best_epoch"] < 12 and last["best_epoch"] == 12
    assert (tmp_path / "last/history.csv").read_bytes() == (tmp_path / "validation/history.csv").read_bytes()
    assert last["validation.loss"] == pytest.approx(float(history(tmp_path / "last")[-1]["validation.loss"]))
    kept = [weights(tmp_path / name, prepared) for name in ("validation", "last")]
    assert any(not torch.equal(kept[0][key], kept[1][key]) for key in kept[0])


def test_records_move_the_border_between_training_and_validation(run_config, prepared, tmp_path, caplog):
    """As many records as were prepared change nothing; others are other data, of which the first are trained on."""
    sizes = {None: 50, 50: 50, 60: 60, 40: 40}
    seen = {}
    caplog.set_level("INFO", "mcvae.training")
    for records in sizes:
        folder = tmp_path / str(records)
        caplog.clear()
        fit(run_config(records=records), prepared, folder)
        seen[records] = [row["validation.loss"] for row in history(folder)]
        assert f"{sizes[records]} records" in caplog.messages[0]
    assert seen[None] == seen[50] != seen[60] != seen[40]


def test_a_run_on_all_records_has_no_validation_numbers_and_keeps_the_last_epoch(run_config, prepared, tmp_path):
    assert fit(run_config(records=70, selection="last"), prepared, tmp_path) == "finished"
    rows, training = history(tmp_path), read_json(tmp_path / "training.json")
    assert {row[key] for row in rows for key in row if key.startswith("validation.")} == {""}
    assert training["best_epoch"] == len(rows) == 4 and training["validation.elbo"] is None


@pytest.mark.parametrize(
    ("options", "words"),
    [({"records": 71, "selection": "last"}, "71 is more than the 70"), ({"records": 70}, "selection: last")],
)
def test_records_that_are_not_there_or_leave_none_to_select_by_are_one_sentence(
    run_config, prepared, tmp_path, options, words
):
    with pytest.raises(UserError, match=words):
        fit(run_config(**options), prepared, tmp_path / "run")
    assert not (tmp_path / "run/history.csv").exists()


def test_an_evaluation_of_a_run_on_all_records_is_complete(run_config, prepared, tmp_path):
    from mcvae.evaluation import evaluate
    from mcvae.options import Evaluation

    fit(run_config(records=70, selection="last"), prepared, tmp_path)
    metrics = evaluate(tmp_path, prepared, Evaluation(importance_samples=3, knn_labels=10))
    assert metrics["validation.elbo"] is None and metrics["test.n"] == 10 and metrics["test.ll"] < 0
