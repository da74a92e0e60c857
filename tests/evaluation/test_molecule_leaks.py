"""No number of molecules learns from the split that it is measured on: poisoned splits change what they may change."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

import mcvae
from mcvae import data
from mcvae.evaluation import fingerprints as module
from mcvae.evaluation import molecules, property_probes
from mcvae.evaluation.blocks import locations
from mcvae.evaluation.fingerprints import STRENGTHS, baseline, fingerprints

SPLITS = {"train": (0, 6), "validation": (6, 9), "test": (9, 13)}
SMILES = ["C", "CC", "CCC", "CCCC", "CCO", "CCCO", "CO", "C=O", "CCF", "CN", "CCN", "C#N", "OCCO"]
OTHERS = ["c1ccc2[nH]ccc2c1", "FC(F)(F)C(F)(F)F", "O=C1NC(=O)C=C1", "C1CC2CCC1CC2", "OC(O)(O)C(O)O", "NC(N)C(N)N"]
MADE = ["CO", "CN", "C", "CCN", "CC.C", None, "CCCO"]


def with_split(name, others):
    """The molecules with others in a split."""
    start, stop = SPLITS[name]
    return [*SMILES[:start], *others[: stop - start], *SMILES[stop:]]


@pytest.fixture
def described(monkeypatch):
    """molecules of the data -> the numbers of samples that are always the same ones."""
    monkeypatch.setattr(molecules, "decoder", lambda model, vocabulary: lambda z: MADE)
    monkeypatch.setattr(molecules, "prior_sample", lambda model, samples: torch.zeros(samples, 1))

    def numbers(smiles, samples=50):
        dataset = SimpleNamespace(smiles=smiles, splits=SPLITS, stats={"vocabulary": []})
        return molecules.drawn(SimpleNamespace(kind="vae"), dataset, samples)[0]

    return numbers


def test_samples_are_new_if_they_are_not_in_the_training_split_wherever_else_they_are(described):
    found = described(SMILES)
    assert found["samples.novelty"] == pytest.approx(3 / 5)  # CO, CN and CCN, of validation and test
    assert found["samples.lenient_novelty"] == pytest.approx(4 / 6)  # and CC.C
    assert described(with_split("train", ["CO", "CN", "C", "CCN", "CCCO", "CC"]))["samples.novelty"] == 0


def test_samples_are_compared_with_test_molecules_and_their_floor_is_that_of_training_molecules(described):
    base = described(SMILES)

    def changed(name):
        other = described(with_split(name, OTHERS))
        return {key for key in base if base[key] != other[key]}

    floors = {"samples.property_frechet_data", *(f"samples.wasserstein_data.{x}" for x in ("logp", "weight"))}
    distances = {name.replace("_data", "") for name in floors}
    assert changed("validation") == set()
    train, test = changed("train"), changed("test")
    assert floors <= train and not distances & train
    assert floors | distances <= test and not any("novelty" in name for name in test)


def test_samples_are_compared_with_as_many_real_molecules(described, monkeypatch):
    seen = []
    monkeypatch.setattr(molecules, "sample_distances", lambda *sets: seen.append(sets) or {})
    described(SMILES, samples=2)
    ((valid, test, train),) = seen
    assert valid == ["CO", "CN", "C", "CCN", "CCCO"] and test == ["CN", "CCN"]
    assert len(train) == 2 and set(train) <= set(SMILES[:6])


def fingerprinted(properties):
    """The baseline's predictions where ``properties`` [13, 2] are those of the data."""
    stats = {"targets": [{"mean": 0.5, "std": 2.0}] * 2}
    return baseline(
        SimpleNamespace(smiles=SMILES, splits=SPLITS, stats=stats, tensors={"properties": torch.from_numpy(properties)})
    )


def test_the_fingerprint_baseline_fits_training_molecules_alone(monkeypatch):
    monkeypatch.setattr(module, "BITS", 128)
    values = np.random.default_rng(0).normal(size=(13, 2))
    x, queries = (fingerprints(SMILES[slice(*SPLITS[name])]).toarray() for name in ("train", "test"))
    fits = [Ridge(strength).fit(x, (values[:6] - 0.5) / 2).predict(queries) for strength in STRENGTHS]
    found, poisoned = fingerprinted(values), values.copy()
    poisoned[9:] = 1e6
    assert np.array_equal(fingerprinted(poisoned), found)
    for checked in (values[6:9], np.zeros((3, 2)), np.full((3, 2), 1e6)):
        poisoned[6:9] = checked  # chooses among fits of training values, and does no more
        for column, predicted in enumerate(fingerprinted(poisoned).T):
            assert any(np.allclose(predicted, fit[:, column], rtol=1e-5, atol=1e-6) for fit in fits)
    poisoned[:6] = 0.5
    np.testing.assert_allclose(fingerprinted(poisoned), 0, atol=1e-9)


def test_the_labels_of_probes_are_of_the_training_split(trained, monkeypatch):
    prepared, folder = trained("qm9", "h2,e2")
    model = mcvae.load(folder, prepared=prepared).model
    seen, errors = [], molecules.property_errors
    monkeypatch.setattr(property_probes, "EPOCHS", 2)
    monkeypatch.setattr(molecules, "property_errors", lambda found, *rest: seen.append(found) or errors(found, *rest))

    def predicted(poisoned, value):
        dataset = data.load(prepared)
        if poisoned:
            dataset.split(poisoned)["properties"].fill_(value)
        with torch.inference_mode():
            loc = locations(model, dataset.split("test"))
            molecules.property_metrics(model, dataset, loc, 60, np.zeros((40, 12)))
        return seen.pop()

    def differ(found, other):
        return {name for name in found if not torch.equal(found[name], other[name])}

    whole = predicted(None, 0)
    assert differ(whole, predicted("test", 1e6)) == set()
    assert differ(whole, predicted("validation", 1e6)) <= {"_ridge", "_knn", "_mlp"}  # what validation chooses
    assert differ(whole, predicted("train", 7.0)) == {"_ridge", "_knn", "_mlp", "_gp"}
