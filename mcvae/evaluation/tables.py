"""One table an experiment: CSV for machines and years to come, Markdown and LaTeX for people.

The CSV keeps full precision and every column; the other two show mean ± sd with sensible digits and say below the table
what the numbers rest on. Equal results give equal bytes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import KIND_NAMES
from ..errors import UserError
from ..files import write_text
from ..sources import NAMES
from . import statistics
from .statistics import RunRecord
from .typeset import Table, to_csv, to_markdown, to_tex

if TYPE_CHECKING:
    import pandas as pd

    from ..grid import PlannedData, PlannedExperiment

WRITERS = {"csv": to_csv, "md": to_markdown, "tex": to_tex}
SEEDS_OF_A_CLAIM = 5
SHOWN_TARGETS = ("gap", "homo", "lumo", "mu")


@dataclass(frozen=True)
class Column:
    """A metric and how people see it: heading, unit, factor to the unit shown, decimals (None: three digits)."""

    metric: str
    heading: str
    unit: str
    decimals: int | None = 2
    factor: float = 1.0
    shown: bool = True

    @property
    def title(self) -> str:
        """Heading with the unit."""
        return f"{self.heading} [{self.unit}]"


def _share(metric: str, heading: str) -> Column:
    return Column(metric, heading, "%", decimals=1, factor=100.0)


_BOUND = (
    Column("test.ll", "LL", "nats"),
    Column("test.elbo", "ELBO", "nats"),
    Column("test.reconstruction", "RE", "nats"),
    Column("test.kl", "KL", "nats"),
)


def columns(dataset: str) -> tuple[Column, ...]:
    """The metrics of a data set's tables, in order."""
    if dataset == "mnist":
        return (*_BOUND, _share("test.knn_accuracy", "kNN accuracy"))
    if dataset == "celeba":
        return (
            *_BOUND,
            _share("test.knn_balanced_accuracy", "kNN balanced accuracy"),
            _share("test.knn_accuracy", "kNN accuracy"),
            _share("test.knn_majority", "majority accuracy"),
        )
    from ..data.qm9 import TARGETS

    order = sorted(TARGETS, key=lambda target: [*SHOWN_TARGETS, target.name].index(target.name))
    errors = [
        Column(f"test.mae.{t.name}", f"MAE {t.name}", t.unit, decimals=None, shown=t.name in SHOWN_TARGETS)
        for t in order
    ]
    return (
        *_BOUND,
        *errors,
        _share("test.exact_reconstruction", "exact reconstruction"),
        _share("samples.validity", "validity"),
        _share("samples.uniqueness", "uniqueness"),
        _share("samples.novelty", "novelty"),
    )


def write_table(
    experiment: "PlannedExperiment",
    results: Path,
    outputs: Mapping[str, Path],
    *,
    data: "PlannedData",
    partial: bool = False,
) -> None:
    """Write the table of an experiment.

    Args:
        experiment: From :func:`mcvae.grid.plan`.
        results: The folder of results, with ``runs/{dataset}/{run}/metrics.json``.
        outputs: Paths by format: any of ``csv``, ``md``, ``tex``.
        data: The data set, for its note.
        partial: Allow runs without metrics.json; they are counted and named, and their cells are empty.

    Raises:
        UserError: a run has no metrics.json and ``partial`` is false; an unknown format; a broken file.
    """
    unknown = sorted(set(outputs) - set(WRITERS))
    if unknown:
        raise UserError(f"table {experiment.name!r}: unknown format {unknown[0]!r}; choose one of {', '.join(WRITERS)}")
    records = statistics.experiment_records(experiment, results)
    missing = [record["run"] for record in records if record["status"] == "missing"]
    if missing and not partial:
        raise UserError(
            f"table {experiment.name!r}: {len(missing)} of {len(records)} runs have no metrics.json "
            f"(the first: {missing[0]}); evaluate them, or ask for a partial table"
        )
    table = build(experiment, records, data)
    for kind, path in outputs.items():
        write_text(path, WRITERS[kind](table))


