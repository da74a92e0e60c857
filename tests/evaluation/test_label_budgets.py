"""Laws of the label budgets: equal to brute force draw by draw, the same draws for every run, spread over draws."""

import numpy as np
import pytest
import torch

from mcvae.evaluation.classification import draw, knn_metrics, label_draws, majority, spread

SPACES = ["e3", "s3:vmf", "h2,2s2,p2"]


def noisy_classes(latent, records, seed, classes=4):
    """Points about the class's place, near enough to each other that some are told wrong."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (records,), generator=generator)
    centres = torch.randn(classes, latent.dim, generator=torch.Generator().manual_seed(7))
    tangent = centres[labels] + 0.8 * torch.randn(records, latent.dim, generator=generator)
    return {"x": latent.expmap0(tangent), "labels": labels.to(torch.uint8)}


@pytest.mark.parametrize("space", SPACES)
def test_accuracies_of_label_budgets_are_those_of_every_draw_by_brute_force(plain, space):
    model = plain(space)
    train, test = noisy_classes(model.latent, 300, 0), noisy_classes(model.latent, 90, 1)
    metrics = knn_metrics(model, train, test, test["x"], neighbours=3, labels=200, budgets=(50, 10), draws=4)
    pool = draw(300, 200)
    for budget in (10, 50):
        accuracies = []
        for members in label_draws(200, (10, 50), 4)[budget]:
            known = pool[members]
            distances = torch.stack([model.latent.dist(x, train["x"][known]) for x in test["x"]])
            predicted = majority(train["labels"][known][distances.argsort(1)[:, :3]])
            accuracies.append((predicted == test["labels"]).double().mean().item())
        assert metrics[f"test.knn_accuracy@{budget}"] == pytest.approx(np.mean(accuracies))
        assert metrics[f"test.knn_accuracy@{budget}_sd"] == pytest.approx(np.std(accuracies, ddof=1))
    assert metrics["test.knn_draws"] == 4
    without = knn_metrics(model, train, test, test["x"], neighbours=3, labels=200)
    assert {key: metrics[key] for key in without} == without


def test_a_draw_of_all_labels_has_the_accuracy_of_all(plain):
    model = plain("e3")
    train, test = noisy_classes(model.latent, 80, 0), noisy_classes(model.latent, 200, 1)
    metrics = knn_metrics(model, train, test, test["x"], labels=80, budgets=(80,), draws=3)
    assert metrics["test.knn_accuracy@80"] == pytest.approx(metrics["test.knn_accuracy"])
    assert metrics["test.knn_accuracy@80_sd"] == pytest.approx(0, abs=1e-12)


def test_more_labels_are_no_worse_and_vary_less(plain):
    model = plain("e3")
    train, test = noisy_classes(model.latent, 2000, 0), noisy_classes(model.latent, 500, 1)
    metrics = knn_metrics(model, train, test, test["x"], labels=2000, budgets=(20, 1000))
    assert metrics["test.knn_accuracy@20"] < metrics["test.knn_accuracy@1000"]
    assert metrics["test.knn_accuracy@20_sd"] > metrics["test.knn_accuracy@1000_sd"] > 0


def test_draws_are_without_replacement_nested_different_and_always_the_same():
    torch.manual_seed(1)
    first = label_draws(500, (30, 10, 10), 5)
    torch.manual_seed(2)
    again = label_draws(500, (10, 30), 5)
    assert list(first) == [10, 30] and all(torch.equal(first[size], again[size]) for size in first)
    assert torch.equal(first[30][:, :10], first[10])
    assert all(len(set(row)) == 30 for row in first[30].tolist())
    assert len({tuple(row) for row in first[30].tolist()}) == 5
    assert torch.equal(label_draws(500, (30,), 2)[30], first[30][:2])  # more draws keep the first


def test_draws_take_every_record_alike():
    counts = torch.bincount(label_draws(50, (10,), 2000)[10].flatten(), minlength=50).double()
    assert ((counts - 400).abs() < 5 * (2000 * 0.2 * 0.8) ** 0.5).all()


def test_budgets_that_the_data_cannot_fill_are_null_and_one_draw_has_no_deviation(plain):
    model = plain("e3")
    train, test = noisy_classes(model.latent, 60, 0), noisy_classes(model.latent, 20, 1)
    metrics = knn_metrics(model, train, test, test["x"], budgets=(10, 100), draws=1)
    assert metrics["test.knn_accuracy@100"] is None and metrics["test.knn_accuracy@100_sd"] is None
    assert 0 < metrics["test.knn_accuracy@10"] <= 1 and metrics["test.knn_accuracy@10_sd"] is None
    assert spread("knn", (5,), {}) == {"test.knn_accuracy@5": None, "test.knn_accuracy@5_sd": None}


def test_attributes_have_no_label_budgets(plain):
    model = plain("e3")
    train, test = noisy_classes(model.latent, 60, 0), noisy_classes(model.latent, 20, 1)
    for split in (train, test):
        split["attributes"] = (split.pop("labels").unsqueeze(-1) == torch.arange(3)).to(torch.uint8)
    assert knn_metrics(model, train, test, test["x"], budgets=(10,)) == knn_metrics(model, train, test, test["x"])
