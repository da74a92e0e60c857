"""The attribute classifier trains to a plateau of the validation loss, and says how well it ranks."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from mcvae import data
from mcvae.data import store
from mcvae.training import attributes
from mcvae.training.attributes import PATIENCE, load_attribute_classifier, train_attribute_classifier

SIZES = {"train": 120, "validation": 40, "test": 10}


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """8x8 pictures: the first attribute can be seen, the second not, of the third all are alike."""
    folder, rng, count = tmp_path_factory.mktemp("faces"), np.random.default_rng(2), sum(SIZES.values())
    truth = rng.integers(0, 2, (count, 3), dtype=np.uint8)
    truth[:, 2] = 1
    images = rng.integers(0, 60, (count, 3, 8, 8), dtype=np.uint8)
    images[truth[:, 0] == 1, 0] += 60
    tensors = {"images": images, "attributes": truth}
    entries = {name: store.save_tensor(folder, name, array) for name, array in tensors.items()}
    store.write_splits(folder, *SIZES.values())
    store.write_stats(folder, folder, "celeba", entries, SIZES)
    return folder


def test_the_area_is_that_of_the_kept_weights_over_the_attributes_that_vary(faces, tmp_path):
    facts = train_attribute_classifier(faces, tmp_path, epochs=8)
    dataset = data.load(faces)
    validation = dataset.split("validation")
    with torch.inference_mode():
        logits = load_attribute_classifier(tmp_path, dataset)(validation["images"].float() / 255)
    expected = [roc_auc_score(validation["attributes"][:, index], logits[:, index]) for index in (0, 1)]
    assert facts["validation.auroc"] == pytest.approx(np.mean(expected), abs=1e-6)
    assert expected[0] > 0.9


@pytest.mark.parametrize(("losses", "trained", "best"), [([3, 2, 2, 2.5, 2.2, 2.1, 1], 6, 2), ([5, 4, 3], 3, 3)])
def test_it_ends_when_the_validation_loss_has_not_fallen_for_some_epochs(
    faces, tmp_path, monkeypatch, losses, trained, best
):
    assert PATIENCE == 4
    left = iter(losses)
    names = ("validation.accuracy", "validation.auroc")
    monkeypatch.setattr(attributes, "_validate", lambda *_: {"validation.loss": next(left)} | dict.fromkeys(names, 0.5))
    facts = train_attribute_classifier(faces, tmp_path, epochs=len(losses))
    assert (facts["epochs"], facts["best_epoch"], facts["validation.loss"]) == (trained, best, losses[best - 1])


def test_attributes_that_never_vary_have_no_area(faces, tmp_path, monkeypatch):
    dataset = data.load(faces)
    dataset.tensors["attributes"][:] = 1
    monkeypatch.setattr(attributes.data, "load", lambda folder: dataset)
    assert train_attribute_classifier(faces, tmp_path, epochs=1)["validation.auroc"] is None
