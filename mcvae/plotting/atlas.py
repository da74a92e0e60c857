"""Further maps of the two-dimensional components, and how sure the posterior is of a record's place on them.

Each surface in its conformal projection (Mercator map, upper half plane) beside its usual chart with the geodesic
ellipses of single records.
"""

import math
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from . import projections, style
from .charts import FLAT, Chart, chart, component_name
from .folders import EXAMPLE, RunFolder, read_run
from .latent import Colours, read_colours

WIDTH, GAP, HEADING, FRAME = 9.2, 0.4, 0.72, 0.45  # inches
MOST_SURFACES = 4
NET = {"color": style.INK, "linewidth": 0.8, "alpha": 0.5, "zorder": 4}
MERCATOR = np.radians(80)  # latitude where the map ends
MOST_POINTS = 3000  # enough for the shape, small in the file
INSIDE = 92  # percent of the points that the half plane shows each way


@dataclass(frozen=True)
class Surface:
    """A component of two dimensions: its place among all, its usual chart, and its tangent coordinates [N, 2]."""

    index: int
    name: str
    k: float
    chart: Chart
    tangent: np.ndarray


def plot_atlas(run_folder: str | Path, svg: str | Path, png: str | Path, *, note: str = "") -> None:
    """Draw ``tangent`` and ``contours.{i}`` of latents.npz for each component of two dimensions.

    A contour is exp of the posterior's ellipse of one standard deviation, or of a distribution that knows no direction
    the circle of equal mass, 39% (see :func:`mcvae.evaluation.surfaces.contour`).
    """
    run = read_run(run_folder)
    title = f"Atlas · {style.name(run.latent, run.kind)}"
    found, arrays, reason = read_surfaces(run, "contours")
    if reason is not None:
        style.say(svg, png, title, reason, note)
        return
    with style.look():
        style.save(_draw(run, found, arrays, title, note), svg, png, title)


def read_surfaces(run: RunFolder, needed: str) -> tuple[list[Surface], dict[str, np.ndarray], str | None]:
    """The surfaces of a run with ``{needed}.{i}`` in its latents.npz, these arrays, and why there are none."""
    reason = run.why_empty()
    if reason is not None:
        return [], {}, reason
    arrays, found, start, index = run.arrays(), [], 0, 0
    for component in run.signature.components:
        for _ in range(component.count):
            k, part = run.curvatures()[index], arrays["tangent"][:, start : start + component.dim].astype(float)
            if component.dim == 2 and f"{needed}.{index}" in arrays and len(part):
                name = component_name(component, k)
                found.append(Surface(index, name, k, chart(component, k, part, None), part))
            start, index = start + component.dim, index + 1
    if not found:
        words = "a component of two dimensions" if run.kind == "vae" else "a posterior"
        return [], arrays, f"Nothing to draw: this run has no test records, or not {words} that was looked at."
    return found, arrays, None


def _draw(run: RunFolder, found: list[Surface], arrays: dict[str, np.ndarray], title: str, note: str) -> Figure:
    shown = found[:MOST_SURFACES]
    colours = read_colours(run, arrays)
    records = arrays["contour_records"]
    body = WIDTH - 2 * style.MARGIN
    side = (body - GAP) / 2
    pairs = [(conformal(surface), surface.chart) for surface in shown]
    heights = [max(_height(each, side) for each in pair if each is not None) for pair in pairs]
    legend = 0.34
    left_out = f" · the first {MOST_SURFACES} of {len(found)} surfaces" if len(found) > MOST_SURFACES else ""
    subtitle = (
        f"{run.subtitle()} · {len(found[0].tangent):,} test {EXAMPLE[run.dataset]}s · colour: {colours.meaning} · "
        f"outlines: one standard deviation (39% of the mass) of the posteriors of {len(records)} of them{left_out}"
    )
    total = sum(heights) + len(shown) * (HEADING + 0.3) + legend
    figure, top = style.new_figure(WIDTH, total, title, subtitle, note)
    for surface, (other, usual), height in zip(shown, pairs, heights, strict=True):
        for column, each in enumerate((other, usual)):
            if each is not None:
                x = style.MARGIN + column * (side + GAP) if other is not None else style.MARGIN + (body - side) / 2
                axes = _panel(figure, each, surface.name, x, top, side, height)
                outlines = each is usual
                _points(axes, each, colours, 0.25 if outlines else 0.75)
                if outlines:
                    _outlines(axes, each, surface.k, arrays[f"contours.{surface.index}"], colours.rgb[records])
        top += height + HEADING + 0.3
    _key(figure, colours, top - 0.1, body)
    return figure


def conformal(surface: Surface) -> Chart | None:
    """The surface's map that keeps angles, if it is not the usual one: Mercator's, or the upper half plane."""
    if surface.k > FLAT:
        return _mercator(surface)
    return _half_plane(surface) if surface.k < -FLAT else None


def _mercator(surface: Surface) -> Chart:
    def project(tangent: np.ndarray) -> np.ndarray:
        return projections.mercator(*projections.angles(projections.sphere_points(tangent, surface.k)))

    points = project(surface.tangent)
    edge = float(projections.mercator(np.zeros(1), np.array([MERCATOR]))[0, 1])
    outside = int((np.abs(points[:, 1]) > edge).sum())

    def lines(axes: Axes) -> None:
        ticks = np.radians(range(-60, 61, 30))
        axes.set_xticks(np.radians(range(-180, 181, 60)), [f"{d}°" for d in range(-180, 181, 60)])
        axes.set_yticks(projections.mercator(0 * ticks, ticks)[:, 1], [f"{d}°" for d in range(-60, 61, 30)])
        _framed(axes)

    words = "Mercator map (conformal), graticule of 30° by 60°, to 80° of latitude"
    words += f"; {outside} point{'s' * (outside > 1)} nearer to a pole" if outside else ""
    return Chart(surface.name, words, words, points, (-np.pi, np.pi, -edge, edge), lines, framed=True, project=project)


