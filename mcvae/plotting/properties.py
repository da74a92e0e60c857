"""What a model of molecules knows: predicted against true properties, errors in chemical accuracy, wanted molecules."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm

from ..findings.targets import ACCURATE, PREDICTORS, published_error
from . import style
from .folders import RunFolder, read_run
from .grids import FLATNESS, GAP, WIDTH, guarded, molecule_tile

if TYPE_CHECKING:
    from ..data.qm9 import Target

COLUMNS, BINS = 4, 60
PANEL = 2.4  # height in inches of a panel above molecules
SPLIT_MARKS = {
    "train": ("o", style.GREY),
    "validation": ("^", style.GEOMETRIES["d"]),
    "test": ("D", style.GEOMETRIES["e"]),
}
MARKS = {"": "o", "_location": "o", "_ridge": "s", "_knn": "^", "_mlp": "D", "_gp": "v"}
MARKS |= {"_morgan": "x", "_baseline": "|"}


def plot_properties(run_folder: str | Path, svg: str | Path, png: str | Path, *, note: str = "") -> None:
    """Predicted against true properties of the test split, and every predictor's error in chemical accuracy."""
    run = read_run(run_folder)
    title = f"Properties · {style.name(run.latent, run.kind)}"

    def draw(arrays: dict[str, np.ndarray]) -> None:
        from ..data.qm9 import TARGETS

        true, predicted = arrays["properties"].astype(float), arrays["predicted"].astype(float)
        body = WIDTH - 2 * style.MARGIN
        across, down = body / COLUMNS, body / COLUMNS + 0.04
        rows = -(-len(TARGETS) // COLUMNS)
        high = 0.2 * len(TARGETS) + 0.9
        words = (
            f"the joint head's predictions (upwards) against the true values (to the right) of {len(true):,} test "
            "molecules; below, errors of all predictors"
        )
        figure, top = style.new_figure(WIDTH, rows * down + high, title, f"{run.subtitle()} · {words}", note)
        for index, target in enumerate(TARGETS):
            left = style.MARGIN + index % COLUMNS * across + 0.46
            axes = style.place(figure, left, top + index // COLUMNS * down + 0.26, across - 0.56, across - 0.56)
            _parity(axes, true[:, index], predicted[:, index], target)
        axes = style.place(figure, style.MARGIN + 0.5, top + rows * down + 0.3, body - 2.0, high - 0.75)
        _errors(axes, run, TARGETS)
        style.save(figure, svg, png, title)

    guarded(run, ("properties", "predicted"), draw, svg, png, title, note)


def _parity(axes: Axes, true: np.ndarray, predicted: np.ndarray, target: "Target") -> None:
    """A map of how many molecules lie where, from the 0.1% to the 99.9% quantile of the true values."""
    low, high = np.quantile(true, [0.001, 0.999]) if len(true) > 1000 else (true.min(), true.max())
    low, high = (low, high) if high > low else (low - 1, high + 1)
    counts, *_ = np.histogram2d(true, predicted, BINS, [[low, high], [low, high]])
    shown = np.ma.masked_equal(counts.T, 0)
    norm = LogNorm(1, max(2.0, counts.max()))
    axes.imshow(shown, extent=(low, high, low, high), origin="lower", cmap=colormaps[style.SEQUENTIAL], norm=norm)
    axes.plot([low, high], [low, high], color=style.GREY, linewidth=0.7)
    error = np.abs(predicted - true).mean()
    unit = target.unit.replace("Bohr^", "a₀").replace("a₀2", "a₀²").replace("a₀3", "a₀³")
    axes.set_title(f"{target.name} [{unit}]", size=8.5, pad=3)
    axes.text(0.04, 0.95, f"MAE {error:.3g}", size=7.5, va="top", transform=axes.transAxes)
    axes.tick_params(labelsize=7, length=2)
    axes.locator_params(nbins=4)


def _errors(axes: Axes, run: RunFolder, targets: Sequence["Target"]) -> None:
    """A row a target: the mean absolute errors in multiples of chemical accuracy, on a logarithmic axis."""
    own = style.colour(run.latent, run.kind)
    for end, name in PREDICTORS.items():
        places, multiples = [], []
        for row, target in enumerate(targets):
            error, accuracy = run.metrics.get(f"test.mae{end}.{target.name}"), published_error(ACCURATE, target)
            if error is not None and accuracy:
                places.append(row)
                multiples.append(error / accuracy)
        known = end not in ("_morgan", "_baseline")
        look = {"color": own if known else style.GREY, "markersize": 7 if not end else 5, "linestyle": "none"}
        face = {"markerfacecolor": own if not end else "none"} if MARKS[end] not in "x|" else {}
        axes.plot(multiples, places, marker=MARKS[end], label=name, zorder=3 if not end else 2, **look, **face)
    axes.axvline(1, color=style.GREY, linewidth=0.8, linestyle="--")
    axes.set(
        xscale="log",
        ylim=(len(targets) - 0.5, -0.5),
        xlabel="mean absolute error / chemical accuracy, as it is commonly quoted",
    )
    axes.set_yticks(range(len(targets)), [target.name for target in targets])
    axes.grid(axis="x")
    axes.tick_params(length=2)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), handletextpad=0.4, borderaxespad=0)


