"""The tables below an experiment's table: paired differences, published figures, learned curvatures, LL against S.

Each has a frame for its CSV, which may be empty, and rows for people.
"""

import re
from typing import Any

from . import statistics
from .columns import Column
from .context import Context, cell, frame_of
from .curvatures import learned_curvatures
from .difference_table import difference_table
from .published_table import published_table
from .typeset import Table

SECTIONS = ("differences", "published", "curvatures", "likelihood")  # in the order of the page


def sections(context: Context) -> tuple[Table, ...]:
    """All of :data:`SECTIONS`, in order."""
    return (difference_table(context), published_table(context), curvatures(context), likelihood(context))


def curvatures(context: Context) -> Table:
    """Where learned curvatures ended: see :mod:`mcvae.findings.curvatures`."""
    found = learned_curvatures(context.records)
    rows, people = [], []
    column = Column("", "", decimals=3)
    for entry in found:
        signs = {"negative": entry.negative, "zero": entry.zero, "positive": entry.positive}
        rows.append(
            context.identity(entry.row)
            | {"component": entry.index, "space": entry.component, "copies": entry.copies, "start": entry.start}
            | {"seeds": entry.seeds, "curvature": entry.mean, "sd": entry.sd, "least": entry.least}
            | {"most": entry.most, **signs}
        )
        span = "" if entry.least is None else f"[{entry.least:+.3f}, {entry.most:+.3f}]"
        counts = [f"{count} of {entry.seeds}" if entry.seeds else "" for count in signs.values()]
        name = f"{entry.index}: {entry.component}"
        ended = cell(entry.mean, entry.sd, column)
        people.append((*context.words(entry.row), name, f"{entry.start:g}", str(entry.seeds), ended, span, *counts))
    names = ("space", "copies", "start", "seeds", "curvature", "sd", "least", "most", "negative", "zero", "positive")
    return Table(
        name="curvatures",
        title="Learned curvatures",
        caption="Sectional curvature K at the best epoch, mean ± standard deviation over seeds",
        frame=frame_of(rows, [*context.keys(), "component", *names]),
        heading=(*context.several, "component", "start", "seeds", "K", "range", "K < 0", "K = 0", "K > 0"),
        texts=len(context.several) + 1,
        rows=tuple(people),
        notes=(
            "K < 0, K = 0, K > 0: seeds that ended with that sign. Components that are alike are interchangeable: "
            "their order means nothing. The trajectories are in the runs' history.csv (curvature.0, ...).",
        ),
    )


def likelihood(context: Context) -> Table:
    """The log-likelihood estimate against the number S of importance samples, ``test.ll@{S}``."""
    keys = {key for record in context.records for key in record["metrics"] if re.fullmatch(r"test\.ll@\d+", key)}
    counts = sorted(int(key.partition("@")[2]) for key in keys)
    column = Column("", "")
    rows, people = [], []
    for members in statistics.group(context.records):
        numbers = {count: statistics.values(members, f"test.ll@{count}") for count in counts}
        if not any(numbers.values()):
            continue
        row: dict[str, Any] = dict(context.identity(members[0]))
        for count, values in numbers.items():
            row |= {f"test.ll@{count}": statistics.mean(values), f"test.ll@{count} sd": statistics.deviation(values)}
        rows.append(row)
        cells = (cell(statistics.mean(v), statistics.deviation(v), column) for v in numbers.values())
        people.append((*context.words(members[0]), *cells))
    records = sorted({round(number) for number in statistics.values(context.records, "test.ll_curve_n")})
    names = [name for count in counts for name in (f"test.ll@{count}", f"test.ll@{count} sd")]
    return Table(
        name="likelihood",
        title="Log-likelihood against importance samples",
        caption="LL [nats] estimated with S importance samples, mean ± standard deviation over seeds",
        frame=frame_of(rows, [*context.keys(), *names]),
        heading=(*context.several, *(f"S = {count}" for count in counts)),
        texts=len(context.several),
        rows=tuple(people),
        notes=(
            f"Of the first {' or '.join(map(str, records))} test records. The expectation of the estimate grows with S "
            "towards the log-likelihood, how fast depends on the posterior: spaces compare only where their columns "
            "have levelled out.",
        ),
    )
