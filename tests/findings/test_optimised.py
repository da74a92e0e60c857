"""The table of wanted molecules: means of shares, sums of counts, and chance beside the descent."""

import csv

import pytest

from mcvae.config import validate_study
from mcvae.evaluation.judged_molecules import JUDGED
from mcvae.evaluation.latent_optimisation import OPTIMISED_KEYS
from mcvae.findings.optimisation import COUNTS, ERRORS, SPLITS, WALKS
from mcvae.findings.tables import build
from mcvae.findings.typeset import to_csv, to_markdown
from mcvae.grid import plan


def numbers(valid, known, nearer, error):
    """A run in which of 200 starts so many are valid, in the data, and nearer; chance does half of it."""
    found = {"optimised.n": 200, "optimised.target": 4.3, "optimised.error_start": 2.6, "optimised.length": 1.5}
    for part, share in (("", 2), ("random.", 1)):
        counts = {"valid": valid * share, "distinct": valid * share, "new": valid * share // 2, "same": 3}
        counts |= {"known": known * share, "nearer": nearer * share}
        counts |= {f"known_{split}": share * known // 2 if split != "test" else 0 for split in SPLITS}
        counts |= {f"nearer_{split}": share * nearer if split == "train" else 0 for split in SPLITS}
        found |= {f"optimised.{part}{name}": value for name, value in counts.items()}
        errors = {name: error / share for name in ("latent", "decoded", "true", "prediction")}
        found |= {f"optimised.{part}error_{name}": value for name, value in errors.items()}
    return found


def section(metrics, dataset="qm9", seeds=2):
    settings = {"dataset": dataset, "latents": ["e2", "h2"], "seeds": seeds}
    made = plan(validate_study({"data": {"source": "embedded"}, "experiments": {"some": settings}}))
    (experiment,) = made.experiments.values()
    records = [
        {"run": run.id, "config": run.config.canonical(), "status": values.get("status", "finished"), "cause": None}
        | {"metrics": values}
        for run, values in zip(experiment.runs, metrics, strict=True)
    ]
    whole = build(experiment, records, made.data[dataset])
    return whole, next(each for each in whole.sections if each.name == "optimised")


FOUR = [numbers(80, 20, 10, 0.4), numbers(60, 10, 2, 0.8), numbers(50, 8, 4, 1.0), numbers(50, 8, 4, 1.0)]


def test_every_number_of_an_evaluation_has_a_column():
    names = {*COUNTS, *ERRORS, "length"}
    assert {key.removeprefix("optimised.").removeprefix("random.") for key in OPTIMISED_KEYS} == names
    assert set(JUDGED) < names


def test_a_row_a_walk_has_means_of_shares_and_sums_of_counts():
    whole, table = section(FOUR)
    rows = list(csv.DictReader(to_csv(table).splitlines()))
    assert [(row["latent"], row["walk"]) for row in rows] == [(x, w) for x in ("e2", "h2") for w in WALKS.values()]
    descent, chance = rows[:2]
    assert (descent["known"], descent["nearer"], descent["n"]) == ("60", "24", "400")
    assert float(descent["validity"]) == pytest.approx((160 / 200 + 120 / 200) / 2)
    assert float(descent["validity sd"]) == pytest.approx(0.2 / 2**0.5)
    assert float(descent["nearer_share"]) == pytest.approx((10 / 20 + 2 / 10) / 2)
    assert float(descent["error_decoded"]) == pytest.approx(0.3) and float(chance["error_decoded"]) == pytest.approx(
        0.6
    )
    assert float(chance["error_start"]) == float(descent["error_start"]) == 2.6
    cells = dict(zip(table.heading, table.rows[0], strict=True))
    assert cells["train"] == "24 of 30" and cells["test"] == "0 of 0" and cells["in the data"] == "60"
    assert "### Towards a wanted gap" in to_markdown(whole)


def test_runs_without_these_numbers_have_no_rows():
    diverged = {"status": "diverged"} | dict.fromkeys(OPTIMISED_KEYS)
    earlier = {"optimised.valid": 100, "optimised.known": 20, "optimised.n": 200}
    _, table = section([diverged, FOUR[0], earlier, earlier])
    assert [row[0] for row in table.rows] == ["e2", "e2"] and table.frame["n"].tolist() == [200, 200]
    assert not section([{"test.ll": -80.0}] * 4, dataset="mnist")[1].rows
