"""MNIST's preparation: what the IDX files say is what the tensors hold, and bad files are named."""

import gzip
import json

import numpy as np
import pytest

from mcvae.data import embedded, mnist, store
from mcvae.errors import UserError
from mcvae.files import sha256_file


def write_raw(folder, train, test, seed=0):
    """Random images of a small MNIST; returns them as {prefix: (images, labels)}."""
    rng = np.random.default_rng(seed)
    parts = {}
    for prefix, count in (("train", train), ("t10k", test)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        embedded.write_idx(folder / f"{prefix}-images-idx3-ubyte.gz", images)
        embedded.write_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", labels)
        parts[prefix] = images, labels
    return parts


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    return folder


@pytest.fixture
def prepared(tmp_path):
    return tmp_path / "prepared"


@pytest.mark.parametrize("shape", [(7,), (3, 28, 28), (0,), (2, 5)])
def test_reading_inverts_writing(raw, shape):
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    embedded.write_idx(raw / "x.gz", array)
    assert np.array_equal(mnist.read_idx(raw / "x.gz", len(shape)), array)


def test_records_come_in_split_order_with_their_own_labels_and_ids(raw, prepared):
    parts = write_raw(raw, 12, 4)
    mnist.prepare(raw, prepared)
    images = np.load(prepared / "images.npy", allow_pickle=False)
    assert np.array_equal(images, np.concatenate([parts["train"][0], parts["t10k"][0]]))
    labels = np.load(prepared / "labels.npy", allow_pickle=False)
    assert np.array_equal(labels, np.concatenate([parts["train"][1], parts["t10k"][1]]))
    assert np.array_equal(np.load(prepared / "ids.npy", allow_pickle=False), np.arange(16))
    splits = json.loads((prepared / "splits.json").read_text())
    assert splits == {"train": [0, 10], "validation": [10, 12], "test": [12, 16]}


def test_five_to_one_of_the_official_train_file_is_fifty_thousand():
    assert (60_000 * 5 // 6, 60_000 - 60_000 * 5 // 6) == (50_000, 10_000)


def test_stats_agree_with_the_tensors(raw, prepared):
    parts = write_raw(raw, 60, 10)
    mnist.prepare(raw, prepared)
    stats = json.loads((prepared / "stats.json").read_text())
    train = parts["train"][0][:50] / 255
    assert stats["mean"] == pytest.approx(train.mean(), rel=1e-12)
    assert stats["std"] == pytest.approx(train.std(), rel=1e-12)
    assert stats["counts"] == {"train": 50, "validation": 10, "test": 10}
    assert stats["classes"]["test"] == np.bincount(parts["t10k"][1], minlength=10).tolist()
    for name, entry in stats["tensors"].items():
        array = np.load(prepared / f"{name}.npy", allow_pickle=False)
        assert entry == {
            "shape": list(array.shape),
            "dtype": array.dtype.name,
            "sha256": sha256_file(prepared / f"{name}.npy"),
        }
    assert "unrecorded source" in stats["source_note"]


def test_stats_repeat_what_the_fetch_recorded(raw, prepared):
    write_raw(raw, 12, 4)
    facts = {"source_note": "MNIST (official files)", "stand_in": False, "subset": None}
    (raw / "source.json").write_text(json.dumps(facts))
    mnist.prepare(raw, prepared)
    stats = json.loads((prepared / "stats.json").read_text())
    assert facts.items() <= stats.items()


def test_equal_raw_files_give_equal_bytes(raw, tmp_path):
    write_raw(raw, 12, 4)
    for name in ("a", "b"):
        mnist.prepare(raw, tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def spoil(path, change):
    data = path.read_bytes()
    path.write_bytes(change(data))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[: len(data) // 2], "truncated"),
        (lambda data: data[:5], "truncated"),
        (lambda data: b"<!DOCTYPE html><html>Sorry</html>", "not a gzip file (an HTML page"),
        (lambda data: data[:50] + bytes(64) + data[114:], "train-images"),
        (lambda data: gzip.compress(gzip.decompress(data)[:-1]), "expected 9,408 bytes for 12 x 28 x 28, got 9,407"),
        (lambda data: gzip.compress(gzip.decompress(data) + b"x"), "got more"),
        (lambda data: gzip.compress(b"\0\0\x08\x01" + bytes(40)), "not IDX of 3-dimensional"),
        (lambda data: gzip.compress(b""), "not IDX of 3-dimensional"),
        (lambda data: gzip.compress(b"\0\0\x08\x03" + b"\xff" * 12), "which MNIST is not"),
    ],
)
def test_a_spoilt_file_is_named_and_nothing_is_written(raw, prepared, change, message):
    write_raw(raw, 12, 4)
    spoil(raw / "train-images-idx3-ubyte.gz", change)
    with pytest.raises(UserError) as caught:
        mnist.prepare(raw, prepared)
    assert message in str(caught.value) and "train-images-idx3-ubyte.gz" in str(caught.value)
    assert list(prepared.iterdir()) == []


def test_a_missing_file_is_named(raw, prepared):
    write_raw(raw, 12, 4)
    (raw / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(UserError, match=r"t10k-labels-idx1-ubyte\.gz: no such file"):
        mnist.prepare(raw, prepared)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("train-labels-idx1-ubyte.gz", np.full(12, 10, np.uint8), "record 0: label 10 is not a digit"),
        ("train-labels-idx1-ubyte.gz", np.zeros(11, np.uint8), "11 labels for the 12 images"),
        ("t10k-images-idx3-ubyte.gz", np.zeros((4, 8, 8), np.uint8), "expected images of 28x28, got 8x8"),
    ],
)
def test_files_that_contradict_each_other_are_refused(raw, prepared, name, array, message):
    write_raw(raw, 12, 4)
    embedded.write_idx(raw / name, array)
    with pytest.raises(UserError, match=message):
        mnist.prepare(raw, prepared)


@pytest.mark.parametrize(("train", "test"), [(0, 4), (5, 4), (12, 0)])
def test_too_few_records_for_three_splits_are_refused(raw, prepared, train, test):
    write_raw(raw, train, test)
    with pytest.raises(UserError, match="record"):
        mnist.prepare(raw, prepared)


def test_an_unknown_option_is_refused(raw, prepared):
    with pytest.raises(UserError, match="unknown option size"):
        mnist.prepare(raw, prepared, {"size": 32})


def test_a_streamed_tensor_equals_a_saved_one(tmp_path):
    array = np.random.default_rng(0).integers(0, 9, (10, 3, 4), dtype=np.int32)
    saved = store.save_tensor(tmp_path, "a", array)
    with store.open_tensor(tmp_path, "b", array.shape, array.dtype) as stream:
        assert not (tmp_path / "b.npy").exists()
        stream[:5], stream[5:] = array[:5], array[5:]
    assert store.describe_tensor(tmp_path, "b") == saved
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


def test_a_stream_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), store.open_tensor(tmp_path, "b", (2, 2), np.uint8) as stream:
        stream[:] = 1
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
