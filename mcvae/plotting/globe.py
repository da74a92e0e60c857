"""An interactive page of a run: its curved surfaces in three dimensions, and a picture of the record pointed at.

One self-contained file that loads nothing, drawn on a canvas by globe.js; the template is globe.html.j2.
"""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex

from ..files import write_text
from . import projections, style
from .charts import FLAT, component_name
from .folders import EXAMPLE, RunFolder, read_run
from .latent import Colours, read_colours

MOST_SURFACES = 6
RECORDS = 600
COLUMNS = 25  # pictures in a row of the sheet
DECIMALS = 4
DRAWN = ("kind", "k", "reach", "radii", "points")  # of a surface, by globe.js


def write_globe(run_folder: str | Path, page: str | Path, *, note: str = "") -> None:
    """Write the page of a run with curved components of two dimensions, or a page that says why there is none.

    Reads ``tangent``, labels and ``thumbnails`` of latents.npz; without pictures a record is named in words.

    Args:
        run_folder: a folder with run.json, metrics.json and latents.npz.
        page: the HTML file.
        note: what the data really are.
    """
    run = read_run(run_folder)
    values: dict[str, Any] = {
        "title": f"Latent space · {style.name(run.latent, run.kind)}",
        "subtitle": run.subtitle(),
        "note": note,
        "sentence": run.why_empty() or "",
    }
    if not values["sentence"]:
        arrays = run.arrays()
        values |= _content(run, arrays) if len(arrays["tangent"]) else {"sentence": "This run has no test records."}
    write_text(page, _render(values))


def _content(run: RunFolder, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    total = len(arrays["tangent"])
    spread = np.linspace(0, total - 1, min(total, RECORDS)).round().astype(int)
    records = arrays.get("thumbnail_records", spread)
    surfaces = _surfaces(run, arrays["tangent"][records].astype(float))
    if not surfaces:
        return {"sentence": f"The latent space {run.latent} has no curved component of two dimensions."}
    colours = read_colours(run, arrays)
    groups = np.zeros(len(records), int)
    for index, (_, _, mask) in enumerate(colours.classes):
        groups[mask[records]] = index
    sprite, cell = _sheet(arrays["thumbnails"]) if "thumbnails" in arrays else (None, None)
    data = {
        "surfaces": [{key: surface[key] for key in DRAWN} for surface in surfaces],
        "colours": [to_hex(rgb) for rgb in colours.rgb[records]],
        "groups": groups.tolist(),
        "words": _words(run, arrays, colours, records, groups),
        "sprite": sprite,
        "cell": cell,
    }
    shown = f"{len(records):,} of {total:,}" if len(records) < total else f"{total:,}"
    return {
        "subtitle": f"{run.subtitle()} · {shown} test {EXAMPLE[run.dataset]}s at their posterior location",
        "surfaces": surfaces,
        "meaning": colours.meaning,
        "classes": [(name, colour) for name, colour, _ in colours.classes],
        **_ramp(colours),
        "data": json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"),
    }


def _surfaces(run: RunFolder, tangent: np.ndarray) -> list[dict[str, Any]]:
    """The curved components of two dimensions, as the page draws them; ``tangent`` [N, dim]."""
    found, start, curvatures = [], 0, iter(run.curvatures())
    for component in run.signature.components:
        for _ in range(component.count):
            k, part = next(curvatures), tangent[:, start : (start := start + component.dim)]
            if component.dim == 2 and component.letter != "e":
                found.append({"name": component_name(component, k)} | _surface(k, part))
    return found[:MOST_SURFACES]


def _surface(k: float, points: np.ndarray) -> dict[str, Any]:
    points = np.where(np.isfinite(points), points, 0.0)
    reach, furthest = np.maximum(np.percentile(np.linalg.norm(points, axis=1), [96, 99.5]), 1e-3).tolist()
    step = projections.round_step(furthest, 3)
    radii = [float(f"{step * i:.6g}") for i in range(1, int(np.ceil(furthest / step - 1e-9)) + 1)]
    if k > FLAT:
        kind, words = "sphere", "the sphere with meridians and parallels every 30°"
    elif k < -FLAT:
        kind = "hyperboloid"
        words = "the hyperboloid with geodesics through its origin and circles at geodesic distance "
        words += ", ".join(f"{r:g}" for r in radii)
    else:
        kind, words = "plane", f"a plane, so small is its curvature, with circles at distance {radii[0]:g} and so on"
    drawn = {"kind": kind, "k": k, "reach": round(reach, DECIMALS), "radii": radii}
    return drawn | {"points": points.round(DECIMALS).tolist(), "words": words}


def _words(
    run: RunFolder, arrays: dict[str, np.ndarray], colours: Colours, records: np.ndarray, groups: np.ndarray
) -> list[str]:
    """What is said of each record."""
    if colours.classes:
        names = [name if len(name) > 2 else f"{colours.meaning} {name}" for name, _, _ in colours.classes]
        return [f"{names[group]} · record {record}" for record, group in zip(records, groups, strict=True)]
    assert colours.scale is not None
    values = np.asarray(colours.scale.get_array())[records]
    return [f"{colours.meaning} {value:.3g} · record {r}" for r, value in zip(records, values, strict=True)]


def _ramp(colours: Colours) -> dict[str, Any]:
    if colours.scale is None:
        return {}
    low, high = colours.scale.get_clim()
    steps = np.linspace(low, high, 9)
    return {"ramp": [to_hex(rgb) for rgb in colours.scale.to_rgba(steps)], "ends": [f"{low:.3g}", f"{high:.3g}"]}


def _sheet(pictures: np.ndarray) -> tuple[str, dict[str, int]]:
    """All pictures [T, H, W] or [T, 3, H, W] as one, a data address, and the size of a cell."""
    from PIL import Image

    height, width = pictures.shape[-2:]
    rows = -(-len(pictures) // COLUMNS)
    coloured = pictures.ndim == 4 and pictures.shape[1] == 3
    flat = np.moveaxis(pictures, 1, -1) if coloured else pictures.reshape(len(pictures), height, width)
    sheet = np.zeros((rows * height, COLUMNS * width, *flat.shape[3:]), np.uint8)
    for index, picture in enumerate(flat):
        row, column = divmod(index, COLUMNS)
        sheet[row * height :, column * width :][:height, :width] = picture
    image, buffer = Image.fromarray(sheet), io.BytesIO()
    if coloured:
        image.save(buffer, "JPEG", quality=85)
        kind = "jpeg"
    else:
        palette = colormaps[style.DIGITS](np.arange(256))[:, :3]
        image.putpalette(np.round(255 * palette).astype(np.uint8).tobytes())
        image.save(buffer, "PNG", optimize=True)
        kind = "png"
    address = f"data:image/{kind};base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return address, {"columns": COLUMNS, "width": width, "height": height}


def _render(values: dict[str, Any]) -> str:
    import jinja2

    here = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(here),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("globe.html.j2").render(script=(here / "globe.js").read_text("utf-8"), **values)
