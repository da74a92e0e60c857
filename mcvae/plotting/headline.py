"""An experiment's table (results/tables/{experiment}.csv) as the report shows it: readable headings, mean ± sd, a small
chart of the main quantity, marks, and the sentences that say what it shows.

Marks and sentences are read from the table of paired differences and that of learned curvatures beside it (see
:mod:`.claims`), and so claim nothing that these do not.
"""

import csv
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UserError
from ..findings import tables
from ..findings.columns import LIKELIHOODS, SCORES, Column
from ..options import KIND_NAMES
from ..signature import parse
from . import style
from .claims import Claims, Subject, read_claims

IDENTITY = {"latent": "latent space", "kind": "model", "hidden": "hidden layers", "seeds": "seeds"}
COUNTS = ("seeds", "diverged", "missing")


@dataclass(frozen=True)
class Heading:
    """A column: heading and unit; ``metric`` is empty for words. Numbers are shown times ``factor``."""

    text: str
    unit: str = ""
    metric: str = ""
    factor: float = 1.0
    better: int = 0


@dataclass
class Cell:
    """What a cell says; ``mean`` and ``sd`` are numbers in the heading's unit, if it holds any.

    ``mark``: ``better`` or ``worse`` than all that its row is compared with, if that is established.
    """

    text: str
    mean: float | None = None
    sd: float | None = None
    mark: str = ""


@dataclass
class Row:
    """A configuration; ``dot`` and ``whisker`` are percentages along the small chart."""

    subject: Subject
    name: str
    colour: str
    cells: list[Cell]
    dot: float | None = None
    whisker: tuple[float, float] | None = None


@dataclass
class Table:
    """What the report renders: ``shared`` is what all rows have in common, ``sentences`` what the numbers say.

    ``against``: what rows are compared with, for the legend of the marks.
    """

    headings: list[Heading]
    rows: list[Row]
    shared: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    chart: str = ""
    scale: tuple[str, str] = ("", "")
    against: str = ""

    @property
    def marked(self) -> bool:
        """Whether any cell is marked."""
        return any(cell.mark for row in self.rows for cell in row.cells)


def read_table(path: Path, dataset: str) -> Table:
    """Read a table: a metric is a pair of columns ``x`` and ``x sd``, all others are words; notes are the Markdown's.

    Raises:
        UserError: if the file has no columns.
    """
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        names, records = list(reader.fieldnames or []), list(reader)
    if not names:
        raise UserError(f"{path}: an empty table; its first line names the columns")
    known = {column.metric: column for column in tables.columns(dataset, *_asked(names))}
    claims = read_claims(path, names, records)
    table = Table([], [_row(record, claims) for record in records], notes=_notes(path.with_suffix(".md")))
    table.against = claims.against
    for name in names:
        if name in COUNTS or name == "latent" or (name.endswith(" sd") and name.removesuffix(" sd") in names):
            continue
        column = known.get(name)
        numbers = [_number(record[name]) for record in records]
        if f"{name} sd" not in names and column is None:
            _add_words(table, name, [record[name] for record in records])
        elif any(number is not None for number in numbers) and (column is None or column.shown):
            column = column or Column(name, name)
            table.headings.append(Heading(column.name, column.unit, name, column.factor, column.better))
            for row, record, number in zip(table.rows, records, numbers, strict=True):
                cell = _cell(number, _number(record.get(f"{name} sd")), column)
                cell.mark = claims.mark(row.subject, name)
                row.cells.append(cell)
    _add_words(table, "seeds", [_seeds(record) for record in records])
    _conclude(table, claims, known)
    return table


def _row(record: dict[str, str], claims: Claims) -> Row:
    latent, kind = record.get("latent") or "", record.get("kind") or "vae"
    try:
        colour = style.colour(latent, kind)
    except UserError:
        colour = style.GREY
    return Row(claims.subject(record), style.name(latent, kind), colour, [])


def _seeds(record: dict[str, str]) -> str:
    """``3``, or ``1 (1 diverged)``."""
    lost = [f"{record[name]} {name}" for name in COUNTS[1:] if record.get(name) not in (None, "", "0")]
    return record.get("seeds", "") + (f" ({', '.join(lost)})" if lost else "")


def _add_words(table: Table, name: str, values: list[str]) -> None:
    """A column of words, or a remark below the table if it says the same in every row."""
    heading = IDENTITY.get(name, name.replace("_", " "))
    if name == "kind":
        values = [KIND_NAMES.get(value, value) for value in values]
        if len(set(values)) > 1:  # the row's name says it
            return
    if len(set(values)) == 1 and len(values) > 1:
        table.shared.append(f"{heading} {values[0]}")
        return
    table.headings.append(Heading(heading))
    for row, value in zip(table.rows, values, strict=True):
        row.cells.append(Cell(value or "–"))


