"""The ledger of an experiment, docs/results/{experiment}/runs.csv: a row a finished run, so that seeds accumulate.

A row holds the whole configuration, every number of metrics.json, and the circumstances. It is keyed by the run and the
digest of the code that trained it. Tables can be made from it when the runs themselves are gone.
"""

import csv
import fcntl
import io
import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..files import canonical_json, read_json, write_text
from ..signature import parse
from . import statistics
from .statistics import RunRecord

if TYPE_CHECKING:
    from ..grid import PlannedExperiment

logger = logging.getLogger("mcvae.findings")

KEY = ("run", "code_digest")
# What a row is known by, and the circumstances; every other column is a key of metrics.json.
IDENTITY = ("run", "dataset", "label", "protocol", "kind", "latent", "hidden", "seed")
CIRCUMSTANCES = (
    "wall_seconds", "epoch_seconds", "package", "torch", "device", "commit", "date", "code_digest", "data_digest",
)  # fmt: skip
MAIN = (
    "status", "cause", "epochs", "best_epoch", "parameters", "test.ll", "test.ll_se", "test.elbo",
    "test.reconstruction", "test.kl", "test.knn_accuracy",
)  # fmt: skip
TEXTS = ("status", "cause")
Row = dict[str, str]


def append_runs(
    ledger: Path,
    records: Iterable[RunRecord],
    provenance: Mapping[str, Mapping[str, Any]],
    *,
    label: str = "",
    commit: str | None = None,
) -> int:
    """Add runs to a ledger, which is made if it is not there, and written whole; other runs' rows stay.

    Adding a run again changes nothing. If its numbers have changed (another evaluation of the same training), its row
    is made anew. Runs without metrics are left out; diverged ones are not.

    Args:
        ledger: The path of runs.csv. Processes that add at the same time wait for each other.
        records: From :func:`mcvae.findings.statistics.experiment_records`.
        provenance: The content of provenance.json by run.
        label: What marks the data in names ("", "standin" or a digest), as ``PlannedData.label`` says.
        commit: The commit of the code, as :func:`current_commit` says.

    Returns:
        the number of rows that are new or made anew.

    Raises:
        UserError: the ledger is no ledger, or a run has no provenance.
    """
    made = [_row(record, provenance, label, commit) for record in records if record["status"] != "missing"]
    with _alone(ledger.parent):
        rows = {tuple(row[name] for name in KEY): row for row in _read(ledger)} if ledger.exists() else {}
        changed = 0
        for row in made:
            key = tuple(row[name] for name in KEY)
            if key in rows and _science(rows[key]) == _science(row):
                continue
            if key in rows:
                logger.warning("%s: run %s was evaluated anew; its row is replaced", ledger, row["run"])
            rows[key] = row
            changed += 1
        if changed:
            write_text(ledger, _text(list(rows.values())))
    return changed


def append_experiment(
    ledger: Path, experiment: "PlannedExperiment", results: Path, *, label: str, commit: str | None = None
) -> int:
    """:func:`append_runs` of all evaluated runs of an experiment under the folder of results."""
    records = [r for r in statistics.experiment_records(experiment, results) if r["status"] != "missing"]
    places = {run.id: results / run.place for run in experiment.runs}
    provenance = {r["run"]: read_json(places[r["run"]] / "provenance.json") for r in records}
    return append_runs(ledger, records, provenance, label=label, commit=commit)


def ledger_records(ledger: Path) -> list[RunRecord]:
    """The runs of a ledger as statistics see them, in its order; of a run made by several codes the latest.

    A number that was null is absent. Raises: UserError: the file is missing or is no ledger.
    """
    latest: dict[str, Row] = {}
    for row in _read(ledger):
        other = latest.get(row["run"])
        if other is None or (row["date"], row["code_digest"]) > (other["date"], other["code_digest"]):
            latest[row["run"]] = row
    return [_record(row, ledger) for row in latest.values()]


