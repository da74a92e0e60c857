"""The ledger keeps every run once, exactly, and gives it back."""

import csv
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mcvae.config import load_study, validate_study
from mcvae.errors import UserError
from mcvae.files import canonical_json
from mcvae.findings import statistics
from mcvae.findings.ledger import (
    append_experiment,
    append_runs,
    ledger_records,
    planned_records,
)
from mcvae.findings.tables import write_table
from mcvae.grid import plan

ROOT = Path(__file__).resolve().parents[2]
WHERE = {
    "wall_seconds": 10.5,
    "epoch_seconds": 0.1 + 0.2,
    "finished": "2030-01-02T03:04:05+00:00",
    "versions": {"mcvae": "1.2.3", "torch": "9.9"},
    "device": "cpu",
    "code_digest": "aaaaaaaa",
    "data_digest": "bbbbbbbb",
    "host": "secret",
}


def planned(**experiment):
    settings = {"dataset": "mnist", "latents": ["e2", "h10", "2s2,e2"], "seeds": 2, **experiment}
    made = plan(validate_study({"experiments": {"some": settings}}))
    (experiment,) = made.experiments.values()
    return experiment, made.data["mnist"]


def metrics_of(number, **more):
    return {
        "status": "finished",
        "cause": None,
        "epochs": 30,
        "parameters": 1000 + number,
        "test.ll": -100.1 - number / 3,
        "test.elbo": None,
        "test.n": 257,
        "test.knn_accuracy@1000": 1e-17,
        "test.knn_accuracy@600": 0.1 + 0.2,
        **more,
    }


def evaluated(run, number, **more):
    metrics = metrics_of(number, **more)
    return statistics.RunRecord(
        run=run.id, config=run.config.canonical(), status=metrics["status"], cause=metrics["cause"], metrics=metrics
    )


@pytest.fixture
def ledger(tmp_path):
    return tmp_path / "docs" / "some" / "runs.csv"


@pytest.fixture
def records():
    return [evaluated(run, number) for number, run in enumerate(planned()[0].runs)]


def where(records, **changes):
    return {record["run"]: WHERE | changes for record in records}


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def without_nulls(record):
    return record | {"metrics": {k: v for k, v in record["metrics"].items() if v is not None or k == "cause"}}


def test_a_run_comes_back_as_it_was(ledger, records):
    assert append_runs(ledger, records, where(records)) == 6
    found = {record["run"]: record for record in ledger_records(ledger)}
    assert found == {record["run"]: without_nulls(record) for record in records}
    for record in found.values():
        assert isinstance(record["metrics"]["test.n"], int) and isinstance(record["metrics"]["test.ll"], float)


def test_adding_again_changes_nothing_even_on_another_day(ledger, records):
    append_runs(ledger, records, where(records), commit="1234")
    before = ledger.read_bytes(), ledger.stat().st_mtime_ns
    later = where(records, finished="2031-01-01T00:00:00+00:00", wall_seconds=1.0)
    assert append_runs(ledger, records, later, commit="5678") == 0
    assert (ledger.read_bytes(), ledger.stat().st_mtime_ns) == before


def test_the_order_of_adding_does_not_matter(tmp_path, records):
    one, other = tmp_path / "one.csv", tmp_path / "other.csv"
    append_runs(one, records, where(records))
    for record in reversed(records):
        append_runs(other, [record], where([record]))
    assert one.read_bytes() == other.read_bytes()
    latents = [row["latent"] for row in rows_of(one)]
    assert latents == ["e2", "e2", "2s2,e2", "2s2,e2", "h10", "h10"]


def test_a_row_says_which_run_when_and_by_which_code(ledger, records):
    append_runs(ledger, records[:1], where(records), label="standin", commit="123456789abc")
    (row,) = rows_of(ledger)
    expected = {
        "run": records[0]["run"], "dataset": "mnist", "label": "standin", "protocol": "dynamic", "kind": "vae",
        "latent": "e2", "hidden": "256x128", "seed": "0", "status": "finished", "package": "1.2.3", "device": "cpu",
        "commit": "123456789abc", "date": WHERE["finished"], "code_digest": "aaaaaaaa", "data_digest": "bbbbbbbb",
        "wall_seconds": "10.5", "epoch_seconds": repr(0.1 + 0.2), "test.elbo": "",
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert json.loads(row["config"]) == records[0]["config"] and "secret" not in ledger.read_text()


def test_another_code_adds_a_row_and_the_latest_is_read(ledger, records):
    record = records[0]
    append_runs(ledger, [record], where([record]))
    newer = record | {"metrics": record["metrics"] | {"test.ll": -1.0}}
    append_runs(ledger, [newer], where([record], code_digest="00000000", finished="2030-01-03T00:00:00+00:00"))
    assert len(rows_of(ledger)) == 2
    (found,) = ledger_records(ledger)
    assert found["metrics"]["test.ll"] == -1.0


def test_another_evaluation_of_the_same_training_replaces_its_row_and_says_so(ledger, records, caplog):
    append_runs(ledger, records, where(records))
    again = records[0] | {"metrics": records[0]["metrics"] | {"test.new": 1.5}}
    assert append_runs(ledger, [again], where(records)) == 1
    assert "evaluated anew" in caplog.text and len(rows_of(ledger)) == 6
    found = {record["run"]: record["metrics"].get("test.new") for record in ledger_records(ledger)}
    assert found == {record["run"]: None for record in records} | {again["run"]: 1.5}


def test_columns_may_be_added_and_stand_in_natural_order(ledger, records):
    append_runs(ledger, records[:1], where(records))
    more = records[1] | {"metrics": records[1]["metrics"] | {"test.ll@10": 1.0, "test.ll@9": 2.0}}
    append_runs(ledger, [more], where(records))
    names = list(rows_of(ledger)[0])
    assert names[0] == "run" and names[-1] == "config"
    assert names.index("test.ll@9") < names.index("test.ll@10")
    assert names.index("test.knn_accuracy@600") < names.index("test.knn_accuracy@1000")
    assert all("test.ll@9" not in r["metrics"] for r in ledger_records(ledger) if r["run"] != more["run"])


def test_diverged_runs_are_kept_with_their_cause_and_missing_ones_are_not(ledger):
    first, second, third, *_ = planned()[0].runs
    diverged = evaluated(first, 0, status="diverged", cause='the loss, "nan",\nis not finite')
    missing = evaluated(second, 1, status="missing")
    assert append_runs(ledger, [diverged, missing, evaluated(third, 2)], where([diverged, evaluated(third, 2)])) == 2
    found = {record["run"]: record for record in ledger_records(ledger)}
    assert found[first.id]["status"] == "diverged" and found[first.id]["cause"] == diverged["cause"]
    assert second.id not in found


def test_a_run_without_provenance_is_refused(ledger, records):
    with pytest.raises(UserError, match=f"run {records[0]['run']}: has no provenance.json"):
        append_runs(ledger, records, {})
    assert not ledger.exists()


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "run,code_digest,date,config,status\nx,y\n"])
def test_what_is_no_ledger_is_refused_and_left_alone(ledger, records, text):
    ledger.parent.mkdir(parents=True)
    ledger.write_text(text)
    with pytest.raises(UserError, match="not a ledger of runs"):
        append_runs(ledger, records, where(records))
    assert ledger.read_text() == text


