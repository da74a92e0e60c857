"""Runs that differ by their seed alone, as one row: mean and standard deviation over the finished ones.

No claim is made here: with few seeds a mean and its spread describe, they do not decide.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from ..errors import UserError
from ..files import canonical_json, read_json
from ..signature import Component

if TYPE_CHECKING:
    import pandas as pd

    from ..grid import PlannedExperiment

IDENTITY = ("latent", "kind", "hidden")
# What an evaluation chooses, as far as the numbers depend on it: means are of runs that were scored alike.
SCORED = (
    "test.n", "test.importance_samples", "test.ll_n", "test.ll_curve_n", "test.knn_neighbours", "test.knn_labels",
    "test.knn_draws", "test.aggregate_n", "test.probe_labels", "test.reconstruction_n",
)  # fmt: skip


class RunRecord(TypedDict):
    """A run as statistics see it; ``status`` is ``finished``, ``diverged`` or ``missing`` (not evaluated yet)."""

    run: str
    config: dict[str, Any]
    status: str
    cause: str | None
    metrics: dict[str, Any]


def load_run_record(folder: Path, config: Mapping[str, Any] | None = None) -> RunRecord:
    """Read a run's folder: its configuration (run.json, if ``config`` is not given), and metrics.json if it is there.

    Raises:
        UserError: run.json is missing, a file is broken, or metrics.json has an unknown status.
    """
    config = dict(read_json(folder / "run.json") if config is None else config)
    path = folder / "metrics.json"
    metrics = read_json(path) if path.is_file() else {"status": "missing"}
    status = metrics.get("status")
    if status not in ("finished", "diverged", "missing"):
        raise UserError(f"{path}: status {status!r}; a run has 'finished' or 'diverged'")
    return RunRecord(run=folder.name, config=config, status=status, cause=metrics.get("cause"), metrics=metrics)


def experiment_records(experiment: "PlannedExperiment", results: Path) -> list[RunRecord]:
    """The records of an experiment's runs in grid order; those without metrics.json are ``missing``.

    Numbers under another protocol than the run's own are called ``{protocol}.test.…``.
    """
    records = []
    for run in experiment.runs:
        record = load_run_record(results / run.place, run.config.canonical())
        for protocol in run.evaluation.protocols if record["status"] == "finished" else ():
            path = results / run.place / f"metrics-{protocol}.json"
            others = read_json(path) if path.is_file() else {}
            record["metrics"] |= {f"{protocol}.{k}": v for k, v in others.items() if k.startswith("test.")}
        records.append(record)
    return records


def winds(component: Component) -> bool:
    """Whether the posterior is a wrapped normal on what is, or may become, a sphere: ``principal`` matters there."""
    spherical = component.k > 0 or (component.letter == "u" and component.learn)
    return component.family == "wn" and spherical


def group(records: Iterable[RunRecord]) -> list[list[RunRecord]]:
    """Records with equal configurations but for the seed, in the order of their first appearance.

    Raises:
        UserError: finished runs of one group were scored differently, so that no mean can be of both.
    """
    groups: dict[str, list[RunRecord]] = {}
    for record in records:
        config = {key: value for key, value in record["config"].items() if key != "seed"}
        groups.setdefault(canonical_json(config), []).append(record)
    for members in groups.values():
        check_scored_alike(members)
    return list(groups.values())


def check_scored_alike(records: Iterable[RunRecord]) -> None:
    """Refuse finished runs that differ in a number of :data:`SCORED`, such as that of importance samples.

    Raises:
        UserError: which runs, in which number.
    """
    found: dict[str, RunRecord] = {}
    for record in (record for record in records if record["status"] == "finished"):
        for key in (key for key in SCORED if record["metrics"].get(key) is not None):
            first = found.setdefault(key, record)
            here, there = first["metrics"][key], record["metrics"][key]
            if here != there:
                raise UserError(
                    f"runs {first['run']} and {record['run']} were scored differently ({key}: {here:g} and {there:g}), "
                    "and neither mean nor difference can be of both; evaluate them alike"
                )


def values(records: Iterable[RunRecord], metric: str) -> list[float]:
    """A metric's numbers over the finished runs that have it; those of a diverged run are never used."""
    found = (record["metrics"].get(metric) for record in records if record["status"] == "finished")
    return [float(value) for value in found if value is not None]


