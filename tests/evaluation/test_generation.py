"""Laws of the pictures of a run: which records stand for a split, where the grid's points lie, what is drawn."""

import math

import numpy as np
import pytest
import torch

from mcvae.evaluation.generation import chosen, decoded, images, latent_grid, prior_sample


def test_chosen_digits_are_the_first_of_each_class_in_order():
    labels = torch.tensor([3, 1, 1, 0, 9, 8, 7, 6, 5, 4, 2] + [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] * 3, dtype=torch.uint8)
    records = chosen({"labels": labels})
    assert labels[records].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 7, 8, 9]
    for label in range(10):
        of_class = (labels == label).nonzero().flatten().tolist()
        mine = [r for r in records.tolist() if labels[r] == label]
        assert mine == of_class[: len(mine)]
    assert len(chosen({"labels": labels[:5]})) == 5
    assert chosen({"attributes": torch.zeros(30, 40)}).tolist() == list(range(16))


def test_chosen_digits_of_few_classes_fill_up_with_them():
    labels = torch.tensor([1, 0] * 20)
    assert labels[chosen({"labels": labels})].tolist() == [0] * 8 + [1] * 8


@pytest.mark.parametrize("latent", ["e2", "s2", "s2:k=0.25", "h2", "h2:k=-3.0"])
def test_grid_coordinates_are_the_chart_of_the_points(latent, make_model):
    model = make_model(latent).double()
    grid = latent_grid(model)
    z, chart = grid["z"].double(), torch.from_numpy(grid["grid_coordinates"]).double()
    assert chart.shape == (20, 20, 2) and z.shape == (20, 20, model.latent.ambient_dim)
    tangent, k = model.latent.logmap0(z), abs(float(model.latent.curvatures()[0]))
    r, direction = tangent.norm(dim=-1) * math.sqrt(k), torch.nn.functional.normalize(tangent, dim=-1)
    kind = str(grid["grid_kind"])
    inside = ~chart.isnan().any(-1)
    if kind == "plane":
        expected = tangent
    elif kind == "equirectangular":
        x, y, up = r.cos(), r.sin() * direction[..., 0], r.sin() * direction[..., 1]
        expected = torch.stack([torch.atan2(y, x), torch.atan2(up, torch.hypot(x, y))], -1)
    else:
        expected = torch.tanh(r / 2)[..., None] * direction
        assert 0.6 < inside.double().mean() < 0.85
    assert kind == {"e": "plane", "s": "equirectangular", "h": "disc"}[latent[0]]
    torch.testing.assert_close(chart[inside], expected[inside], atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize("latent", ["e2", "s2", "h2"])
def test_grid_is_laid_out_like_the_picture(latent, make_model):
    x, y = np.moveaxis(latent_grid(make_model(latent))["grid_coordinates"], -1, 0)
    assert (np.diff(x, axis=1)[~np.isnan(np.diff(x, axis=1))] > 0).all()
    assert (np.diff(y, axis=0)[~np.isnan(np.diff(y, axis=0))] < 0).all()


@pytest.mark.parametrize("latent", ["e3", "e1", "s3", "h2,e2", "2h2", "e1,s1"])
def test_products_and_other_dimensions_have_no_grid(latent, make_model):
    assert latent_grid(make_model(latent)) == {}


def test_an_autoencoders_grid_covers_its_codes_and_it_has_no_samples(make_model):
    codes = torch.stack([torch.linspace(-20, 40, 500), torch.linspace(5, 6, 500)], -1)
    grid = latent_grid(make_model(kind="autoencoder"), codes)["grid_coordinates"]
    assert grid[..., 0].min() == pytest.approx(-19.4, abs=0.1) and grid[..., 0].max() == pytest.approx(39.4, abs=0.1)
    assert grid[0, 0, 1] == pytest.approx(5.99, abs=0.01)
    tensors = {"images": torch.zeros(20, 8, 8, dtype=torch.uint8), "labels": torch.arange(20).byte() % 10}
    assert "samples" not in images(make_model(kind="autoencoder"), tensors)


@pytest.mark.parametrize("latent", ["e2", "h2", "s2", "h2,s2,e2"])
def test_pictures_have_their_shapes_and_lie_between_black_and_white(latent, make_model):
    generator = torch.Generator().manual_seed(0)
    tensors = {
        "images": torch.randint(0, 256, (40, 8, 8), dtype=torch.uint8, generator=generator),
        "labels": torch.arange(40).byte() % 10,
    }
    pictures = images(make_model(latent), tensors)
    assert pictures["inputs"].shape == pictures["reconstructions"].shape == (16, 8, 8)
    assert pictures["samples"].shape == (64, 8, 8)
    torch.testing.assert_close(torch.from_numpy(pictures["inputs"]), tensors["images"][chosen(tensors)] / 255)
    for name in {"inputs", "reconstructions", "samples", "grid"} & set(pictures):
        assert pictures[name].dtype == np.float32
        assert 0 <= np.nanmin(pictures[name]) and np.nanmax(pictures[name]) <= 1
    if latent == "h2":
        outside = np.isnan(pictures["grid_coordinates"]).any(-1)
        assert outside.any() and np.isnan(pictures["grid"]).all((-1, -2)).tolist() == outside.tolist()
        assert not np.isnan(pictures["grid"][~outside]).any()


def test_prior_samples_are_the_same_each_time_and_leave_the_random_state_alone(make_model):
    model = make_model("h2,s2,e2")
    state = torch.random.get_rng_state()
    first = prior_sample(model, 64)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(11)
    assert torch.equal(first, prior_sample(model, 64))
    assert model.latent.manifold.contains(first).all()


def test_decoded_does_not_depend_on_the_company_of_a_point(make_model):
    model = make_model("e2")
    z = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(decoded(model, z)[200:210], decoded(model, z[200:210]), atol=1e-6)
