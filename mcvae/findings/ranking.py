"""The candidates of a search in their order, beside the leader and with what may be said of the difference.

The validation split ranks; the test split is reported for the last rung and chooses nothing. Equal results give equal
bytes.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..datasets import DATASETS
from ..errors import UserError
from ..files import write_text
from ..search import DECIDES
from . import statistics
from .columns import Column
from .comparison import SEEDS_OF_A_CLAIM, Paired, holm, paired, verdict
from .context import cell, frame_of, signed
from .statistics import RunRecord
from .typeset import Table, to_csv, to_markdown

if TYPE_CHECKING:
    from ..grid import PlannedData, PlannedExperiment

LEADER = "leader"
ELBO = Column("validation.elbo", "validation ELBO", "nats")
LOSS = Column(DECIDES, "validation loss")
TEST = Column("test.ll", "test LL", "nats")
DIFFERENCE = replace(LOSS, heading="loss above the leader's")
WRITERS = {"csv": to_csv, "md": to_markdown}


@dataclass(frozen=True)
class Ranked:
    """A candidate in the last rung that it reached; ``rank`` is None if it diverged, or if the search goes on.

    ``paired``: its validation loss minus the leader's, seed by seed. ``adjusted``: p after Holm's correction over
    ``family`` comparisons. ``finding``: what may be said, or why the candidate is where it is.
    """

    latent: str
    rung: int
    epochs: int
    records: tuple[RunRecord, ...]
    rank: int | None = None
    paired: Paired | None = None
    adjusted: float | None = None
    family: int = 0
    finding: str = ""

    def values(self, metric: str) -> list[float]:
        """A metric over the finished seeds."""
        return statistics.values(self.records, metric)

    def seeds(self, status: str) -> list[int]:
        """The seeds of that status."""
        return [record["config"]["seed"] for record in self.records if record["status"] == status]

    @property
    def loss(self) -> float | None:
        """What the candidate is ranked by: the mean over all of its seeds; None if one diverged or is missing."""
        if len(self.seeds("finished")) < len(self.records):
            return None
        return statistics.mean(self.values(DECIDES))


def write_ranking(
    experiment: "PlannedExperiment", results: Path, outputs: Mapping[str, Path], *, data: "PlannedData"
) -> None:
    """Write the ranking of a search, from the ``metrics.json`` of its runs, as ``csv`` and ``md``.

    Raises:
        UserError: the experiment is no search, or a file is broken.
    """
    table = build(experiment, statistics.experiment_records(experiment, results), data)
    for kind, path in outputs.items():
        write_text(path, WRITERS[kind](table))


def is_over(experiment: "PlannedExperiment", records: Iterable[RunRecord]) -> bool:
    """Whether the order is final: the last rung is complete, or no candidate of the newest one is left."""
    rung = experiment.rungs[-1]
    newest = {member.place.name for member in rung.members}
    found = [record for record in records if record["run"] in newest]
    if any(record["status"] == "missing" for record in found):
        return False
    diverged = {record["config"]["latent"] for record in found if record["status"] == "diverged"}
    return rung.last or len(diverged) == len(rung.candidates)


def rank(experiment: "PlannedExperiment", records: Sequence[RunRecord]) -> list[Ranked]:
    """The candidates, the best first; before all those whose runs are missing, after all those that diverged.

    They are ordered by the rung that they reached, then by the mean validation loss of their best epochs in it; equal
    ones in the order of the candidates. In a final order those of the last rung are compared with the leader, pair by
    pair of seeds. The leader was chosen by the numbers that it is compared by, so Holm's correction is over all pairs
    of the last rung: what holds for every pair holds for those with the leader.

    Raises:
        UserError: the experiment is no search.
    """
    if not experiment.rungs:
        raise UserError(f"ranking {experiment.name!r}: the experiment is no search; it has no rungs")
    by_run = {record["run"]: record for record in records}
    reached: dict[str, Ranked] = {}
    for rung in experiment.rungs:
        for latent in rung.candidates:
            members = (by_run[member.place.name] for member in rung.members if member.latent == latent)
            reached[latent] = Ranked(latent, rung.number, rung.epochs, tuple(members))
    whole = sorted(
        (each for each in reached.values() if each.loss is not None), key=lambda each: (-each.rung, each.loss)
    )
    broken = [each for each in reached.values() if each.loss is None]
    newest = experiment.rungs[-1]
    final = [each for each in whole if each.rung == newest.number]
    ordered = [replace(each, finding=f"out after rung {each.rung}") for each in whole[len(final) :]]
    over = newest.last and is_over(experiment, records)
    ordered = [*(_compared(final) if over else final), *ordered]
    if over:
        ordered = [replace(each, rank=place) for place, each in enumerate(ordered, 1)]
    broken = [replace(each, finding=_fate(each)) for each in broken]
    waiting = [each for each in broken if each.seeds("missing")]
    return [*waiting, *ordered, *(each for each in broken if each not in waiting)]


def _compared(final: Sequence[Ranked]) -> list[Ranked]:
    """Those of the last rung with their differences from the first of them."""
    if not final:
        return []
    pairs = list(itertools.combinations(range(len(final)), 2))
    found = [_paired(final[b], final[a]) for a, b in pairs]
    adjusted = holm([each.p for each in found])
    family = sum(p is not None for p in adjusted)
    result = [replace(final[0], finding=LEADER)]
    for (first, second), difference, p in zip(pairs, found, adjusted, strict=True):
        if first == 0:  # a lower loss is better
            said = verdict(difference, p, better=-1)
            result.append(replace(final[second], paired=difference, adjusted=p, family=family, finding=said))
    return result


def _paired(each: Ranked, other: Ranked) -> Paired:
    ours, theirs = (
        {r["config"]["seed"]: float(r["metrics"][DECIDES]) for r in x.records if r["status"] == "finished"}
        for x in (each, other)
    )
    common = sorted(ours.keys() & theirs.keys())
    return paired([ours[seed] for seed in common], [theirs[seed] for seed in common])


def _fate(each: Ranked) -> str:
    parts = []
    for status in ("diverged", "missing"):
        seeds = each.seeds(status)
        if seeds:
            parts.append(f"{status} (seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))})")
    return ", ".join(parts)


def build(experiment: "PlannedExperiment", records: Sequence[RunRecord], data: "PlannedData") -> Table:
    """The ranking as a table; see :func:`rank`.

    Raises:
        UserError: the experiment is no search.
    """
    ranked, spec = rank(experiment, records), experiment.spec
    rows = [_row(each, experiment) for each in ranked]
    over = is_over(experiment, records)
    protocol = records[0]["config"]["protocol"]
    protocol = "" if protocol == "standard" else f", {protocol} pixels"
    # Of what is not the ELBO with another sign, people see it too.
    shown = [LOSS, ELBO] if DATASETS[spec.dataset].property_weight is not None else [ELBO]
    shown = [*shown, TEST] if any(row[TEST.metric] is not None for row in rows) else shown
    compared = ["95% interval", "p (Holm)"] if any(each.paired and each.paired.p is not None for each in ranked) else []
    beside = [DIFFERENCE.title, *compared] if any(each.paired for each in ranked) else []
    heading = ("rank", "latent", "rung", "epochs", "seeds", *(column.title for column in shown), *beside, "finding")
    return Table(
        name=f"{experiment.name}-ranking",
        title=f"{spec.title or experiment.key}: {'ranking' if over else 'a search that goes on'}",
        caption=f"{DATASETS[spec.dataset].name}{protocol}; mean ± standard deviation over seeds",
        frame=frame_of(rows, list(rows[0])),
        heading=heading,
        texts=2,
        rows=tuple(_cells(each, experiment, shown, beside) for each in ranked),
        notes=tuple(_notes(experiment, records, ranked, data)),
        code=(1,),
    )


def _row(each: Ranked, experiment: "PlannedExperiment") -> dict[str, Any]:
    pair = each.paired or Paired(0)
    row: dict[str, Any] = {"rank": each.rank, "latent": each.latent, "rung": each.rung, "epochs": each.epochs}
    row |= {"seeds": len(each.seeds("finished"))} | {s: len(each.seeds(s)) for s in ("diverged", "missing")}
    for column in (LOSS, ELBO, TEST):
        numbers = each.values(column.metric) if column is not TEST or _tested(each, experiment) else []
        row |= {column.metric: statistics.mean(numbers), f"{column.metric} sd": statistics.deviation(numbers)}
    row |= {"difference": pair.mean, "low": pair.low, "high": pair.high, "pairs": pair.n if each.paired else None}
    row |= {"p": pair.p, "p_holm": each.adjusted, "comparisons": each.family if each.paired else None}
    return row | {"finding": each.finding}


def _tested(each: Ranked, experiment: "PlannedExperiment") -> bool:
    """Whether the candidate's test numbers are reported: those of the last rung."""
    newest = experiment.rungs[-1]
    return newest.last and each.rung == newest.number


