"""A tiny prepared data set on disk and run configurations that train on it in a moment."""

import pytest
import torch

from mcvae.config import RunConfig
from mcvae.data import store
from mcvae.options import Model, Training

SIZES = {"train": 50, "validation": 20, "test": 10}


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """An mnist-like folder: 8x8 images of bars that learn quickly."""
    folder = tmp_path_factory.mktemp("prepared")
    total = sum(SIZES.values())
    generator = torch.Generator().manual_seed(0)
    images = torch.zeros(total, 8, 8, dtype=torch.uint8)
    columns = torch.randint(0, 8, (total,), generator=generator)
    images[torch.arange(total), :, columns] = 230
    tensors = {
        "images": store.save_tensor(folder, "images", images.numpy()),
        "labels": store.save_tensor(folder, "labels", columns.byte().numpy()),
    }
    store.write_splits(folder, **SIZES)
    store.write_stats(folder, folder, "mnist", tensors, SIZES)
    return folder


@pytest.fixture(scope="session")
def prepared_faces(tmp_path_factory):
    """A celeba-like folder: 8x8 images in colour."""
    folder, total = tmp_path_factory.mktemp("faces"), sum(SIZES.values())
    images = torch.randint(0, 256, (total, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    tensors = {"images": store.save_tensor(folder, "images", images.numpy())}
    store.write_splits(folder, **SIZES)
    store.write_stats(folder, folder, "celeba", tensors, SIZES)
    return folder


@pytest.fixture
def run_config():
    """(latent, seed, kind, **training) -> RunConfig; ``model`` has more of the model's options."""

    def make(latent="e2", seed=0, kind="vae", protocol="dynamic", dataset="mnist", model=None, **training):
        training = {"epochs": 4, "batch_size": 16, "learning_rate": 3e-3} | training
        likelihood = {"mnist": "bernoulli", "celeba": "gaussian"}[dataset]
        return RunConfig(
            dataset=dataset,
            data="00000000",
            protocol=protocol if dataset == "mnist" else "standard",
            latent=latent,
            model=Model(**{"kind": kind, "hidden": (16,), "likelihood": likelihood} | (model or {})),
            training=Training(**training),
            seed=seed,
        )

    return make
