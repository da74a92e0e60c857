"""Data beside their reconstructions, and draws from the prior.

Digits are drawn in ``afmhot``, faces in their colours, molecules by RDKit.
"""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from . import style
from .folders import RunFolder, read_run

WIDTH = 8.0
GAP = 0.07  # inches between tiles
EXACT = style.GEOMETRIES["h"]
FLATNESS = 0.72  # height of a molecule's tile
SHADES = 64  # of a digit: as good as 256 to the eye, and two thirds of the bytes


def plot_reconstructions(run_folder: str | Path, svg: str | Path, png: str | Path, *, note: str = "") -> None:
    """Test examples above what the model makes of them; exactly reconstructed molecules are framed."""
    run = read_run(run_folder)
    title = f"Reconstructions · {style.name(run.latent, run.kind)}"

    def draw(arrays: dict[str, np.ndarray]) -> None:
        inputs, outputs = arrays["inputs"], arrays["reconstructions"]
        text = inputs.dtype.kind == "U"
        columns = 4 if text else 8
        blocks = -(-len(inputs) // columns)
        label = 0.95
        body = WIDTH - 2 * style.MARGIN - label
        _, tall, gap = tile_size(inputs, columns, body)
        block = 2 * tall + gap + 0.24
        subtitle = f"{run.subtitle()} · test split: input above, reconstruction below"
        exact = np.zeros(len(inputs), bool)
        if text:
            from .molecules import same_molecule

            exact[:] = [same_molecule(str(a), str(b)) for a, b in zip(inputs, outputs, strict=True)]
            subtitle += f" · green frame: the same molecule ({exact.sum()} of {len(exact)} shown)"
        figure, top = style.new_figure(WIDTH, blocks * block, title, subtitle, note)
        for index in range(blocks):
            part = slice(index * columns, (index + 1) * columns)
            above = top + index * block
            framed = {(1, column) for column in np.flatnonzero(exact[part])}
            tiles(figure, [inputs[part], outputs[part]], columns, style.MARGIN + label, above, body, framed)
            for line, word in enumerate(("input", "recon-\nstruction")):
                axes = style.place(figure, style.MARGIN, above + line * (tall + gap), label, tall)
                style.bare(axes).text(0, 0.5, word, va="center", size=9, color=style.GREY, transform=axes.transAxes)
        style.save(figure, svg, png, title)

    guarded(run, ("inputs", "reconstructions"), draw, svg, png, title, note)


def plot_samples(run_folder: str | Path, svg: str | Path, png: str | Path, *, note: str = "") -> None:
    """What the decoder makes of draws from the prior (means of its likelihood, or greedily decoded molecules)."""
    run = read_run(run_folder)
    title = f"Samples from the prior · {style.name(run.latent, run.kind)}"
    if run.kind == "autoencoder" and not run.why_empty() and "samples" not in run.arrays():
        style.say(svg, png, title, "A plain autoencoder has no prior, so there is nothing to draw samples from.", note)
        return

    def draw(arrays: dict[str, np.ndarray]) -> None:
        samples = arrays["samples"]
        text = samples.dtype.kind == "U"
        subtitle = f"{run.subtitle()} · decoded draws from the prior, unselected"
        if text:
            known = [s for s in ("validity", "uniqueness", "novelty") if run.metrics.get(f"samples.{s}") is not None]
            subtitle += "".join(f" · {s} {100 * run.metrics[f'samples.{s}']:.0f}%" for s in known)
            samples = samples[:40]
        columns = 5 if text else max(1, round(len(samples) ** 0.5))
        rows = [samples[i : i + columns] for i in range(0, len(samples), columns)]
        body = WIDTH - 2 * style.MARGIN
        _, tall, gap = tile_size(samples, columns, body)
        figure, top = style.new_figure(WIDTH, len(rows) * (tall + gap), title, subtitle, note)
        tiles(figure, rows, columns, style.MARGIN, top, body)
        style.save(figure, svg, png, title)

    guarded(run, ("samples",), draw, svg, png, title, note)


def guarded(
    run: RunFolder,
    needed: Sequence[str],
    draw: Callable[[dict[str, np.ndarray]], None],
    svg: str | Path,
    png: str | Path,
    title: str,
    note: str,
) -> None:
    """Draw, or say in the picture why not."""
    reason = run.why_empty() or (run.why_unplaced() if "tangent" in needed else None)
    if reason is None:
        arrays = run.arrays()
        missing = [key for key in needed if key not in arrays or arrays[key].size == 0]
        if not missing:
            with style.look():
                draw(arrays)
            return
        reason = f"The latents.npz of this run holds no {' and no '.join(missing)}, so there is nothing to draw."
    style.say(svg, png, title, reason, note)


def rgb(data: np.ndarray) -> np.ndarray:
    """An image as uint8 [height, width, 3]: of a digit [H, W] or [1, H, W], or of a face [3, H, W]."""
    values = np.clip(np.asarray(data, dtype=float), 0, 1)
    if values.ndim == 3 and values.shape[0] == 1:
        values = values[0]
    if values.ndim == 2:
        values = colormaps[style.DIGITS](np.round(values * (SHADES - 1)) / (SHADES - 1))[..., :3]
    elif values.shape[0] == 3:
        values = np.moveaxis(values, 0, -1)
    return np.round(255 * values).astype(np.uint8)


def join(rows: Sequence[np.ndarray], columns: int, gap: int) -> np.ndarray:
    """Rows of images as one picture, ``gap`` white pixels between them; an image of NaN, or none at all, is white."""
    height, width = rows[0].shape[-2:]
    picture = np.full((len(rows) * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for i, row in enumerate(rows):
        for j, data in enumerate(row):
            if np.isfinite(data).all():
                picture[i * (height + gap) :, j * (width + gap) :][:height, :width] = rgb(data)
    return picture


def pixel_gap(width: int) -> int:
    """Pixels between tiles of so many."""
    return max(1, round(width / 14))


def tile_size(examples: np.ndarray, columns: int, body: float) -> tuple[float, float, float]:
    """Width and height of a tile and the gap between tiles, if ``columns`` of them fill ``body``; all in inches."""
    if examples.dtype.kind == "U":
        side = (body - GAP * (columns - 1)) / columns
        return side, FLATNESS * side, GAP
    height, width = examples.shape[-2:]
    gap = pixel_gap(width)
    inch = body / (columns * (width + gap) - gap)
    return width * inch, height * inch, gap * inch


def tiles(
    figure: Figure,
    rows: Sequence[np.ndarray],
    columns: int,
    left: float,
    top: float,
    body: float,
    framed: Collection[tuple[int, int]] = (),
) -> None:
    """Rows of examples from a corner in inches: images as one picture at their own resolution, molecules one by one."""
    width, height, gap = tile_size(rows[0], columns, body)
    if rows[0].dtype.kind != "U":
        axes = style.place(figure, left, top, body, len(rows) * (height + gap) - gap)
        picture = join(rows, columns, pixel_gap(rows[0].shape[-1]))
        style.bare(axes).imshow(picture, aspect="auto")
        return
    for i, row in enumerate(rows):
        for j, smiles in enumerate(row):
            axes = style.place(figure, left + j * (width + gap), top + i * (height + gap), width, height)
            molecule_tile(axes, str(smiles), (i, j) in framed)


def molecule_tile(axes: Axes, smiles: str, framed: bool) -> None:
    """A molecule in a frame, which is green and thick if ``framed``."""
    from .molecules import draw_molecule

    edge = {"edgecolor": EXACT if framed else style.LIGHT, "linewidth": 2.4 if framed else 0.7}
    drawn = draw_molecule(style.bare(axes), smiles)
    face = "none" if drawn else style.HAIR
    axes.add_patch(Rectangle((0, 0), 1, 1, transform=axes.transAxes, facecolor=face, clip_on=False, **edge))
    if not drawn:
        axes.text(0.5, 0.5, "no molecule", ha="center", va="center", size=8, color=style.GREY, transform=axes.transAxes)
