"""Laws of the logistic probe: scikit-learn's own numbers, on the latent's coordinates, for the draws of the kNN."""

import sys

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from mcvae.errors import UserError
from mcvae.evaluation.classification import draw, knn_metrics, label_draws
from mcvae.evaluation.probe import accuracy, probe_metrics


def split(latent, records, seed, noise=0.5, classes=3):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (records,), generator=generator)
    centres = torch.randn(classes, latent.dim, generator=torch.Generator().manual_seed(7))
    tangent = centres[labels] + noise * torch.randn(records, latent.dim, generator=generator)
    x = latent.expmap0(tangent)
    seen, at, near = [], 0, 0
    for component in latent.components:  # points of e and s as they are, tangent coordinates of others
        whole = component.letter in "es"
        width = component.ambient_dim if whole else component.dim
        seen.append((x[:, at : at + width] if whole else tangent[:, near : near + width]).double())
        at, near = at + component.ambient_dim, near + component.dim
    return {"x": x, "labels": labels.to(torch.uint8)}, torch.cat(seen, -1).numpy()


@pytest.mark.parametrize("space", ["e3", "s2:vmf,e2", "h2,2s2,u2:k=-0.5"])
def test_accuracies_are_those_of_scikit_learn_on_standardised_coordinates(plain, space):
    model = plain(space)
    (train, points), (test, queries) = split(model.latent, 150, 0), split(model.latent, 80, 1)
    metrics = probe_metrics(model, train, test, test["x"], budgets=(20, 60), draws=3, labels=100)
    pool = draw(150, 100)
    for budget in (20, 60):
        accuracies = []
        for members in label_draws(100, (20, 60), 3)[budget]:
            known = pool[members].numpy()
            mean, deviation = points[known].mean(0), points[known].std(0)
            classifier = LogisticRegression(max_iter=1000)
            classifier.fit((points[known] - mean) / deviation, train["labels"].numpy()[known])
            accuracies.append(classifier.score((queries - mean) / deviation, test["labels"].numpy()))
        # Coordinates went through float32 points and back: one query in eighty may fall on the other side.
        assert metrics[f"test.probe_accuracy@{budget}"] == pytest.approx(np.mean(accuracies), abs=1 / 80)
        assert metrics[f"test.probe_accuracy@{budget}_sd"] == pytest.approx(np.std(accuracies, ddof=1), abs=1 / 80)
    assert metrics["test.knn_draws"] == 3


@pytest.mark.parametrize("space", ["s2:vmf", "s2", "s2:k=0.25,e1"])
def test_a_class_about_the_antipode_is_told_from_the_rest_of_a_sphere(plain, space):
    """It is a cap, which a plane cuts off; in tangent coordinates it lies all around the other class."""
    model = plain(space)

    def records(seed):
        torch.manual_seed(seed)
        x = model.latent.manifold.random(400)
        radius = x[:, :3].norm(dim=-1)
        return {"x": x, "labels": (x[:, 0] < -0.5 * radius).to(torch.uint8)}

    train, test = records(0), records(1)
    assert probe_metrics(model, train, test, test["x"], budgets=(200,), draws=3)["test.probe_accuracy@200"] > 0.95


def test_separated_classes_are_told_apart_and_shuffled_ones_are_not(plain):
    model = plain("h3")
    (train, _), (test, _) = split(model.latent, 300, 0, noise=0.05), split(model.latent, 300, 1, noise=0.05)
    assert probe_metrics(model, train, test, test["x"], budgets=(100,), draws=3)["test.probe_accuracy@100"] == 1.0
    train["labels"] = train["labels"][torch.randperm(300, generator=torch.Generator().manual_seed(0))]
    assert probe_metrics(model, train, test, test["x"], budgets=(100,), draws=3)["test.probe_accuracy@100"] < 0.6


def test_units_of_any_size_and_constant_ones_do_not_change_the_probe(plain):
    model = plain("e3")
    (train, _), (test, _) = split(model.latent, 200, 0), split(model.latent, 100, 1)
    before = probe_metrics(model, train, test, test["x"], budgets=(50,), draws=2)
    for each in (train, test):
        each["x"] = torch.cat([each["x"] * torch.tensor([1.0, 1000.0, 0.001]), torch.ones(len(each["x"]), 1)], -1)
    scaled = probe_metrics(plain("e4"), train, test, test["x"], budgets=(50,), draws=2)
    assert scaled["test.probe_accuracy@50"] == pytest.approx(before["test.probe_accuracy@50"], abs=0.01)


def test_equal_calls_give_equal_numbers_and_leave_the_random_state_alone(plain):
    model = plain("s2")
    (train, _), (test, _) = split(model.latent, 100, 0), split(model.latent, 50, 1)
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    first = probe_metrics(model, train, test, test["x"], budgets=(20, 40), draws=3)
    assert torch.equal(torch.random.get_rng_state(), state)
    np.random.seed(0)  # noqa: NPY002 (what scikit-learn would draw from)
    assert probe_metrics(model, train, test, test["x"], budgets=(20, 40), draws=3) == first


def test_one_known_class_is_the_answer_to_everything():
    truth = np.array([0, 1, 1, 2])
    assert accuracy(np.zeros((3, 2)), np.array([1, 1, 1]), np.zeros((4, 2)), truth) == 0.5


def test_keys_are_those_of_the_neighbours_and_absent_without_labels(plain):
    model = plain("e2")
    (train, _), (test, _) = split(model.latent, 60, 0), split(model.latent, 20, 1)
    probe = probe_metrics(model, train, test, test["x"], budgets=(10, 100), draws=2)
    neighbours = knn_metrics(model, train, test, test["x"], budgets=(10, 100), draws=2)
    assert {key.replace("probe", "knn") for key in probe} <= set(neighbours)
    assert probe["test.probe_accuracy@100"] is None and probe["test.probe_accuracy@10"] > 0
    assert probe_metrics(model, {"x": train["x"]}, {"x": test["x"]}, test["x"]) == {}


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(UserError, match="scikit-learn"):
        accuracy(np.zeros((2, 1)), np.array([0, 1]), np.zeros((1, 1)), np.array([0]))
