"""The aggregate posterior beside the prior, on each two-dimensional component, in the space's own projection."""

from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import style
from .atlas import Surface, read_surfaces
from .configurations import metric
from .folders import RunFolder, read_run

WIDTH, GAP, HEADING, BAR, FRAME = 8.2, 0.4, 0.56, 0.75, 0.45  # inches
MOST_SURFACES = 4
LEVELS = 14
SHOWN = 99.5  # percent of a mesh below the end of its scale: densities that wrap a sphere are infinite at the antipode
COLOURS = "GnBu"  # pale where nothing lies


def plot_density(run_folder: str | Path, svg: str | Path, png: str | Path, *, note: str = "") -> None:
    """Draw ``density.{i}`` over ``density_at.{i}`` of latents.npz: q(z), the mean posterior of test records, and p(z).

    Densities are against the area of the surface itself, not of the paper; both panels of a row have one scale, which
    ends where 0.5% of the places are above it.
    """
    run = read_run(run_folder)
    title = f"Aggregate posterior and prior · {style.name(run.latent, run.kind)}"
    found, arrays, reason = read_surfaces(run, "density")
    if reason is not None:
        style.say(svg, png, title, reason, note)
        return
    with style.look():
        style.save(_draw(run, found, arrays, title, note), svg, png, title)


def _draw(run: RunFolder, found: list[Surface], arrays: dict[str, np.ndarray], title: str, note: str) -> Figure:
    shown = found[:MOST_SURFACES]
    body = WIDTH - 2 * style.MARGIN
    side = (body - GAP) / 2
    left_out = f" · the first {MOST_SURFACES} of {len(found)} surfaces" if len(found) > MOST_SURFACES else ""
    how = "density against the area of the surface, one scale a row; 0.5% of a panel may lie above it"
    subtitle = f"{run.subtitle()} · {how}{left_out}"
    heights = [(side - (FRAME if surface.chart.framed else 0.0)) * min(_ratio(surface), 1.0) for surface in shown]
    total = sum(heights) + len(shown) * (HEADING + BAR)
    figure, top = style.new_figure(WIDTH, total, title, subtitle, note)
    for surface, height in zip(shown, heights, strict=True):
        densities = np.exp(arrays[f"density.{surface.index}"].astype(float))
        at = arrays[f"density_at.{surface.index}"].astype(float)
        top_level = max(float(np.percentile(densities, SHOWN, axis=(1, 2)).max()), 1e-12)
        levels = np.linspace(0, top_level, LEVELS + 1)
        known = metric(run, f"test.aggregate_kl.{surface.index}")
        apart = f"; KL(q, p) = {known:.2f} nats" if known is not None else ""
        for column, (density, words) in enumerate(
            zip(densities, (f"aggregate posterior q(z){apart}", "prior p(z)"), strict=True)
        ):
            x = style.MARGIN + column * (side + GAP)
            heading = style.bare(style.place(figure, x, top, side, HEADING))
            heading.text(0, 0.80, words, size=10.5, weight="bold", va="center", transform=heading.transAxes)
            where = f"{surface.name} · {surface.chart.heading}"
            heading.text(0, 0.38, where, size=8, color=style.GREY, va="center", transform=heading.transAxes)
            inset = FRAME if surface.chart.framed else 0.0
            axes = style.place(figure, x + inset, top + HEADING, side - inset, height)
            _panel(axes, surface, at, density, levels)
        _bar(figure, top + HEADING + height + 0.28, body, levels)
        top += height + HEADING + BAR
    return figure


def _ratio(surface: Surface) -> float:
    return 1.0 if surface.chart.framed else surface.chart.ratio


def _panel(axes: Axes, surface: Surface, at: np.ndarray, density: np.ndarray, levels: np.ndarray) -> None:
    chart = surface.chart
    assert chart.project is not None
    x, y = np.moveaxis(chart.project(at), -1, 0)
    filled = axes.contourf(x, y, density, levels=levels, cmap=COLOURS, extend="max", zorder=0.5)
    filled.set_rasterized(True)  # as areas they are large, and viewers show hairlines between them
    chart.prepare(axes)
    for patch in axes.patches:
        patch.set_facecolor(colormaps[COLOURS](0.0))  # as where the density is zero; the mesh ends where it nearly is
    if chart.framed:
        axes.set_xlim(x.min(), x.max())
        axes.set_ylim(y.min(), y.max())
        axes.tick_params(labelsize=8)


def _bar(figure: Figure, top: float, body: float, levels: np.ndarray) -> None:
    axes = style.place(figure, style.MARGIN + 0.25 * body, top, 0.5 * body, 0.11)
    axes.pcolormesh(levels, [0, 1], 0.5 * (levels[1:] + levels[:-1])[None], cmap=COLOURS, vmin=0, vmax=levels[-1])
    axes.set_yticks([])
    axes.tick_params(labelsize=8, length=2)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("density per unit of area", size=8, labelpad=2)
