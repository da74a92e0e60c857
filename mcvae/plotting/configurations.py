"""The runs of an experiment by configuration: which there are, what they say of a metric, and how their lines look.

Whatever compares configurations begins here, so that one has the same colour, line and mark in every figure.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from ..datasets import DATASETS
from ..findings import statistics
from ..findings.columns import Column, judged_by
from . import style
from .folders import EXAMPLE, RunFolder, read_run

WIDTH = 9.6  # inches of a figure of a whole experiment
LINES = ("-", (0, (5, 1.6)), (0, (1.4, 1.4)), (0, (6, 1.6, 1.4, 1.6)))
MARKS = {"e": "o", "s": "^", "d": "v", "h": "s", "p": "D", "u": "p", "product": "P", "autoencoder": "o"}
LEGEND_ROW, LEGEND_COLUMNS = 0.23, 4  # inches
PANEL, PANEL_LEFT = 3.2, 0.90  # inches of a panel's height, and to the left of it


@dataclass(frozen=True)
class Curve:
    """A configuration's runs, and how its line looks."""

    label: str
    runs: tuple[RunFolder, ...]
    colour: str
    line: Any

    @property
    def mark(self) -> str:
        """The marker of its geometry."""
        return MARKS[style.geometry(self.runs[0].latent, self.runs[0].kind)]

    def legend(self) -> str:
        """The name, and how many of its runs diverged."""
        lost = sum(run.diverged for run in self.runs)
        return f"{self.label}  ({lost} of {len(self.runs)} diverged)" if lost else self.label


def read_runs(folders: Iterable[str | Path]) -> tuple[list[RunFolder], int]:
    """The runs that were started, and how many of the folders hold none."""
    paths = [Path(folder) for folder in folders]
    runs = [read_run(path) for path in paths if (path / "run.json").is_file()]
    return runs, len(paths) - len(runs)


def grouped(runs: Iterable[RunFolder]) -> list[list[RunFolder]]:
    """Runs that differ by their seed alone, in the order of their first appearance."""
    groups: dict[str, list[RunFolder]] = {}
    for run in runs:
        groups.setdefault(run.configuration, []).append(run)
    return list(groups.values())


def curves(runs: Sequence[RunFolder]) -> list[Curve]:
    """One curve a configuration, by geometry: its colour in as many shades and lines as it has configurations."""
    words = qualifiers([run.config for run in runs])
    by_geometry: dict[str, list[list[RunFolder]]] = {}
    for members in grouped(runs):
        by_geometry.setdefault(style.geometry(members[0].latent, members[0].kind), []).append(members)
    result = []
    for geometry in (g for g in style.GEOMETRIES if g in by_geometry):
        groups = by_geometry[geometry]
        shades = style.shades(style.GEOMETRIES[geometry], len(groups))
        for index, (members, shade) in enumerate(zip(groups, shades, strict=True)):
            label = style.name(members[0].latent, members[0].kind) + words(members[0].config)
            result.append(Curve(label, tuple(members), shade, LINES[index % len(LINES)]))
    return result


def qualifiers(configs: Sequence[Mapping[str, Any]]) -> Callable[[Mapping[str, Any]], str]:
    """What to add to a latent's name, as in `` · 256–128 · epochs 30``: hidden layers and all else that differs."""
    flat = [statistics.flatten(config) for config in configs]
    hidden = ["model.hidden"] if len({tuple(config["model.hidden"]) for config in flat}) > 1 else []
    keys = [*hidden, *statistics.differing(configs)]

    def words(config: Mapping[str, Any]) -> str:
        own = statistics.flatten(config)
        said = (layers(own[key]) if key == "model.hidden" else _setting(key, own.get(key)) for key in keys)
        return "".join(f" · {text}" for text in said)

    return words


def _setting(key: str, value: Any) -> str:
    name = key.rpartition(".")[2].replace("_", " ")
    return f"{name} {'unset' if value is None else statistics.cell(value)}"


def layers(hidden: Sequence[int]) -> str:
    """Hidden layers as a label says them: ``256–128``."""
    return "–".join(map(str, hidden)) or "no hidden layer"


def finished(run: RunFolder) -> bool:
    """Whether the run was evaluated and did not diverge: only then its numbers count."""
    return run.metrics.get("status") == "finished" and (run.path / "metrics.json").is_file()


def metric(run: RunFolder, key: str) -> float | None:
    """A number of a finished run's metrics.json, or None."""
    value = run.metrics.get(key) if finished(run) else None
    return None if value is None else float(value)


def metrics(runs: Iterable[RunFolder], key: str) -> list[float]:
    """The numbers of those runs that have one."""
    return [value for run in runs if (value := metric(run, key)) is not None]


def spread(values: Sequence[float]) -> float:
    """The standard deviation (n - 1) over seeds; 0 where one seed has none to show."""
    return statistics.deviation(values) or 0.0


def seeds_said(runs: Sequence[RunFolder]) -> str:
    """``5 seeds``."""
    count = len({run.seed for run in runs})
    return f"{count} seed{'s' * (count != 1)}"