def plot_molecule_paths(run_folder: str | Path, svg: str | Path, png: str | Path, *, note: str = "") -> None:
    """Decoded geodesics between test molecules, and the nearest training molecules of test molecules."""
    run = read_run(run_folder)
    title = f"Between molecules, and near them · {style.name(run.latent, run.kind)}"

    def draw(arrays: dict[str, np.ndarray]) -> None:
        between, near, apart = arrays["molecule_paths"], arrays["neighbours"], arrays["neighbour_distances"]
        words = (
            "above, molecules at equal distances along geodesics between two posterior locations, both ends decoded "
            "too; below, test molecules and their nearest training molecules by geodesic distance"
        )
        body = WIDTH - 2 * style.MARGIN
        first, second = _tall(between.shape[1], body), _tall(near.shape[1], body)
        height = len(between) * first + 0.45 + len(near) * (second + 0.17)
        figure, top = style.new_figure(WIDTH, height, title, f"{run.subtitle()} · {words}", note)
        for row, texts in enumerate(between):
            _row(figure, texts, style.MARGIN, top + row * first, body)
        top += len(between) * first + 0.45
        for row, texts in enumerate(near):
            under = ["test molecule", *(f"at {value:.3g}" for value in apart[row])]
            _row(figure, texts, style.MARGIN, top + row * (second + 0.17), body, under)
        style.save(figure, svg, png, title)

    needed = ("molecule_paths", "neighbours", "neighbour_distances")
    guarded(run, needed, draw, svg, png, title, note)


def plot_optimised(run_folder: str | Path, svg: str | Path, png: str | Path, *, note: str = "") -> None:
    """Where Riemannian gradient descent from test molecules towards a wanted gap leads, and some of its paths."""
    run = read_run(run_folder)
    title = f"Towards a wanted gap · {style.name(run.latent, run.kind)}"

    def draw(arrays: dict[str, np.ndarray]) -> None:
        texts, predicted, true = arrays["optimised"], arrays["optimised_predicted"], arrays["optimised_true"]
        words = "molecules decoded along the descent of the predicted gap; below each, in eV, the gap that the model "
        words += "predicts for it as it reads it anew (and the true one, where the molecule is in the data)"
        wanted = run.metrics.get("optimised.target")
        body = WIDTH - 2 * style.MARGIN
        high, tall = 0.0 if wanted is None else PANEL + 0.85, _tall(texts.shape[1], body) + 0.17
        figure, top = style.new_figure(WIDTH, high + len(texts) * tall, title, f"{run.subtitle()} · {words}", note)
        if wanted is not None:
            ends, split = arrays["optimised_ends"].astype(float), arrays["optimised_split"]
            wide = (body - 1.2) / 2
            _gaps(style.place(figure, style.MARGIN + 0.5, top + 0.25, wide, PANEL), run, ends, wanted)
            left = style.MARGIN + wide + 1.2
            _changes(style.place(figure, left, top + 0.25, wide, PANEL), ends, split, wanted)
        for row, molecules in enumerate(texts):
            under = [
                ("" if np.isnan(value) else f"{value:.2f}") + ("" if np.isnan(known) else f" ({known:.2f})")
                for value, known in zip(predicted[row], true[row], strict=True)
            ]
            _row(figure, molecules, style.MARGIN, top + high + row * tall, body, under)
        style.save(figure, svg, png, title)

    needed = ("optimised", "optimised_predicted", "optimised_true", "optimised_ends", "optimised_split")
    guarded(run, needed, draw, svg, png, title, note)


