"""The log-likelihood against the number of importance samples: how far from its end each latent's estimate still is."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from . import style
from .configurations import (
    Curve,
    curves,
    data_name,
    finished,
    over,
    panelled,
    read_runs,
    remarks,
    spread_said,
    unit,
)
from .folders import RunFolder

KEY = re.compile(r"test\.ll@(\d+)")
LINEAR = 0.1  # nats from the end of a line, beyond which its axis is logarithmic


def plot_likelihood_curve(
    run_folders: Sequence[str | Path],
    svg: str | Path,
    png: str | Path,
    *,
    note: str = "",
    title: str = "Log-likelihood against the number of importance samples",
) -> None:
    """Draw ``test.ll@S`` of metrics.json against S: below its value at the largest S, and as it is.

    The importance-sampled bound rises to log p(x) with S (Burda et al. 2016), not equally fast in every latent space:
    latents are compared fairly only where their lines are flat.

    Args:
        run_folders: folders with run.json and metrics.json of one experiment (all of one data set).
        svg, png: the files to write.
        note: what the data really are; printed small under the figure.
    """
    runs, missing = read_runs(run_folders)
    runs = [run for run in runs if run.kind == "vae"]
    drawn = [run for run in runs if values(run)]
    if not drawn:
        sentence = (
            "No finished run of this experiment has a log-likelihood at several numbers of importance samples: the "
            "evaluation's likelihood_curve asks for them."
        )
        style.say(svg, png, title, sentence, note)
        return
    with style.look():
        lines = curves(drawn)
        largest = max(size for run in drawn for size in values(run))
        subtitle = f"{data_name(drawn[0].dataset)}, {_records(drawn)} · {spread_said(drawn)}{remarks(runs, missing)}"
        titles = [f"Below the value at S = {largest:,}", "Log-likelihood"]
        figure, (below, absolute) = panelled(lines, titles, title, subtitle, note)
        _draw(below, lines, largest)
        _draw(absolute, lines, None)
        below.set_ylabel(f"{unit(drawn[0].dataset)} (logarithmic beyond {LINEAR:g})")
        absolute.set_ylabel(unit(drawn[0].dataset))
        style.save(figure, svg, png, title)


def values(run: RunFolder) -> dict[float, float]:
    """The log-likelihood at each number of importance samples, in ascending order; empty if the run did not finish."""
    if not finished(run):
        return {}
    found = {int(match[1]): value for key, value in run.metrics.items() if (match := KEY.fullmatch(key))}
    return {size: float(value) for size, value in sorted(found.items()) if value is not None}


def _records(runs: Sequence[RunFolder]) -> str:
    counts = {run.metrics.get("test.ll_curve_n") for run in runs} - {None}
    return f"the first {counts.pop():,} records of the test split" if len(counts) == 1 else "test split"


def _draw(axes: Axes, lines: Sequence[Curve], largest: int | None) -> None:
    """Lines of the mean over seeds; ``largest`` is the S whose value each run's is taken from, None for neither."""
    sizes = over(axes, lines, values if largest is None else lambda run: _below(values(run), largest))
    if largest is not None:
        axes.axhline(0, color=style.GREY, linewidth=1.0, zorder=1)
        axes.set_yscale("symlog", linthresh=LINEAR)
        axes.yaxis.set_major_locator(FixedLocator([0, *(sign * 10.0**p for sign in (-1, 1) for p in range(-1, 4))]))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda gap, _: f"{gap:g}".replace("-", "−")))
    axes.xaxis.set_major_locator(FixedLocator(_ticks(sizes)))
    axes.set_xlabel("importance samples S")


def _below(own: Mapping[float, float], largest: int) -> dict[float, float]:
    return {size: value - own[largest] for size, value in own.items()} if largest in own else {}


def _ticks(sizes: Sequence[float]) -> list[float]:
    """As many of the sizes, from the largest down, as have room for their labels: a third of a decade each."""
    kept: list[float] = []
    decades = math.log10(sizes[-1] / sizes[0]) if len(sizes) > 1 else 1.0
    for size in reversed(sizes):
        if not kept or math.log10(kept[-1] / size) > decades / 9:
            kept.append(size)
    return kept[::-1]
