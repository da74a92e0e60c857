"""SVG made small: the same drawing, the same pictures where a palette suffices, and bytes that stay few."""

import base64
import io
import re
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from PIL import Image

from mcvae import plotting
from mcvae.plotting import style
from mcvae.plotting.compact import compact, data_uri, recoded

SVG = "{http://www.w3.org/2000/svg}"
COMMAND = re.compile(r"([MLQCZmlqcz])([^MLQCZmlqcz]*)")


def outline(data):
    """The points [N, 2] of a path, whatever its commands."""
    at, start, points = np.zeros(2), np.zeros(2), []
    for letter, text in COMMAND.findall(data):
        values = [float(number) for number in re.findall(r"-?(?:\d+\.?\d*|\.\d+)(?:e-?\d+)?", text)]
        if letter in "zZ":
            at = start
        step = {"m": 1, "l": 1, "q": 2, "c": 3}.get(letter.lower(), 0)
        for index in range(0, len(values), 2 * step or 1):
            here = np.reshape(values[index : index + 2 * step], (-1, 2)) + (at if letter.islower() else 0)
            points.extend(here)
            at = here[-1]
            start = at if letter in "mM" else start
    return np.array(points)


def paths(svg):
    """The points of every path as drawn, in order, those that are used by name among them."""
    root = ElementTree.fromstring(svg)
    named = {element.get("id"): element.get("d") for element in root.iter(f"{SVG}path") if element.get("id")}
    inside = {element for defs in root.iter(f"{SVG}defs") for element in defs.iter()}
    found = []
    for element in root.iter():
        if element in inside:
            continue
        if element.tag == f"{SVG}path":
            found.append(outline(element.get("d")))
        elif element.tag == f"{SVG}use":
            name = element.get("{http://www.w3.org/1999/xlink}href")[1:]
            found.append(outline(named.get(name) or ""))
    return found


def drawing():
    figure = Figure(figsize=(4, 3))
    axes = figure.add_subplot()
    turn = np.linspace(0, 7, 90)
    for shift in range(4):
        for width, ink in ((3, "white"), (1, "C1")):
            axes.plot(turn, np.sin(turn) + 0.1234567 * shift, color=ink, linewidth=width)
    axes.fill_between(turn, -1, np.cos(turn), alpha=0.3)
    axes.set_title("a title, and µ")
    axes.imshow(np.linspace(0, 1, 64).reshape(8, 8), extent=(1, 2, 0, 1))
    axes.add_patch(Circle((3, 0), 0.5))
    drawn = io.StringIO()
    with style.look():
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    return drawn.getvalue()


def test_a_compact_drawing_has_the_same_points_to_a_hundredth_and_fewer_bytes():
    before = drawing()
    after = compact(before)
    assert len(after) < 0.6 * len(before)
    assert after == compact(before)
    there = np.concatenate([points for points in paths(before) if len(points)])
    here = np.concatenate([points for points in paths(after) if len(points)])
    np.testing.assert_allclose(here, there, atol=0.00501)


def test_a_path_of_many_short_steps_does_not_drift():
    steps = np.cumsum(np.full((4000, 2), 0.123456), axis=0)
    data = "M 0 0 " + " ".join(f"L {x:.6f} {y:.6f}" for x, y in steps)
    svg = f'<svg xmlns="http://www.w3.org/2000/svg"><path d="{data}" style="fill: none"/></svg>'
    (found,) = paths(compact(svg))
    np.testing.assert_allclose(found[1:], steps, atol=0.00501)


def test_lines_that_can_be_seen_through_are_not_merged_and_opaque_ones_are():
    def made(style):
        line = f'<path d="M 0 0 L 9 9" style="fill: none; {style}"/>\n'
        other = f'<path d="M 0 9 L 9 0" style="fill: none; {style}"/>\n'
        return compact(f'<svg xmlns="http://www.w3.org/2000/svg">{line}{other}</svg>').count("<path")

    assert made("stroke: #000") == 1
    assert made("stroke: #000; stroke-opacity: 0.5") == 2


def png(pixels):
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "PNG")
    return written.getvalue()