def test_a_missing_ledger_is_an_error_to_read(ledger):
    with pytest.raises(UserError, match="no such file"):
        ledger_records(ledger)


def test_writers_at_the_same_time_lose_nothing(ledger, records):
    with ThreadPoolExecutor(len(records)) as pool:  # the lock is of the open file, not of the process
        list(pool.map(lambda record: append_runs(ledger, [record], where([record])), records))
    assert {row["run"] for row in rows_of(ledger)} == {record["run"] for record in records}


def write_results(results, experiment, leave_out=()):
    for number, run in enumerate(experiment.runs):
        if number not in leave_out:
            folder = results / run.place
            folder.mkdir(parents=True)
            (folder / "run.json").write_text(canonical_json(run.config.canonical()))
            (folder / "metrics.json").write_text(json.dumps(metrics_of(number)))
            (folder / "provenance.json").write_text(json.dumps(WHERE))


def test_a_table_from_the_ledger_alone_is_the_table_of_the_runs(tmp_path, ledger):
    experiment, data = planned(seeds=5)
    results, nothing = tmp_path / "results", tmp_path / "nothing"
    write_results(results, experiment)
    assert append_experiment(ledger, experiment, results, label=data.label) == len(experiment.runs)
    kinds = ("csv", "md", "tex", "differences")
    for folder, source in ((tmp_path / "a", results), (tmp_path / "b", nothing)):
        write_table(experiment, source, {kind: folder / kind for kind in kinds}, data=data, ledger=ledger)
    for kind in kinds:
        assert (tmp_path / "a" / kind).read_bytes() == (tmp_path / "b" / kind).read_bytes()


def test_seeds_of_other_days_and_machines_fill_the_gaps(tmp_path, ledger):
    experiment, _ = planned()
    results = tmp_path / "results"
    write_results(results, experiment, leave_out=[0, 3])
    elsewhere = [evaluated(experiment.runs[0], 0)]
    append_runs(ledger, elsewhere, where(elsewhere))
    found = planned_records(statistics.experiment_records(experiment, results), ledger)
    assert [record["run"] for record in found] == [run.id for run in experiment.runs]
    assert [record["status"] for record in found] == [*["finished"] * 3, "missing", *["finished"] * 2]


def test_seeds_of_the_ledger_that_were_scored_differently_are_not_averaged_with_ours(tmp_path, ledger):
    experiment, data = planned()
    write_results(tmp_path / "results", experiment, leave_out=[0])
    elsewhere = [evaluated(experiment.runs[0], 0, **{"test.n": 10_000})]
    append_runs(ledger, elsewhere, where(elsewhere))
    with pytest.raises(UserError, match=r"were scored differently \(test\.n: 10000 and 257\)"):
        write_table(experiment, tmp_path / "results", {"md": tmp_path / "t.md"}, data=data, ledger=ledger)


def shipped_experiments() -> Iterator:
    for name in ("paper", "controls", "mnist", "celeba", "qm9"):
        made = plan(load_study(ROOT / "config" / f"{name}.yaml"))
        yield from ((each, made.data[each.spec.dataset]) for each in made.experiments.values())


def test_the_committed_tables_are_those_of_the_committed_ledgers(tmp_path):
    ledgers = {path.parent.name: path for path in (ROOT / "docs/results").glob("*/runs.csv")}
    assert ledgers
    for experiment, data in shipped_experiments():
        ledger = ledgers.pop(experiment.name, None)
        if ledger is not None:
            write_table(experiment, tmp_path, {"md": tmp_path / "t.md"}, data=data, partial=True, ledger=ledger)
            assert ledger.with_name("table.md").read_text() == (tmp_path / "t.md").read_text(), "run `make record`"
    assert not ledgers, "of no experiment in config/"
