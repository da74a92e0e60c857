"""Learning curves of an experiment: validation ELBO, reconstruction and KL, one line a configuration.

A line is the mean over seeds, the band its standard deviation; a diverged run is a thin line that ends in a cross.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from . import style
from .configurations import LEGEND_ROW, WIDTH, Curve, curves, data_name, legend_below, read_runs, spread_said, unit
from .folders import RunFolder


@dataclass(frozen=True)
class Panel:
    """One quantity over epochs; ``better`` says which way is good."""

    title: str
    column: str
    unit: str
    better: str = ""


def plot_curves(
    run_folders: Sequence[str | Path],
    svg: str | Path,
    png: str | Path,
    *,
    note: str = "",
    title: str = "Learning curves",
) -> None:
    """Draw the learning curves of the runs of one experiment (all of one data set).

    Args:
        run_folders: folders with run.json and history.csv; one without epochs is named in the figure.
        svg, png: the files to write.
        note: what the data really are; printed small under the figure.
    """
    runs, missing = read_runs(run_folders)
    drawn = [run for run in runs if run.history.get("epoch")]
    if not drawn:
        style.say(svg, png, title, "No run of this experiment finished an epoch, so there are no curves to draw.", note)
        return
    with style.look():
        lines = curves(drawn)
        panels = _panels(drawn)
        body = 4.15 + LEGEND_ROW * math.ceil(len(lines) / 4)
        subtitle = (
            f"{data_name(drawn[0].dataset)}, validation split · {spread_said(drawn)}"
            f"{' · × diverged' if any(run.diverged for run in drawn) else ''}"
        )
        total = len(runs) + missing
        if len(drawn) < total:
            subtitle += f" · {total - len(drawn)} of {total} runs left no epoch and are not drawn"
        figure, top = style.new_figure(WIDTH, body, title, subtitle, note)
        for panel, box in zip(panels, _layout(len(panels), top), strict=True):
            axes = style.place(figure, *box)
            _draw(axes, panel, lines)
        handles = [
            Line2D([], [], color=curve.colour, linestyle=curve.line, linewidth=2.2, label=curve.legend())
            for curve in lines
        ]
        legend_below(figure, handles, top + 4.05)
        style.save(figure, svg, png, title)


def _panels(runs: Sequence[RunFolder]) -> list[Panel]:
    nats = unit(runs[0].dataset)
    panels = []
    if any(run.kind == "vae" for run in runs):
        panels.append(Panel("ELBO", "validation.elbo", nats, "↑ better"))
    else:
        panels.append(Panel("Loss", "validation.loss", nats, "↓ better"))
    panels.append(Panel("Reconstruction", "validation.reconstruction", nats, "↑ better"))
    if any(run.kind == "vae" for run in runs):
        panels.append(Panel("KL divergence", "validation.kl", nats))
    if any("validation.property_mae" in run.history for run in runs):
        panels.append(Panel("Property error", "validation.property_mae", "standard deviations", "↓ better"))
    return panels


def _layout(count: int, top: float) -> list[tuple[float, float, float, float]]:
    """Boxes in inches: the first quantity large at the left, the others in one or two columns beside it."""
    left, gap_x, gap_y, height = 0.78, 0.82, 0.72, 3.3
    if count == 1:
        return [(left, top + 0.22, WIDTH - left - 0.3, height)]
    columns = 1 if count <= 3 else 2
    main = 4.9 if columns == 1 else 3.1
    width = (WIDTH - 0.3 - left - main - gap_x * columns) / columns
    rows = math.ceil((count - 1) / columns)
    each = (height - gap_y * (rows - 1)) / rows
    boxes = [(left, top + 0.22, main, height)]
    for index in range(count - 1):
        row, column = divmod(index, columns)
        boxes.append((left + main + gap_x + column * (width + gap_x), top + 0.22 + row * (each + gap_y), width, each))
    return boxes


def _draw(axes: Axes, panel: Panel, curves: Sequence[Curve]) -> None:
    axes.grid(axis="y")
    settled: list[float] = []
    crosses: list[tuple[float, float, str]] = []
    for curve in curves:
        values = [(run, np.asarray(run.history.get(panel.column, []), dtype=float)) for run in curve.runs]
        _draw_curve(axes, curve, [pair for pair in values if np.isfinite(pair[1]).any()], settled, crosses)
    axes.set_title(panel.title)
    axes.set_ylabel(panel.unit)
    if panel.better:
        axes.set_title(panel.better, loc="right", size=8.5, weight="normal", color=style.GREY)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.margins(x=0.02)
    if not settled:
        axes.set_yticks([])
        axes.set_xticks([])
        axes.text(0.5, 0.5, "no finite values", ha="center", va="center", color=style.GREY, transform=axes.transAxes)
        return
    low, high = min(settled), max(settled)
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    low, high = low - margin, high + margin
    axes.set_ylim(low, high)
    for x, y, shade in crosses:  # a run that diverged far away still shows, at the edge
        axes.plot(
            x, min(max(y, low), high), "X", color=shade, markersize=8, markeredgecolor="white", clip_on=False, zorder=6
        )


def _draw_curve(
    axes: Axes,
    curve: Curve,
    line: Sequence[tuple[RunFolder, np.ndarray]],
    settled: list[float],
    crosses: list[tuple[float, float, str]],
) -> None:
    finished = []
    for run, values in line:
        epochs = np.asarray(run.history["epoch"], dtype=float)
        finite = np.isfinite(values)
        if run.diverged:
            axes.plot(epochs[finite], values[finite], color=curve.colour, linewidth=1.0, alpha=0.7)
            last = np.flatnonzero(finite)[-1]
            crosses.append((epochs[last], values[last], curve.colour))
            settled.extend(values[finite][: max(1, finite.sum() // 2)][-1:])
        else:
            finished.append((epochs, values))
    if not finished:
        return
    shortest = min(len(values) for _, values in finished)  # early stopping: a mean needs all its runs
    for epochs, values in finished:
        axes.plot(epochs[shortest - 1 :], values[shortest - 1 :], color=curve.colour, linewidth=0.9, alpha=0.6)
    epochs = finished[0][0][:shortest]
    stacked = np.stack([values[:shortest] for _, values in finished])
    mean = stacked.mean(axis=0)
    lone = "o" if shortest == 1 else None
    axes.plot(epochs, mean, color=curve.colour, linestyle=curve.line, linewidth=2.0, marker=lone, zorder=4)
    spread = stacked.std(axis=0, ddof=1) if len(stacked) > 1 else np.zeros_like(mean)
    if len(stacked) > 1:
        axes.fill_between(epochs, mean - spread, mean + spread, color=curve.colour, alpha=0.15, linewidth=0, zorder=2)
    # The first epochs fall off the scale where they would flatten all that follows.
    start = 0 if shortest == 1 else min(shortest - 1, max(1, round(0.2 * shortest)))
    kept = slice(start, None)
    settled.extend(float(v) for v in (mean - spread)[kept] if math.isfinite(v))
    settled.extend(float(v) for v in (mean + spread)[kept] if math.isfinite(v))
