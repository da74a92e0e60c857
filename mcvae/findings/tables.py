"""One page of tables an experiment: CSV for machines and years to come, Markdown and LaTeX for people.

The CSV keeps full precision and every column; the other two show mean ± sd with sensible digits and say below the table
what the numbers rest on; the tables of ``sections`` follow, each with a CSV of its own. Equal results give equal bytes.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..datasets import DATASETS
from ..errors import UserError
from ..files import write_text
from . import published, statistics
from .columns import BUDGETS, Column, columns, with_decimals
from .comparison import SEEDS_OF_A_CLAIM
from .context import Context, cell
from .ledger import planned_records
from .notes import notes, words
from .sections import SECTIONS, sections
from .statistics import RunRecord
from .typeset import Table, to_csv, to_markdown, to_tex

if TYPE_CHECKING:
    import pandas as pd

    from ..grid import PlannedData, PlannedExperiment

__all__ = ["SEEDS_OF_A_CLAIM", "Column", "build", "columns", "write_table"]
WRITERS = {"csv": to_csv, "md": to_markdown, "tex": to_tex}


def write_table(
    experiment: "PlannedExperiment",
    results: Path,
    outputs: Mapping[str, Path],
    *,
    data: "PlannedData",
    partial: bool = False,
    ledger: Path | None = None,
) -> None:
    """Write the tables of an experiment.

    Args:
        experiment: From :func:`mcvae.grid.plan`.
        results: The folder of results, with ``runs/{dataset}/{run}/metrics.json``.
        outputs: Paths by format: any of ``csv``, ``md``, ``tex``, and for the CSV of a section its name in
            :data:`mcvae.findings.sections.SECTIONS`; one that has no rows is a header.
        data: The data set, for its note.
        partial: Allow runs without metrics.json; they are counted and named, and their cells are empty.
        ledger: A runs.csv whose rows stand for runs that have no metrics.json here.

    Raises:
        UserError: a run has no metrics.json and ``partial`` is false; an unknown format or published source; a broken
            file.
    """
    unknown = sorted(set(outputs) - set(WRITERS) - set(SECTIONS))
    if unknown:
        known = ", ".join([*WRITERS, *SECTIONS])
        raise UserError(f"table {experiment.name!r}: unknown format {unknown[0]!r}; choose one of {known}")
    records = statistics.experiment_records(experiment, results)
    if ledger is not None:
        records = planned_records(records, ledger)
    missing = [record["run"] for record in records if record["status"] == "missing"]
    if missing and not partial:
        raise UserError(
            f"table {experiment.name!r}: {len(missing)} of {len(records)} runs have no metrics.json "
            f"(the first: {missing[0]}); evaluate them, or ask for a partial table"
        )
    table = build(experiment, records, data)
    parts = {section.name: section for section in table.sections}
    for kind, path in outputs.items():
        write_text(path, to_csv(parts[kind]) if kind in parts else WRITERS[kind](table))


def build(experiment: "PlannedExperiment", records: Sequence[RunRecord], data: "PlannedData") -> Table:
    """The table's frame for machines, its text for people, its notes and its sections.

    Raises:
        UserError: an unknown published source, or one of another data set.
    """
    spec = experiment.spec
    figures = published.select(spec.published, spec.dataset, f"table {experiment.name!r}")
    budgets = sorted({*BUDGETS, *spec.evaluation.label_budgets})
    every = columns(spec.dataset, budgets, spec.evaluation.protocols)
    frame = statistics.summarise(records, [column.metric for column in every])
    frame.insert(frame.columns.get_loc("missing") + 1, "parameters", parameters(records))
    every = [with_decimals(c, frame[c.metric], statistics.values(records, c.error)) for c in every]
    first = list(frame.columns[: frame.columns.get_loc("seeds")])
    several = [name for name in first if name == "latent" or frame[name].nunique() > 1]
    heading, rows = _rows(frame, several, [column for column in every if column.shown])
    others = [name for name in first if name not in statistics.IDENTITY]
    context = Context(records, every, others, several, figures, data, experiment.references)
    protocol = records[0]["config"]["protocol"]
    protocol = "" if protocol == "standard" else f", {protocol} pixels"
    return Table(
        name=experiment.name,
        title=spec.title or experiment.key,
        caption=f"{DATASETS[spec.dataset].name}{protocol}, test split; mean ± standard deviation over seeds",
        frame=frame,
        heading=heading,
        texts=len(several),
        rows=rows,
        notes=tuple(notes(records, frame, several, every, data)),
        sections=sections(context),
    )


def parameters(records: Sequence[RunRecord]) -> list[str]:
    """Numbers that are learned, by row: one number, several that codes of different days made, or none."""
    result = []
    for members in statistics.group(records):
        counts = {record["metrics"].get("parameters") for record in members} - {None}
        result.append(" or ".join(map(str, sorted(counts))))
    return result


def _rows(
    frame: "pd.DataFrame", several: Sequence[str], shown: Sequence[Column]
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Heading and cells for people."""
    # A column that no finished run could fill (the ELBO of autoencoders) tells people nothing; the CSV keeps it.
    filled = [column for column in shown if not frame[column.metric].isna().all()]
    shown = filled if frame["seeds"].sum() > 0 else [column for column in shown if column.compared]
    differ = frame["parameters"].nunique() > 1
    rows = []
    for row in frame.to_dict("records"):
        text = [*words(row, several), str(row["seeds"]), *([row["parameters"]] if differ else [])]
        means = [(row[column.metric], row[f"{column.metric} sd"], column) for column in shown]
        rows.append((*text, *(cell(_known(mean), _known(sd), column) for mean, sd, column in means)))
    heading = (*several, "seeds", *(["parameters"] if differ else []), *(column.title for column in shown))
    return heading, tuple(rows)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
