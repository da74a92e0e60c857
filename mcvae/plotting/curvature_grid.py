"""The curvature grid: log-likelihood and a score of the latent against the sectional curvature, a line a space.

A learned curvature is a star where it ended, and the Euclidean space of equal dimension a level to compare with.
"""

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ..findings.columns import SCORES, columns
from ..findings.curvature_grid import grids
from ..gallery import CURVATURES_OF_A_GRID
from . import style
from .configurations import (
    LEGEND_ROW,
    LINES,
    MARKS,
    WIDTH,
    data_name,
    finished,
    judged,
    legend_below,
    metric,
    metrics,
    qualifiers,
    read_runs,
    remarks,
    spread,
    spread_said,
)
from .folders import RunFolder

PANEL, GAP, LEFT = 3.2, 0.80, 0.86  # inches


@dataclass
class Shape:
    """A space whatever its curvature: the runs at each fixed one, and those that learned it."""

    name: str
    colour: str = style.GREY
    line: Any = "-"
    mark: str = "o"
    fixed: dict[float, list[RunFolder]] = field(default_factory=dict)
    learned: list[RunFolder] = field(default_factory=list)


@dataclass
class Row:
    """The spaces of one dimension, and of equal networks and training: they alone can be compared."""

    dim: int
    words: str
    shapes: dict[str, Shape] = field(default_factory=dict)
    flat: dict[str, list[RunFolder]] = field(default_factory=dict)


@dataclass(frozen=True)
class Panel:
    """One metric; shown times ``factor``."""

    title: str
    metric: str
    unit: str
    factor: float = 1.0
    better: int = 1


def plot_curvature_grid(
    run_folders: Sequence[str | Path],
    svg: str | Path,
    png: str | Path,
    *,
    note: str = "",
    title: str = "Log-likelihood and accuracy against curvature",
) -> None:
    """Draw test metrics of single-component latents against their sectional curvature K, means and sd over seeds.

    Args:
        run_folders: folders with run.json and metrics.json of one experiment (all of one data set).
        svg, png: the files to write.
        note: what the data really are; printed small under the figure.
    """
    runs, missing = read_runs(run_folders)
    grid = rows(runs)
    drawn = [run for row in grid for run in _members(row)]
    if not any(map(finished, drawn)):
        sentence = (
            f"No space of this experiment has finished runs at {CURVATURES_OF_A_GRID} fixed curvatures or more, so "
            "there is no grid to draw."
        )
        style.say(svg, png, title, sentence, note)
        return
    with style.look():
        panels = _panels(drawn)
        handles = _handles(grid)
        legend = LEGEND_ROW * math.ceil(len(handles) / 4)
        pitch = PANEL + GAP
        subtitle = (
            f"{data_name(drawn[0].dataset)}, test split · {spread_said(drawn, 'band and bars')}"
            f"{remarks(runs, missing, cross=True)}"
        )
        figure, top = style.new_figure(WIDTH, pitch * len(grid) + 0.12 + legend, title, subtitle, note)
        width = (WIDTH - 0.3 - LEFT * len(panels)) / len(panels)
        for index, row in enumerate(grid):
            for column, panel in enumerate(panels):
                left = LEFT + column * (width + LEFT)
                axes = style.place(figure, left, top + 0.22 + index * pitch, width, PANEL)
                _draw(axes, row, panel, _heading(panel, row, grid))
        legend_below(figure, handles, top + pitch * len(grid))
        style.save(figure, svg, png, title)


def rows(runs: Iterable[RunFolder]) -> list[Row]:
    """The rows that have a grid: see :func:`mcvae.findings.curvature_grid.grids`."""
    runs = list(runs)
    words = qualifiers([run.config for run in runs])
    result = []
    for grid in grids(runs, lambda run: run.config):
        shapes = {name: Shape(name, fixed=each.fixed, learned=each.learned) for name, each in grid.shapes.items()}
        result.append(Row(grid.dim, words(grid.first.config), shapes, grid.flat))
        _dress(shapes.values())
    return result


def _dress(shapes: Iterable[Shape]) -> None:
    """Colour and mark by geometry; shades and lines tell spaces of one geometry apart."""
    by_letter: dict[str, list[Shape]] = {}
    for shape in shapes:
        by_letter.setdefault(style.geometry(shape.name), []).append(shape)
    for letter, members in by_letter.items():
        for index, (shape, shade) in enumerate(
            zip(members, style.shades(style.GEOMETRIES[letter], len(members)), strict=True)
        ):
            shape.colour, shape.mark, shape.line = shade, MARKS[letter], LINES[index % len(LINES)]


def _members(row: Row) -> Iterator[RunFolder]:
    for shape in row.shapes.values():
        for members in shape.fixed.values():
            yield from members
        yield from shape.learned
    for members in row.flat.values():
        yield from members


def _panels(runs: Sequence[RunFolder]) -> list[Panel]:
    main, name, axis = judged(runs[0].dataset)
    panels = [Panel(name, main.metric, axis, better=main.better)]
    known = {column.metric: column for column in columns(runs[0].dataset)}
    score = next((known[key] for key in SCORES if key in known and metrics(runs, key)), None)
    if score:
        title = score.name if score.name.startswith("kNN") else score.name.capitalize()
        panels.append(Panel(title, score.metric, score.unit, score.factor))
    return panels


