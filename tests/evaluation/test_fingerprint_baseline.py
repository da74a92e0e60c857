"""The fingerprint baseline of a data set is computed once, and is the one that every evaluation would compute."""

import shutil

import numpy as np
import pytest

from mcvae import data
from mcvae.errors import UserError
from mcvae.evaluation import evaluate
from mcvae.evaluation import fingerprints as module
from mcvae.evaluation.fingerprints import baseline, read_baseline, write_baseline
from mcvae.files import read_json, write_json
from mcvae.options import Evaluation

OPTIONS = Evaluation(importance_samples=2, knn_labels=20, samples=64)


@pytest.fixture(scope="module")
def written(prepared, tmp_path_factory):
    """The file of the tiny data."""
    path = tmp_path_factory.mktemp("baselines") / "fingerprints.npz"
    write_baseline(prepared["qm9"], path)
    return path


def test_what_is_read_is_what_was_computed_in_equal_bytes(prepared, written, tmp_path):
    dataset = data.load(prepared["qm9"])
    assert np.array_equal(read_baseline(written, dataset), baseline(dataset))
    write_baseline(prepared["qm9"], tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == written.read_bytes()


def test_an_evaluation_with_the_file_has_the_numbers_of_one_without(trained, written, tmp_path, monkeypatch):
    prepared, folder = trained("qm9", "h2,e2")
    without = evaluate(shutil.copytree(folder, tmp_path / "without"), prepared, OPTIONS)
    monkeypatch.setattr("mcvae.evaluation.molecules.fingerprint_baseline", None)  # and computes nothing
    assert evaluate(shutil.copytree(folder, tmp_path / "with"), prepared, OPTIONS, baseline=written) == without
    arrays = [(tmp_path / name / "latents.npz").read_bytes() for name in ("with", "without")]
    assert arrays[0] == arrays[1]


def test_a_baseline_of_other_data_or_settings_is_refused(prepared, written, tmp_path, monkeypatch):
    other = shutil.copytree(prepared["qm9"], tmp_path / "other")
    lines = (other / "smiles.txt").read_text().splitlines()
    (other / "smiles.txt").write_text("\n".join(["CCC", *lines[1:]]) + "\n")
    with pytest.raises(UserError, match="is not the fingerprint baseline of the data in"):
        read_baseline(written, data.load(other))
    splits = shutil.copytree(prepared["qm9"], tmp_path / "splits")
    bounds = read_json(splits / "splits.json")
    write_json(splits / "splits.json", bounds | {"train": [0, 50], "validation": [50, bounds["test"][0]]})
    with pytest.raises(UserError, match="is not the fingerprint baseline"):
        read_baseline(written, data.load(splits))
    monkeypatch.setattr(module, "RADIUS", 3)
    with pytest.raises(UserError, match="is not the fingerprint baseline"):
        read_baseline(written, data.load(prepared["qm9"]))


@pytest.mark.parametrize("content", [None, b"", b"<html>404</html>", "half"])
def test_a_file_that_is_no_baseline_is_refused(prepared, written, tmp_path, content):
    path, whole = tmp_path / "fingerprints.npz", written.read_bytes()
    if content is not None:
        path.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    with pytest.raises(UserError, match="no predictions of the fingerprint baseline"):
        read_baseline(path, data.load(prepared["qm9"]))


def test_data_without_properties_have_none(prepared, tmp_path):
    with pytest.raises(UserError, match="mnist has no properties"):
        write_baseline(prepared["mnist"], tmp_path / "fingerprints.npz")
