"""Learned curvatures of an experiment: where they ended over the seeds, and which sign may be claimed of them.

As of a difference, nothing is claimed of a sign on fewer than five seeds, or before Holm's correction. Equal components
are exchangeable: they are sorted within each seed, so that the first of them is the lowest everywhere.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..signature import DEFAULT_CURVATURE, Component, parse
from .comparison import ALPHA, SEEDS_OF_A_CLAIM, Paired, holm, paired
from .statistics import RunRecord, deviation, group, mean, values

# A circle of radius 1, the scale of the prior, is sin(√K)/√K times as long as in the plane: at |K| = 0.1 within 1.7%.
FLAT = 0.1
NO_SIGN = "no sign established"
GIVEN = "given by the letter"


@dataclass(frozen=True)
class LearnedCurvature:
    """The curvature of one component of one row at the best epoch, over ``seeds`` finished runs.

    ``negative``, ``zero``, ``positive`` count seeds by sign. ``copies``: components of the row that are like this one;
    its numbers are those of the ``rank``-th of them from below in each seed (0: there is no other). ``interval``: mean,
    95% t interval and p of the mean against zero; ``adjusted``: that p after Holm's correction over the ``family`` of
    the experiment's learned curvatures that are ``free`` to have either sign; ``verdict``: what may be said.
    """

    row: RunRecord
    index: int
    component: str
    copies: int
    rank: int
    start: float
    seeds: int
    mean: float | None
    sd: float | None
    least: float | None
    most: float | None
    negative: int
    zero: int
    positive: int
    interval: Paired
    free: bool
    adjusted: float | None = None
    family: int = 0
    verdict: str = NO_SIGN


def learned_curvatures(records: Iterable[RunRecord]) -> list[LearnedCurvature]:
    """One entry for each component with a learned curvature, rows in grid order, from ``curvature.{index}``."""
    found = []
    for members in group(records):
        own = parse(members[0]["config"]["latent"]).components
        components = [replace(component, count=1) for component in own for _ in range(component.count)]
        for index, component in enumerate(components):
            if component.learn:
                alike = [place for place, other in enumerate(components) if other == component]
                found.append(_learned(members, component, index, alike))
    adjusted = holm([entry.interval.p if entry.free else None for entry in found])
    family = sum(p is not None for p in adjusted)
    return [
        replace(entry, adjusted=p, family=family, verdict=sign(entry.interval, p) if entry.free else GIVEN)
        for entry, p in zip(found, adjusted, strict=True)
    ]


def sign(found: Paired, adjusted: float | None) -> str:
    """``negative`` or ``positive`` if that is established: five seeds, and an adjusted p below 0.05, so that the 95%
    t interval keeps clear of zero. ``; |K| < 0.1`` is added if the interval of five seeds lies within it.
    """
    enough = found.n >= SEEDS_OF_A_CLAIM
    claimed = enough and adjusted is not None and adjusted < ALPHA
    said = ("negative" if found.mean < 0 else "positive") if claimed else NO_SIGN
    flat = enough and found.low is not None and -FLAT < found.low and found.high < FLAT
    return f"{said}; |K| < {FLAT:g}" if flat else said


def _learned(members: list[RunRecord], component: Component, index: int, alike: list[int]) -> LearnedCurvature:
    rank = alike.index(index)
    ends = [sorted(k for place in alike for k in values([run], f"curvature.{place}")) for run in members]
    numbers = [each[rank] for each in ends if len(each) == len(alike)]
    return LearnedCurvature(
        row=members[0],
        index=index,
        component=f"{component.letter}{component.dim}",
        copies=len(alike),
        rank=rank + 1 if len(alike) > 1 else 0,
        start=component.k,
        seeds=len(numbers),
        mean=mean(numbers),
        sd=deviation(numbers),
        least=min(numbers, default=None),
        most=max(numbers, default=None),
        negative=sum(k < 0 for k in numbers),
        zero=sum(k == 0 for k in numbers),
        positive=sum(k > 0 for k in numbers),
        interval=paired(numbers, [0.0] * len(numbers)),
        free=DEFAULT_CURVATURE[component.letter] == 0,
    )
