"""The tables of diagnostics: how well a likelihood estimate is known, and what a model uses its latent space for.

Each row is the mean over seeds; the keys are explained in results/README.md.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from ..signature import Component, parse
from . import statistics
from .columns import Column
from .context import Context, cell, frame_of
from .statistics import RunRecord
from .typeset import Table

IMPORTANCE = (
    Column("test.ll", "LL", "nats"),
    Column("test.ll_se", "SE over records", "nats", decimals=3),
    Column("test.ll_mc_se", "SE of sampling", "nats", decimals=3),
    Column("test.importance_samples", "S", decimals=0),
    Column("test.ll_ess", "ESS", decimals=1),
    Column("test.ll_pareto_k", "Pareto k"),
    Column("test.ll_pareto_k_high", "k too high", "%", decimals=1, factor=100.0),
    Column("test.ll_quadrature", "LL (quadrature)", "nats"),
    Column("ll_lost", "lost by sampling", "nats", decimals=3),
)
OWN_OF_IMPORTANCE = ("test.ll_se", "test.ll_mc_se", "test.ll_ess", "test.ll_pareto_k")
USE = (
    Column("test.active_units", "active units", decimals=1),
    Column("test.mutual_information", "I(x; z)", "nats"),
    Column("test.mutual_information_se", "its SE", "nats", decimals=3),
    Column("test.mutual_information_above", "upper bound", "nats"),
    Column("test.aggregate_kl", "KL(q(z), p(z))", "nats"),
    Column("test.aggregate_n", "records", decimals=0),
)
OF_COMPONENT = (
    Column("test.kl", "KL", "nats"),
    Column("test.active_units", "active units", decimals=1),
    Column("test.mutual_information", "I(x; z)", "nats"),
    Column("test.aggregate_kl", "KL(q(z), p(z))", "nats"),
    Column("test.reconstruction_without", "RE without", "nats"),
    Column("lost", "lost", "nats"),
)

AT_LEAST = (
    "≥: within 0.5 nats of the log of the number of records, where the information is at least this, and how far the "
    "aggregate posterior is from the prior is not known: that cell is empty."
)


def importance(context: Context) -> Table:
    """Standard error, effective samples and Pareto k of the importance-sampled log-likelihood."""
    return _of_rows(
        context,
        "importance",
        "How well the log-likelihood is known",
        "Importance sampling with S samples a record, mean ± standard deviation over seeds",
        IMPORTANCE,
        OWN_OF_IMPORTANCE,
        (
            "SE over records: standard error of the mean over test records; SE of sampling: the part of it that other "
            "importance samples would change. Rows are paired on the same records, so differences are known better.",
            "ESS: effective number of samples, between 1 and S. Pareto k: shape of the tail of the importance weights "
            "(Vehtari et al. 2024), the median over records; k too high: the share of records in which it is above "
            "min(1 - 1/log10 S, 0.7). Their estimates are too low, and the standard errors do not tell.",
            "LL (quadrature): of latent spaces of two dimensions, the integral over a grid of the whole surface, of "
            "the same records and pixels, where it is known within 0.05 nats: it has no bias of sampling. Lost by "
            "sampling: what LL is below it.",
            *_of_first(context),
        ),
    )


def _at_least(context: Context, *indices: int | None) -> list[str]:
    """What ≥ means, where it is said of any row."""
    groups = statistics.group(context.records)
    return [AT_LEAST] if any(_saturated(members, index) for members in groups for index in indices) else []


def _of_first(context: Context) -> list[str]:
    """That a likelihood is of the first test records, where the bound is of more."""
    numbers = ({f"{n:,.0f}" for n in statistics.values(context.records, key)} for key in ("test.ll_n", "test.n"))
    first, every = (" or ".join(sorted(each)) for each in numbers)
    if not every or first == every:
        return []
    return [f"Of the first {first} of {every} test records; ELBO, RE and KL are of all of them."]


def diagnostics(context: Context) -> Table:
    """Active units, information and the aggregate posterior."""
    return _of_rows(
        context,
        "diagnostics",
        "Use of the latent space",
        "Of the first test records, mean ± standard deviation over seeds",
        USE,
        [column.metric for column in USE],
        (
            "Active units: coordinates in which the variance of the posterior mean over all test records is above 0.01 "
            "of the prior's variance (Burda et al. 2016): tangent ones at the origin, of vmf and ps those of the mean "
            "vector. I(x; z): information of z about which of these records x was, at most the log of their number. "
            "For the population it is a bound from below, and the upper bound, never above the KL, one from above: "
            "where they are far apart, there are too few records to tell. KL(q(z), p(z)): from the aggregate posterior "
            "to the prior; KL = I(x; z) + this (Hoffman & Johnson 2016).",
            *_at_least(context, None),
        ),
    )


def _of_rows(
    context: Context,
    name: str,
    title: str,
    caption: str,
    columns: Sequence[Column],
    needed: Iterable[str],
    notes: tuple[str, ...],
) -> Table:
    """The means of some metrics, of the rows that have any of the ``needed``; a column that none fills is not shown."""
    groups = statistics.group(context.records)
    groups = [g for g in groups if any(statistics.values(g, metric) for metric in needed)]
    shown = [c for c in columns if any(_numbers(g, c.metric) for g in groups)]
    rows = [context.identity(members[0]) | _means(members, columns) for members in groups]
    names = [text for column in columns for text in (column.metric, f"{column.metric} sd")]
    people = [(*context.words(members[0]), *_cells(members, shown)) for members in groups]
    return Table(
        name=name,
        title=title,
        caption=caption,
        frame=frame_of(rows, [*context.keys(), *names]),
        heading=(*context.several, *(column.title for column in shown)),
        texts=len(context.several),
        rows=tuple(people),
        notes=notes,
        aside=True,
    )


def _means(members: Sequence[RunRecord], columns: Sequence[Column], index: int | None = None) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for column in columns:
        numbers = _numbers(members, column.metric, index)
        row |= {column.metric: statistics.mean(numbers), f"{column.metric} sd": statistics.deviation(numbers)}
    return row


def _cells(members: Sequence[RunRecord], columns: Sequence[Column], index: int | None = None) -> list[str]:
    return [
        "≥ " * (column.metric == "test.mutual_information" and _saturated(members, index))
        + _cell(_numbers(members, column.metric, index), column)
        for column in columns
    ]


def _numbers(members: Sequence[RunRecord], metric: str, index: int | None = None) -> list[float]:
    """A metric of the runs, or of their component ``index``."""
    if metric in DERIVED:
        return DERIVED[metric](members, index)
    if metric == "test.aggregate_kl" and _saturated(members, index):
        return []  # of the seeds that have one, it would be the mean of the low ones
    return statistics.values(members, _key(metric, index))


def _saturated(members: Sequence[RunRecord], index: int | None) -> bool:
    """Whether the information of any run was too near to the log of the number of records to tell the rest."""
    known, apart = (
        statistics.values(members, _key(f"test.{n}", index)) for n in ("mutual_information", "aggregate_kl")
    )
    return len(apart) < len(known)


def _cell(numbers: Sequence[float], column: Column) -> str:
    """Mean ± sd; a number that was chosen, not measured, has no sd where all runs have the same."""
    chosen = column.decimals == 0 and len(set(numbers)) == 1
    return cell(statistics.mean(numbers), None if chosen else statistics.deviation(numbers), column)


def _key(metric: str, index: int | None) -> str:
    return metric if index is None else f"{metric}.{index}"


def components(context: Context) -> Table:
    """What each component of a latent space carries: KL, information, and the ablation (its prior in its place)."""
    rows, people = [], []
    for members in statistics.group(context.records):
        parts = _parts(members)
        ablated = statistics.values(members, "test.reconstruction_without.0")
        if not parts or (len(parts) == 1 and not ablated):
            continue
        for index, part in enumerate(parts):
            means = _means(members, OF_COMPONENT, index)
            rows.append(
                context.identity(members[0]) | {"component": index, "space": f"{part.letter}{part.dim}"} | means
            )
            words = (*context.words(members[0]), f"{index}: {part.letter}{part.dim}")
            people.append((*words, *_cells(members, OF_COMPONENT, index)))
    names = [text for c in OF_COMPONENT for text in (c.metric, f"{c.metric} sd")]
    return Table(
        name="components",
        title="Components",
        caption="Of each component of the latent space, mean ± standard deviation over seeds",
        frame=frame_of(rows, [*context.keys(), "component", "space", *names]),
        heading=(*context.several, "component", *(column.title for column in OF_COMPONENT)),
        texts=len(context.several) + 1,
        rows=tuple(people),
        notes=(
            "KL of the whole test split; all else of its first records, as in the table of the latent space's use. RE "
            "without: E log p(x|z) of these records with that component drawn from its prior, not its posterior.",
            "Lost: RE of these records minus RE without, which is what the decoder has from the component. Components "
            "that are alike are interchangeable.",
            *_at_least(context, *range(max((len(_parts([record])) for record in context.records), default=0))),
        ),
        aside=True,
    )


def _parts(members: Sequence[RunRecord]) -> list[Component]:
    """The components with counts written out; none of a row that has no numbers of components."""
    if not statistics.values(members, "test.kl.0"):
        return []
    return [c for c in parse(members[0]["config"]["latent"]).components for _ in range(c.count)]


def _lost(members: Sequence[RunRecord], index: int | None) -> list[float]:
    """RE - RE without the component, both of the same records."""
    found = []
    for record in members:
        numbers = record["metrics"]
        with_it = numbers.get("test.reconstruction_with")
        if with_it is None and numbers.get("test.n") == numbers.get("test.aggregate_n"):
            with_it = numbers.get("test.reconstruction")  # of an earlier evaluation, of the same records
        without = numbers.get(f"test.reconstruction_without.{index}")
        if record["status"] == "finished" and with_it is not None and without is not None:
            found.append(with_it - without)
    return found


def _lost_by_sampling(members: Sequence[RunRecord], index: int | None) -> list[float]:
    """LL by quadrature minus LL by importance sampling, both of the same records."""
    found = [[record["metrics"].get(f"test.{name}") for name in ("ll_quadrature", "ll")] for record in members]
    finished = (pair for record, pair in zip(members, found, strict=True) if record["status"] == "finished")
    return [exact - sampled for exact, sampled in finished if exact is not None and sampled is not None]


DERIVED = {"lost": _lost, "ll_lost": _lost_by_sampling}  # of several metrics of a run
