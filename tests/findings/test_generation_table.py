"""The table of samples: both definitions of what is valid, unique and new; published models beside official data."""

import csv
import math

import pytest

from mcvae.config import validate_study
from mcvae.evaluation.chemistry import describe_samples
from mcvae.findings.tables import build
from mcvae.findings.typeset import to_csv, to_markdown
from mcvae.grid import plan

ONE = describe_samples(["C.C", "CC", "CC", "CCO", "C1CC", None, "CN", "CO"], ["CC"])
NONE = describe_samples([None, "C1CC"], ["CC"])


def section(metrics, source="download", dataset="qm9"):
    settings = {"dataset": dataset, "latents": ["e2"], "seeds": len(metrics)}
    made = plan(validate_study({"data": {"source": source}, "experiments": {"some": settings}}))
    (experiment,) = made.experiments.values()
    records = [
        {"run": run.id, "config": run.config.canonical(), "status": "finished", "cause": None, "metrics": values}
        for run, values in zip(experiment.runs, metrics, strict=True)
    ]
    whole = build(experiment, records, made.data[dataset])
    return whole, next(each for each in whole.sections if each.name == "generation")


def test_both_definitions_have_a_row_and_products_are_of_single_runs():
    whole, table = section([ONE, NONE])
    rows = {row["counted"]: row for row in csv.DictReader(to_csv(table).splitlines()) if row["source"] == "ours"}
    assert list(rows) == ["strictly", "as MolGAN"]
    strict, lenient = rows["strictly"], rows["as MolGAN"]
    # Of 8: CC, CC, CCO, CN, CO are valid, 4 of them different, 3 of these new; leniently C.C is valid, too.
    assert float(strict["validity"]) == pytest.approx((5 / 8 + 0) / 2)
    assert float(strict["uniqueness"]) == pytest.approx(4 / 5)  # of the run that has one
    assert float(strict["validity*uniqueness*novelty"]) == pytest.approx(3 / 8 / 2)
    assert float(strict["validity*uniqueness*novelty sd"]) == pytest.approx(3 / 8 / math.sqrt(2))
    assert float(lenient["validity"]) == pytest.approx((6 / 8 + 0) / 2)
    assert float(lenient["validity*uniqueness*novelty"]) == pytest.approx(6 / 8 * 5 / 6 * 4 / 6 / 2)
    assert "### Sampled molecules" in to_markdown(whole)


def test_published_models_stand_beside_runs_of_the_official_data_alone():
    _, table = section([ONE])
    cells = next(row for row in table.rows if row[0] == "MolGAN")
    assert cells[1:] == ("as published", "98.1", "", "", "10.2", "9.6") and "1805.11973" in table.notes[-1]
    _, table = section([ONE], source="embedded")
    assert len(table.rows) == 2 and "1805.11973" not in " ".join(table.notes)


def test_data_without_samples_of_molecules_have_no_rows():
    assert not section([{"test.ll": -80.0}], dataset="mnist")[1].rows
