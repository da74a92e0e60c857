"""Learned curvatures of an experiment: where they ended over the seeds, and with which sign."""

from collections.abc import Iterable
from dataclasses import dataclass

from ..signature import Component, parse
from .statistics import RunRecord, deviation, group, mean, values


@dataclass(frozen=True)
class LearnedCurvature:
    """The curvature of one component of one row at the best epoch, over ``seeds`` finished runs.

    ``negative``, ``zero``, ``positive`` count seeds by sign. ``copies``: components of the row that are like this one;
    their order means nothing.
    """

    row: RunRecord
    index: int
    component: str
    copies: int
    start: float
    seeds: int
    mean: float | None
    sd: float | None
    least: float | None
    most: float | None
    negative: int
    zero: int
    positive: int


def learned_curvatures(records: Iterable[RunRecord]) -> list[LearnedCurvature]:
    """One entry for each component with a learned curvature, rows in grid order, from ``curvature.{index}``."""
    found = []
    for members in group(records):
        index = 0
        for component in parse(members[0]["config"]["latent"]).components:
            for place in range(index, index + component.count):
                if component.learn:
                    found.append(_learned(members, component, place))
            index += component.count
    return found


def _learned(members: list[RunRecord], component: Component, index: int) -> LearnedCurvature:
    numbers = values(members, f"curvature.{index}")
    return LearnedCurvature(
        row=members[0],
        index=index,
        component=f"{component.letter}{component.dim}",
        copies=component.count,
        start=component.k,
        seeds=len(numbers),
        mean=mean(numbers),
        sd=deviation(numbers),
        least=min(numbers, default=None),
        most=max(numbers, default=None),
        negative=sum(k < 0 for k in numbers),
        zero=sum(k == 0 for k in numbers),
        positive=sum(k > 0 for k in numbers),
    )
