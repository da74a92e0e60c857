"""Slopes of properties and their gradient descent follow the geometry of the space, against closed forms."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from mcvae.evaluation.judged_molecules import JUDGED, Judged, Record, describe_judged, records_of
from mcvae.evaluation.latent_optimisation import CLOSE, OPTIMISED_KEYS, STRIDE, climb, optimisation, wander
from mcvae.evaluation.latent_slopes import PAIRS, property_slopes
from mcvae.latent import build

OTHERS = ("h3", "p2", "d2", "u2:k=-0.5", "h2,s2,e2")
SIGNATURES = ("e3", "s3:vmf", "3s2:vmf,h2", *(pytest.param(each, marks=pytest.mark.full) for each in OTHERS))


class Headed(nn.Module):
    """A latent space with a head."""

    def __init__(self, signature, head=None):
        super().__init__()
        torch.manual_seed(0)
        self.latent = build(signature)
        width = self.latent.decoder_dim
        self.head = head or nn.Sequential(nn.Linear(width, 16), nn.SiLU(), nn.Linear(16, 2))
        if head is None:
            nn.init.normal_(self.head[2].weight)

    def properties(self, z):
        return self.head(self.latent.decoder_input(z))


def test_the_slope_of_a_linear_property_of_the_plane_is_its_directional_derivative():
    model = Headed("e2", nn.Linear(2, 1))
    loc = torch.randn(2 * PAIRS, 2)
    values = torch.zeros(2 * PAIRS, 1)
    found = property_slopes(model, loc, values, loc.flip(0), values + 3, ["a"])
    ends = loc[1::2] - loc[0::2]
    expected = (ends @ model.head.weight[0]).abs().sum() / ends.norm(dim=-1).sum()
    assert found["test.property_slope.a"] == pytest.approx(expected.item(), rel=1e-4)
    apart = (loc - loc.flip(0)).norm(dim=-1).sum().item()
    assert found["test.neighbour_slope.a"] == pytest.approx(3 * len(loc) / apart, rel=1e-5)


def test_the_slope_along_a_meridian_is_that_of_the_sine_of_the_latitude():
    head = nn.Linear(3, 1)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0.0, 0.0]]))
    model = Headed("s2:vmf", head)
    loc = torch.tensor([[math.cos(a), math.sin(a), 0.0] for a in (0.0, math.pi / 2)])
    found = property_slopes(model, loc, torch.zeros(2, 1), loc, torch.zeros(2, 1), ["a"])
    assert found["test.property_slope.a"] == pytest.approx(2 / math.pi, rel=1e-5)
    assert found["test.neighbour_slope.a"] is None


@pytest.mark.parametrize("signature", SIGNATURES)
def test_descent_stays_on_the_manifold_in_steps_of_bounded_length_and_comes_nearer(signature):
    model = Headed(signature)
    manifold = model.latent.manifold
    start = manifold.random(20) if "s" not in signature else model.latent.prior().rsample((20,)).detach()
    with torch.inference_mode():
        before = model.properties(start)[:, 0]
        wanted = (before.mean() - before.std()).item()
        path = climb(model, start, 0, wanted)
    assert manifold.contains(path.points.flatten(0, 1)).all()
    steps = manifold.dist(path.points[1:], path.points[:-1])
    assert steps.max() <= STRIDE * 1.01
    torch.testing.assert_close(path.length, steps.sum(0), atol=2e-2, rtol=1e-2)
    away = (path.predicted - wanted).abs()
    assert (away[-1] <= away[0] + 1e-3).all() and away[-1].mean() < 0.3 * away[0].mean()
    torch.testing.assert_close(path.predicted[-1], model.properties(path.points[-1])[:, 0].detach())


@pytest.mark.parametrize("signature", SIGNATURES)
def test_the_first_step_is_the_steepest_of_all_geodesics(signature):
    """Against values at the ends of a thousand short geodesics of equal length."""
    model = Headed(signature).double()
    manifold = model.latent.manifold
    start = model.latent.manifold.random(1, dtype=torch.float64)
    path = climb(model, start, 0, -1e6)
    length = manifold.dist(path.points[0], path.points[1])
    assert length.item() == pytest.approx(STRIDE, rel=1e-3)
    step = 1e-4
    along = manifold.logmap_frame(path.points[0], path.points[1])
    along = step * along / along.norm()
    others = torch.randn(1000, manifold.dim, dtype=torch.float64)
    others = step * others / others.norm(dim=-1, keepdim=True)
    ends = manifold.expmap_frame(start, torch.cat([along, others]))
    values = model.properties(ends)[:, 0]
    assert values[0] <= values[1:].min() + 1e-12


def test_descent_in_the_plane_with_a_linear_head_arrives_by_the_shortest_way():
    model = Headed("e2", nn.Linear(2, 1))
    start = torch.randn(5, 2)
    away = model.properties(start)[:, 0] + 1.5
    path = climb(model, start, 0, -1.5)
    slope = model.head.weight.norm()
    assert ((path.predicted[-1] + 1.5).abs() <= CLOSE + 1e-6).all()
    torch.testing.assert_close(path.length, (away.abs() / slope).detach(), atol=CLOSE / slope.item() + 1e-5, rtol=0)


@pytest.mark.parametrize("signature", SIGNATURES)
def test_random_directions_lead_as_far_and_everywhere(signature):
    manifold = build(signature).manifold
    torch.manual_seed(0)
    start = manifold.expmap0(0.3 * torch.randn(2000, manifold.dim, dtype=torch.float64))
    end = manifold.expmap_frame(start, 0.4 * torch.randn(2000, manifold.dim, dtype=torch.float64) / manifold.dim**0.5)
    found = wander(manifold, start, end)
    assert manifold.contains(found).all() and torch.equal(found, wander(manifold, start, end))
    torch.testing.assert_close(manifold.dist(start, found), manifold.dist(start, end), atol=1e-6, rtol=1e-6)
    direction = manifold.logmap_frame(start, found)
    direction = direction / direction.norm(dim=-1, keepdim=True)
    assert direction.mean(0).norm() < 0.1
    torch.testing.assert_close(
        direction.square().mean(0), torch.full_like(direction[0], 1 / manifold.dim), atol=0.05, rtol=0
    )


def test_of_a_molecule_that_is_there_twice_the_first_counts():
    splits = {"train": (0, 2), "validation": (2, 3), "test": (3, 5)}
    found = records_of(["CC", "CO", "CN", "CC", "CF"], [1.0, 2.0, 3.0, 4.0, 5.0], splits)
    assert found == {"CC": (0, 1.0), "CO": (0, 2.0), "CN": (1, 3.0), "CF": (2, 5.0)}


def test_counts_and_errors_of_judged_molecules_follow_their_definitions():
    #        unchanged, a training molecule twice, a test molecule, a validation molecule, a new one, none, unreadable
    smiles = ["C", "CO", "CO", "CN", "CF", "CCO", None, "C" * 10]
    found = Judged(
        smiles,
        predicted=np.array([5.0, 3.0, 3.0, 4.0, 9.0, 1.0, np.nan, np.nan]),
        true=np.array([5.0, 2.5, 2.5, 6.0, 8.0, np.nan, np.nan, np.nan]),
        split=np.array([2, 0, 0, 2, 1, -1, -1, -1], np.int8),
    )
    told = describe_judged(found, ["C", *["CC"] * 7], np.array([5.0, 5.0, 2.2, 5.0, 7.0, 5.0, 5.0, 5.0]), 2.0)
    assert (told["valid"], told["distinct"], told["new"], told["same"]) == (6, 5, 3, 1)
    assert (told["known"], told["known_train"], told["known_validation"], told["known_test"]) == (4, 2, 1, 1)
    assert (told["nearer"], told["nearer_train"], told["nearer_validation"], told["nearer_test"]) == (1, 1, 0, 0)
    assert told["error_decoded"] == pytest.approx(np.mean([3.0, 1.0, 1.0, 2.0, 7.0, 1.0]))
    assert told["error_true"] == pytest.approx(np.mean([0.5, 0.5, 4.0, 6.0]))
    assert told["error_prediction"] == pytest.approx(np.mean([2.0, 1.0]))
    nothing = describe_judged(found._replace(predicted=np.full(8, np.nan)), smiles, found.true, 2.0)
    assert {nothing[name] for name in ("valid", "known", "nearer")} == {0} and nothing["error_true"] is None
    assert set(told) == set(nothing) == set(JUDGED)


def test_what_is_decoded_is_read_anew_and_looked_up(monkeypatch):
    model = Headed("e2", nn.Linear(2, 2))
    nn.init.ones_(model.head.weight)
    stats = {"targets": [{"name": n, "mean": 6.0, "std": 2.0} for n in ("mu", "gap")]}
    answers, again = ["CC", "CC", None, "CO"], {"CC": 3.0, "CO": 1.0}
    monkeypatch.setattr(
        "mcvae.evaluation.judged_molecules.read_again",
        lambda model, smiles, stats: np.array([[np.nan, again.get(text, np.nan)] for text in smiles]),
    )
    metrics, arrays = optimisation(
        model,
        torch.randn(4, 2),
        ["C", "CC", "C", "C"],
        np.full(4, 7.0),
        lambda z: [answers[index % 4] for index in range(len(z))],
        {"CO": Record(0, 2.5), "CC": Record(2, 7.0)},
        stats,
    )
    assert set(metrics) == set(OPTIMISED_KEYS)
    assert metrics["optimised.target"] == 2.0 and metrics["optimised.n"] == 4
    assert metrics["optimised.error_start"] == 5.0 and metrics["optimised.error_latent"] <= 2 * CLOSE + 1e-5
    assert metrics["optimised.random.error_latent"] > 0.1
    assert (metrics["optimised.valid"], metrics["optimised.distinct"], metrics["optimised.same"]) == (3, 2, 1)
    assert (metrics["optimised.known"], metrics["optimised.known_test"], metrics["optimised.nearer"]) == (2, 1, 1)
    assert metrics["optimised.error_true"] == metrics["optimised.random.error_true"] == pytest.approx(2.75)
    assert arrays["optimised"].shape == arrays["optimised_true"].shape == (4, 8)
    assert (np.isnan(arrays["optimised_predicted"]) == (arrays["optimised"] == "")).all()
    np.testing.assert_array_equal(arrays["optimised_ends"][:, 0], [7, 7, 7, 7])
    np.testing.assert_array_equal(arrays["optimised_ends"][:, 1], [3, 3, np.nan, 1])
    np.testing.assert_array_equal(arrays["optimised_ends"][:, 2], [7, np.nan, np.nan, 2.5])
    assert arrays["optimised_split"].tolist() == [2, -1, -1, 0]


def test_data_without_a_gap_have_no_numbers():
    stats = {"targets": [{"name": "mu", "mean": 0.0, "std": 1.0}]}
    nothing = SimpleNamespace()
    metrics, arrays = optimisation(nothing, torch.zeros(1, 2), [], np.zeros(0), None, {}, stats)
    assert set(metrics.values()) == {None} and not arrays
