"""The table of paired differences: see :mod:`mcvae.findings.comparison` for the numbers."""

from collections.abc import Sequence

from . import comparison, published
from .columns import Column
from .comparison import Difference
from .context import Context, frame_of, interval, probability, signed
from .published import MARK
from .typeset import Table

NAMES = (
    "against equal_scales metric seeds left_out difference sd low high p p_holm comparisons verdict published "
    "published_half_width published_recalled published_source published_differs"
).split()


def difference_table(context: Context) -> Table:
    """Each row against what it is compared with, paired by seed: metric by metric, rows in grid order."""
    better = {column.metric: column.better for column in context.columns}
    found = comparison.differences(context.records, better, context.references)
    known = {column.metric: column for column in context.columns}
    comparable = [] if context.data.label else context.figures
    beside = [published.difference(comparable, d.metric, d.row, d.against) for d in found]
    rows, people = [], []
    for difference, theirs in zip(found, beside, strict=True):
        column, pair = known[difference.metric], difference.paired
        rows.append(
            context.identity(difference.row)
            | {"against": difference.against, "equal_scales": "yes" if difference.equal_scales else "no"}
            | {"metric": difference.metric, "seeds": pair.n, "left_out": len(difference.left_out)}
            | {"difference": pair.mean, "sd": pair.sd, "low": pair.low, "high": pair.high}
            | {"p": pair.p, "p_holm": difference.adjusted, "comparisons": difference.family}
            | {"verdict": difference.verdict}
            | {"published": theirs and theirs.value, "published_half_width": theirs and theirs.half}
            | {"published_recalled": _recalled(theirs), "published_source": theirs.source if theirs else ""}
            | {"published_differs": "; ".join(theirs.differs) if theirs else ""}
        )
        if column.compared:
            cells = (signed(pair.mean, column), interval(pair.low, pair.high, column))
            cells = (*cells, probability(difference.adjusted), difference.verdict, _their_difference(theirs, column))
            words = (*context.words(difference.row), difference.against, column.title)
            people.append((*words, str(pair.n), *cells))
    heading = ["against", "metric", "seeds", "difference", "95% interval", "p (Holm)", "verdict", "published"]
    if not any(beside):
        heading, people = heading[:-1], [row[:-1] for row in people]
    texts = len(context.several) + 2
    partner = " or ".join(context.references) or "the Euclidean space"
    return Table(
        name="differences",
        title=f"Paired differences from {partner}",
        caption=f"Row minus {partner} of equal dimension, runs paired by seed",
        frame=frame_of(rows, [*context.keys(), *NAMES]),
        heading=(*context.several, *heading),
        texts=texts,
        rows=tuple(people),
        notes=tuple(_difference_notes(found, context, [theirs for theirs in beside if theirs])),
        code=(0, texts - 2),
    )


def _their_difference(theirs: published.PublishedDifference | None, column: Column) -> str:
    if theirs is None:
        return ""
    text = signed(theirs.value, column) + MARK * theirs.recalled
    if theirs.half is None:
        return text
    return f"{text} ± {theirs.half * column.factor:.{column.decimals}f}{MARK * theirs.half_recalled}"


def _recalled(theirs: published.PublishedDifference | None) -> str:
    if theirs is None:
        return ""
    return "value" if theirs.recalled else "half width" if theirs.half_recalled else ""


def _difference_notes(
    found: Sequence[Difference], context: Context, theirs: Sequence[published.PublishedDifference]
) -> list[str]:
    claim = comparison.SEEDS_OF_A_CLAIM
    notes = [
        "Intervals: 95% t intervals of the mean difference over common seeds, with n - 1 degrees of freedom; a single "
        "common seed has none, nor have differences that are equal in every seed.",
        f"p: two-sided, corrected by Holm's method over the comparisons that have one, rows and partners, for each "
        f"metric by itself (at most {max((d.family for d in found), default=0)}).",
        f"'{comparison.NOTHING}': fewer than {claim} common seeds, or a corrected p of {comparison.ALPHA} or more.",
    ]
    if any(not d.equal_scales for d in found):
        notes.append(
            "vmf, ps, rn and iso have one scale for all dimensions of a component, other spaces one a dimension; where "
            "the numbers of scales differ, so may the result for that reason (equal_scales in the CSV)."
        )
    lost: dict[str, None] = {}
    for d in (d for d in found if d.left_out):
        seeds = ", ".join(map(str, d.left_out))
        lost[f"{', '.join(context.words(d.row))} against {d.against}: without seed {seeds}"] = None
    if lost:
        reason = "a run is missing, diverged or without the number; differences are of those seeds that have both"
        notes.append(f"Seeds without a pair ({reason}): {'; '.join(lost)}.")
    if theirs:
        notes.append(
            "Published: difference of the published means ± half-width of its 95% interval (Welch, runs not paired); "
            f"{MARK}: quoted from memory, not read again."
        )
        apart = dict.fromkeys(f"{each.source}: {'; '.join(each.differs)}" for each in theirs if each.differs)
        notes += [f"What these runs did otherwise than the source: {text}." for text in apart]
    made = {difference.metric for difference in found}
    hidden = [column.heading for column in context.columns if column.metric in made and not column.compared]
    if hidden:
        notes.append(f"Differences of the other metrics ({', '.join(hidden)}) are in the CSV of differences.")
    return notes
