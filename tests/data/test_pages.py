"""Memory-mapped tensors are read in bounded memory: pages are given back, and what is read stays right."""

import sys

import numpy as np
import pytest
import torch

from mcvae.data import load, store
from mcvae.data.pages import BOUND, Reader, bounded, watch
from mcvae.evaluation import faces, pca
from mcvae.evaluation.blocks import blocks
from mcvae.training import attributes

SIDE, COUNT = 1 << 16, 1600  # 100 MiB in all

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux's account of memory")


def resident(address):
    """Bytes of the mapping that holds an address which are in this process's memory."""
    inside = False
    with open("/proc/self/smaps") as file:
        for line in file:
            head = line.split()[0]
            if "-" in head and not head.endswith(":"):
                low, high = (int(part, 16) for part in head.split("-"))
                inside = low <= address < high
            elif inside and head == "Rss:":
                return int(line.split()[1]) * 1024
    raise AssertionError("no such mapping")


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    monkeypatch.setattr("mcvae.data.pages.LEAST", 0)
    rows = np.arange(COUNT, dtype=np.uint8)[:, None].repeat(SIDE, 1)
    tensors = {"images": store.save_tensor(tmp_path, "images", rows)}
    store.write_splits(tmp_path, COUNT - 20, 10, 10)
    store.write_stats(tmp_path, tmp_path, "celeba", tensors, {})
    return load(tmp_path)


def test_a_pass_over_the_records_stays_below_the_bound(dataset):
    images = dataset.split("train")["images"]
    bound = 16 << 20
    reader, most = Reader([images], bound), 0
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(1))
    for index in order.split(4):
        batch = {"images": images.index_select(0, index)}
        most = max(most, resident(images.data_ptr()))
        reader.count(len(index))
        assert torch.equal(batch["images"][:, 0], (index % 256).byte())
    assert most <= bound + (8 << 20)  # and what the last batch before brought
    assert torch.equal(images[:, -1], (torch.arange(len(images)) % 256).byte())
    assert resident(images.data_ptr()) > 80 << 20  # which it would have been without
    reader.give_back()
    assert resident(images.data_ptr()) == 0


def test_many_short_passes_stay_below_the_bound_as_well(dataset, monkeypatch):
    monkeypatch.setattr("mcvae.data.pages.FOLIO", SIDE)
    images, most = dataset.split("train")["images"], 0
    for start in range(0, 1500, 100):
        for part in bounded(torch.arange(start, start + 100).split(10), [images]):
            assert torch.equal(images[part, 0], (part % 256).byte())
            most = max(most, resident(images.data_ptr()))
    assert most <= 16 << 20
    assert resident(images.data_ptr()) == 0


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """1,280 pictures of 48 kB, 1,024 of them for training: as if those that 128 of them lie in filled the bound."""
    monkeypatch.setattr("mcvae.data.pages.LEAST", 1 << 20)
    monkeypatch.setattr("mcvae.data.pages.FOLIO", BOUND // 128)
    with store.open_tensor(tmp_path, "images", (1280, 3, 128, 128), np.uint8):
        pass  # a sparse file
    rng = np.random.default_rng(0)
    attributes = rng.integers(0, 2, (1280, 3), dtype=np.uint8)
    tensors = {"images": store.describe_tensor(tmp_path, "images")}
    tensors["attributes"] = store.save_tensor(tmp_path, "attributes", attributes)
    store.write_splits(tmp_path, 1024, 128, 128)
    store.write_stats(tmp_path, tmp_path, "celeba", tensors, {})
    return load(tmp_path)


def through_blocks(images):
    model = torch.nn.Linear(1, 1)
    model.prepare = lambda batch, train: batch["images"].float().sum()
    yield from blocks(model, {"images": images})
    for part in torch.arange(len(images)).split(100):  # each walk is short
        yield from blocks(model, {"images": images}, part)


def through_components(images):
    for _ in range(2):
        yield from pca._pixels(images, torch.arange(len(images)))


def through_samples(images):
    yield from faces._pictures(images, None, torch.device("cpu"))
    yield from faces._pictures(images, torch.arange(1000), torch.device("cpu"))


@pytest.mark.parametrize("walk", [through_blocks, through_components, through_samples])
def test_evaluation_walks_over_pictures_in_the_bound(pictures, walk):
    images = pictures.split("train")["images"]
    most = max(resident(images.data_ptr()) for _ in walk(images))
    assert 4 << 20 < most <= 28 << 20  # of 48 MB: a block of 512, and what the system reads ahead
    assert resident(images.data_ptr()) == 0


def test_the_attribute_classifier_gives_back_what_it_read(pictures, tmp_path, monkeypatch):
    """Two batches of 64 fill the bound; what is read at random takes the memory of many more, so that alone is told."""
    images, returned = pictures.tensors["images"], []
    give_back = Reader.give_back
    monkeypatch.setattr(Reader, "give_back", lambda self: (returned.append(self.resident), give_back(self)))
    monkeypatch.setattr(attributes.data, "load", lambda folder: pictures)
    attributes.train_attribute_classifier(pictures.folder, tmp_path / "classifier", epochs=1)
    epoch = [BOUND] * 8 + [0] + [BOUND, 0]  # the training pictures, then the validation ones
    assert returned == epoch
    assert resident(images.data_ptr()) == 0


def test_tensors_that_are_no_maps_are_left_alone():
    plain = torch.arange(1000)
    reader = Reader([plain], bound=1)
    reader.count(1)
    reader.give_back()
    assert torch.equal(plain, torch.arange(1000))
    assert watch(array := np.zeros(3)) is array


def test_small_maps_are_left_alone(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(1 << 20, np.uint8))
    tensor = torch.from_numpy(watch(np.load(tmp_path / "x.npy", mmap_mode="c")))
    tensor.sum()
    before = resident(tensor.data_ptr())
    Reader([tensor], bound=1).give_back()
    assert resident(tensor.data_ptr()) == before > 0


def test_a_map_that_is_written_to_is_not_watched(tmp_path):
    with store.open_tensor(tmp_path, "x", (100, 100), np.uint8) as array:
        array[:] = 7
        tensor = torch.from_numpy(watch(array))
        Reader([tensor]).give_back()
        assert (tensor == 7).all()


def test_forgotten_data_are_not_kept_alive(dataset):
    from mcvae.data import pages

    addresses = set(pages._maps)
    assert dataset.tensors["images"].data_ptr() in addresses
    address = dataset.tensors["images"].data_ptr()
    dataset.tensors.clear()
    assert address not in pages._maps