def _half_plane(surface: Surface) -> Chart:
    points = projections.half_plane(surface.tangent, surface.k)
    half, top = 1.08 * np.maximum(np.percentile(np.abs(points), INSIDE, axis=0), [0.8, 1.4])
    half, top = float(max(half, 0.6 * top)), float(max(top, 1.6 * half))
    outside = int(((np.abs(points[:, 0]) > half) | (points[:, 1] > top)).sum())
    across = projections.round_step(2 * half, 8)

    def lines(axes: Axes) -> None:
        circle = np.linspace(0, np.pi, 91)
        for power in range(-3, int(np.log(np.hypot(half, top))) + 1):
            radius = float(np.exp(power))
            axes.plot(radius * np.cos(circle), radius * np.sin(circle), **NET)
        for x in np.arange(-np.floor(half / across), np.floor(half / across) + 1) * across:
            axes.plot([x, x], [0, top], **NET)
        axes.axhline(0, color=style.GREY, linewidth=1.6)
        _framed(axes, grid=False)

    words = "upper half plane (conformal) with geodesics; half circles at distance 1/√−K"
    words += f"; {outside} point{'s' * (outside > 1)} outside" if outside else ""
    return Chart(
        surface.name,
        words,
        words,
        points,
        (-half, half, -0.012 * top, top),
        lines,
        framed=True,
        project=lambda u: projections.half_plane(u, surface.k),
    )


def _framed(axes: Axes, grid: bool = True) -> None:
    axes.grid(grid)
    axes.tick_params(length=0, labelsize=8)
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color(style.LIGHT)


def _height(each: Chart, side: float) -> float:
    return min((side - (FRAME if each.framed else 0.0)) * each.ratio, side)


def _panel(figure: Figure, each: Chart, name: str, x: float, top: float, side: float, height: float) -> Axes:
    heading = style.bare(style.place(figure, x, top, side, HEADING))
    heading.text(0, 0.98, name, size=10.5, weight="bold", va="top", transform=heading.transAxes)
    words = "\n".join(textwrap.wrap(each.heading, 62))
    heading.text(0, 0.66, words, size=8, color=style.GREY, va="top", linespacing=1.3, transform=heading.transAxes)
    inset = FRAME if each.framed else 0.0
    high = _height(each, side)
    wide = high / each.ratio
    place = (x + inset + (side - inset - wide) / 2, top + HEADING + (height - high) / 2)
    return each.prepare(style.place(figure, *place, wide, high))


def _points(axes: Axes, each: Chart, colours: Colours, alpha: float) -> None:
    every = slice(None, None, -(-len(each.points) // MOST_POINTS))
    x, y = each.points[every].T
    area = float(np.clip(9000 / max(len(x), 1), 1.6, 14.0))
    axes.scatter(x, y, s=area, c=colours.rgb[every], alpha=alpha, linewidths=0, rasterized=True, zorder=3)


def _outlines(axes: Axes, each: Chart, k: float, contours: np.ndarray, rgb: np.ndarray) -> None:
    """Closed curves [R, P, 2] in tangent coordinates; torn where the map is."""
    assert each.project is not None
    left, right, _, _ = each.limits
    curves = []
    for curve in contours.astype(float):
        line, middle = each.project(curve), each.project((curve[1:] + curve[:-1]) / 2)
        # On a torn piece the middle lies at one of the ends, however near to each other these are on the map.
        length = np.linalg.norm(np.diff(line, axis=0), axis=-1)
        aside = np.linalg.norm(middle - (line[1:] + line[:-1]) / 2, axis=-1)
        torn = (aside > length / 4) & (length > (right - left) / 100)
        if k > FLAT:  # around the antipode, neighbours have tangents that point to opposite sides
            torn |= np.linalg.norm(np.diff(curve.astype(float), axis=0), axis=-1) > np.pi / 2 / math.sqrt(k)
        torn = np.flatnonzero(torn) + 1
        curves.append(np.insert(line, torn, np.nan, axis=0))
    for width, ink, order in ((2.6, "white", 5), (1.3, rgb, 6)):
        axes.add_collection(LineCollection(curves, colors=ink, linewidths=width, zorder=order), autolim=False)


def _key(figure: Figure, colours: Colours, top: float, body: float) -> None:
    """The classes in their colours, or the scale of a property."""
    if colours.scale is not None:
        axes = style.place(figure, style.MARGIN + 0.25 * body, top, 0.5 * body, 0.12)
        figure.colorbar(colours.scale, cax=axes, orientation="horizontal").set_label(colours.meaning)
        axes.spines[:].set_visible(False)
        return
    axes = style.bare(style.place(figure, style.MARGIN, top, body, 0.25))
    axes.set_xlim(0, body)
    axes.set_ylim(-0.125, 0.125)
    step = min(body / max(len(colours.classes), 1), 1.5)
    for index, (name, colour, _) in enumerate(colours.classes):
        axes.plot(0.1 + index * step, 0, "o", color=colour, markersize=7)
        axes.text(0.22 + index * step, 0, name, va="center", size=9.5)
