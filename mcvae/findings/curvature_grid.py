"""Spaces over their curvature: which rows of an experiment make a grid, and the table of the figure.

The figure (:mod:`mcvae.plotting.curvature_grid`) groups its runs by the same :func:`grids`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from ..files import canonical_json
from ..gallery import CURVATURES_OF_A_GRID
from ..signature import DEFAULT_CURVATURE, is_flat, parse
from . import statistics
from .columns import Column
from .context import Context, cell, frame_of
from .statistics import RunRecord
from .typeset import Table

CURVATURE = Column("", "K", decimals=3)
T = TypeVar("T")


@dataclass
class Shape(Generic[T]):
    """A space whatever its curvature: the runs at each fixed one, and those that learned it."""

    name: str
    fixed: dict[float, list[T]] = field(default_factory=dict)
    learned: list[T] = field(default_factory=list)


@dataclass
class Grid(Generic[T]):
    """The spaces of one dimension, and of equal networks and training: they alone can be compared."""

    dim: int
    first: T
    shapes: dict[str, Shape[T]] = field(default_factory=dict)
    flat: dict[str, list[T]] = field(default_factory=dict)


@dataclass(frozen=True)
class Point:
    """A row of the table: runs of one space at one fixed curvature, or where the runs of a learned one ended.

    ``k``: one number, or a learned one a finished run; of equal components the ``copy``-th from below (0: only one).
    """

    space: str
    learned: bool
    k: tuple[float, ...]
    copy: int
    members: tuple[RunRecord, ...]


def grids(runs: Iterable[T], config: Callable[[T], Mapping[str, Any]]) -> list[Grid[T]]:
    """The grids, dimensions rising: a space of one component at :data:`CURVATURES_OF_A_GRID` fixed curvatures or more.

    Args:
        config: gives the canonical configuration of a run.
    """
    found: dict[tuple[int, str], Grid[T]] = {}
    for run in runs:
        own = config(run)
        signature = parse(own["latent"])
        if own["model"]["kind"] != "vae" or (len(signature.components) > 1 and not is_flat(signature)):
            continue
        network = canonical_json({key: value for key, value in own.items() if key not in ("latent", "seed")})
        grid = found.setdefault((signature.dim, network), Grid(signature.dim, run))
        if is_flat(signature):
            grid.flat.setdefault(own["latent"], []).append(run)
            continue
        component = signature.components[0]
        name = str(replace(component, k=DEFAULT_CURVATURE[component.letter], learn=False))
        shape = grid.shapes.setdefault(name, Shape(name))
        if component.learn:
            shape.learned.append(run)
        else:
            shape.fixed.setdefault(component.k, []).append(run)
    whole = [g for g in found.values() if any(len(s.fixed) >= CURVATURES_OF_A_GRID for s in g.shapes.values())]
    return sorted(whole, key=lambda grid: grid.dim)


def points(grid: Grid[RunRecord]) -> Iterator[Point]:
    """The rows of a grid: the Euclidean spaces, then each other one at its fixed curvatures and its learned ones."""
    for latent, members in grid.flat.items():
        yield Point(latent, False, (0.0,), 0, tuple(members))
    for shape in grid.shapes.values():
        for k, members in sorted(shape.fixed.items()):
            yield Point(shape.name, False, (k,), 0, tuple(members))
        for members in statistics.group(shape.learned):
            copies = parse(members[0]["config"]["latent"]).components[0].count
            ends = [sorted(k for i in range(copies) for k in statistics.values([r], f"curvature.{i}")) for r in members]
            for copy in range(copies):
                ks = tuple(each[copy] for each in ends if len(each) == copies)
                yield Point(shape.name, True, ks, copy + (copies > 1), tuple(members))


def curvature_grid(context: Context) -> Table:
    """What the figure of the curvature grid shows, as numbers."""
    shown = [column for column in context.columns if column.compared]
    shown = [column for column in shown if statistics.values(context.records, column.metric)]
    names = [name for column in shown for name in (column.metric, f"{column.metric} sd")]
    rows, people = [], []
    for point in (point for grid in grids(context.records, lambda r: r["config"]) for point in points(grid)):
        first = point.members[0]
        numbers = [statistics.values(point.members, column.metric) for column in shown]
        seeds = sum(record["status"] == "finished" for record in point.members)
        row: dict[str, Any] = context.identity(first) | {
            "space": point.space,
            "learned": "yes" if point.learned else "no",
            "copy": point.copy or None,
            "k": statistics.mean(point.k),
            "k sd": statistics.deviation(point.k),
            "seeds": seeds,
        }
        for column, values in zip(shown, numbers, strict=True):
            row |= {column.metric: statistics.mean(values), f"{column.metric} sd": statistics.deviation(values)}
        rows.append(row)
        cells = [
            cell(statistics.mean(values), statistics.deviation(values), column)
            for column, values in zip(shown, numbers, strict=True)
        ]
        people.append((*context.words(first), *_curvature(point), str(seeds), *cells))
    copies = any(row["copy"] for row in rows)
    names = ["space", "learned", "copy", "k", "k sd", "seeds", *names]
    return Table(
        name="curvature_grid",
        title="Against curvature",
        caption="Sectional curvature K, fixed or learned (of the best epoch); mean ± standard deviation over seeds",
        frame=frame_of(rows, [*context.keys(), *names]),
        heading=(*context.several, "K is", "K", "seeds", *(column.title for column in shown)),
        texts=len(context.several) + 1,
        rows=tuple(people),
        notes=(
            "The numbers of the figure of the same name. The best of many is the best partly by chance; what "
            "may be claimed is in the table of differences.",
            *(["Equal components are numbered by where they ended, the lowest first."] if copies else []),
        ),
        aside=True,
    )


def _curvature(point: Point) -> tuple[str, str]:
    """How the curvature came about, and its value."""
    if not point.learned:
        return "fixed", f"{point.k[0]:g}"
    how = f"learned, no. {point.copy}" if point.copy else "learned"
    return how, cell(statistics.mean(point.k), statistics.deviation(point.k), CURVATURE)
