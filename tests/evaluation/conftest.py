"""Tiny prepared data of the three kinds, and runs trained on them in a moment."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mcvae.config import Model, RunConfig, Training
from mcvae.data import store
from mcvae.data.qm9 import TARGETS
from mcvae.latent import build
from mcvae.training import fit

SIZES = {"train": 60, "validation": 20, "test": 40}
TOTAL = sum(SIZES.values())


def write(folder, dataset, arrays, **more):
    tensors = {name: store.save_tensor(folder, name, array) for name, array in arrays.items()}
    store.write_splits(folder, **SIZES)
    store.write_stats(folder, folder, dataset, tensors, SIZES, **more)
    return folder


def write_mnist(folder):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 8, TOTAL, dtype=np.uint8)
    images = np.zeros((TOTAL, 8, 8), np.uint8)
    images[np.arange(TOTAL), :, labels] = 230
    ids = np.arange(TOTAL, dtype=np.int32)
    return write(folder, "mnist", {"images": images, "labels": labels, "ids": ids})


def write_celeba(folder):
    rng = np.random.default_rng(1)
    attributes = rng.integers(0, 2, (TOTAL, 40), dtype=np.uint8)
    attributes[:, 7] = 1
    images = rng.integers(0, 60, (TOTAL, 3, 8, 8), dtype=np.uint8)
    images[attributes[:, 0] == 1, 0] += 180
    identities = np.arange(TOTAL, dtype=np.int32) // 2
    names = ["Male" if i == 20 else f"attribute_{i}" for i in range(40)]
    tensors = {"images": images, "attributes": attributes, "identities": identities}
    return write(folder, "celeba", tensors, attributes=names)


def write_qm9(folder):
    from rdkit import Chem
    from selfies import encoder, split_selfies

    from mcvae.data.graphs import encode

    carbons = ["C" * n + tail for n in range(1, 7) for tail in ("", "O", "N", "F", "=O", "C(C)C", "C#N", "OC")]
    smiles = [Chem.CanonSmiles(text) for text in carbons * 3][:TOTAL]
    words = [list(split_selfies(encoder(text))) for text in smiles]
    vocabulary = ["<pad>", "<start>", "<end>", *sorted({word for line in words for word in line})]
    tokens = np.zeros((TOTAL, max(map(len, words)) + 2), np.uint8)
    for row, line in zip(tokens, words, strict=True):
        row[: len(line) + 2] = [1, *map(vocabulary.index, line), 2]
    properties = np.random.default_rng(2).normal(5.0, 2.0, (TOTAL, 12)).astype(np.float32)
    train = properties[: SIZES["train"]].astype(float)
    moments = zip(train.mean(0).tolist(), train.std(0).tolist(), strict=True)
    targets = [
        {"name": target.name, "unit": target.unit, "mean": mean, "std": std}
        for target, (mean, std) in zip(TARGETS, moments, strict=True)
    ]
    (folder / "smiles.txt").write_text("\n".join(smiles) + "\n")
    graphs = {name: encode(smiles)[name] for name in ("atoms", "hydrogens", "charges", "bonds")}
    tensors = {"tokens": tokens, "properties": properties} | graphs
    return write(folder, "qm9", tensors, vocabulary=vocabulary, targets=targets)


WRITERS = {"mnist": write_mnist, "celeba": write_celeba, "qm9": write_qm9}
LIKELIHOODS = {"mnist": "bernoulli", "celeba": "gaussian", "qm9": "categorical"}
HIDDEN = {"mnist": (16,), "celeba": (4, 8), "qm9": (8, 16)}


def run_config(dataset="mnist", latent="e2", kind="vae", seed=0, epochs=2, learning_rate=3e-3):
    model = Model(
        kind=kind,
        hidden=HIDDEN[dataset],
        likelihood=LIKELIHOODS[dataset],
        property_weight=1.0 if dataset == "qm9" else None,
    )
    return RunConfig(
        dataset=dataset,
        data="00000000",
        protocol="dynamic" if dataset == "mnist" else "standard",
        latent=latent,
        model=model,
        training=Training(epochs=epochs, batch_size=16, learning_rate=learning_rate),
        seed=seed,
    )


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """Prepared folders by data set."""
    return {name: writer(tmp_path_factory.mktemp(name)) for name, writer in WRITERS.items()}


@pytest.fixture(scope="session")
def trained(prepared, tmp_path_factory):
    """(dataset, latent, kind) -> (prepared folder, folder of a trained run); trained once a session."""
    runs = {}

    def make(dataset="mnist", latent="e2", kind="vae"):
        key = dataset, latent, kind
        if key not in runs:
            folder = tmp_path_factory.mktemp("run")
            status = fit(run_config(dataset, latent, kind), prepared[dataset], folder)
            assert status == "finished"
            runs[key] = folder
        return prepared[dataset], runs[key]

    return make


@pytest.fixture(scope="session")
def make_model():
    """(latent, dataset, kind, stats) -> an untrained model."""
    from mcvae.models import build

    def make(latent="e2", kind="vae"):
        torch.manual_seed(0)
        return build(run_config("mnist", latent, kind), {"tensors": {"images": {"shape": [TOTAL, 8, 8]}}})

    return make


class Plain(torch.nn.Module):
    """A model in whose latent space the code of a record is its ``x``."""

    def __init__(self, latent):
        super().__init__()
        self.latent = build(latent)
        self.anchor = torch.nn.Parameter(torch.zeros(()))

    def prepare(self, batch, train=False):
        return batch["x"]

    def posterior(self, x):
        return SimpleNamespace(loc=x)


@pytest.fixture(scope="session")
def plain():
    """latent -> a model whose records are their own codes."""
    return Plain
