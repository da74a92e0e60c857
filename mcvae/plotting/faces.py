"""What the latent space of faces is made of: geodesics, directions of attributes, axes of components.

Decoded faces in rows, each row's name on its left, and how far along it they are above them.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from . import style
from .folders import RunFolder, read_run
from .grids import WIDTH, guarded, join, pixel_gap

LABEL = 1.15  # inches on the left


def plot_interpolations(run_folder: str | Path, svg: str | Path, png: str | Path, *, note: str = "") -> None:
    """Decoded geodesics between test pictures: the pictures themselves at both ends of each row."""
    run = read_run(run_folder)
    title = f"Geodesics between faces · {style.name(run.latent, run.kind)}"

    def draw(arrays: dict[str, np.ndarray]) -> None:
        path, ends = arrays["interpolations"], arrays["interpolation_ends"]
        steps = path.shape[1]
        blank = np.full_like(path[:, :1], np.nan)
        rows = list(np.concatenate([ends[:, :1], blank, path, blank, ends[:, 1:]], 1))
        head = ["test image", "", *(f"{index / (steps - 1):.2g}" for index in range(steps)), "", "test image"]
        words = "decoder means at equal distances along the geodesic between two posterior locations"
        _rows(run, rows, [], head, title, words, svg, png, note, (1, steps + 2))

    guarded(run, ("interpolations", "interpolation_ends"), draw, svg, png, title, note)


def plot_attribute_directions(run_folder: str | Path, svg: str | Path, png: str | Path, *, note: str = "") -> None:
    """One face moved along the directions of attributes, carried to it from the origin by parallel transport."""
    run = read_run(run_folder)
    title = f"Directions of attributes · {style.name(run.latent, run.kind)}"

    def draw(arrays: dict[str, np.ndarray]) -> None:
        path, names = arrays["attribute_directions"], arrays["direction_attributes"]
        labels = [str(name).replace("_", " ") for name in names]
        words = (
            "one test record moved along the difference of the means with and without the attribute, carried to it "
            "from the origin by parallel transport; in units of that difference"
        )
        _rows(run, list(path), labels, _signed(path.shape[1], 2.0), title, words, svg, png, note)

    guarded(run, ("attribute_directions", "direction_attributes"), draw, svg, png, title, note)


def plot_traversals(run_folder: str | Path, svg: str | Path, png: str | Path, *, note: str = "") -> None:
    """One face moved along the principal axes of each component, all others held."""
    run = read_run(run_folder)
    title = f"Axes of the components · {style.name(run.latent, run.kind)}"

    def draw(arrays: dict[str, np.ndarray]) -> None:
        path, owners = arrays["traversals"], [str(owner) for owner in arrays["traversal_components"]]
        seen: dict[str, int] = {}
        labels = []
        for owner in owners:
            seen[owner] = seen.get(owner, 0) + 1
            labels.append(f"{owner}, axis {seen[owner]}")
        words = (
            "one test record moved within one component along the directions in which the records differ most there, "
            "the other components held; in standard deviations"
        )
        _rows(run, list(path), labels, _signed(path.shape[1], 3.0), title, words, svg, png, note)

    guarded(run, ("traversals", "traversal_components"), draw, svg, png, title, note)


def _signed(steps: int, reach: float) -> list[str]:
    return [f"{value:+.3g}".replace("-", "−") if value else "0" for value in np.linspace(-reach, reach, steps)]


def _rows(
    run: RunFolder,
    rows: Sequence[np.ndarray],
    labels: Sequence[str],
    head: Sequence[str],
    title: str,
    words: str,
    svg: str | Path,
    png: str | Path,
    note: str,
    narrow: Sequence[int] = (),
) -> None:
    """Rows of pictures [columns, *shape] under a line of words, with labels; ``narrow`` columns are gaps."""
    label = LABEL if labels else 0.0
    body = WIDTH - 2 * style.MARGIN - label
    gap = pixel_gap(rows[0].shape[-1])
    picture, centres = join_rows(rows, gap, narrow)
    inch = body / picture.shape[1]
    high = picture.shape[0] * inch
    figure, top = style.new_figure(WIDTH, high + 0.3, title, f"{run.subtitle()} · {words}", note)
    axes = style.place(figure, style.MARGIN + label, top + 0.25, body, high)
    style.bare(axes).imshow(picture, aspect="auto")
    for word, centre in zip(head, centres, strict=True):
        axes.text(centre, -gap, word, ha="center", va="bottom", size=7.5, color=style.GREY)
    step = picture.shape[0] / len(rows)
    for index, text in enumerate(labels):
        axes.text(-gap, (index + 0.5) * step, text, ha="right", va="center", size=8.5, color=style.INK)
    style.save(figure, svg, png, title)


def join_rows(rows: Sequence[np.ndarray], gap: int, narrow: Sequence[int] = ()) -> tuple[np.ndarray, list[float]]:
    """Rows as one picture, uint8 [height, width, 3], and where its columns are centred; ``narrow`` columns are cut."""
    columns, width = len(rows[0]), rows[0].shape[-1]
    picture = join(rows, columns, gap)
    kept, centres, start = [], [], 0
    for column in range(columns):
        left = column * (width + gap)
        wide = width // 3 if column in narrow else width
        tail = gap if column < columns - 1 and column not in narrow else 0
        kept.append(picture[:, left : left + wide + tail])
        centres.append(start + wide / 2)
        start += kept[-1].shape[1]
    return np.concatenate(kept, 1), centres
