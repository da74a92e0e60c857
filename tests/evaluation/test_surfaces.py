"""Laws of what is drawn of posteriors: contours hold the mass that they say, densities are densities."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from mcvae.evaluation.surfaces import COLUMNS, CONTOURS, ROWS, evenly, mesh, small_pictures, surfaces
from mcvae.latent import build

MASS = stats.chi2(2).cdf(1)
SPACES = ["e2", "s2", "s2:k=0.3", "h2:k=-2.0", "p2", "d2:iso", "u2:k=-0.7", "s2:vmf", "s2:ps:k=4.0", "h2:rn", "s2:rn"]


class Given(nn.Module):
    """A VAE whose posterior parameters are the data themselves."""

    kind = "vae"

    def __init__(self, latent):
        super().__init__()
        self.latent = build(latent)
        self.anchor = nn.Parameter(torch.zeros(()))

    def prepare(self, batch, train=False):
        return batch["x"]

    def posterior(self, x):
        return self.latent.posterior(x)


def parameters(model, records=6, seed=0):
    return {"x": torch.randn(records, model.latent.parameter_dim, generator=torch.Generator().manual_seed(seed))}


def inside(curve, points):
    """Which points [S, 2] lie inside a closed curve [P, 2], by its winding number around each."""
    arms = curve[None] - points[:, None]
    angles = np.unwrap(np.arctan2(arms[..., 1], arms[..., 0]), axis=1)
    return np.abs(angles[:, -1] - angles[:, 0]) > math.pi


@pytest.mark.parametrize("space", SPACES)
def test_a_contour_holds_39_percent_of_the_draws(space):
    model = Given(space)
    tensors = parameters(model)
    tensors["x"][:, -2:] -= 1.5  # narrow enough for the origin's chart of a sphere
    found = surfaces(model, tensors)["contours.0"].astype(float)
    torch.manual_seed(0)
    draws = model.latent.logmap0(model.posterior(tensors["x"]).rsample((4000,))).double().numpy()
    k = float(model.latent.curvatures()[0])
    for index, curve in enumerate(found):
        furthest = np.linalg.norm(curve, axis=1).max()
        if k > 0 and furthest > 0.75 * math.pi / math.sqrt(k):
            continue  # around the antipode the chart is torn
        share = inside(curve, draws[:, index]).mean()
        assert share == pytest.approx(MASS, abs=4 * math.sqrt(MASS * (1 - MASS) / 4000) + 0.004)


def area(at, k):
    """Area of each cell [ROWS - 1, COLUMNS - 1] of a mesh in tangent coordinates, by the length of its sides."""
    if k > 0:
        latitude = np.linspace(-np.pi / 2, np.pi / 2, ROWS)
        return np.diff(np.sin(latitude))[:, None] * (2 * np.pi / (COLUMNS - 1)) / k * np.ones(COLUMNS - 1)
    if k < 0:
        radius = np.linalg.norm(at[:, 0], axis=-1)
        return np.diff(np.cosh(np.sqrt(-k) * radius))[:, None] * (2 * np.pi / (COLUMNS - 1)) / -k * np.ones(COLUMNS - 1)
    return np.outer(np.diff(at[:, 0, 1]), np.diff(at[0, :, 0]))


@pytest.mark.parametrize("space", ["e2", "s2", "s2:k=0.3", "h2:k=-2.0", "p2", "s2:vmf", "s2:ps:k=4.0", "h2:rn", "2u2"])
def test_densities_on_the_mesh_integrate_to_one(space):
    model = Given(space)
    tensors = parameters(model, records=150)
    tensors["x"][:, :2] *= 0.5
    found = surfaces(model, tensors)
    for index, k in enumerate(model.latent.curvatures().tolist()):
        density = np.exp(found[f"density.{index}"].astype(float))
        cells = (density[:, 1:, 1:] + density[:, 1:, :-1] + density[:, :-1, 1:] + density[:, :-1, :-1]) / 4
        if k > 0:  # wrapped densities are infinite at the antipode, on the edge of the mesh
            cells[:, ROWS // 2 - 1 : ROWS // 2 + 1, [0, -1]] = 0
        mass = (cells * area(found[f"density_at.{index}"].astype(float), k)).sum((1, 2))
        assert mass == pytest.approx([1, 1], abs=0.03)


def test_every_plane_of_a_product_and_each_of_its_copies_is_described():
    model = Given("h3,2s2:vmf,e2")
    found = surfaces(model, parameters(model, records=100))
    assert {name for name in found if name.startswith("contours.")} == {"contours.1", "contours.2", "contours.3"}
    assert found["density.2"].shape == (2, ROWS, COLUMNS) and found["density_at.2"].shape == (ROWS, COLUMNS, 2)
    assert len(found["contours.3"]) == len(found["contour_records"]) == CONTOURS


def test_spaces_without_a_plane_and_autoencoders_have_nothing_to_describe():
    model = Given("h3")
    assert surfaces(model, parameters(model)) == {}
    model = SimpleNamespace(kind="autoencoder", latent=build("e2"))
    assert surfaces(model, {"x": torch.zeros(3, 2)}) == {}


def test_equal_calls_give_equal_bits_and_leave_the_random_state_alone():
    model = Given("h2,s2:vmf")
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    first = surfaces(model, parameters(model))
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(2)
    second = surfaces(model, parameters(model))
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_the_mesh_of_a_sphere_has_the_origin_in_its_middle_and_reaches_the_antipode():
    at = mesh(4.0, 1.0)
    assert at[ROWS // 2, COLUMNS // 2].abs().max() < 1e-12
    assert float(at.norm(dim=-1).max()) == pytest.approx(math.pi / 2, rel=2e-5)


def test_records_are_spread_over_the_split():
    assert evenly(5, 10).tolist() == [0, 1, 2, 3, 4]
    assert evenly(101, 3).tolist() == [0, 50, 100]


def test_small_pictures_are_means_of_pixels():
    images = torch.randint(0, 256, (7, 3, 64, 64), generator=torch.Generator().manual_seed(0)).byte()
    found = small_pictures({"images": images}, number=4)
    assert found["thumbnails"].shape == (4, 3, 32, 32) and found["thumbnail_records"].tolist() == [0, 2, 4, 6]
    mean = images[2, 1, 10:12, 4:6].float().mean()
    assert found["thumbnails"][1, 1, 5, 2] == pytest.approx(float(mean), abs=0.5)
    digits = torch.zeros(3, 28, 28, dtype=torch.uint8)
    assert small_pictures({"images": digits})["thumbnails"].shape == (3, 28, 28)
    assert small_pictures({"x": digits}) == {}
