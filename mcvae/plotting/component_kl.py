"""What each component of a product carries: KL from its prior, a bar a component, with the spread over seeds."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from matplotlib.axes import Axes

from ..signature import Component
from . import style
from .configurations import (
    WIDTH,
    data_name,
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

BAR, HEAD, LEFT, RIGHT, FOOT = 0.26, 0.30, 1.2, 1.4, 0.55  # inches


@dataclass(frozen=True)
class Share:
    """A bar: a component of a configuration, and its KL in each finished run, nats."""

    name: str
    letter: str
    values: tuple[float, ...]


def plot_component_kl(
    run_folders: Sequence[str | Path],
    svg: str | Path,
    png: str | Path,
    *,
    note: str = "",
    title: str = "KL of each component",
) -> None:
    """Draw ``test.kl.{i}`` of metrics.json for every configuration with more than one component.

    Equal components can be exchanged: those of a run are ordered by their KL, the largest first, before the mean over
    seeds is taken.

    Args:
        run_folders: folders with run.json and metrics.json of one experiment (all of one data set).
        svg, png: the files to write.
        note: what the data really are; printed small under the figure.
    """
    runs, missing = read_runs(run_folders)
    chosen = [run for run in runs if run.kind == "vae" and sum(c.count for c in run.signature.components) > 1]
    words = qualifiers([run.config for run in chosen]) if chosen else None
    groups = [(members, shares(members)) for members in grouped(chosen)]
    groups = [(members, bars) for members, bars in groups if any(bar.values for bar in bars)]
    if not groups or words is None:
        sentence = "No finished run of this experiment has a latent space of several components."
        style.say(svg, png, title, sentence, note)
        return
    with style.look():
        drawn = [run for members, _ in groups for run in members]
        more = "bar: mean · line: ± one standard deviation" if len({run.seed for run in drawn}) > 1 else "no spread"
        subtitle = f"{data_name(drawn[0].dataset)}, test split · {seeds_said(drawn)}, {more}{remarks(chosen, missing)}"
        heights = [HEAD + BAR * len(bars) for _, bars in groups]
        body = sum(heights) + FOOT
        figure, top = style.new_figure(WIDTH, body, title, subtitle, note)
        most = max(max(bar.values) for _, bars in groups for bar in bars if bar.values)
        for index, ((members, bars), height) in enumerate(zip(groups, heights, strict=True)):
            width = WIDTH - LEFT - RIGHT - style.MARGIN
            axes = style.place(figure, style.MARGIN + LEFT, top + HEAD, width, height - HEAD)
            _draw(axes, bars, most, last=index == len(groups) - 1)
            axes.set_title(members[0].latent + words(members[0].config), x=-LEFT / width)
            top += height
        style.save(figure, svg, png, title)


def shares(members: Sequence[RunFolder]) -> list[Share]:
    """The bars of the runs of a configuration, in the order of the signature."""
    places: dict[Component, list[int]] = {}
    index = 0
    for component in members[0].signature.components:
        places.setdefault(replace(component, count=1), []).extend(range(index, index + component.count))
        index += component.count
    found = []
    for component, indices in places.items():
        ranked = []
        for run in members:
            values = [metric(run, f"test.kl.{i}") for i in indices]
            if None not in values:
                ranked.append(sorted((v for v in values if v is not None), reverse=True))
        for rank in range(len(indices)):
            name = str(component) + (f" no. {rank + 1}" if len(indices) > 1 else "")
            found.append(Share(name, component.letter, tuple(values[rank] for values in ranked)))
    return found


def _draw(axes: Axes, bars: Sequence[Share], most: float, last: bool) -> None:
    for place, bar in enumerate(bars):
        if not bar.values:
            continue
        mean, sd = statistics.fmean(bar.values), spread(bar.values)
        axes.barh(place, mean, height=0.66, color=style.GEOMETRIES[bar.letter], zorder=3)
        if sd:
            axes.plot([mean - sd, mean + sd], [place, place], color=style.INK, linewidth=1.4, zorder=4)
        said = number(mean) + (f" ± {number(sd)}" if len(bar.values) > 1 else "")
        axes.annotate(
            said, (max(mean + sd, 0), place), xytext=(6, 0), textcoords="offset points", va="center", size=8.5
        )
    axes.set_yticks(range(len(bars)), [bar.name for bar in bars])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(bars) - 0.45, -0.55)
    least = min(0.0, min(min(bar.values, default=0.0) for bar in bars))
    axes.set_xlim(1.04 * least, 1.06 * most)
    axes.grid(axis="x")
    axes.axvline(0, color=style.GREY, linewidth=1.0, zorder=2)
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_visible(last)
    axes.tick_params(axis="x", length=3 if last else 0, labelbottom=last)
    if last:
        axes.set_xlabel("KL from the prior, nats")
