"""Figures of molecules: what is predicted, what lies between and near, and what was wanted."""

import json

import numpy as np
import pytest
from PIL import Image

from mcvae import plotting
from mcvae.data.qm9 import TARGETS
from mcvae.findings.targets import PREDICTORS

FIGURES = ("plot_properties", "plot_molecule_paths", "plot_optimised")
SMILES = ["CCO", "c1ccccc1", "", "CC#N", "C1CC1", "CC(=O)NC", "OCC1CO1", "CN", "C"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of molecules with the arrays of its evaluation."""
    folder = tmp_path_factory.mktemp("runs") / "h2-s0-00000000"
    folder.mkdir()
    config = {"dataset": "qm9", "latent": "h2", "seed": 0, "model": {"kind": "vae"}}
    metrics = {f"test.mae{end}.{t.name}": 0.1 * i + 0.01 for i, end in enumerate(PREDICTORS) for t in TARGETS}
    (folder / "run.json").write_text(json.dumps(config))
    (folder / "metrics.json").write_text(json.dumps({"status": "finished", "optimised.target": 4.3} | metrics))
    rng = np.random.default_rng(0)
    true = rng.normal(5, 2, (2000, 12)).astype(np.float32)
    gaps = rng.normal(5, 1, (6, 8)).astype(np.float32)
    np.savez(
        folder / "latents.npz",
        properties=true,
        predicted=true + rng.normal(0, 0.3, true.shape).astype(np.float32),
        molecule_paths=np.array([SMILES] * 6),
        neighbours=np.array([SMILES[:2] + SMILES[3:7]] * 6),
        neighbour_distances=np.linspace(0.5, 3, 30, dtype=np.float32).reshape(6, 5),
        optimised=np.array([SMILES[:8]] * 6),
        optimised_predicted=gaps,
        optimised_true=np.where(gaps > 5, gaps, np.nan),
        optimised_ends=np.where(np.arange(3) * rng.random((200, 3)) > 1, np.nan, rng.normal(5, 1, (200, 3))),
        optimised_split=rng.integers(-1, 3, 200).astype(np.int8),
    )
    return folder


def draw(name, run, folder):
    getattr(plotting, name)(run, folder / "a.svg", folder / "a.png", note="stand-in: drawn")
    return (folder / "a.svg").read_bytes(), np.asarray(Image.open(folder / "a.png").convert("RGB"))


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_drawn_with_equal_bytes(name, run, tmp_path):
    first, picture = draw(name, run, tmp_path)
    assert picture.shape[1] == 1600 and picture.shape[0] > 800
    assert draw(name, run, tmp_path)[0] == first


@pytest.mark.parametrize("name", FIGURES)
def test_a_run_without_the_arrays_says_so(name, run, tmp_path):
    folder = tmp_path / "e2-s0-00000000"
    folder.mkdir()
    for file in ("run.json", "metrics.json"):
        (folder / file).write_bytes((run / file).read_bytes())
    np.savez(folder / "latents.npz", loc=np.zeros((3, 2)))
    _, picture = draw(name, folder, tmp_path)
    assert picture.shape[0] < 500
