"""A finished run as an object: what it encodes, decodes, samples and interpolates, and what it refuses."""

import shutil

import numpy as np
import pytest
import torch

import mcvae
from mcvae.data import load as load_data
from mcvae.data.qm9 import TARGETS
from mcvae.errors import UserError
from mcvae.evaluation.blocks import locations


def opened(trained, dataset="mnist", latent="e2", kind="vae"):
    prepared, folder = trained(dataset, latent, kind)
    return mcvae.load(folder, prepared=prepared), load_data(prepared).split("test")


@pytest.mark.parametrize("latent", ["e2", "s2:vmf", "h2,s2"])
def test_codes_lie_on_the_manifold_and_equal_arguments_give_equal_codes(trained, latent):
    run, test = opened(trained, latent=latent)
    z = run.encode(test)
    assert z.shape == (40, run.latent.ambient_dim) and run.latent.manifold.contains(z).all()
    assert torch.equal(z, run.encode(test["images"].numpy()))
    draws = run.encode(test, samples=3)
    assert draws.shape == (3, *z.shape) and torch.equal(draws, run.encode(test, samples=3))
    assert not torch.equal(draws, run.encode(test, samples=3, seed=1))


def test_codes_of_grey_pictures_are_those_of_the_evaluation(trained):
    run, test = opened(trained, "celeba")
    assert torch.allclose(run.encode(test), locations(run.model, test), atol=1e-6)


def test_decoding_gives_pictures_of_the_data_and_samples_follow_the_seed(trained):
    run, test = opened(trained, latent="s2:vmf")
    pictures = run.decode(run.encode(test).unflatten(0, (8, 5)))
    assert pictures.shape == (8, 5, 8, 8) and 0 <= pictures.min() and pictures.max() <= 1
    assert torch.equal(run.sample(6), run.decode(run.prior_points(6)))
    assert not torch.equal(run.sample(6), run.sample(6, seed=1))
    state = torch.get_rng_state()
    run.sample(6)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("latent", ["e2", "s2:vmf", "h2,s2"])
def test_interpolation_keeps_both_ends_and_equal_steps(trained, latent):
    run, test = opened(trained, latent=latent)
    start, end = run.encode(test)[:2]
    path = run.interpolate(start, end, 5)
    assert path.shape == (5, run.latent.ambient_dim)
    assert torch.allclose(path[0], start, atol=1e-5) and torch.allclose(path[-1], end, atol=1e-4)
    steps = run.latent.manifold.dist(path[:-1], path[1:])
    assert torch.allclose(steps, steps.mean().expand(4), rtol=1e-2, atol=1e-4)


def test_molecules_are_read_and_written_as_smiles(trained):
    run, _ = opened(trained, "qm9")
    known = ["CCO", "CC#N"]
    z = run.encode(known)
    assert z.shape == (2, 2) and all(isinstance(text, str) for text in run.decode(z))
    assert {name: value.shape for name, value in run.properties(z).items()} == {target.name: (2,) for target in TARGETS}
    assert torch.allclose(run.encode(known), z)
    with pytest.raises(UserError, match=r"molecule 1, 'CCCCCCCCCCC': not 1 to 9 heavy atoms"):
        run.encode(["C", "CCCCCCCCCCC"])
    with pytest.raises(UserError, match=r"is in no molecule of the data"):
        run.encode(["C1CC1F"])


def test_what_does_not_fit_is_refused_in_a_sentence(trained):
    run, _ = opened(trained)
    with pytest.raises(UserError, match=r"records float64 \[2, 8, 8\]: images of this run are uint8 \[B, 8, 8\]"):
        run.encode(np.zeros((2, 8, 8)))
    with pytest.raises(UserError, match=r"z of shape \[4, 3\]: points of e2 are \[..., 2\]"):
        run.decode(torch.zeros(4, 3))
    with pytest.raises(UserError, match="predicts no properties"):
        run.properties(torch.zeros(4, 2))
    with pytest.raises(UserError, match="predicts no properties"):
        run.predict(np.zeros((4, 8, 8), np.uint8))
    autoencoder, _ = opened(trained, kind="autoencoder")
    with pytest.raises(UserError, match="no prior"):
        autoencoder.sample(3)


def test_an_exported_folder_holds_all_that_loading_needs(trained, tmp_path):
    prepared, folder = trained()
    with pytest.raises(UserError, match=r"no stats.json of its data in .*; give prepared="):
        mcvae.load(folder)
    for name in ("run.json", "model.safetensors"):
        shutil.copy(folder / name, tmp_path)
    shutil.copy(prepared / "stats.json", tmp_path)
    assert torch.equal(mcvae.load(tmp_path).sample(2), mcvae.load(folder, prepared=prepared).sample(2))
