"""Autoencoder and VAEs of one dimension side by side: latent map, reconstructions, samples, and the table's numbers."""

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ..findings import statistics
from ..findings.columns import Column, columns
from ..findings.context import cell
from ..options import KIND_NAMES
from . import style
from .charts import charts, overview
from .configurations import data_name, grouped, metrics, qualifiers, read_runs, remarks, seeds_said
from .folders import EXAMPLE, RunFolder
from .grids import tile_size, tiles
from .latent import Colours, legend, panel, read_colours

WIDTH, NARROWEST, GAP = 9.6, 6.4, 0.45  # inches
SIDE = 3.4  # of a latent map, at most
MOST = 8  # models
ACROSS, SAMPLE_ROWS = 6, 3  # pictures in a row, rows of samples
HEAD, WORDS, LINE, KEY = 0.65, 0.30, 0.19, 0.45  # inches: over a map, over pictures, of a number, of the legend
NUMBERS = (
    *("test.bits_per_dim_elbo", "test.reconstruction", "test.kl", "test.ll"),
    *("test.knn_accuracy", "test.knn_balanced_accuracy"),
)


@dataclass(frozen=True)
class Model:
    """The runs of a configuration, one that is drawn with its arrays, and why it is not; ``name``: the heading."""

    runs: Sequence[RunFolder]
    run: RunFolder
    arrays: dict[str, np.ndarray]
    reason: str | None
    name: str


def plot_comparison(run_folders: Iterable[str | Path], svg: str | Path, png: str | Path, *, note: str = "") -> None:
    """Draw a column a model: latent space, reconstructions and samples of one run, numbers as means over seeds.

    The autoencoder comes first, then the VAEs in the order of the experiment; eight models at most. The run is that of
    the first seed, or of the first that has something to draw.
    """
    runs, missing = read_runs(run_folders)
    title = "Autoencoder and VAEs side by side"
    groups = sorted(grouped(runs), key=lambda members: members[0].kind != "autoencoder")
    if not groups:
        style.say(svg, png, title, "None of the runs that are compared here was started.", note)
        return
    words = qualifiers([members[0].config for members in groups[:MOST]])
    models = [_model(members, words(members[0].config)) for members in groups[:MOST]]
    dataset = runs[0].dataset
    seeds = f"means over {seeds_said(runs)} ± one standard deviation" if len({r.seed for r in runs}) > 1 else "one seed"
    subtitle = (
        f"{data_name(dataset)} · latent space of the test split · the same {EXAMPLE[dataset]}s above their "
        f"reconstructions · unselected draws from the prior · numbers of the test split: {seeds}"
    )
    subtitle += f" · the first {MOST} of {len(groups)} models" if len(groups) > MOST else ""
    with style.look():
        _draw(models, title, subtitle + remarks(runs, missing), note, svg, png)


def _model(members: Sequence[RunFolder], words: str) -> Model:
    ordered = sorted(members, key=lambda run: run.seed)
    reasons = [run.why_empty() or run.why_unplaced() for run in ordered]
    place = reasons.index(None) if None in reasons else 0
    run, reason = ordered[place], reasons[place]
    name = f"{KIND_NAMES[run.kind]} · {run.latent}{words}" + (f" · seed {run.seed}" if place else "")
    return Model(ordered, run, {} if reason else run.arrays(), reason, name[:1].upper() + name[1:])