def _cell(mean: float | None, sd: float | None, column: Column) -> Cell:
    if mean is None:
        return Cell("–")
    mean, sd = mean * column.factor, None if sd is None else sd * column.factor
    return Cell(format_mean(mean, sd, column.decimals if column.error else None), mean, sd)


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _notes(path: Path) -> list[str]:
    """The remarks below the Markdown form of the table."""
    if not path.is_file():
        return []
    lines = (line for line in path.read_text(encoding="utf-8").split("\n### ")[0].splitlines() if line.startswith("- "))
    return [re.sub(r"\\([\\`*_{}\[\]<>#|])", r"\1", line[2:]) for line in lines]


def format_mean(mean: float, sd: float | None = None, decimals: int | None = None) -> str:
    """``−95.31 ± 0.34``: unless decimals are given, three significant digits of the mean, and at least two of nats."""
    size = abs(mean)
    if decimals is None:
        decimals = 2 if size >= 1 or size == 0 else min(2 - math.floor(math.log10(size)), 6)
    text = f"{mean:.{decimals}f}" if sd is None else f"{mean:.{decimals}f}\u00a0±\u00a0{sd:.{decimals}f}"
    return text.replace("-", "−")


def _asked(names: Iterable[str]) -> tuple[list[int], list[str]]:
    """The label budgets and the other protocols that a table's columns are of."""
    budgets = {int(match[1]) for name in names if (match := re.fullmatch(r"(?:\w+\.)?test\.\w+@(\d+)", name))}
    protocols = dict.fromkeys(match[1] for name in names if (match := re.fullmatch(r"([a-z]+)\.test\.\w+", name)))
    return sorted(budgets), list(protocols)


def _conclude(table: Table, claims: Claims, known: dict[str, Column]) -> None:
    """The small chart and the first sentences are of the main quantity that the rows have; the next of a score."""
    for metrics in (LIKELIHOODS, SCORES):
        for metric in metrics:
            column = next((i for i, heading in enumerate(table.headings) if heading.metric == metric), None)
            cells = [] if column is None else [(row, row.cells[column]) for row in table.rows]
            found = [(row, cell) for row, cell in cells if cell.mean is not None]
            if len(found) > 1:
                leaders = _leaders(found, table.headings[column], claims)
                table.sentences += leaders
                if leaders:
                    table.sentences += claims.sentences(known[metric])
                if metrics is LIKELIHOODS:
                    _chart(table, found, table.headings[column])
                break
    table.sentences += claims.of_curvatures()


def _chart(table: Table, found: list[tuple[Row, Cell]], heading: Heading) -> None:
    ends = [cell.mean + sign * (cell.sd or 0) for _, cell in found for sign in (-1, 1)]
    low, high = min(ends), max(ends)
    margin = 0.04 * (high - low) or 0.5
    low, span = low - margin, high - low + 2 * margin
    for row, cell in found:
        row.dot = round(100 * (cell.mean - low) / span, 2)
        half = 100 * (cell.sd or 0) / span
        row.whisker = (round(row.dot - half, 2), round(2 * half, 2)) if half else None
    table.chart = heading.text
    table.scale = (format_mean(low), format_mean(low + span))


def _tells(found: list[tuple[Row, Cell]]) -> bool:
    """Whether there is a highest at all: not where all means are equal, or the best of a score is 0."""
    means = {cell.mean for _, cell in found}
    return len(means) > 1 and max(means) != 0


def _leaders(found: list[tuple[Row, Cell]], heading: Heading, claims: Claims) -> list[str]:
    """A sentence a dimension, rising: spaces of different dimensions are not ranked among each other."""
    dims: dict[int, list[tuple[Row, Cell]]] = {}
    for row, cell in found:
        dims.setdefault(_dim(row.subject[0]), []).append((row, cell))
    return [
        _leader(dims[dim], heading, claims, f" in {dim} dimensions" if dim and len(dims) > 1 else "")
        for dim in sorted(dims)
        if len(dims[dim]) > 1 and _tells(dims[dim])
    ]


def _dim(latent: str) -> int:
    """The dimension of a latent space; 0 of what is none."""
    try:
        return parse(latent).dim
    except UserError:
        return 0


def _leader(found: list[tuple[Row, Cell]], heading: Heading, claims: Claims, where: str) -> str:
    """The two best means of one dimension, and what the table of differences says of these two."""
    sign, word = (1, "Lowest") if heading.better < 0 else (-1, "Highest")
    (first, best), (second, next_best) = sorted(found, key=lambda pair: sign * pair[1].mean)[:2]
    said = claims.of_two(first.subject, second.subject, heading.metric)
    names = [claims.name(row.subject, row.name) for row in (first, second)]
    amounts = [f"{cell.text} {heading.unit}".strip() for cell in (best, next_best)]
    return (
        f"{word} mean {heading.text}{where}: {names[0]} with {amounts[0]}, then {names[1]} with {amounts[1]}; {said}."
    )