def planned_records(records: Sequence[RunRecord], ledger: Path) -> list[RunRecord]:
    """The same records in the same order, where the ledger's stand for those that are missing."""
    known = {record["run"]: record for record in ledger_records(ledger)} if ledger.exists() else {}
    return [known.get(r["run"], r) if r["status"] == "missing" else r for r in records]


def _row(record: RunRecord, provenance: Mapping[str, Mapping[str, Any]], label: str, commit: str | None) -> Row:
    run, config, metrics = record["run"], record["config"], record["metrics"]
    if run not in provenance:
        raise UserError(f"run {run}: has no provenance.json; without its code's digest no ledger can keep it")
    where = provenance[run]
    values: dict[str, Any] = {
        "run": run,
        "dataset": config["dataset"],
        "label": label,
        "protocol": config["protocol"],
        "kind": config["model"]["kind"],
        "latent": config["latent"],
        "hidden": statistics.hidden(statistics.flatten(config)),
        "seed": config["seed"],
        "wall_seconds": where.get("wall_seconds"),
        "epoch_seconds": where.get("epoch_seconds"),
        "package": where["versions"]["mcvae"],
        "torch": where["versions"]["torch"],
        "device": where.get("device"),
        "commit": commit,
        "date": where["finished"],
        "code_digest": where["code_digest"],
        "data_digest": where["data_digest"],
        "config": canonical_json(config),
    }
    values |= {name: value for name, value in metrics.items() if name not in values}
    values |= {"status": record["status"], "cause": record["cause"]}
    return {name: _cell(value) for name, value in values.items()}


def _cell(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else repr(value)


def _science(row: Row) -> Row:
    """What a row says but for its circumstances; an empty cell says nothing."""
    return {name: value for name, value in row.items() if value and name not in CIRCUMSTANCES}


def _read(ledger: Path) -> list[Row]:
    try:
        with open(ledger, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, strict=True)
            names, rows = reader.fieldnames or (), list(reader)
    except FileNotFoundError:
        raise UserError(f"{ledger}: no such file") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{ledger}: not a ledger of runs ({error})") from None
    absent = [name for name in (*KEY, "date", "config", "status") if name not in names]
    if absent:
        raise UserError(f"{ledger}: not a ledger of runs; it has no column {absent[0]!r}")
    if any(None in row or None in row.values() for row in rows):
        raise UserError(f"{ledger}: not a ledger of runs; a row has another number of cells than the first line")
    return rows


def _record(row: Row, ledger: Path) -> RunRecord:
    try:
        config = json.loads(row["config"])
        metrics = {
            name: value if name in TEXTS else _number(value)
            for name, value in row.items()
            if value and name not in (*IDENTITY, *CIRCUMSTANCES, "config")
        }
    except ValueError as error:
        raise UserError(f"{ledger}: run {row['run']}: {error}") from None
    metrics = {"cause": None} | metrics
    return RunRecord(run=row["run"], config=config, status=row["status"], cause=metrics["cause"], metrics=metrics)


def _number(text: str) -> int | float:
    return int(text) if re.fullmatch(r"-?\d+", text) else float(text)


def _text(rows: Sequence[Row]) -> str:
    """The rows in a fixed order, the columns too: identity, main numbers, circumstances, other numbers, config."""
    fixed = [*IDENTITY, *MAIN, *CIRCUMSTANCES]
    others = sorted({name for row in rows for name in row} - {*fixed, "config"}, key=_natural)
    names = [*fixed, *others, "config"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in sorted(rows, key=_order):
        writer.writerow([row.get(name, "") for name in names])
    return text.getvalue()


def _order(row: Row) -> tuple:
    place = (row["dataset"], row["label"], row["protocol"], row["kind"], parse(row["latent"]).dim, row["latent"])
    return (*place, _natural(row["hidden"]), int(row["seed"]), row["run"], row["date"], row["code_digest"])


def _natural(text: str) -> list[tuple[int, str]]:
    """Whole numbers in a name count as numbers: ``@600`` before ``@1000``."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock inside the block; the kernel lets go of it when its holder dies."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