def build(experiment: "PlannedExperiment", records: Sequence[RunRecord], data: "PlannedData") -> Table:
    """The table's frame for machines, its text for people, and its notes."""
    every = columns(experiment.spec.dataset)
    frame = statistics.summarise(records, [column.metric for column in every])
    # A column that no finished run could fill (the ELBO of autoencoders) tells people nothing; the CSV keeps it.
    finished = frame["seeds"].sum() > 0
    shown = [c for c in every if c.shown and not (finished and frame[c.metric].isna().all())]
    shown = [_with_decimals(column, frame[column.metric]) for column in shown]
    first = list(frame.columns[: frame.columns.get_loc("seeds")])
    several = [name for name in first if name == "latent" or frame[name].nunique() > 1]
    rows = []
    for row in frame.to_dict("records"):
        text = _words(row, several)
        cells = [_cell(row[c.metric], row[f"{c.metric} sd"], c) for c in shown]
        rows.append((*text, str(row["seeds"]), *cells))
    protocol = records[0]["config"]["protocol"]
    protocol = "" if protocol == "standard" else f", {protocol} pixels"
    return Table(
        name=experiment.name,
        title=experiment.spec.title or experiment.key,
        caption=f"{NAMES[experiment.spec.dataset]}{protocol}, test split; mean ± standard deviation over seeds",
        frame=frame,
        heading=(*several, "seeds", *(column.title for column in shown)),
        texts=len(several),
        rows=tuple(rows),
        notes=tuple(_notes(records, frame, several, every, data)),
    )


def _words(row: Mapping[str, Any], several: Sequence[str]) -> list[str]:
    """What tells a row from the others."""
    return [KIND_NAMES[row[name]] if name == "kind" else str(row[name]) for name in several]


def _with_decimals(column: Column, means: Sequence[float]) -> Column:
    """Three digits of the largest mean, for a column without decimals of its own."""
    if column.decimals is not None:
        return column
    largest = max((abs(value) * column.factor for value in means if not math.isnan(value)), default=0.0)
    decimals = 2 if largest == 0 else 2 - math.floor(math.log10(largest))
    return replace(column, decimals=min(max(decimals, 0), 6))


def _cell(mean: float, sd: float, column: Column) -> str:
    if math.isnan(mean):
        return ""
    text = f"{mean * column.factor:.{column.decimals}f}"
    return text if math.isnan(sd) else f"{text} ± {sd * column.factor:.{column.decimals}f}"


def _notes(
    records: Sequence[RunRecord],
    frame: "pd.DataFrame",
    several: Sequence[str],
    every: Sequence[Column],
    data: "PlannedData",
) -> list[str]:
    notes = [f"Data: {data.note}." + (" These numbers say nothing about the real data set." if data.stand_in else "")]
    notes += _constants(records, several)
    if frame["seeds"].max() > 1:
        notes.append("Standard deviations are over seeds, with n - 1; a single finished seed has none.")
    if frame["seeds"].min() < SEEDS_OF_A_CLAIM:
        notes.append(f"Fewer than {SEEDS_OF_A_CLAIM} seeds establish no difference between rows; none is marked.")
    notes += _protocol(records)
    notes += _densities(records[0]["config"])
    notes += _baselines(records, every)
    notes += _beaten(records, frame, several, every)
    if any(not column.shown for column in every):
        others = ", ".join(column.heading.removeprefix("MAE ") for column in every if not column.shown)
        notes.append(f"The errors of the other targets ({others}) are in the CSV.")
    if any(record["config"]["model"]["kind"] == "autoencoder" for record in records):
        notes.append("An autoencoder has no ELBO, KL, likelihood or prior samples: these cells are empty.")
    notes += _incomplete(records, every)
    notes += [f"Diverged: {r['run']} ({r['cause'] or 'cause unknown'})." for r in records if r["status"] == "diverged"]
    missing = [record["run"] for record in records if record["status"] == "missing"]
    if missing:
        notes.append(f"Missing (no metrics.json): {', '.join(missing)}.")
    return notes


