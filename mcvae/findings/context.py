"""What the tables below an experiment's table share: the rows and how they are called, numbers as text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..options import KIND_NAMES
from . import statistics
from .columns import Column
from .published import Figure
from .statistics import RunRecord

if TYPE_CHECKING:
    import pandas as pd

    from ..grid import PlannedData


@dataclass(frozen=True)
class Context:
    """What all sections are made from.

    ``columns`` have their decimals; ``others``: keys of the configuration, beside latent, kind and hidden layers, in
    which rows differ; ``several``: the keys that people need to tell rows apart, the latent first; ``references``: what
    rows are compared with, in place of the Euclidean spaces.
    """

    records: Sequence[RunRecord]
    columns: Sequence[Column]
    others: Sequence[str]
    several: Sequence[str]
    figures: Sequence[Figure]
    data: "PlannedData"
    references: Sequence[str] = ()

    def identity(self, record: RunRecord) -> dict[str, str]:
        """All that a row is known by."""
        return statistics.identity(record, self.others)

    def words(self, record: RunRecord) -> list[str]:
        """The part of it that people see."""
        row = self.identity(record)
        return [KIND_NAMES[row[name]] if name == "kind" else row[name] for name in self.several]

    def keys(self) -> list[str]:
        """The columns of :meth:`identity`."""
        return [*statistics.IDENTITY, *self.others]


def signed(value: float | None, column: Column) -> str:
    """A difference in the column's unit, with its sign; zero has none."""
    if value is None:
        return ""
    text = f"{value * column.factor:+.{column.decimals}f}"
    return text[1:] if float(text) == 0 else text


def cell(mean: float | None, sd: float | None, column: Column) -> str:
    """``mean ± sd`` in the column's unit and decimals; empty without a mean, no ± without a deviation."""
    if mean is None:
        return ""
    text = f"{mean * column.factor:.{column.decimals}f}"
    return text if sd is None else f"{text} ± {sd * column.factor:.{column.decimals}f}"


def interval(low: float | None, high: float | None, column: Column) -> str:
    """``[+0.10, +0.74]`` in the column's unit; empty where there is none."""
    return "" if low is None or high is None else f"[{signed(low, column)}, {signed(high, column)}]"


def probability(p: float | None) -> str:
    """A p value as people see it."""
    return "" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


def frame_of(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> "pd.DataFrame":
    import pandas as pd

    # As objects: a column of numbers with gaps would turn whole numbers into floats.
    return pd.DataFrame([[row[name] for name in names] for row in rows], columns=list(names), dtype=object)