def _cells(
    each: Ranked, experiment: "PlannedExperiment", shown: Sequence[Column], beside: Sequence[str]
) -> tuple[str, ...]:
    seeds = f"{len(each.seeds('finished'))}"
    if len(each.seeds("finished")) < len(each.records):
        seeds += f" of {len(each.records)}"
    numbers = [
        each.values(column.metric) if column is not TEST or _tested(each, experiment) else [] for column in shown
    ]
    means = [
        cell(statistics.mean(values), statistics.deviation(values), column)
        for values, column in zip(numbers, shown, strict=True)
    ]
    differences: list[str] = []
    if beside:
        pair = each.paired or Paired(0)
        low, high = (signed(value, DIFFERENCE) for value in (pair.low, pair.high))
        p = "" if each.adjusted is None else "<0.001" if each.adjusted < 0.001 else f"{each.adjusted:.3f}"
        differences = [signed(pair.mean, DIFFERENCE), f"[{low}, {high}]" if low else "", p][: len(beside)]
    first = ("" if each.rank is None else str(each.rank), each.latent, str(each.rung), str(each.epochs), seeds)
    return (*first, *means, *differences, each.finding)


def _notes(
    experiment: "PlannedExperiment", records: Sequence[RunRecord], ranked: Sequence[Ranked], data: "PlannedData"
) -> list[str]:
    search, newest = experiment.spec.search, experiment.rungs[-1]
    found = [f"Data: {data.note}." + (" These numbers say nothing about the real data set." if data.stand_in else "")]
    steps = ", then ".join(
        f"{len(rung.candidates)} for {rung.epochs} epoch{'s' * (rung.epochs > 1)}" for rung in experiment.rungs
    )
    found.append(
        f"Search: {search.dim} dimensions as products of factors of one dimension, of {', '.join(search.letters)}; "
        f"{steps}. Every rung trains anew; {search.keep:.3g} of its candidates, rounded up, go on: those of the least "
        "validation loss of the best epoch, the mean over seeds."
    )
    found.append(_state(experiment, records))
    if experiment.rungs[0] is not newest:
        found.append("Candidates are ordered by the rung that they reached; losses of different rungs do not compare.")
    if any(_tested(each, experiment) for each in ranked):
        found.append("The test split is reported for the last rung, and chooses nothing.")
    family = max((each.family for each in ranked), default=0)
    if family:
        found.append(
            "The leader was chosen by the numbers that it is compared by: p values are corrected (Holm) over all "
            f"{family} pairs of the last rung, and intervals, which are not, flatter the leader."
        )
    seeds = len(newest.seeds)
    if seeds < SEEDS_OF_A_CLAIM:
        said = f"{seeds} seed{'s' * (seeds > 1)}"
        found.append(f"With {said} a pair the order is a hint: at least {SEEDS_OF_A_CLAIM} establish a difference.")
    found += [f"Diverged: {r['run']} ({r['cause'] or 'cause unknown'})." for r in records if r["status"] == "diverged"]
    return found


def _state(experiment: "PlannedExperiment", records: Sequence[RunRecord]) -> str:
    """How far the search got."""
    newest, of = experiment.rungs[-1], len(experiment.spec.search.rungs)
    if is_over(experiment, records):
        if newest.last:
            return f"All {of} rungs are trained." if of > 1 else "The one rung is trained."
        return f"Every candidate diverged in rung {newest.number} of {of}: the search ended there, without a ranking."
    missing = {record["run"] for record in records if record["status"] == "missing"}
    left = sum(member.place.name in missing for member in newest.members)
    if left:
        return f"Not finished: {left} of the {len(newest.members)} runs of rung {newest.number} of {of} are missing."
    return f"Not finished: rung {newest.number} of {of} is trained; the same command goes on with the next."
