"""Where the test split lies in latent space, each geometry in its own projection, coloured by class or property."""

import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure

from . import projections, style
from .charts import Chart, charts, overview
from .folders import EXAMPLE, RunFolder, read_run

WIDTH, WIDE = 6.6, 8.6  # inches
MOST_PANELS = 12
BACKGROUND = 400  # grey points of other classes in a class's own panel: enough for the shape, small in the file
PANEL_GAP, PANEL_HEAD, SMALL_GAP = 0.35, 0.80, 0.16  # inches
SMALL = 0.16  # area of a point in a class's own panel, relative to the large one


@dataclass(frozen=True)
class Colours:
    """The colour of each record [N, 3], and what it means: classes with names, or a property with a unit."""

    rgb: np.ndarray
    meaning: str
    classes: tuple[tuple[str, str, np.ndarray], ...] = ()  # name, colour, mask [N]
    scale: ScalarMappable | None = None


def plot_latent(run_folder: str | Path, svg: str | Path, png: str | Path, *, note: str = "") -> None:
    """Draw the posterior locations of the test split (``tangent`` of latents.npz).

    Digits are coloured by class, faces by the attribute Smiling, molecules by their HOMO-LUMO gap. A single component
    gets one panel a class as well; a product gets one panel a component. What has more than two dimensions is also laid
    out as a whole, by its geodesic distances.
    """
    run = read_run(run_folder)
    title = f"Latent space · {style.name(run.latent, run.kind)}"
    reason = run.why_empty() or run.why_unplaced()
    if reason is not None:
        style.say(svg, png, title, reason, note)
        return
    arrays = run.arrays()
    with style.look():
        colours = read_colours(run, arrays)
        # Golden-ratio jitter: even, and the same in every run.
        spread = (np.arange(len(arrays["tangent"])) * 0.6180339887498949) % 1 - 0.5
        panels = charts(run, arrays["tangent"], spread)
        if run.signature.dim <= 2 and len(panels) == 1:
            figure = _single(run, panels[0], colours, title, note)
        else:
            figure = _several(run, panels, overview(run, arrays["tangent"]), colours, title, note)
        style.save(figure, svg, png, title)


def read_colours(run: RunFolder, arrays: dict[str, np.ndarray]) -> Colours:
    """The colours of the records of a run's latents.npz."""
    if "labels" in arrays:
        labels = arrays["labels"].astype(int)
        found = [int(c) for c in np.unique(labels)]
        classes = tuple((str(c), style.CLASSES[c % len(style.CLASSES)], labels == c) for c in found)
        return _by_class("digit" if run.dataset == "mnist" else "class", classes, len(labels))
    if "attributes" in arrays:
        smiling = arrays["attributes"][:, arrays["attribute_names"].tolist().index("Smiling")] > 0
        classes = (("not smiling", "#3f90da", ~smiling), ("smiling", "#e76300", smiling))
        return _by_class("the attribute Smiling", classes, len(smiling))
    from ..data.qm9 import TARGETS

    index = [target.name for target in TARGETS].index("gap")
    values = arrays["properties"][:, index].astype(float)
    low, high = np.percentile(values, [1, 99])
    scale = ScalarMappable(Normalize(low, max(high, low + 1e-9)), style.SEQUENTIAL)
    scale.set_array(values)
    return Colours(scale.to_rgba(values)[:, :3], f"HOMO–LUMO gap ({TARGETS[index].unit})", scale=scale)


def _by_class(meaning: str, classes: tuple[tuple[str, str, np.ndarray], ...], count: int) -> Colours:
    rgb = np.zeros((count, 3))
    for _, colour, mask in classes:
        rgb[mask] = to_rgb(colour)
    return Colours(rgb, meaning, classes=classes)


def _subtitle(run: RunFolder, count: int, colours: Colours, how: str) -> str:
    what = f"{count:,} test {EXAMPLE[run.dataset]}s" if count != 1 else f"1 test {EXAMPLE[run.dataset]}"
    return f"{run.subtitle()} · {what} at their posterior location · colour: {colours.meaning} · {how}"


def _single(run: RunFolder, chart: Chart, colours: Colours, title: str, note: str) -> Figure:
    """One chart, a sphere's two hemispheres below it, and one small chart a class."""
    body = WIDTH - 2 * style.MARGIN
    bar = 0.75 if colours.scale is not None else 0.0
    frame = 0.5 if chart.framed else 0.0
    main = body - frame - bar
    if chart.ratio >= 0.9:
        main = min(main, 5.6)
    height = main * min(chart.ratio, 1.0) if chart.name.find("¹") < 0 else 2.4
    globes = 2.75 if chart.sphere is not None else 0.0
    subtitle = _subtitle(run, len(chart.points), colours, f"{chart.name}, {chart.projection}")
    total = height + (frame + 0.1) + globes + _multiples_height(chart, colours, body)
    figure, top = style.new_figure(WIDTH, total, title, subtitle, note)
    left = style.MARGIN + frame + (body - frame - bar - main) / 2
    axes = chart.prepare(style.place(figure, left, top, main, height))
    _scatter(axes, chart.points, colours.rgb, _area(len(chart.points)))
    if chart.framed:
        axes.set_xlabel(chart.labels[0])
        axes.set_ylabel(chart.labels[1])
    _name_classes(axes, chart, colours)
    if colours.scale is not None:
        _bar(figure, colours, left + main + 0.12, top + 0.1 * height, 0.8 * height)
    y = top + height + frame + 0.1
    if chart.sphere is not None:
        _globes(figure, chart.sphere, colours, y, body)
        y += globes
    _multiples(figure, chart, colours, y, body)
    return figure


