"""Loading: tensors over memory maps that agree with stats.json, or a sentence that says what differs."""

import json
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from mcvae.data import Dataset, load, prepare, store
from mcvae.errors import UserError
from mcvae.files import sha256_file


@pytest.fixture
def folder(tmp_path):
    images = np.arange(12 * 4, dtype=np.uint8).reshape(12, 2, 2)
    tensors = {
        "images": store.save_tensor(tmp_path, "images", images),
        "targets": store.save_tensor(tmp_path, "targets", np.linspace(0, 1, 12, dtype=np.float32)),
    }
    splits = store.write_splits(tmp_path, 8, 2, 2)
    store.write_stats(tmp_path, tmp_path, "mnist", tensors, {name: b - a for name, (a, b) in splits.items()})
    return tmp_path


def test_importing_data_needs_no_torch():
    code = "import sys, mcvae.data; sys.exit('torch' in sys.modules or 'requests' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_functions_stay_functions_after_their_modules_are_imported(folder):
    import mcvae.data.fetch
    import mcvae.data.load
    import mcvae.data.prepare

    assert all(callable(function) for function in (mcvae.data.fetch, mcvae.data.load, mcvae.data.prepare))


def test_splits_are_disjoint_slices_that_cover_all_records(folder):
    data = load(folder)
    assert isinstance(data, Dataset) and data.name == "mnist" and len(data) == 12
    parts = [data.split(name)["images"] for name in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [8, 2, 2] == [data.size(name) for name in data.splits]
    assert torch.equal(torch.cat(parts), data.tensors["images"])
    assert data.tensors["targets"].dtype == torch.float32


def test_loading_warns_of_nothing_and_a_change_never_reaches_the_file(folder):
    before = sha256_file(folder / "images.npy")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor = load(folder).tensors["images"]
        tensor.zero_()
    assert sha256_file(folder / "images.npy") == before
    assert load(folder).tensors["images"].sum() > 0


def test_split_slices_share_the_memory_of_the_tensor(folder):
    data = load(folder)
    assert (
        data.split("test")["images"].untyped_storage().data_ptr() == data.tensors["images"].untyped_storage().data_ptr()
    )


def test_an_unknown_split_says_which_there_are(folder):
    with pytest.raises(UserError, match="no split 'valid'; choose one of train, validation, test"):
        load(folder).split("valid")


@pytest.mark.parametrize(
    "array", [np.zeros((12, 2, 3), np.uint8), np.zeros((12, 2, 2), np.int16), np.zeros((3,), np.uint8)]
)
def test_a_tensor_that_differs_from_stats_is_refused(folder, array):
    np.save(store.tensor_path(folder, "images"), array)
    with pytest.raises(UserError, match=r"images\.npy: .* where stats\.json says uint8 \[12, 2, 2\]"):
        load(folder)


def test_a_missing_or_broken_tensor_is_named(folder):
    (folder / "images.npy").write_bytes(b"<html>")
    with pytest.raises(UserError, match=r"images\.npy: not a readable"):
        load(folder)
    (folder / "images.npy").unlink()
    with pytest.raises(UserError, match=r"images\.npy: no such file"):
        load(folder)


def test_no_pickle_is_ever_loaded(folder):
    np.save(folder / "images.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="not a readable"):
        load(folder)


@pytest.mark.parametrize(
    "splits",
    [
        {"train": [0, 8], "validation": [8, 10]},
        {"train": [0, 8], "validation": [9, 10], "test": [10, 12]},
        {"train": [0, 9], "validation": [8, 10], "test": [10, 12]},
        {"train": [1, 8], "validation": [8, 10], "test": [10, 12]},
    ],
)
def test_splits_that_overlap_or_leave_gaps_are_refused(folder, splits):
    (folder / "splits.json").write_text(json.dumps(splits))
    with pytest.raises(UserError, match=r"splits\.json: expected train, validation, test"):
        load(folder)


def test_an_unprepared_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="not a prepared data set"):
        load(tmp_path)


def test_smiles_belong_to_qm9_alone(folder):
    with pytest.raises(UserError, match="mnist has no SMILES"):
        _ = load(folder).smiles
    (folder / "smiles.txt").write_text("C\n" * 12)
    assert load(folder).smiles == ["C"] * 12


def test_preparing_without_raw_files_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match="no such folder of raw files; fetch mnist first"):
        prepare("mnist", tmp_path / "raw", tmp_path / "prepared")
