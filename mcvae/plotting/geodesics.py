"""Ways through the latent space of images: geodesics between records, directions of attributes, axes of components.

Decoded pictures in rows; above each picture stands how far along the row it lies.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..evaluation.face_pictures import REACH
from ..trained import load
from . import style, walks
from .folders import RunFolder, read_run
from .grids import WIDTH, guarded, join, pixel_gap

LABEL = 1.2  # inches on the left
HEADING, ABOVE, GAP = 0.36, 0.19, 0.08  # inches: over a row's words, of its words, below it


@dataclass(frozen=True)
class Row:
    """Pictures [n, *shape], a word above each, a label on their left (of lines), and a heading with more beside it."""

    pictures: np.ndarray
    above: Sequence[str] = ()
    label: str = ""
    heading: str = ""
    more: str = ""

    @property
    def head(self) -> float:
        """Inches above the pictures."""
        return HEADING * bool(self.heading) + ABOVE * bool(self.above)


def plot_interpolations(run_folder: str | Path, svg: str | Path, png: str | Path, *, note: str = "") -> None:
    """Decoded geodesics between test pictures, which stand at both ends of each row, with the distance travelled.

    Raises:
        UserError: the run has no weights, or its data no stats.json.
    """
    run = read_run(run_folder)
    title = f"Geodesics between test images · {style.name(run.latent, run.kind)}"

    def draw(arrays: dict[str, np.ndarray]) -> None:
        records, classes = walks.pictured(arrays)
        chosen = walks.pairs(classes, run.seed)
        if not chosen:
            style.say(svg, png, title, "All test records that are shown are of one class: there is no pair.", note)
            return
        codes = arrays["tangent"][records].astype(float)
        starts, ends = (np.array(side) for side in zip(*chosen, strict=True))
        pictures, travelled = walks.between(load(run.path), codes[starts], codes[ends])
        names = [f"digit {c}" if run.dataset == "mnist" else "test image" for c in classes]
        rows = []
        for start, end, path, way in zip(starts, ends, pictures, travelled, strict=True):
            blank = np.full_like(path[:1], np.nan)
            shown = [arrays["inputs"][[start]], blank, path, blank, arrays["inputs"][[end]]]
            words = [names[start], "", "0", *(f"{distance:.2f}" for distance in way[1:]), "", names[end]]
            rows.append(Row(np.concatenate(shown), words))
        said = (
            "the decoder at equal steps of geodesics between posterior locations · above the frames: "
            "geodesic distance travelled"
        )
        _draw(run, rows, title, said, svg, png, note, (1, walks.FRAMES + 2))

    _of_images(run, draw, svg, png, title, note)


def plot_attribute_directions(run_folder: str | Path, svg: str | Path, png: str | Path, *, note: str = "") -> None:
    """One face moved along the directions of attributes, carried to it from the origin by parallel transport."""
    run = read_run(run_folder)
    title = f"Directions of attributes · {style.name(run.latent, run.kind)}"

    def draw(arrays: dict[str, np.ndarray]) -> None:
        path, names = arrays["attribute_directions"], arrays["direction_attributes"]
        head = _signed(np.linspace(-REACH, REACH, path.shape[1]))
        labels = [str(name).replace("_", " ") for name in names]
        rows = [
            Row(pictures, () if index else head, label)
            for index, (pictures, label) in enumerate(zip(path, labels, strict=True))
        ]
        words = (
            "one test record moved along the difference of the means with and without the attribute, carried to it "
            "from the origin by parallel transport; in units of that difference"
        )
        _draw(run, rows, title, words, svg, png, note)

    guarded(run, ("attribute_directions", "direction_attributes"), draw, svg, png, title, note)


def plot_traversals(run_folder: str | Path, svg: str | Path, png: str | Path, *, note: str = "") -> None:
    """The mean of the posterior locations moved along the axes of each component, all other components held.

    Raises:
        UserError: the run has no weights, or its data no stats.json.
    """
    run = read_run(run_folder)
    title = f"Axes of the components · {style.name(run.latent, run.kind)}"

    def draw(arrays: dict[str, np.ndarray]) -> None:
        mean, axes = walks.axes(run, arrays["tangent"].astype(float))
        rows = []
        for axis, pictures in zip(axes, walks.along(load(run.path), mean, axes), strict=True):
            label = f"axis {axis.number}: {100 * axis.share:.0f}%\nσ = {axis.deviation:.2f}"
            more = "once around the sphere, in degrees" if axis.around else "in standard deviations σ"
            first = (_along(axis), label, axis.name, more)
            rows.append(Row(pictures, *first) if axis.number == 1 else Row(pictures, label=label))
        words = (
            "the Fréchet mean of the test records' posterior locations, moved within one component along the axes of "
            "largest variance there, the other components held · at the left: share of the component's variance, and "
            "its standard deviation σ in geodesic distance"
        )
        count = len(run.curvatures())
        if count > walks.MOST:
            words += f" · the first {walks.MOST} of {count} components"
        _draw(run, rows, title, words, svg, png, note)

    _of_images(run, draw, svg, png, title, note)


def _of_images(
    run: RunFolder,
    draw: Callable[[dict[str, np.ndarray]], None],
    svg: str | Path,
    png: str | Path,
    title: str,
    note: str,
) -> None:
    """Draw from posterior locations, or say in the picture why not."""
    if run.dataset == "qm9" and not run.why_empty():
        style.say(svg, png, title, "Ways through a latent space are decoded into pictures of images only.", note)
    else:
        guarded(run, ("inputs", "tangent"), draw, svg, png, title, note)


def _along(axis: walks.Axis) -> list[str]:
    if axis.around:
        degrees = np.linspace(-1, 1, 2 * len(axis.times) + 1)[1::2] * 180
        return [f"{text}°" for text in _signed(degrees)]
    return _signed(np.linspace(-walks.REACH, walks.REACH, len(axis.times)))


def _signed(values: np.ndarray) -> list[str]:
    return [f"{value:+.3g}".replace("-", "−") if abs(value) > 1e-9 else "0" for value in values]


def _draw(
    run: RunFolder,
    rows: Sequence[Row],
    title: str,
    words: str,
    svg: str | Path,
    png: str | Path,
    note: str,
    narrow: Sequence[int] = (),
) -> None:
    """Rows of equally many pictures under their words; ``narrow`` columns are gaps."""
    label = LABEL if any(row.label for row in rows) else 0.0
    body = WIDTH - 2 * style.MARGIN - label
    gap = pixel_gap(rows[0].pictures.shape[-1])
    joined = [joined_row(row.pictures, gap, narrow) for row in rows]
    inch = body / joined[0][0].shape[1]
    high = joined[0][0].shape[0] * inch
    height = sum(row.head + high + GAP for row in rows)
    figure, y = style.new_figure(WIDTH, height, title, f"{run.subtitle()} · {words}", note)
    for row, (picture, centres) in zip(rows, joined, strict=True):
        if row.heading:
            axes = style.bare(style.place(figure, style.MARGIN, y, WIDTH - 2 * style.MARGIN, HEADING))
            axes.text(0, 0.35, row.heading, size=10.5, weight="bold", va="baseline", transform=axes.transAxes)
            axes.text(label / (body + label), 0.35, row.more, size=8.5, color=style.GREY, transform=axes.transAxes)
        y += row.head
        axes = style.bare(style.place(figure, style.MARGIN + label, y, body, high))
        axes.imshow(picture, aspect="auto")
        for word, centre in zip(row.above, centres, strict=False):
            axes.text(centre, -gap, word, ha="center", va="bottom", size=7.5, color=style.GREY)
        left = style.bare(style.place(figure, style.MARGIN, y, label or 0.1, high))
        left.text(0, 0.5, row.label, va="center", size=8.5, linespacing=1.4, transform=left.transAxes)
        y += high + GAP
    style.save(figure, svg, png, title)


def joined_row(pictures: np.ndarray, gap: int, narrow: Sequence[int] = ()) -> tuple[np.ndarray, list[float]]:
    """A row as one picture, uint8 [height, width, 3], and where its columns are centred; ``narrow`` ones are cut."""
    columns, width = len(pictures), pictures.shape[-1]
    picture = join([pictures], columns, gap)
    kept, centres, start = [], [], 0
    for column in range(columns):
        left = column * (width + gap)
        wide = width // 3 if column in narrow else width
        tail = gap if column < columns - 1 and column not in narrow else 0
        kept.append(picture[:, left : left + wide + tail])
        centres.append(start + wide / 2)
        start += kept[-1].shape[1]
    return np.concatenate(kept, 1), centres
