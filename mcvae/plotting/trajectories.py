"""Trajectories of learned curvatures: one panel a latent, one thin line a seed and component, the kept value marked."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ..signature import Component
from . import style
from .configurations import (
    LEGEND_ROW,
    LINES,
    WIDTH,
    data_name,
    finished,
    grouped,
    metric,
    number,
    qualifiers,
    read_runs,
    remarks,
    seeds_said,
    spread,
)
from .folders import RunFolder

PANEL, LEFT, FOOT, HEAD = 2.5, 0.86, 0.60, 0.32  # inches


@dataclass(frozen=True)
class Learned:
    """A component whose curvature is learned, and how its lines look.

    ``indices``: its places in the signature, several if it has copies; this is the ``rank``-th of them from below.
    """

    name: str
    start: float
    indices: tuple[int, ...]
    rank: int
    colour: str
    line: Any

    def column(self, run: RunFolder) -> str:
        """Of history.csv, and the key of metrics.json: copies are told apart by where they ended, lowest first."""
        order = sorted(self.indices, key=lambda index: (_end(run, f"curvature.{index}"), index))
        return f"curvature.{order[self.rank]}"


def plot_curvature_trajectories(
    run_folders: Sequence[str | Path],
    svg: str | Path,
    png: str | Path,
    *,
    note: str = "",
    title: str = "Learned curvatures over the epochs",
) -> None:
    """Draw ``curvature.{i}`` of history.csv for each learned component; dots are the epochs whose weights are kept.

    Args:
        run_folders: folders with run.json, history.csv and metrics.json of one experiment.
        svg, png: the files to write.
        note: what the data really are; printed small under the figure.
    """
    runs, missing = read_runs(run_folders)
    chosen = [run for run in runs if any(component.learn for component in run.signature.components)]
    groups = grouped(run for run in chosen if np.isfinite(_values(run, "epoch")).any())
    if not groups:
        sentence = "No run of this experiment that learns a curvature finished an epoch, so there is nothing to draw."
        style.say(svg, png, title, sentence, note)
        return
    with style.look():
        drawn = [run for members in groups for run in members]
        copies = any(len(component.indices) > 1 for run in drawn for component in learned(run))
        subtitle = (
            f"{data_name(drawn[0].dataset)} · a line a seed ({seeds_said(drawn)}) · ● the kept weights, with mean ± "
            f"standard deviation below{' · equal components are numbered by where they end' if copies else ''}"
            f"{remarks(chosen, missing, cross=True)}"
        )
        columns = 1 if len(groups) == 1 else 2
        width = (WIDTH - 0.3 - LEFT * columns) / columns
        grid = [groups[i : i + columns] for i in range(0, len(groups), columns)]
        heights = [LEGEND_ROW * max(_legend_rows(members, columns) for members in row) for row in grid]
        body = sum(heights) + len(grid) * (HEAD + PANEL + FOOT)
        figure, top = style.new_figure(WIDTH, body, title, subtitle, note)
        words = qualifiers([run.config for run in drawn])
        for row, legend in zip(grid, heights, strict=True):
            for column, members in enumerate(row):
                axes = style.place(figure, LEFT + column * (width + LEFT), top + HEAD, width, PANEL)
                _draw(axes, members, members[0].latent + words(members[0].config), 2 if columns == 1 else 1)
            top += HEAD + PANEL + FOOT + legend
        style.save(figure, svg, png, title)


def _values(run: RunFolder, column: str) -> np.ndarray:
    return np.asarray(run.history.get(column, []), dtype=float)


def _end(run: RunFolder, column: str) -> float:
    """The curvature of the kept weights; without a result the last one of the history."""
    value = run.metrics.get(column)
    if value is not None:
        return float(value)
    values = _values(run, column)
    values = values[np.isfinite(values)]
    return float(values[-1]) if len(values) else 0.0


def learned(run: RunFolder) -> list[Learned]:
    """The components of a run with a learned curvature; those of one geometry in shades of its colour."""
    places: dict[Component, list[int]] = {}
    index = 0
    for component in run.signature.components:
        if component.learn:
            places.setdefault(replace(component, count=1), []).extend(range(index, index + component.count))
        index += component.count
    found = []
    for letter in dict.fromkeys(component.letter for component in places):
        ranked = [(c, rank) for c, indices in places.items() if c.letter == letter for rank in range(len(indices))]
        shades = style.shades(style.GEOMETRIES[letter], len(ranked))
        for order, ((component, rank), shade) in enumerate(zip(ranked, shades, strict=True)):
            indices = tuple(places[component])
            name = f"{component.letter}{component.dim}" + (f" no. {rank + 1}" if len(indices) > 1 else "")
            found.append(Learned(name, component.k, indices, rank, shade, LINES[order % len(LINES)]))
    return found


def _legend_rows(members: Sequence[RunFolder], columns: int) -> int:
    return math.ceil(len(learned(members[0])) / (2 if columns == 1 else 1))


def _draw(axes: Axes, members: Sequence[RunFolder], name: str, legend_columns: int) -> None:
    axes.grid(axis="y")
    axes.axhline(0, color=style.GREY, linewidth=1.2, zorder=1)
    handles = []
    for component in learned(members[0]):
        for run in members:
            _draw_run(axes, run, component)
        handles.append(
            Line2D(
                [],
                [],
                color=component.colour,
                linestyle=component.line,
                linewidth=2.0,
                label=_legend(members, component),
            )
        )
    start = members[0].config.get("training", {}).get("curvature_start", 0)
    if start:
        axes.axvline(start, color=style.GREY, linewidth=1.0, linestyle=(0, (2, 2)), zorder=1)
        axes.annotate(
            "free from here", (start, 1), xycoords=("data", "axes fraction"), xytext=(4, -2),
            textcoords="offset points", va="top", size=8, color=style.GREY,
        )  # fmt: skip
    axes.set_title(name)
    axes.set_xlabel("epoch")
    axes.set_ylabel("sectional curvature K")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    axes.margins(x=0.02, y=0.14 if start else 0.06)
    height = axes.figure.get_size_inches()[1] * axes.get_position().height
    axes.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0, -0.50 / height),
        borderaxespad=0,
        borderpad=0,
        ncols=legend_columns,
        columnspacing=2.2,
    )


def _draw_run(axes: Axes, run: RunFolder, component: Learned) -> None:
    column, look = component.column(run), {"color": component.colour, "markeredgecolor": "white"}
    epochs, values = _values(run, "epoch"), _values(run, column)
    if len(values) != len(epochs) or not np.isfinite(values).any():
        return
    seen = np.isfinite(values)
    epochs, values = np.insert(epochs[seen], 0, 0), np.insert(values[seen], 0, component.start)
    axes.plot(epochs, values, color=component.colour, linestyle=component.line, linewidth=1.0, alpha=0.75, zorder=3)
    if run.diverged:
        axes.plot(epochs[-1], values[-1], "X", markersize=8, zorder=6, **look)
    elif finished(run) and run.metrics.get("best_epoch") is not None:
        axes.plot(run.metrics["best_epoch"], _end(run, column), "o", markersize=6, zorder=5, **look)


def _legend(members: Sequence[RunFolder], component: Learned) -> str:
    """``u2: −0.62 ± 0.11, negative in 5 of 5 seeds``."""
    found = [value for run in members if (value := metric(run, component.column(run))) is not None]
    if not found:
        return f"{component.name}: no finished run"
    largest = max(map(abs, found))
    decimals = 2 if largest >= 0.1 or largest == 0 else min(6, 1 - math.floor(math.log10(largest)))
    text = f"{component.name}: {number(statistics.fmean(found), decimals)}"
    if len(found) > 1:
        text += f" ± {number(spread(found), decimals)}"
    signs = {
        "negative": sum(k < 0 for k in found),
        "zero": sum(k == 0 for k in found),
        "positive": sum(k > 0 for k in found),
    }
    seen = {word: count for word, count in signs.items() if count}
    if len(seen) > 1:
        return f"{text}, " + ", ".join(f"{count} {word}" for word, count in seen.items())
    return f"{text}, {next(iter(seen))} in {len(found)} of {len(found)} seed{'s' * (len(found) > 1)}"
