"""Figures of faces: rows of pictures whose columns stand where their words do, whatever the latent space."""

import json

import numpy as np
import pytest
from PIL import Image

from mcvae import plotting
from mcvae.plotting.faces import join_rows

FIGURES = ("plot_interpolations", "plot_attribute_directions", "plot_traversals")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of faces with the arrays of its evaluation, made of colours rather than of people."""
    folder = tmp_path_factory.mktemp("runs") / "s2_h2-s0-00000000"
    folder.mkdir()
    config = {"dataset": "celeba", "latent": "s2,h2", "seed": 0, "model": {"kind": "vae"}}
    (folder / "run.json").write_text(json.dumps(config))
    (folder / "metrics.json").write_text(json.dumps({"status": "finished"}))
    shades = np.linspace(0, 1, 9)[None, :, None, None, None]
    path = np.broadcast_to(shades, (6, 9, 3, 16, 16)).astype(np.float16)
    np.savez(
        folder / "latents.npz",
        interpolations=path[:5],
        interpolation_ends=path[:5, [0, 8]],
        attribute_directions=path,
        direction_attributes=np.array(["Smiling", "Male", "Young", "Blond_Hair", "Eyeglasses", "Bangs"]),
        traversals=path,
        traversal_components=np.array(["s2"] * 3 + ["h2"] * 3),
    )
    return folder


def draw(name, run, folder):
    getattr(plotting, name)(run, folder / "a.svg", folder / "a.png", note="stand-in: drawn")
    return (folder / "a.svg").read_bytes(), np.asarray(Image.open(folder / "a.png").convert("RGB"))


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_drawn_with_equal_bytes(name, run, tmp_path):
    first, picture = draw(name, run, tmp_path)
    assert picture.shape[1] == 1600 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 50
    assert draw(name, run, tmp_path)[0] == first


@pytest.mark.parametrize("name", FIGURES)
def test_a_run_without_the_arrays_says_so(name, run, tmp_path):
    folder = tmp_path / "e2-s0-00000000"
    folder.mkdir()
    for file in ("run.json", "metrics.json"):
        (folder / file).write_bytes((run / file).read_bytes())
    np.savez(folder / "latents.npz", loc=np.zeros((3, 2)))
    _, picture = draw(name, folder, tmp_path)
    assert picture.shape[0] < 500  # a sentence, no rows


def test_narrow_columns_take_a_third_and_the_others_keep_their_centres():
    rows = [np.full((4, 3, 12, 12), value) for value in (0.2, 0.7)]
    picture, centres = join_rows(rows, 2, narrow=(1,))
    assert picture.shape == (2 * 12 + 2, 12 + 2 + 4 + 12 + 2 + 12, 3)
    assert centres == [6, 16, 24, 38]
    whole, even = join_rows(rows, 2)
    assert whole.shape[1] == 4 * 12 + 3 * 2 and even == [6, 20, 34, 48]
    assert (picture[:12, :12] == round(0.2 * 255)).all() and (picture[14:, :12] == round(0.7 * 255)).all()
