"""One look for every figure: fonts, colours that mean the same everywhere, layout in inches, deterministic files.

Figures are made as ``matplotlib.figure.Figure`` objects, never through pyplot, so that a warm worker keeps nothing.
"""

import io
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..files import atomic, write_text
from ..signature import LETTERS, parse
from .compact import compact

INK, GREY, LIGHT, HAIR = "#1b1f24", "#626b76", "#c9ced6", "#e7eaee"
WARNING = "#a34700"

# Ten classes that stay apart with and without colour-vision deficiency: found by a search for the largest least
# distance in CIELAB, in normal vision and under the three simulations of Machado et al. (2009); it is 18.7.
CLASSES = (
    "#4983c0", "#f7c408", "#9e0f13", "#e63874", "#7e24c7", "#811c6a", "#c97208", "#b3d07d", "#1414dc", "#7bdcd0",
)  # fmt: skip
# One colour a geometry (Okabe and Ito's set, darkened where it was too light for a line on white).
GEOMETRIES = {
    "e": "#0072b2",
    "s": "#d55e00",
    "d": "#c98600",
    "h": "#008f68",
    "p": "#3a9bc9",
    "u": "#b8558f",
    "product": "#7a3fb0",
    "autoencoder": "#5b6470",
}
SEQUENTIAL = "viridis"
DIGITS = "afmhot"

PAPER = "#fafbfc"  # the inside of a map or a disc
RIM: dict[str, Any] = {"fill": False, "edgecolor": GREY, "linewidth": 1.0, "zorder": 2}

RC: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.5,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": HAIR,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "image.interpolation": "none",
    "svg.fonttype": "path",
    "svg.hashsalt": "mcvae",
    "path.simplify": True,
}

MARGIN = 0.22  # inches
RASTER_DPI = 110  # of the scatter inside an SVG: sharp on a screen, small in a report


@contextmanager
def look() -> Iterator[None]:
    """The style, from matplotlib's defaults and for the length of the block only."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC)
        yield


def new_figure(width: float, height: float, title: str, subtitle: str = "", note: str = "") -> tuple[Figure, float]:
    """A figure with heading and footnote around a body of ``height`` inches.

    Returns the figure and the distance in inches of the body's top from the figure's top; place axes with
    :func:`place`. The footnote holds what the data really are (a stand-in is called one in every figure).
    """
    columns = int(width * 15.5)
    subtitles = textwrap.wrap(subtitle, int(width * 14.4)) if subtitle else []
    notes = textwrap.wrap(note, columns) if note else []
    top = MARGIN + 0.30 + 0.19 * len(subtitles) + 0.10
    bottom = MARGIN + 0.17 * len(notes)
    total = top + height + bottom
    figure = Figure(figsize=(width, total))
    figure.text(MARGIN / width, 1 - MARGIN / total, title, size=12.5, weight="bold", va="top")
    if subtitles:
        y = 1 - (MARGIN + 0.30) / total
        figure.text(MARGIN / width, y, "\n".join(subtitles), size=9, color=GREY, va="top", linespacing=1.35)
    if notes:
        y = (MARGIN * 0.6) / total
        warning = note.startswith("stand-in")
        colour, weight = (WARNING, "bold") if warning else (GREY, "normal")
        figure.text(
            MARGIN / width, y, "\n".join(notes), size=8, color=colour, weight=weight, va="bottom", linespacing=1.3
        )
    return figure, top


def place(figure: Figure, left: float, top: float, width: float, height: float, **options: Any) -> Axes:
    """Axes at a position in inches from the upper left corner of the figure."""
    total_width, total_height = figure.get_size_inches()
    box = (left / total_width, 1 - (top + height) / total_height, width / total_width, height / total_height)
    return figure.add_axes(box, **options)


def bare(axes: Axes) -> Axes:
    """Hide the frame and ticks of ``axes``."""
    axes.set_axis_off()
    return axes


def save(figure: Figure, svg: str | Path, png: str | Path, title: str = "") -> None:
    """Write both files whole; the same figure gives the same bytes (no date, no random identifiers)."""
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", dpi=RASTER_DPI, metadata={"Date": None, "Title": title or None})
    write_text(svg, compact(drawn.getvalue()))
    with atomic(png) as temporary:
        figure.savefig(temporary, format="png", dpi=200, metadata={"Software": "mcvae"})


def say(svg: str | Path, png: str | Path, title: str, sentence: str, note: str = "") -> None:
    """A figure that says in a sentence why there is nothing to draw."""
    with look():
        lines = textwrap.wrap(sentence, 74)
        figure, top = new_figure(6.4, 0.75 + 0.2 * len(lines), title, note=note)
        axes = bare(place(figure, MARGIN, top, 6.4 - 2 * MARGIN, 0.55 + 0.2 * len(lines)))
        axes.axvline(0, color=GEOMETRIES["s"], linewidth=5)
        axes.set_xlim(0, 1)
        axes.text(0.03, 0.5, "\n".join(lines), va="center", size=10, linespacing=1.5, transform=axes.transAxes)
        save(figure, svg, png, title)


def geometry(latent: str, kind: str = "vae") -> str:
    """The key of :data:`GEOMETRIES` for a latent space: its letter, ``product`` for several, or ``autoencoder``."""
    if kind == "autoencoder":
        return "autoencoder"
    letters = {component.letter for component in parse(latent).components}
    return letters.pop() if len(letters) == 1 else "product"


def geometry_name(key: str) -> str:
    """What a key of :data:`GEOMETRIES` is called in a legend."""
    names = {"product": "product of several geometries", "autoencoder": "plain autoencoder (no prior)"}
    return names.get(key) or LETTERS[key]


def colour(latent: str, kind: str = "vae") -> str:
    """The colour of a geometry, the same in every figure of every study."""
    return GEOMETRIES[geometry(latent, kind)]


def shades(base: str, count: int) -> list[str]:
    """``count`` distinguishable shades of one colour, from dark to light; ``base`` itself if one is asked for."""
    if count == 1:
        return [base]
    red, green, blue = (int(base[i : i + 2], 16) / 255 for i in (1, 3, 5))
    result = []
    for index in range(count):
        t = -0.42 + 0.90 * index / (count - 1)  # -1 is black, +1 is white
        mixed = [c * (1 + t) if t < 0 else c + (1 - c) * t for c in (red, green, blue)]
        result.append("#" + "".join(f"{round(255 * c):02x}" for c in mixed))
    return result


def name(latent: str, kind: str = "vae") -> str:
    """A configuration's short name: the signature, marked if it is an autoencoder's."""
    return f"{latent} (autoencoder)" if kind == "autoencoder" else latent


_DOUBLE_STRUCK = {"e": "ℝ", "s": "𝕊", "d": "𝔻", "h": "ℍ", "p": "ℙ", "u": "𝕌"}
_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def space(letter: str, dim: int) -> str:
    """Mathematical name of a space, such as ℍ²."""
    return _DOUBLE_STRUCK[letter] + str(dim).translate(_SUPERSCRIPT)