def _several(run: RunFolder, panels: list[Chart], whole: Chart, colours: Colours, title: str, note: str) -> Figure:
    """The whole and one panel a component, with shared colours and one legend; one small chart a class if of one."""
    shown = [whole, *panels[: MOST_PANELS - 1]]
    alone = len(panels) == 1
    columns = 2 if len(shown) in (2, 4) else 3
    width = WIDE if columns == 3 or alone else WIDTH
    body = width - 2 * style.MARGIN
    side = (body - PANEL_GAP * (columns - 1)) / columns
    count = f" (the first {MOST_PANELS - 1} of {len(panels)})" if len(panels) >= MOST_PANELS else ""
    how = f"{panels[0].projection} · {whole.projection}" if alone else f"the whole, and one panel a component{count}"
    how += " · r: correlation of distances on paper with geodesic ones"
    multiples = _multiples_height(panels[0], colours, body) if alone else 0.0
    key = 0.62 if colours.scale is not None else 0.0 if multiples else 0.42
    tall = -(-len(shown) // columns) * (side + PANEL_HEAD)
    subtitle = _subtitle(run, len(panels[0].points), colours, how)
    figure, top = style.new_figure(width, tall + key + multiples, title, subtitle, note)
    for index, chart in enumerate(reversed(shown) if alone else shown):
        row, column = divmod(index, columns)
        panel(figure, chart, colours, style.MARGIN + column * (side + PANEL_GAP), top + row * (side + PANEL_HEAD), side)
    y = top + tall
    if colours.scale is not None:
        axes = style.place(figure, style.MARGIN + 0.2 * body, y, 0.6 * body, 0.14)
        figure.colorbar(colours.scale, cax=axes, orientation="horizontal").set_label(colours.meaning)
        axes.spines[:].set_visible(False)
    elif key:
        legend(figure, colours, y + 0.12, body)
    if multiples:
        _multiples(figure, panels[0], colours, y + key, body)
    return figure


def panel(figure: Figure, chart: Chart, colours: Colours, x: float, y: float, side: float) -> None:
    """A chart with its heading, of which there are two lines, in a box of ``side`` by ``side`` + 0.65 inches."""
    inset = 0.42 if chart.framed else 0.0
    wide = side - inset
    high = min(side - inset, wide * chart.ratio) if not chart.name.startswith("strip") else side / 2
    axes = chart.prepare(style.place(figure, x + inset, y + 0.65 + (side - inset - high) / 2, wide, high))
    rgb = colours.rgb if chart.records is None else colours.rgb[chart.records]
    _scatter(axes, chart.points, rgb, 0.4 * _area(len(chart.points)))
    _name_classes(axes, chart, colours, 7.5)
    if chart.framed:
        axes.set_xlabel(chart.labels[0], size=8.5)
        axes.set_ylabel(chart.labels[1], size=8.5)
        axes.tick_params(labelsize=7.5)
    heading = style.bare(style.place(figure, x, y, side, 0.6))
    heading.text(0, 1, chart.name, size=10.5, weight="bold", va="top", transform=heading.transAxes)
    words = "\n".join(textwrap.wrap(chart.heading, int(15.5 * side)))
    heading.text(0, 0.63, words, size=8.5, color=style.GREY, va="top", linespacing=1.25, transform=heading.transAxes)


def _multiples_layout(chart: Chart, colours: Colours, body: float) -> tuple[list[tuple], int, float, float]:
    """The classes that have records, how many stand in a row, and the width and height of a small chart."""
    shown = [entry for entry in colours.classes if entry[2].any()]
    columns = min(5, len(shown)) or 1
    small = min((body - SMALL_GAP * (columns - 1)) / columns, 2.4)
    return shown, columns, small, small * min(chart.ratio, 1.0)


def _multiples_height(chart: Chart, colours: Colours, body: float) -> float:
    shown, columns, _, height = _multiples_layout(chart, colours, body)
    return 0.25 + -(-len(shown) // columns) * (height + 0.30) if shown else 0.0


def _multiples(figure: Figure, chart: Chart, colours: Colours, top: float, body: float) -> None:
    """One small chart a class, the others in grey behind it."""
    shown, columns, small, height = _multiples_layout(chart, colours, body)
    for index, (name, colour, mask) in enumerate(shown):
        row, column = divmod(index, columns)
        x = style.MARGIN + (body - columns * small - (columns - 1) * SMALL_GAP) / 2 + column * (small + SMALL_GAP)
        each = chart.prepare(style.place(figure, x, top + 0.43 + row * (height + 0.30), small, height))
        each.tick_params(labelbottom=False, labelleft=False, length=0)
        others = chart.points[~mask]
        others = others[:: max(1, len(others) // BACKGROUND)]
        _scatter(each, others, np.tile(to_rgb("#ccd1d8"), (len(others), 1)), 0.1 * _area(len(others)))
        _scatter(each, chart.points[mask], colours.rgb[mask], SMALL * _area(len(mask)))
        each.set_title(name, color=_dark(colour), size=10, pad=2, loc="center")


def _area(count: int) -> float:
    """Points squared of one of ``count`` markers in a large panel."""
    return float(np.clip(24_000 / max(count, 1), 3.0, 22.0))


def _scatter(axes: Axes, points: np.ndarray, rgb: np.ndarray, area: float, alpha: float = 0.8) -> None:
    axes.scatter(points[:, 0], points[:, 1], s=area, c=rgb, alpha=alpha, linewidths=0, rasterized=True, zorder=3)


def _dark(colour: str) -> str:
    """A class's colour, dark enough to be read as text on white."""
    red, green, blue = to_rgb(colour)
    while 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 > 0.17:  # contrast of about 4.8 : 1
        red, green, blue = 0.94 * red, 0.94 * green, 0.94 * blue
    return "#" + "".join(f"{round(255 * c):02x}" for c in (red, green, blue))


def _name_classes(axes: Axes, chart: Chart, colours: Colours, size: float = 10) -> None:
    """Each digit's name where its class is densest."""
    if len(colours.classes) < 3:
        return
    left, right, bottom, top = chart.limits
    for name, colour, mask in colours.classes:
        known = mask if chart.records is None else mask[chart.records]
        inside = known & (chart.points[:, 0] > left) & (chart.points[:, 0] < right)
        inside &= (chart.points[:, 1] > bottom) & (chart.points[:, 1] < top)
        if inside.any():
            x, y = projections.medoid(chart.points[inside])
            badge = {
                "boxstyle": "circle,pad=0.18",
                "facecolor": "white",
                "edgecolor": colour,
                "linewidth": 1.1,
                "alpha": 0.92,
            }
            axes.text(
                x,
                y,
                name,
                size=size,
                weight="bold",
                color=_dark(colour),
                ha="center",
                va="center",
                zorder=8,
                bbox=badge,
            )


def _bar(figure: Figure, colours: Colours, left: float, top: float, height: float) -> None:
    axes = style.place(figure, left, top, 0.14, height)
    figure.colorbar(colours.scale, cax=axes).set_label(colours.meaning)
    axes.spines[:].set_visible(False)


def legend(figure: Figure, colours: Colours, top: float, body: float) -> None:
    """A dot and a name a class, in a line of 0.25 inches."""
    axes = style.bare(style.place(figure, style.MARGIN, top, body, 0.25))
    axes.set_xlim(0, body)
    axes.set_ylim(-0.125, 0.125)
    step = min(body / len(colours.classes), 1.5)
    for index, (name, colour, _) in enumerate(colours.classes):
        axes.plot(0.1 + index * step, 0, "o", color=colour, markersize=7)
        axes.text(0.22 + index * step, 0, name, va="center", size=9.5)


def _globes(figure: Figure, points: np.ndarray, colours: Colours, top: float, body: float) -> None:
    """The two hemispheres, orthographically: seen from above the origin, and from behind."""
    side = 2.3
    for index, (sign, name) in enumerate(((1, "from above the origin"), (-1, "from behind"))):
        x = style.MARGIN + body * (0.25 + 0.5 * index) - side / 2
        axes = style.bare(style.place(figure, x, top + 0.32, side, side))
        axes.set_xlim(-1.02, 1.02)
        axes.set_ylim(-1.02, 1.02)
        outline = np.radians(np.linspace(0, 360, 181))
        axes.fill(np.cos(outline), np.sin(outline), facecolor=style.PAPER, zorder=0)
        axes.plot(np.cos(outline), np.sin(outline), color=style.GREY, linewidth=1.0, zorder=2)
        for longitude, latitude in projections.graticule():
            line = np.stack(
                [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)], -1
            )
            shown = np.where((sign * line[:, :1] >= 0), line, np.nan)
            axes.plot(sign * shown[:, 1], shown[:, 2], color=style.HAIR, linewidth=0.7, zorder=1)
        front = sign * points[:, 0] >= 0
        _scatter(
            axes,
            np.stack([sign * points[front, 1], points[front, 2]], -1),
            colours.rgb[front],
            0.5 * _area(len(points)),
        )
        axes.set_title(f"Orthographic, {name}", size=9, weight="normal", color=style.GREY, loc="center", pad=4)