def _heading(panel: Panel, row: Row, grid: Sequence[Row]) -> str:
    dimension = f", dimension {row.dim}" if len({other.dim for other in grid}) > 1 else ""
    return panel.title + dimension + (row.words if len({other.words for other in grid}) > 1 else "")


def _draw(axes: Axes, row: Row, panel: Panel, heading: str) -> None:
    axes.grid(axis="y")
    axes.axvline(0, color=style.GREY, linewidth=1.0, zorder=1)
    for index, members in enumerate(row.flat.values()):
        values = [panel.factor * value for value in metrics(members, panel.metric)]
        if values:
            mean, sd = statistics.fmean(values), spread(values)
            colour, line = style.GEOMETRIES["e"], LINES[(index + 1) % len(LINES)]
            axes.axhline(mean, color=colour, linestyle=line, linewidth=1.6, zorder=2)
            axes.axhspan(mean - sd, mean + sd, color=colour, alpha=0.10, linewidth=0, zorder=0)
    for shape in row.shapes.values():
        _draw_fixed(axes, shape, panel)
        _draw_learned(axes, shape, panel)
    axes.set_title(heading)
    axes.set_title(
        "↑ better" if panel.better > 0 else "↓ better", loc="right", size=8.5, weight="normal", color=style.GREY
    )
    axes.set_xlabel("sectional curvature K")
    axes.set_ylabel(panel.unit)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=9, steps=[1, 2, 5, 10]))
    axes.margins(x=0.04, y=0.08)
    low, high = axes.get_xlim()
    for side, word in ((low < 0, "hyperbolic"), (high > 0, "spherical")):
        if side:
            align = "right" if word == "hyperbolic" else "left"
            axes.annotate(
                f"← {word}" if align == "right" else f"{word} →",
                (0, 0),
                xycoords=("data", "axes fraction"),
                xytext=(-5 if align == "right" else 5, 4),
                textcoords="offset points",
                ha=align,
                size=8,
                color=style.GREY,
            )


def _draw_fixed(axes: Axes, shape: Shape, panel: Panel) -> None:
    at, mean, sd = [], [], []
    for k, members in sorted(shape.fixed.items()):
        values = [panel.factor * value for value in metrics(members, panel.metric)]
        if values:
            at.append(k)
            mean.append(statistics.fmean(values))
            sd.append(spread(values))
            if len(values) > 1:
                axes.plot([k] * len(values), values, ".", color=shape.colour, alpha=0.55, markersize=4, zorder=3)
        _draw_lost(axes, k, members, shape.colour)
    low, high = [m - s for m, s in zip(mean, sd, strict=True)], [m + s for m, s in zip(mean, sd, strict=True)]
    axes.fill_between(at, low, high, color=shape.colour, alpha=0.13, linewidth=0, zorder=2)
    axes.plot(
        at, mean, color=shape.colour, linestyle=shape.line, marker=shape.mark, markersize=5, linewidth=1.9, zorder=4
    )


def _draw_learned(axes: Axes, shape: Shape, panel: Panel) -> None:
    """A star a component, at the mean of where it ended; equal components are told apart by their order alone."""
    pairs = [(sorted(run.curvatures()), metric(run, panel.metric)) for run in shape.learned if finished(run)]
    pairs = [(ks, panel.factor * value) for ks, value in pairs if value is not None]
    for ks in zip(*(ks for ks, _ in pairs), strict=True):
        values = [value for _, value in pairs]
        axes.errorbar(
            statistics.fmean(ks),
            statistics.fmean(values),
            xerr=spread(ks) or None,
            yerr=spread(values) or None,
            color=shape.colour,
            marker="*",
            markersize=15,
            markeredgecolor="white",
            markeredgewidth=0.9,
            elinewidth=1.5,
            zorder=6,
        )
        if len(values) > 1:
            axes.plot(ks, values, ".", color=shape.colour, alpha=0.55, markersize=4, zorder=3)
    for run in shape.learned:
        _draw_lost(axes, run.curvatures()[0], [run], shape.colour)


def _draw_lost(axes: Axes, k: float, members: Sequence[RunFolder], colour: str) -> None:
    if any(run.diverged for run in members):
        axes.plot(
            k, 0.0, "X", color=colour, markersize=7, markeredgecolor="white", zorder=7, clip_on=False,
            transform=axes.get_xaxis_transform(),
        )  # fmt: skip


def _handles(grid: Sequence[Row]) -> list[Any]:
    """What looks the same in several rows is one entry: ``u2, u6``."""
    looks: dict[tuple, list[str]] = {}
    for row in grid:
        for shape in row.shapes.values():
            if shape.fixed:
                looks.setdefault((shape.colour, shape.line, shape.mark, 5, ""), []).append(shape.name)
            if shape.learned:
                looks.setdefault((shape.colour, "", "*", 12, ": learned K"), []).append(shape.name)
        for index, latent in enumerate(row.flat):
            looks.setdefault((style.GEOMETRIES["e"], LINES[(index + 1) % len(LINES)], "", 0, ""), []).append(latent)
    return [
        Line2D(
            [], [], color=colour, linestyle=line, linewidth=2.0, marker=mark, markersize=size,
            label=", ".join(dict.fromkeys(names)) + words,
        )
        for (colour, line, mark, size, words), names in looks.items()
    ]  # fmt: skip