def _constants(records: Sequence[RunRecord], several: Sequence[str]) -> list[str]:
    """What all rows share and the table therefore does not repeat."""
    config = statistics.flatten(records[0]["config"])
    parts = [] if "kind" in several else [f"model {KIND_NAMES[config['model.kind']]}"]
    parts += [] if "hidden" in several else [f"hidden layers {statistics.hidden(config)}"]
    parts += [] if "training.epochs" in several else [f"at most {config['training.epochs']} epochs"]
    return [f"All rows: {', '.join(parts)}."] if parts else []


def _protocol(records: Sequence[RunRecord]) -> list[str]:
    """How the estimates were made, as the metrics themselves say."""
    notes = []
    samples, count = _said(records, "test.importance_samples"), _said(records, "test.ll_n")
    if samples:
        of = f" of {count} test records" if count else ""
        notes.append(f"LL: importance-sampled with {samples} samples{of}.")
    if any(record["config"]["model"]["kind"] == "vae" for record in records):
        notes.append(
            "ELBO, RE and KL: of the whole test split, with one posterior draw a record "
            "(the KL of a Euclidean component is exact)."
        )
    neighbours, labels = _said(records, "test.knn_neighbours"), _said(records, "test.knn_labels")
    if neighbours and labels:
        notes.append(f"kNN: {neighbours} geodesic neighbours among {labels} training records.")
    return notes


def _densities(config: Mapping[str, Any]) -> list[str]:
    """What a likelihood is a density of, where it is not a probability of the data."""
    if config["dataset"] == "celeba":
        return [
            "LL, ELBO and RE are log-densities of pixel values in [0, 1], not dequantised: "
            "they may be positive, and do not compare with bits per dimension."
        ]
    if config["protocol"] == "grey":
        return [
            "The Bernoulli cross-entropy of grey values is not a normalised log-likelihood: LL, ELBO and RE compare "
            "with those of this protocol only."
        ]
    return []


def _said(records: Sequence[RunRecord], metric: str) -> str:
    return " or ".join(f"{number:,.0f}" for number in sorted(set(statistics.values(records, metric))))


def _baselines(records: Sequence[RunRecord], every: Sequence[Column]) -> list[str]:
    """The error of always predicting the training mean, which every run reports alike."""
    parts = []
    for column in (column for column in every if column.shown and column.metric.startswith("test.mae.")):
        numbers = statistics.values(records, column.metric.replace("test.mae.", "test.mae_baseline."))
        if numbers:
            parts.append(f"{column.heading.removeprefix('MAE ')} {statistics.mean(numbers):.3g} {column.unit}")
    return [f"Always predicting the training mean has the MAE: {', '.join(parts)}."] if parts else []


def _beaten(
    records: Sequence[RunRecord], frame: "pd.DataFrame", several: Sequence[str], every: Sequence[Column]
) -> list[str]:
    """The rows and targets, also those of the CSV alone, whose mean error is not below the baseline's."""
    notes = []
    for row, members in zip(frame.to_dict("records"), statistics.group(records), strict=True):
        names = []
        for column in (column for column in every if column.metric.startswith("test.mae.")):
            name = column.metric.removeprefix("test.mae.")
            error, baseline = (
                statistics.mean(statistics.values(members, f"test.{kind}.{name}")) for kind in ("mae", "mae_baseline")
            )
            if error is not None and baseline is not None and error >= baseline:
                names.append(name)
        if names:
            notes.append(f"{', '.join(_words(row, several))}: no better than the training mean in {', '.join(names)}.")
    return notes


def _incomplete(records: Sequence[RunRecord], every: Sequence[Column]) -> list[str]:
    """Rows whose mean is over fewer seeds than the row states."""
    notes = []
    for members in statistics.group(records):
        finished = sum(record["status"] == "finished" for record in members)
        for column in every:
            count = len(statistics.values(members, column.metric))
            if 0 < count < finished:
                latent = members[0]["config"]["latent"]
                notes.append(f"{latent}: {column.heading} is of {count} of the {finished} finished seeds.")
    return notes
