"""What a log-likelihood costs: against learned parameters and training time, with the front that nothing beats."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from ..findings.columns import judged_by
from . import style
from .configurations import (
    Curve,
    curves,
    data_name,
    judged,
    metric,
    panelled,
    read_runs,
    remarks,
    spread,
    spread_said,
)
from .folders import RunFolder

PANELS = {"parameters": "Learned parameters", "seconds": "Training time"}

Point = tuple[float, float, float]  # cost, mean of the log-likelihood, its deviation over seeds


def plot_pareto(
    run_folders: Sequence[str | Path],
    svg: str | Path,
    png: str | Path,
    *,
    note: str = "",
    title: str = "Likelihood against its cost",
) -> None:
    """Draw what spaces are judged by against ``parameters`` and ``wall_seconds``, a mark a space.

    Times are of the machine that trained; those of different machines are not to be compared, and the figure says so.

    Args:
        run_folders: folders of runs with run.json, metrics.json and provenance.json (all of one data set).
        svg, png: the files to write.
        note: what the data really are; printed small under the figure.
    """
    runs, missing = read_runs(run_folders)
    drawn = [run for run in runs if run.kind == "vae" and _reached(run) is not None]
    if not drawn:
        style.say(svg, png, title, "No finished run of this experiment has a log-likelihood.", note)
        return
    with style.look():
        lines = curves(drawn)
        hosts = {run.provenance.get("host") for run in drawn}
        machines = f" · times of {len(hosts)} machines" if len(hosts) > 1 else ""
        said = spread_said(drawn, "bar").replace("line:", "mark:")
        subtitle = f"{data_name(drawn[0].dataset)}, test split · {said}{machines}{remarks(runs, missing)}"
        figure, axes = panelled(lines, list(PANELS.values()), title, subtitle, note, marks=True)
        for panel, kind in zip(axes, PANELS, strict=True):
            column, name, axis = judged(drawn[0].dataset)
            _draw(panel, lines, kind, column.better)
            panel.set_ylabel(axis if column.metric == "test.ll" else name)
        style.save(figure, svg, png, title)


def point(curve: Curve, kind: str) -> Point | None:
    """A configuration's mean cost and log-likelihood (or bits) over its finished seeds; None if either is unknown."""
    reached = [value for run in curve.runs if (value := _reached(run)) is not None]
    spent = [cost for run in curve.runs if _reached(run) is not None and (cost := _cost(run, kind))]
    if not reached or not spent:
        return None
    return statistics.fmean(spent), statistics.fmean(reached), spread(reached)


def front(points: Sequence[Point], better: int = 1) -> list[Point]:
    """The points that no other beats in both cost and log-likelihood, by rising cost; ``better`` -1: less is more."""
    best: list[Point] = []
    for each in sorted(points, key=lambda p: (p[0], -better * p[1])):
        if not best or better * each[1] > better * best[-1][1]:
            best.append(each)
    return best


def _reached(run: RunFolder) -> float | None:
    return metric(run, judged_by(run.dataset).metric)


def _cost(run: RunFolder, kind: str) -> float | None:
    value = run.metrics.get("parameters") if kind == "parameters" else run.provenance.get("wall_seconds")
    return None if value is None else float(value)


def _draw(axes: Axes, lines: Sequence[Curve], kind: str, better: int) -> None:
    axes.grid(axis="y")
    axes.set_xscale("log")
    found = [(line, at) for line in lines if (at := point(line, kind)) is not None]
    size, name = _unit(max((at[0] for _, at in found), default=1.0), kind)
    found = [(line, (cost / size, mean, sd)) for line, (cost, mean, sd) in found]
    edge = front([at for _, at in found], better)
    axes.step([p[0] for p in edge], [p[1] for p in edge], where="post", color=style.LIGHT, linewidth=2.0, zorder=1)
    for line, (cost, mean, sd) in found:
        axes.errorbar(cost, mean, sd or None, fmt=line.mark, color=line.colour, markersize=6.5, linewidth=1.4, zorder=4)
    costs = [cost for _, (cost, _, _) in found]
    if costs and max(costs) < 8 * min(costs):
        axes.set_xscale("linear")
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda cost, _: f"{cost:,.4g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(name)
    axes.margins(x=0.08, y=0.1)


def _unit(largest: float, kind: str) -> tuple[float, str]:
    """What costs are counted in, and the axis's label."""
    if kind == "parameters":
        return (1e6, "millions of learned numbers") if largest >= 2e6 else (1e3, "thousands of learned numbers")
    units = {"days": 86_400.0, "hours": 3600.0, "minutes": 60.0, "seconds": 1.0}
    name = next(name for name, size in units.items() if largest >= 2 * size or size == 1)
    return units[name], f"wall time of a run in {name}"