def _draw(models: Sequence[Model], title: str, subtitle: str, note: str, svg: str | Path, png: str | Path) -> None:
    across = len(models) if len(models) <= 4 else -(-len(models) // 2)
    side = min((WIDTH - 2 * style.MARGIN - GAP * (across - 1)) / across, SIDE)
    body = across * side + GAP * (across - 1)
    width = max(body + 2 * style.MARGIN, NARROWEST)
    dataset = models[0].run.dataset
    known = [column for column in columns(dataset) if column.metric in NUMBERS]
    drawn = [model for model in models if model.reason is None]
    tall = _pictures_height(drawn[0].arrays, side) if drawn else 0.0
    card = side + HEAD + tall + LINE * (len(known) + 2)
    high = -(-len(models) // across) * card
    figure, top = style.new_figure(width, high + KEY * bool(drawn), title, subtitle, note)
    colours = read_colours(drawn[0].run, drawn[0].arrays) if drawn else None
    for index, model in enumerate(models):
        x = (width - body) / 2 + index % across * (side + GAP)
        y = top + index // across * card
        if model.reason is None:
            _latent(figure, model, read_colours(model.run, model.arrays), x, y, side)
            _pictures(figure, model, x, y + side + HEAD, side)
        else:
            _say(figure, model.name, model.reason, x, y, side)
        _numbers(figure, model, known, x, y + side + HEAD + tall, side)
    if colours is not None:
        legend(figure, colours, top + high, width - 2 * style.MARGIN)
    style.save(figure, svg, png, title)


def _latent(figure: Figure, model: Model, colours: Colours, x: float, y: float, side: float) -> None:
    """A surface in its own projection, all else by its geodesic distances."""
    run, tangent = model.run, model.arrays["tangent"]
    whole = run.signature.dim != 2 or len(run.curvatures()) > 1
    chart = overview(run, tangent) if whole else charts(run, tangent, None)[0]
    panel(figure, replace(chart, name=model.name, labels=("", "")), colours, x, y, side)


def _pictures_height(arrays: dict[str, np.ndarray], side: float) -> float:
    _, tall, gap = tile_size(arrays["inputs"], ACROSS, side)
    return 2 * WORDS + (2 + SAMPLE_ROWS) * (tall + gap)


def _pictures(figure: Figure, model: Model, x: float, y: float, side: float) -> None:
    arrays = model.arrays
    _, tall, gap = tile_size(arrays["inputs"], ACROSS, side)
    _heading(figure, "test images, reconstructions", x, y, side)
    some = np.linspace(0, len(arrays["inputs"]) - 1, ACROSS).round().astype(int)
    tiles(figure, [arrays[name][some] for name in ("inputs", "reconstructions")], ACROSS, x, y + WORDS, side)
    y += WORDS + 2 * (tall + gap)
    _heading(figure, "draws from the prior", x, y, side)
    if "samples" in arrays:
        rows = arrays["samples"][: ACROSS * SAMPLE_ROWS]
        tiles(figure, np.split(rows, range(ACROSS, len(rows), ACROSS)), ACROSS, x, y + WORDS, side)
    else:
        axes = style.bare(style.place(figure, x, y + WORDS, side, SAMPLE_ROWS * (tall + gap) - gap))
        words = textwrap.fill("An autoencoder has no prior to draw from.", int(14 * side))
        axes.text(0.5, 0.5, words, ha="center", va="center", size=9, color=style.GREY, transform=axes.transAxes)


def _heading(figure: Figure, words: str, x: float, y: float, side: float) -> None:
    axes = style.bare(style.place(figure, x, y, side, WORDS))
    axes.text(0, 0.25, words, size=8.5, color=style.GREY, transform=axes.transAxes)


def _say(figure: Figure, name: str, reason: str, x: float, y: float, side: float) -> None:
    axes = style.bare(style.place(figure, x, y, side, side))
    axes.text(0, 1, name, size=10.5, weight="bold", va="top", transform=axes.transAxes)
    words = textwrap.fill(reason, int(15 * side))
    axes.text(0, 0.5, words, size=9, va="center", linespacing=1.4, transform=axes.transAxes)


def _numbers(figure: Figure, model: Model, known: Sequence[Column], x: float, y: float, side: float) -> None:
    """Means of the finished runs in the units of the table; a dash where a model has none."""
    height = LINE * len(known)
    axes = style.bare(style.place(figure, x, y + 0.5 * LINE, side, height))
    axes.set(xlim=(0, 1), ylim=(len(known), 0))
    axes.plot([0, 1], [0, 0], color=style.LIGHT, linewidth=0.8, clip_on=False)
    for line, column in enumerate(known, 1):
        found = metrics(model.runs, column.metric)
        text = cell(statistics.mean(found), statistics.deviation(found), column).replace("-", "−") or "–"
        axes.text(0, line - 0.3, column.title, size=8.5, color=style.GREY)
        axes.text(1, line - 0.3, text, size=8.5, ha="right")
