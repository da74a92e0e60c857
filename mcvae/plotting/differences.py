"""A forest of paired differences: each latent space less the one that it is compared with, with intervals.

The numbers are those of the table of differences: :mod:`mcvae.findings.comparison` says what may be claimed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ..findings.columns import BUDGETS, Column, columns, judged_by
from ..findings.comparison import ALPHA, EQUAL, NOTHING, SEEDS_OF_A_CLAIM, Difference, differences
from ..findings.statistics import RunRecord, load_run_record
from . import style
from .configurations import MARKS, WIDTH, data_name, judged, number, qualifiers, read_runs, remarks

BUDGET = re.compile(r"test\.knn_accuracy@(\d+)")
ROW, HEAD, FOOT = 0.30, 0.36, 0.62  # inches
LETTER, DIGIT, BETWEEN = 0.082, 0.062, 0.30  # inches of a letter of a label, of a number's, and between panels
LONG = 38  # letters of a label
SAMPLES = 3  # colours in the legend
TELLING = 3  # seeds from which an interval sets the scale: those of two are thirteen standard errors long


@dataclass(frozen=True)
class Panel:
    """One metric: heading, unit, column of the tables, and width in inches with and without the numbers beside it."""

    title: str
    unit: str
    column: Column
    width: float
    numbers: float = 0.0


def plot_differences(
    run_folders: Sequence[str | Path],
    svg: str | Path,
    png: str | Path,
    *,
    note: str = "",
    title: str = "",
    references: Sequence[str] = (),
) -> None:
    """Draw the mean difference in what spaces are judged by, and in the latent's score if there is one, with intervals.

    Of 95% (Student's t). The first is the log-likelihood, but of celeba the ELBO in bits.

    Coloured where a difference is established, grey where not (fewer than five common seeds, or a corrected p of 0.05
    or more), hollow where one seed has no interval.

    Args:
        run_folders: folders with run.json and metrics.json of one experiment (all of one data set), all its runs: the
            correction is for all their comparisons.
        svg, png: the files to write.
        note: what the data really are; printed small under the figure.
        title: default: says what is compared with what.
        references: what to compare with, in place of the Euclidean spaces of equal dimension.
    """
    title = title or f"Differences from {' or '.join(references) or 'the Euclidean space'} of equal dimension"
    runs, missing = read_runs(run_folders)
    records = [load_run_record(run.path) for run in runs if run.kind == "vae"]
    found = compared(records, references)
    groups = rows(found)
    if not groups:
        other = " or ".join(references) or "a Euclidean one"
        sentence = f"No space of this experiment shares a finished seed with {other} of equal dimension."
        style.say(svg, png, title, sentence, note)
        return
    with style.look():
        labels = _labels(groups)
        left = min(3.4, style.MARGIN + 0.2 + LETTER * max(len(line) for label in labels for line in label.splitlines()))
        panels = _panels(records, found, left)
        height = ROW * len(groups)
        subtitle = (
            f"{data_name(runs[0].dataset)}, test split · mean over runs paired by seed, and its 95% t interval"
            f"{'' if all(d.equal_scales for group in groups for d in group) else ' · † other number of scales, too'}"
            f"{remarks(runs, missing)}"
        )
        figure, top = style.new_figure(WIDTH, HEAD + height + FOOT + 0.32, title, subtitle, note)
        for index, panel in enumerate(panels):
            axes = style.place(figure, left, top + HEAD, panel.width, height)
            _draw(axes, panel, groups, labels if index == 0 else None)
            left += panel.width + panel.numbers + BETWEEN
        _legend(figure, top + HEAD + height + FOOT, groups)
        style.save(figure, svg, png, title)


def compared(records: Sequence[RunRecord], references: Sequence[str] = ()) -> list[Difference]:
    """The differences of an experiment in all metrics of its tables, as the table of differences has them."""
    if not records:
        return []
    budgets = {int(match[1]) for r in records for key in r["metrics"] if (match := BUDGET.fullmatch(key))}
    every = columns(records[0]["config"]["dataset"], sorted({*BUDGETS, *budgets}))
    return differences(records, {column.metric: column.better for column in every}, references)


def rows(found: Sequence[Difference]) -> list[list[Difference]]:
    """The differences by row of the figure, in grid order: all metrics of one space and one partner."""
    groups: dict[tuple, list[Difference]] = {}
    for difference in found:
        key = difference.row["run"], difference.against
        groups.setdefault(key, []).append(difference)
    return [group for group in groups.values() if any(_judges(d) for d in group)]


def _judges(difference: Difference) -> bool:
    """Whether it is one in what the data set's spaces are judged by."""
    return difference.metric == judged_by(difference.row["config"]["dataset"]).metric and difference.paired.n > 0


def _panels(records: Sequence[RunRecord], found: Sequence[Difference], left: float) -> list[Panel]:
    """The log-likelihood or its like, and the first score of the tables that has differences."""
    dataset = records[0]["config"]["dataset"]
    known = {column.metric: column for column in columns(dataset) if column.compared}
    main, title, axis = judged(dataset)
    measured = {d.metric for d in found if d.paired.n}
    score = next((c for c in known.values() if c.unit == "%" and c.metric in measured), None)
    shown = [_numbers(d, main) for d in found if _judges(d)]
    numbers = 0.12 + DIGIT * max(map(len, shown))
    room = WIDTH - left - numbers - 0.25
    if score is None:
        return [Panel(title, axis, main, room, numbers)]
    name = score.heading if score.heading.startswith("kNN") else score.heading.capitalize()
    return [
        Panel(title, axis, main, 0.58 * (room - BETWEEN), numbers),
        Panel(name, "percentage points", score, 0.42 * (room - BETWEEN)),
    ]


def _labels(groups: Sequence[Sequence[Difference]]) -> list[str]:
    """``s5:vmf − e5:iso``, with what else tells the rows apart; in two lines if it is long."""
    words = qualifiers([group[0].row["config"] for group in groups])
    firsts = [group[0] for group in groups]
    labels = []
    for d in firsts:
        against = f"− {d.against}{'' if d.equal_scales else ' †'}{words(d.row['config'])}"
        labels.append(d.latent + (" " if len(d.latent) + len(against) < LONG else "\n") + against)
    return labels


def _draw(axes: Axes, panel: Panel, groups: Sequence[Sequence[Difference]], labels: Sequence[str] | None) -> None:
    metric, factor = panel.column.metric, panel.column.factor
    found = [(place, d) for place, group in enumerate(groups) for d in group if d.metric == metric and d.paired.n]
    low, high = _limits([difference for _, difference in found], factor)
    axes.set_xlim(low, high)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.axvline(0, color=style.GREY, linewidth=1.2, zorder=1)
    for place in range(len(groups)):
        if place % 2 == 0:
            axes.axhspan(place - 0.5, place + 0.5, color=style.PAPER, linewidth=0, zorder=0)
    for place, difference in found:
        _draw_one(axes, place, difference, factor, (low, high))
        if panel.numbers:
            axes.annotate(
                _numbers(difference, panel.column), (1, place), xycoords=("axes fraction", "data"), xytext=(8, 0),
                textcoords="offset points", va="center", size=8, color=style.INK, annotation_clip=False,
            )  # fmt: skip
    axes.set_yticks(range(len(groups)), labels if labels is not None else [""] * len(groups))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.set_title(panel.title)
    arrow = "better →" if panel.column.better > 0 else "← better"
    axes.set_title(arrow, loc="right", size=8.5, weight="normal", color=style.GREY)
    axes.set_xlabel(f"difference, {panel.unit}")


def _limits(found: Sequence[Difference], factor: float) -> tuple[float, float]:
    """Around zero, all means, and the intervals of enough seeds; others are cut off, which an arrow shows."""
    ends = [0.0]
    for difference in found:
        pair = difference.paired
        ends.append(factor * pair.mean)
        if pair.n >= TELLING and pair.low is not None:
            ends += [factor * pair.low, factor * pair.high]
    low, high = min(ends), max(ends)
    margin = 0.12 * (high - low) or 1.0
    return low - margin, high + margin


def _draw_one(axes: Axes, place: int, difference: Difference, factor: float, limits: tuple[float, float]) -> None:
    pair, line = difference.paired, _look(difference)
    if pair.low is not None:
        low, high = factor * pair.low, factor * pair.high
        inside = [max(low, limits[0]), min(high, limits[1])]
        axes.plot(
            inside, [place] * 2, color=line["color"], linewidth=line["linewidth"], solid_capstyle="butt", zorder=3
        )
        inset = 0.012 * (limits[1] - limits[0])
        for cut, edge, mark in ((low < limits[0], limits[0] + inset, "<"), (high > limits[1], limits[1] - inset, ">")):
            if cut:
                axes.plot(edge, place, mark, color=line["color"], markersize=6, markeredgewidth=0, zorder=3)
    hollow = {"markerfacecolor": "white", "markeredgewidth": 1.4} if pair.sd is None else {"markeredgecolor": "white"}
    axes.plot(factor * pair.mean, place, **(line | hollow), zorder=4)


def _look(difference: Difference) -> dict[str, Any]:
    geometry, claimed = style.geometry(difference.latent), established(difference)
    return {
        "color": style.GEOMETRIES[geometry] if claimed else style.GREY,
        "linewidth": 2.6 if claimed else 1.5,
        "marker": MARKS[geometry],
        "markersize": 8.5 if geometry == "product" else 6.8,
    }


def established(difference: Difference) -> bool:
    """Whether the comparison claims a difference."""
    return difference.verdict not in (NOTHING, EQUAL)


def _numbers(difference: Difference, column: Column) -> str:
    """``+0.42 [+0.10, +0.74], 5 seeds``."""
    pair, decimals = difference.paired, column.decimals or 0
    text = number(column.factor * pair.mean, decimals, sign=True)
    if pair.low is not None:
        text += " [" + ", ".join(number(column.factor * x, decimals, sign=True) for x in (pair.low, pair.high)) + "]"
    return f"{text}  n = {pair.n}"


def _legend(figure: Figure, top: float, groups: Sequence[Sequence[Difference]]) -> None:
    """One entry for what is established, in the colours that occur, and one for what is not."""
    shown = [d for group in groups for d in group if d.paired.n]
    claimed = {style.geometry(d.latent): Line2D([], [], **_look(d)) for d in shown if established(d)}
    open_ones = [d for d in shown if not established(d)]
    entries: dict[str, tuple[Line2D, ...]] = {}
    if claimed:
        words = f"established: p < {ALPHA:g} after correction for {max(d.family for d in shown)} comparisons a metric"
        entries[words] = tuple(claimed.values())[:SAMPLES]
    if open_ones:
        fewer = (
            f" (fewer than {SEEDS_OF_A_CLAIM} seeds)" if all(d.paired.n < SEEDS_OF_A_CLAIM for d in open_ones) else ""
        )
        entries[NOTHING + fewer] = (Line2D([], [], color=style.GREY, linewidth=1.5, marker="o", markersize=6.8),)
    width, height = figure.get_size_inches()
    figure.legend(
        list(entries.values()),
        list(entries),
        handler_map={tuple: HandlerTuple(ndivide=None, pad=0.2)},
        handlelength=max(2.4, 1.6 * min(SAMPLES, len(claimed))),
        loc="upper left",
        bbox_to_anchor=(style.MARGIN / width, 1 - top / height),
        ncols=2,
        borderpad=0,
        columnspacing=2.2,
    )
