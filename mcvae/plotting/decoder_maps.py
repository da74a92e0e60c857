"""What each place of a two-dimensional latent space decodes to, laid out on the maps of that space.

The plane as a uniform grid; the sphere as a Hammer map and as a globe, seen from both sides; the hyperbolic plane as a
Poincaré disc and as a half plane whose tiles are all of one size.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Ellipse

from . import projections, style
from .folders import RunFolder, read_run
from .grids import guarded, join, rgb

WIDTH, WIDE = 8.0, 9.6  # inches
HEADING, GAP = 0.5, 0.5
COLUMNS = 29  # tiles across the Hammer map: odd, so that the origin is the middle of one
BANDS = 17  # of a globe, from pole to pole: odd, for the same reason
PIXELS = 500  # of a globe
WIDEST = 32  # pixels of a tile
SEAM = 0.03  # of a tile, on each of its sides
STEP = np.sqrt(2)  # from row to row of the half plane
ROWS = (-5, 5)  # powers of STEP where the half plane's tiles begin and end
HALF = 2 * np.sqrt(2)  # the width of a Hammer map, from its middle

Limits = tuple[float, float, float, float]  # left, right, bottom, top
Row = tuple[np.ndarray, Limits]  # a picture, and what it covers
Decode = Callable[[np.ndarray], np.ndarray]
DISC: Limits = (-1.01, 1.01, -1.01, 1.01)


def plot_decoder_grid(run_folder: str | Path, svg: str | Path, png: str | Path, *, note: str = "") -> None:
    """Draw the decoder over a 2-D latent space of images.

    Reads ``grid``, ``grid_coordinates`` and ``grid_kind`` of latents.npz and, for curved spaces, the weights: their
    further maps have tiles at other places.

    Raises:
        UserError: the space is curved and the run has no weights, or its data no stats.json.
    """
    run = read_run(run_folder)
    title = f"Decoder over the latent space · {style.name(run.latent, run.kind)}"
    if not run.why_empty() and "grid" not in run.arrays():
        dim = run.signature.dim
        reason = "a grid is made for images only" if run.dataset == "qm9" else f"this latent space has {dim} dimensions"
        style.say(svg, png, title, f"The decoder is drawn over 2-D latent spaces of images only; {reason}.", note)
        return

    def draw(arrays: dict[str, np.ndarray]) -> None:
        kind, (k,) = str(arrays["grid_kind"]), run.curvatures()
        if kind == "plane":
            figure = _plane(run, arrays, title, note)
        elif kind == "equirectangular":
            figure = _sphere(run, decoder(run), k, title, note)
        else:
            figure = _hyperbolic(run, arrays, decoder(run), k, title, note)
        style.save(figure, svg, png, title)

    guarded(run, ("grid", "grid_coordinates", "grid_kind"), draw, svg, png, title, note)


def decoder(run: RunFolder) -> Decode:
    """Pictures [N, *shape] in [0, 1] at tangent coordinates [N, dim] at the origin, from a run's weights.

    Tiles are small: of faces averages over squares of pixels, so that they are at most 32 wide.
    """
    import torch

    from ..trained import load

    trained = load(run.path)

    def decode(tangent: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            points = trained.latent.expmap0(torch.as_tensor(tangent, dtype=torch.get_default_dtype()))
            pictures = trained.decode(points)
        factor = -(-pictures.shape[-1] // WIDEST)
        if factor > 1:
            pictures = torch.nn.functional.avg_pool2d(pictures, factor)
        return np.asarray(pictures)

    return decode


def _plane(run: RunFolder, arrays: dict[str, np.ndarray], title: str, note: str) -> Figure:
    left, right, bottom, top = extent = _extent(arrays["grid_coordinates"].astype(float))
    side = 6.4
    height = side * (top - bottom) / (right - left)
    subtitle = f"{run.subtitle()} · uniform grid of the plane"
    figure, above = style.new_figure(WIDTH, height + 0.55, title, subtitle, note)
    axes = style.place(figure, (WIDTH - side) / 2 + 0.12, above, side, height)
    axes.imshow(join(arrays["grid"], arrays["grid"].shape[1], 1), extent=extent, aspect="auto", origin="upper")
    axes.set(xlim=extent[:2], ylim=extent[2:], xlabel="z₁", ylabel="z₂")
    axes.tick_params(length=3)
    axes.spines[:].set_visible(False)
    return figure


def _sphere(run: RunFolder, decode: Decode, k: float, title: str, note: str) -> Figure:
    body = WIDTH - 2 * style.MARGIN
    side = (body - 0.4) / 2
    subtitle = f"{run.subtitle()} · the origin in the middle of the map and of the globe's front"
    figure, top = style.new_figure(WIDTH, body / 2 + side + 2 * HEADING + 0.1, title, subtitle, note)
    _heading(figure, style.MARGIN, top, body, "Hammer map", "equal-area: every tile stands for as much of the sphere")
    limits = (-1.005 * HALF, 1.005 * HALF, -0.5025 * HALF, 0.5025 * HALF)
    axes = _map(figure, style.MARGIN, top + HEADING, (body, body / 2), limits, [hammer_tiles(decode, k)])
    axes.images[0].set_clip_path(axes.add_patch(Ellipse((0, 0), 2 * HALF, HALF, **style.RIM)))
    top += HEADING + body / 2 + 0.1
    tiles = globe_tiles(decode, k)
    for sign, x, words in ((1, 0.0, "seen from above the origin"), (-1, side + 0.4, "seen from behind")):
        _heading(figure, style.MARGIN + x, top, side, "Globe (orthographic)", words)
        seen = [(globe(tiles, sign, PIXELS), (-1.0, 1.0, -1.0, 1.0))]
        axes = _map(figure, style.MARGIN + x, top + HEADING, (side, side), DISC, seen)
        axes.add_patch(Circle((0, 0), 1, **style.RIM))
    return figure


def _hyperbolic(
    run: RunFolder, arrays: dict[str, np.ndarray], decode: Decode, k: float, title: str, note: str
) -> Figure:
    side = (WIDE - 2 * style.MARGIN - GAP) / 2
    figure, top = style.new_figure(WIDE, side + HEADING + 0.05, title, run.subtitle(), note)
    coordinates = arrays["grid_coordinates"].astype(float)
    radius = float(np.nanmax(np.linalg.norm(coordinates, axis=-1)))
    words = f"to {radius:.2f} of its radius at the corners; the circle lies at infinity"
    _heading(figure, style.MARGIN, top, side, "Poincaré disc", words)
    tiles = [(join(arrays["grid"], arrays["grid"].shape[1], 1), _extent(coordinates))]
    axes = _map(figure, style.MARGIN, top + HEADING, (side, side), DISC, tiles)
    axes.add_patch(Circle((0, 0), 1, **style.RIM))
    x, high = style.MARGIN + side + GAP, float(STEP ** ROWS[1])
    words = f"all tiles are of one size, {np.log(STEP) / np.sqrt(-k):.2g} high in the metric; the line lies at infinity"
    _heading(figure, x, top, side, "Upper half plane", words)
    limits = (-high / 2, high / 2, -0.01 * high, high)
    rows = half_plane_rows(decode, k, high / 2)
    axes = _map(figure, x, top + HEADING, (side, side), limits, rows)
    for _, (left, right, bottom, above) in rows:
        axes.axhline(bottom, color="white", linewidth=0.5)
        axes.vlines(np.arange(left, right, above - bottom), bottom, above, color="white", linewidth=0.5)
    axes.axhline(0, color=style.GREY, linewidth=1.6)
    return figure


def hammer_tiles(decode: Decode, k: float) -> Row:
    """Square tiles with middles within the ellipse of a Hammer map; the origin is the middle of one."""
    side = 2 * HALF / COLUMNS
    up = np.arange(COLUMNS // 4, -(COLUMNS // 4) - 1, -1)
    at = side * np.stack(np.meshgrid(np.arange(-(COLUMNS // 2), COLUMNS // 2 + 1), up), -1)
    longitude, latitude = projections.hammer_angles(at)
    inside = np.isfinite(longitude)
    points = projections.unit_vectors(longitude[inside], latitude[inside])
    pictures = decode(projections.sphere_tangent(points, k))
    tiles = np.full((*inside.shape, *pictures.shape[1:]), np.nan)
    tiles[inside] = pictures
    return join(tiles, COLUMNS, 1), _extent(at)


def half_plane_rows(decode: Decode, k: float, half: float) -> list[Row]:
    """Square tiles whose sides are in proportion to their height over the line, over x from -half to half.

    A tile from y to y STEP has the hyperbolic height log STEP / √-k, and every tile is congruent to every other. One
    picture a row, from the line upwards.
    """
    low = STEP ** np.arange(*ROWS)
    sides = (STEP - 1) * low
    beside = np.ceil(half / sides - 0.5).astype(int)
    x = np.concatenate([side * np.arange(-n, n + 1) for side, n in zip(sides, beside, strict=True)])
    y = np.repeat(low * np.sqrt(STEP), 2 * beside + 1)  # the geodesic middle, below that of the paper
    rows = np.split(decode(projections.half_plane_tangent(np.stack([x, y], -1), k)), np.cumsum(2 * beside + 1)[:-1])
    found = []
    for tiles, bottom, side in zip(rows, low, sides, strict=True):
        width = len(tiles) * side / 2
        found.append((join([tiles], len(tiles), 0), (-width, width, bottom, bottom + side)))
    return found


def globe_tiles(decode: Decode, k: float) -> list[np.ndarray]:
    """Pictures of the tiles of a globe, a list of the bands between two parallels, from south to north.

    A band has as many tiles as make them square at its middle; the first begins half a tile west of longitude 0.
    """
    latitudes = np.radians(180 * ((np.arange(BANDS) + 0.5) / BANDS - 0.5))
    counts = np.maximum(np.round(2 * BANDS * np.cos(latitudes)), 1).astype(int)
    longitudes = np.concatenate([2 * np.pi * np.arange(count) / count for count in counts])
    points = projections.unit_vectors(longitudes, np.repeat(latitudes, counts))
    return np.split(decode(projections.sphere_tangent(points, k)), np.cumsum(counts)[:-1])


def globe(tiles: list[np.ndarray], sign: int, pixels: int) -> np.ndarray:
    """The globe as seen from above the origin (``sign`` 1) or from behind (-1), uint8 [pixels, pixels, 3]."""
    axis = (np.arange(pixels) + 0.5) / pixels * 2 - 1
    x, y = np.meshgrid(axis, -axis)
    square = 1 - x**2 - y**2
    seen = square > 0
    longitude, latitude = projections.angles(np.stack([sign * np.sqrt(np.where(seen, square, 0)), sign * x, y], -1))
    up = np.clip((latitude / np.pi + 0.5) * BANDS, 0, BANDS - 1e-9)
    shape = tiles[0].shape[1:]
    values = np.ones((*shape[:-2], pixels, pixels))
    for band, pictures in enumerate(tiles):
        here = seen & (up.astype(int) == band)
        across = (longitude[here] / (2 * np.pi) % 1 * len(pictures) + 0.5) % len(pictures)
        values[..., here] = _sampled(pictures, across.astype(int), across % 1, up[here] - band)
    picture = rgb(values)
    return np.where(seen[..., None], picture, 255).astype(np.uint8)


def _sampled(pictures: np.ndarray, index: np.ndarray, right: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Values [..., P] of ``pictures[index]`` at parts of their width and height, between pixels by both neighbours."""
    height, width = pictures.shape[-2:]

    def between(part: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        place = np.clip((part - SEAM) / (1 - 2 * SEAM) * size - 0.5, 0, size - 1)
        low = np.minimum(place.astype(int), size - 2)
        return low, low + 1, place - low

    (left, east, a), (above, below, b) = between(right, width), between(1 - up, height)
    channels = np.moveaxis(pictures, 0, -3)  # [..., tiles, height, width]
    upper = (1 - a) * channels[..., index, above, left] + a * channels[..., index, above, east]
    lower = (1 - a) * channels[..., index, below, left] + a * channels[..., index, below, east]
    return (1 - b) * upper + b * lower


def _extent(coordinates: np.ndarray) -> Limits:
    """What tiles with middles at [G, G, 2] cover: left, right, bottom, top."""
    low, high = np.nanmin(coordinates, axis=(0, 1)), np.nanmax(coordinates, axis=(0, 1))
    half = (high - low) / (2 * (np.array(coordinates.shape[1::-1]) - 1))
    (left, bottom), (right, top) = (low - half).tolist(), (high + half).tolist()
    return left, right, bottom, top


def _heading(figure: Figure, x: float, top: float, width: float, words: str, more: str) -> None:
    axes = style.bare(style.place(figure, x, top, width, HEADING))
    axes.text(0, 0.78, words, size=10.5, weight="bold", va="center", transform=axes.transAxes)
    axes.text(0, 0.34, more, size=8.5, color=style.GREY, va="center", transform=axes.transAxes)


def _map(figure: Figure, x: float, top: float, box: tuple[float, float], limits: Limits, rows: list[Row]) -> Axes:
    """Axes of a width and height in inches without a frame, with pictures on them."""
    axes = style.bare(style.place(figure, x, top, *box))
    for picture, extent in rows:
        axes.imshow(picture, extent=extent, aspect="auto", origin="upper")
    axes.set(xlim=limits[:2], ylim=limits[2:])
    return axes
