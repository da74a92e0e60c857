"""The tables below an experiment's table: paired differences, published figures, curvatures, how well LL is known, use
of the latent space. Each has a frame for its CSV, which may be empty, and rows for people.
"""

import re
from typing import Any

from . import statistics
from .columns import Column
from .comparison import SEEDS_OF_A_CLAIM
from .context import Context, cell, frame_of, interval, probability
from .curvature_grid import curvature_grid
from .curvatures import FLAT, GIVEN, NO_SIGN, learned_curvatures
from .diagnostics import components, diagnostics, importance
from .difference_table import difference_table
from .generation import generation
from .optimisation import optimised
from .published_table import published_table
from .targets import targets
from .typeset import Table


def sections(context: Context) -> tuple[Table, ...]:
    """All of :data:`SECTIONS`, in order."""
    return tuple(make(context) for make in _MAKERS.values())


def curvatures(context: Context) -> Table:
    """Where learned curvatures ended: see :mod:`mcvae.findings.curvatures`."""
    found = learned_curvatures(context.records)
    rows, people = [], []
    column = Column("", "", decimals=3)
    for entry in found:
        signs = {"negative": entry.negative, "zero": entry.zero, "positive": entry.positive}
        rows.append(
            context.identity(entry.row)
            | {"component": entry.index, "space": entry.component, "copies": entry.copies}
            | {"rank": entry.rank or None, "start": entry.start}
            | {"seeds": entry.seeds, "curvature": entry.mean, "sd": entry.sd, "least": entry.least}
            | {"most": entry.most, **signs, "low": entry.interval.low, "high": entry.interval.high}
            | {"p": entry.interval.p if entry.free else None, "p_holm": entry.adjusted}
            | {"comparisons": entry.family, "verdict": entry.verdict}
        )
        counts = "/".join(map(str, signs.values())) if entry.seeds else ""
        name = f"{entry.component}, no. {entry.rank}" if entry.rank else f"{entry.index}: {entry.component}"
        ended = cell(entry.mean, entry.sd, column)
        known = interval(entry.interval.low, entry.interval.high, column), probability(entry.adjusted)
        words = (*context.words(entry.row), name, f"{entry.start:g}", str(entry.seeds))
        people.append((*words, ended, *known, counts, entry.verdict))
    names = (
        "component space copies rank start seeds curvature sd least most negative zero positive low high p p_holm "
        "comparisons verdict"
    ).split()
    heading = ("component", "start", "seeds", "K", "95% interval", "p (Holm)", "signs -/0/+", "sign")
    return Table(
        name="curvatures",
        title="Learned curvatures",
        caption="Sectional curvature K at the best epoch, mean ± standard deviation over seeds",
        frame=frame_of(rows, [*context.keys(), *names]),
        heading=(*context.several, *heading),
        texts=len(context.several) + 1,
        rows=tuple(people),
        notes=tuple(_curvature_notes(max((entry.family for entry in found), default=0))),
    )


def _curvature_notes(family: int) -> list[str]:
    return [
        f"Sign: negative or positive is established by {SEEDS_OF_A_CLAIM} seeds or more and a corrected p below 0.05; "
        f"'{NO_SIGN}' otherwise. p: of the mean against zero, two-sided t test over seeds, corrected by Holm's method "
        f"over the learned curvatures that may have either sign ({family}). '{GIVEN}': only 'u' may change its sign.",
        f"|K| < {FLAT:g}: the 95% t interval of the mean lies within it, and there the length of a circle of radius "
        "1 (the scale of the prior) is the plane's within 2%.",
        "Signs -/0/+: seeds that ended below, at and above zero. Components that are alike are interchangeable, and "
        "numbered by where they ended in each seed, the lowest first: the lowest of several that merely scatter about "
        "zero is negative too, so that its sign is no proof of curvature. The trajectories are in the runs' "
        "history.csv (curvature.0, ...).",
    ]


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
        aside=True,
    )


_MAKERS = {  # in the order of the page; the names are those of the CSV files
    "differences": difference_table,
    "published": published_table,
    "curvatures": curvatures,
    "curvature_grid": curvature_grid,
    "likelihood": likelihood,
    "importance": importance,
    "diagnostics": diagnostics,
    "components": components,
    "targets": targets,
    "generation": generation,
    "optimised": optimised,
}
SECTIONS = tuple(_MAKERS)