def _gaps(axes: Axes, run: RunFolder, ends: np.ndarray, wanted: float) -> None:
    """How gaps are distributed: true at the start; of the decoded molecules as they are read anew, and true ones."""
    start, anew, true = (column[~np.isnan(column)] for column in ends.T)
    bins = np.linspace(*_span(np.concatenate([start, anew, true]), wanted), 31)
    own = style.colour(run.latent, run.kind)
    axes.hist(start, bins, color=style.LIGHT, label=f"start, true ({len(start)})")
    axes.hist(anew, bins, histtype="step", color=own, linewidth=1.6, label=f"end, read anew ({len(anew)})")
    axes.hist(true, bins, histtype="step", color=style.INK, linestyle=":", label=f"end, true ({len(true)} in the data)")
    axes.axvline(wanted, color=style.INK, linewidth=0.9)
    axes.set(xlabel="gap [eV]; line: wanted", ylabel="molecules", title="Where the descent leads")
    axes.legend(fontsize=7.5, loc="upper right", handlelength=1.2)
    axes.set_ylim(0, 1.45 * axes.get_ylim()[1])


def _changes(axes: Axes, ends: np.ndarray, split: np.ndarray, wanted: float) -> None:
    """True gaps of decoded molecules that are in the data over those of their starts, by split."""
    low, high = _span(ends[:, [0, 2]], wanted)
    line = np.array([low, high])
    axes.plot(line, line, color=style.GREY, linewidth=0.8, linestyle="--")
    axes.plot(line, 2 * wanted - line, color=style.GREY, linewidth=0.8, linestyle="--")
    axes.axhline(wanted, color=style.INK, linewidth=0.9)
    for index, (name, (marker, colour)) in enumerate(SPLIT_MARKS.items()):
        x, _, y = ends[split == index].T
        face = "none" if marker == "o" else colour
        label = f"{name} split ({len(x)})"
        axes.scatter(x, y, 14, marker=marker, facecolors=face, edgecolors=colour, linewidths=0.8, label=label)
    axes.set(xlim=(low, high), ylim=(low, high), xlabel="true gap at the start [eV]", ylabel="true gap at the end [eV]")
    axes.set_title("In the data (between dashes: nearer)")
    axes.legend(fontsize=7.5, loc="upper left", handletextpad=0.2)


def _span(values: np.ndarray, wanted: float) -> tuple[float, float]:
    """From below the least of all to above the largest."""
    known = np.append(values[~np.isnan(values)], wanted)
    room = 0.05 * (known.max() - known.min()) or 1.0
    return known.min() - room, known.max() + room


def _tall(columns: int, body: float) -> float:
    """Height of a row of molecules with the gap below it, in inches."""
    return FLATNESS * (body - GAP * (columns - 1)) / columns + GAP


def _row(
    figure: style.Figure, texts: np.ndarray, left: float, top: float, body: float, under: Sequence[str] = ()
) -> None:
    """A row of molecules from a corner in inches, with words under them."""
    width = (body - GAP * (len(texts) - 1)) / len(texts)
    for column, smiles in enumerate(texts):
        axes = style.place(figure, left + column * (width + GAP), top, width, FLATNESS * width)
        molecule_tile(axes, str(smiles), False)
        if under:
            place = {"ha": "center", "va": "top", "size": 7.5, "color": style.GREY, "transform": axes.transAxes}
            axes.text(0.5, -0.03, under[column], **place)