def read(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGBA")).astype(int)


def test_pictures_of_few_colours_keep_them_all():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (256, 4), dtype=np.uint8)[rng.integers(0, 256, (40, 50))]
    pixels[pixels[..., 3] == 0] = 0
    packed = recoded(png(pixels))
    assert packed.startswith("data:image/png")
    np.testing.assert_array_equal(read(packed), pixels)
    assert len(packed) < 0.6 * len(base64.b64encode(png(pixels)))


def test_markers_of_many_colours_stay_near_to_them():
    figure = Figure(figsize=(3, 3), dpi=110)
    axes = figure.add_axes((0, 0, 1, 1))
    rng = np.random.default_rng(0)
    axes.scatter(*rng.normal(0, 1, (2, 300)), c=rng.integers(0, 10, 300), cmap="tab10", alpha=0.8, linewidths=0)
    axes.set_axis_off()
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", transparent=True)
    before = np.asarray(Image.open(io.BytesIO(drawn.getvalue()))).astype(int)
    after = read(recoded(drawn.getvalue()))

    def on_white(pixels):
        return 255 + (pixels[..., :3] - 255) * pixels[..., 3:] / 255

    wrong = np.abs(on_white(after) - on_white(before)).max(-1)[before[..., 3] > 0]
    assert len(np.unique(before.reshape(-1, 4), axis=0)) > 1000
    assert wrong.mean() < 5 and np.percentile(wrong, 99) < 30


def test_photographs_stay_photographs():
    y, x = np.mgrid[:64, :64] / 63
    pixels = np.stack([255 * x, 255 * y, 128 + 100 * np.sin(9 * x * y), np.full_like(x, 255)], -1).astype(np.uint8)
    packed = recoded(png(pixels))
    assert packed.startswith("data:image/jpeg")
    assert np.abs(read(packed) - pixels).mean() < 4


def test_an_address_holds_the_whole_drawing_and_may_stand_in_a_page():
    svg = compact(drawing())
    uri = data_uri(svg)
    assert uri.isascii() and not re.search(r'["#\n&]', uri) and "url(" not in uri
    text = unquote(uri.split(",", 1)[1])
    assert len(paths(text.replace("'href=", "'xlink:href=").replace(" href=", " xlink:href="))) == len(paths(svg))
    assert "a title, and µ" in text


LIMITS = {  # kilobytes of a figure of 400 records in the report, by kind and data set
    ("plot_latent", "mnist", "s2"): 180,
    ("plot_latent", "mnist", "h6"): 180,
    ("plot_latent", "celeba", "h2,s2"): 90,
    ("plot_atlas", "mnist", "h2"): 90,
    ("plot_density", "mnist", "s2"): 70,
    ("plot_reconstructions", "mnist", "h2"): 40,
    ("plot_samples", "mnist", "h2"): 50,
    ("plot_decoder_grid", "mnist", "e2"): 60,
    ("plot_interpolations", "mnist", "h2"): 80,
    ("plot_traversals", "mnist", "h2,s2,e2"): 90,
    ("plot_interpolations", "celeba", "e6"): 360,  # of noise, which no codec makes smaller
    ("plot_reconstructions", "celeba", "e6"): 80,
    ("plot_samples", "celeba", "e6"): 140,
    ("plot_samples", "qm9", "e6"): 80,
}


THIN = [("plot_latent", "mnist", "h6"), ("plot_samples", "mnist", "h2"), ("plot_reconstructions", "celeba", "e6")]


@pytest.mark.parametrize(
    ("name", "dataset", "latent"),
    [pytest.param(*case, marks=[] if case in THIN else [pytest.mark.full]) for case in LIMITS],
)
def test_a_figure_of_each_kind_is_small_in_the_report(tmp_path, folders, name, dataset, latent):
    folder = folders.write_run(tmp_path / "run", folders.config(dataset, latent), records=400)
    getattr(plotting, name)(folder, tmp_path / "a.svg", tmp_path / "a.png")
    size = len(data_uri((tmp_path / "a.svg").read_text("utf-8"))) / 1000
    assert 5 < size < LIMITS[name, dataset, latent]