def spread_said(runs: Sequence[RunFolder], shown_by: str = "band") -> str:
    """What lines and bands are: mean and standard deviation over seeds, if there are seeds to speak of."""
    if len({run.seed for run in runs}) < 2:
        return "one seed: no spread is known"
    return f"line: mean over {seeds_said(runs)} · {shown_by}: ± one standard deviation"


def remarks(runs: Sequence[RunFolder], missing: int, cross: bool = False) -> str:
    """What is not in a figure: ``· 2 of 45 runs diverged · 1 of 45 runs has no result``; empty if all is.

    Args:
        runs: those that were started. missing: how many were not. cross: diverged runs are marked by ×.
    """
    total = len(runs) + missing
    diverged = sum(run.diverged for run in runs)
    open_runs = missing + sum(not run.diverged and not finished(run) for run in runs)
    said = ""
    if diverged:
        said += f" · {diverged} of {total} runs diverged" + (" (×)" if cross else "")
    if open_runs:
        said += f" · {open_runs} of {total} runs {'have' if open_runs != 1 else 'has'} no result"
    return said


def number(value: float, decimals: int = 2, sign: bool = False) -> str:
    """A number with a true minus, and with a plus if asked for; never −0.00."""
    value = round(value, decimals) + 0.0
    return f"{value:{'+' if sign and value else ''}.{decimals}f}".replace("-", "−")


def unit(dataset: str) -> str:
    """The unit of a log-likelihood: ``nats per image``."""
    return f"nats per {EXAMPLE[dataset]}"


def judged(dataset: str) -> tuple[Column, str, str]:
    """What a data set's spaces are judged by, as a title, and on an axis: ``Log-likelihood``, ``nats per image``."""
    column = judged_by(dataset)
    bits = column.metric != "test.ll"
    return column, column.name[:1].upper() + column.name[1:], "bits" if bits else unit(dataset)


def data_name(dataset: str) -> str:
    """The data set's name as a subtitle begins: with a capital."""
    name = DATASETS[dataset].name
    return name[:1].upper() + name[1:]


def band(axes: Axes, curve: Curve, found: Mapping[float, Sequence[float]]) -> None:
    """The line of a curve's means over seeds, in a band of one standard deviation; ``found``: the values at each x."""
    at = sorted(found)
    mean = [statistics.mean(found[x]) or 0.0 for x in at]
    sd = [spread(found[x]) for x in at]
    low, high = [m - s for m, s in zip(mean, sd, strict=True)], [m + s for m, s in zip(mean, sd, strict=True)]
    axes.fill_between(at, low, high, color=curve.colour, alpha=0.13, linewidth=0, zorder=2)
    look = {"color": curve.colour, "linestyle": curve.line, "marker": curve.mark}
    axes.plot(at, mean, markersize=5, linewidth=1.9, zorder=4, **look)


def over(axes: Axes, lines: Iterable[Curve], values: Callable[[RunFolder], Mapping[float, float]]) -> list[float]:
    """The :func:`band` of each curve, over a logarithmic axis of whole numbers; the numbers.

    Args:
        values: a run's value at each number; empty if it has none.
    """
    axes.grid(axis="y")
    axes.set_xscale("log")
    numbers: set[float] = set()
    for curve in lines:
        found: dict[float, list[float]] = {}
        for run in curve.runs:
            for x, value in values(run).items():
                found.setdefault(x, []).append(value)
        numbers.update(found)
        band(axes, curve, found)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(FixedLocator(sorted(numbers)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axes.margins(x=0.05, y=0.08)
    return sorted(numbers)


def handles(lines: Iterable[Curve], marks: bool = False) -> list[Line2D]:
    """What a legend shows of curves, or of their marks alone."""
    looks = [(c.legend(), {"color": c.colour, "linestyle": c.line, "marker": c.mark}) for c in lines]
    return [Line2D([], [], linewidth=0.0 if marks else 2.0, markersize=5, label=label, **look) for label, look in looks]


def panelled(
    lines: Sequence[Curve], titles: Sequence[str], title: str, subtitle: str, note: str, marks: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure of one panel a title, side by side, over a legend of the lines (or of their ``marks`` alone)."""
    rows = math.ceil(len(lines) / LEGEND_COLUMNS)
    figure, top = style.new_figure(WIDTH, PANEL + 0.9 + LEGEND_ROW * rows, title, subtitle, note)
    width = (WIDTH - 0.3 - len(titles) * PANEL_LEFT) / len(titles)
    panels = []
    for column, name in enumerate(titles):
        left = PANEL_LEFT + column * (width + PANEL_LEFT)
        panels.append(style.place(figure, left, top + 0.22, width, PANEL))
        panels[-1].set_title(name)
    legend_below(figure, handles(lines, marks), top + PANEL + 0.8)
    return figure, panels


def legend_below(figure: Figure, handles: Sequence[Any], top: float, columns: int = LEGEND_COLUMNS) -> None:
    """A legend at the left margin, its upper edge ``top`` inches below the figure's."""
    width, height = figure.get_size_inches()
    figure.legend(
        handles=list(handles),
        loc="upper left",
        bbox_to_anchor=(style.MARGIN / width, 1 - top / height),
        ncols=min(columns, len(handles)),
        borderpad=0,
        handlelength=2.4,
        columnspacing=2.2,
    )