def mean(numbers: Sequence[float]) -> float | None:
    """The mean; None of nothing."""
    return statistics.fmean(numbers) if numbers else None


def deviation(numbers: Sequence[float]) -> float | None:
    """The standard deviation with n - 1; None of fewer than two numbers."""
    return statistics.stdev(numbers) if len(numbers) > 1 else None


def summarise(records: Iterable[RunRecord], metrics: Sequence[str] | None = None) -> "pd.DataFrame":
    """One row for each configuration without its seed, in grid order.

    Columns: ``latent``, ``kind``, ``hidden`` (as in ``256x128``), any other key of the configuration in which the rows
    differ (``training.epochs``), ``seeds`` (finished runs), ``diverged``, ``missing``, then for each metric its mean
    and its standard deviation ``{metric} sd`` (n - 1; null for one seed).

    Args:
        records: From :func:`experiment_records` or :func:`load_run_record`.
        metrics: Keys of metrics.json; default: all that are numbers in a finished run, in the order of the files.
    """
    import pandas as pd

    groups = group(records)
    names = numeric(groups) if metrics is None else list(metrics)
    others = differing([members[0]["config"] for members in groups])
    rows = []
    for members in groups:
        row: dict[str, Any] = dict(identity(members[0], others))
        statuses = [record["status"] for record in members]
        row |= {"seeds": statuses.count("finished")} | {s: statuses.count(s) for s in ("diverged", "missing")}
        for name in names:
            numbers = values(members, name)
            row |= {name: mean(numbers), f"{name} sd": deviation(numbers)}
        rows.append(row)
    columns = [*IDENTITY, *others, "seeds", "diverged", "missing"]
    columns += [column for name in names for column in (name, f"{name} sd")]
    table = pd.DataFrame(rows, columns=columns)
    return table.astype({column: "float64" for column in columns if column.removesuffix(" sd") in names})


def identity(record: RunRecord, others: Sequence[str] = ()) -> dict[str, str]:
    """What a record's row is known by: ``latent``, ``kind``, ``hidden``, and the flat keys ``others``."""
    config = flatten(record["config"])
    row = {"latent": config["latent"], "kind": config["model.kind"], "hidden": hidden(config)}
    return row | {key: cell(config.get(key)) for key in others}


def numeric(groups: Iterable[Iterable[RunRecord]]) -> list[str]:
    """The metrics that are numbers in some finished run, in the order of their first appearance."""
    names: dict[str, None] = {}
    for record in (record for members in groups for record in members if record["status"] == "finished"):
        numbers = (k for k, v in record["metrics"].items() if isinstance(v, int | float) and not isinstance(v, bool))
        names |= dict.fromkeys(numbers)
    return list(names)


def differing(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The flat keys, beside those of every table and the seed, in which configurations differ."""
    flat = [flatten(config) for config in configs]
    keys = dict.fromkeys(key for config in flat for key in config)
    known = ("latent", "model.kind", "model.hidden", "seed")
    return [key for key in keys if key not in known and len({canonical_json(c.get(key)) for c in flat}) > 1]


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys."""
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= flatten(item, f"{prefix}{key}.") if isinstance(item, Mapping) else {prefix + key: item}
    return flat


def hidden(config: Mapping[str, Any]) -> str:
    """The hidden layers of a flat configuration as text: ``256x128``."""
    return "x".join(map(str, config["model.hidden"])) or "none"


def cell(value: Any) -> str:
    """A value of the configuration as text."""
    return value if isinstance(value, str) else canonical_json(value)
