"""The table of properties: every predictor's errors, multiples of chemical accuracy, published errors in our units."""

import csv

import pytest

from mcvae.config import validate_study
from mcvae.data.qm9 import TARGETS
from mcvae.findings.published import CITATIONS
from mcvae.findings.tables import build
from mcvae.findings.targets import ACCURATE, PEERS, PREDICTORS, published_cell, published_error
from mcvae.findings.typeset import to_csv, to_markdown, to_tex
from mcvae.grid import plan


def errors(scale):
    """Metrics in which predictor i errs by (i + 1) * scale standard deviations in every target."""
    found = {"test.probe_labels": 10_000}
    for index, end in enumerate(PREDICTORS):
        for target in TARGETS:
            found[f"test.mae{end}.{target.name}"] = 0.1 * (index + 1) * scale
            found[f"test.standardised_mae{end}.{target.name}"] = (index + 1) * scale
            found[f"test.r2{end}.{target.name}"] = 1 - scale
    return found


def table_of(metrics, source="download", dataset="qm9"):
    settings = {"dataset": dataset, "latents": ["e2", "h2"], "seeds": len(metrics) // 2}
    made = plan(validate_study({"data": {"source": source}, "experiments": {"some": settings}}))
    (experiment,) = made.experiments.values()
    records = [
        {"run": run.id, "config": run.config.canonical(), "status": "finished", "cause": None, "metrics": values}
        for run, values in zip(experiment.runs, metrics, strict=True)
    ]
    return build(experiment, records, made.data[dataset])


def section(table):
    return next(each for each in table.sections if each.name == "targets")


def test_every_target_has_a_row_with_mean_and_deviation_of_every_predictor():
    table = section(table_of([errors(0.1), errors(0.2), errors(0.3), errors(0.5)]))
    rows = list(csv.DictReader(to_csv(table).splitlines()))
    assert [(row["latent"], row["target"]) for row in rows] == [(x, t.name) for x in ("e2", "h2") for t in TARGETS]
    for row in rows:
        pair = (0.1, 0.2) if row["latent"] == "e2" else (0.3, 0.5)
        for index, end in enumerate(PREDICTORS):
            assert float(row[f"mae{end}"]) == pytest.approx(0.1 * (index + 1) * sum(pair) / 2)
            assert float(row[f"mae{end} sd"]) == pytest.approx(0.1 * (index + 1) * (pair[1] - pair[0]) / 2**0.5)
    assert len(table.rows) == 24 and all(len(row) == len(table.heading) for row in table.rows)


def test_published_errors_are_in_our_units():
    found = {t.name: (published_error(PEERS[0], t), published_error(ACCURATE, t)) for t in TARGETS}
    assert found["gap"] == (pytest.approx(0.0045 * 27.211386, rel=1e-6), 0.043)
    assert found["u0"] == (pytest.approx(3.53 * 0.0433641, rel=1e-5), 0.043)
    assert found["alpha"] == (0.3714, 0.1) and found["r2"] == (24.56, 1.2)
    assert all(value is not None for pair in found.values() for value in pair)


def test_published_errors_have_the_digits_of_their_source_and_say_what_is_doubtful():
    found = {target.name: [published_cell(peer, target) for peer in PEERS] for target in TARGETS}
    assert found["mu"] == ["0.4084", "0.3474", ""] and found["r2"] == ["24.56", "18.12", ""]
    assert found["gap"] == ["0.12", "0.093", "0.21†"]  # 0.0045 and 0.0034 Hartree; in eV, from memory
    assert found["zpve"] == ["0.01", "0.01", ""]  # 0.0004 and 0.0005 Hartree: one digit
    assert found["u0"] == ["0.153‡", "0.162‡", ""] and found["g298"] == ["0.151‡", "0.153‡", ""]
    assert {peer.source for peer in PEERS} <= set(CITATIONS)


def test_the_notes_explain_every_mark():
    table = section(table_of([errors(0.1), errors(0.2)]))
    notes = " ".join(table.notes)
    assert "‡: the source does not name the unit" in notes and "Gómez-Bombarelli†" in notes and "from memory" in notes
    assert r"0.153$^{\ddagger}$" in to_tex(table_of([errors(0.1), errors(0.2)]))


def test_multiples_are_of_chemical_accuracy():
    table = section(table_of([errors(0.43), errors(0.43)]))
    row = next(row for row in csv.DictReader(to_csv(table).splitlines()) if row["target"] == "gap")
    assert float(row["multiple of chemical_accuracy"]) == pytest.approx(1.0)
    cells = dict(zip(table.heading, next(row for row in table.rows if row[1] == "gap"), strict=True))
    assert cells["x chemical accuracy"] == "1.0" and cells["joint head"] == "0.0430" and cells["ChemProp"] == "0.12"


def test_stand_ins_stand_beside_no_published_error():
    table = section(table_of([errors(0.1), errors(0.2)], source="embedded"))
    assert "ChemProp" not in table.heading and "ChemProp" not in " ".join(table.notes)
    assert {row["chemprop"] for row in csv.DictReader(to_csv(table).splitlines())} == {""}


def test_the_page_has_the_table_where_there_are_properties_and_only_there():
    whole = table_of([errors(0.1), errors(0.2)])
    assert "### Properties" in to_markdown(whole) and "Morgan ridge" in to_tex(whole)
    other = table_of([{"test.ll": -80.0}, {"test.ll": -81.0}], dataset="mnist")
    assert not section(other).rows and "### Properties" not in to_markdown(other)
