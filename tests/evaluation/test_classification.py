"""Laws of the geodesic kNN classifier: neighbours by brute force, votes, chance levels, nested draws."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mcvae.evaluation.classification import balanced_accuracy, draw, knn_metrics, majority, nearest
from mcvae.manifolds import Euclidean, Hyperboloid, ProductManifold, Sphere

SPACES = {
    "e3": lambda: Euclidean(3),
    "s2": lambda: Sphere(2, 0.5),
    "h2": lambda: Hyperboloid(2, -2.0),
    "h2,2s2,e2": lambda: ProductManifold([Hyperboloid(2, -1.0), Sphere(2, 1.0, count=2), Euclidean(2)]),
}


@pytest.mark.parametrize("space", SPACES)
def test_nearest_are_those_of_the_sorted_geodesic_distances_in_any_chunk(space):
    manifold = SPACES[space]()
    torch.manual_seed(0)
    queries, references = manifold.random(23, dtype=torch.float64), manifold.random(57, dtype=torch.float64)
    found = nearest(manifold, queries, references, 4)
    for query, neighbours in zip(queries, found, strict=True):
        distances = torch.stack([manifold.dist(query, reference) for reference in references])
        assert neighbours.tolist() == distances.argsort()[:4].tolist()
    assert torch.equal(found, nearest(manifold, queries, references, 4, chunk_bytes=1))
    assert nearest(manifold, queries, references[:2], 4).shape == (23, 2)


def test_nearest_on_the_sphere_goes_along_it_and_not_through_it():
    product = ProductManifold([Euclidean(2), Sphere(2, 1.0)])
    references = product.expmap0(torch.tensor([[2.2, 0.0, 0.0, 0.0], [0.0, 0.0, 2.5, 0.0]]))
    chord = (product.origin() - references).norm(dim=-1)
    assert chord[1] < chord[0]
    assert nearest(product, product.origin()[None], references, 2).tolist() == [[0, 1]]


def test_majority_breaks_ties_by_the_nearest():
    labels = torch.tensor([[3, 1, 1, 3, 2], [7, 7, 7, 7, 0], [5, 4, 3, 2, 1], [1, 2, 2, 3, 3]])
    assert majority(labels).tolist() == [3, 7, 5, 2]


def test_majority_of_attributes_is_taken_attribute_by_attribute():
    torch.manual_seed(1)
    labels = torch.randint(0, 2, (50, 4, 6))
    together = majority(labels)
    for attribute in range(6):
        assert torch.equal(together[:, attribute], majority(labels[..., attribute]))


def test_balanced_accuracy_is_a_half_for_any_constant_answer_and_nan_for_constant_truth():
    truth = torch.tensor([[1, 0, 1], [0, 0, 1], [0, 1, 1], [0, 1, 1]])
    for answer in (0, 1):
        result = balanced_accuracy(torch.full_like(truth, answer), truth)
        assert result[:2].tolist() == [0.5, 0.5] and result[2].isnan()
    assert balanced_accuracy(truth, truth)[:2].tolist() == [1.0, 1.0]


def test_a_smaller_budget_of_labels_is_part_of_a_larger_one():
    assert torch.equal(draw(1000, 50), draw(1000, 700)[:50])
    assert sorted(draw(30, 100).tolist()) == list(range(30))
    assert not torch.equal(draw(1000, 50), torch.arange(50))


class Plain(nn.Module):
    """The code of a record is its ``x``."""

    def __init__(self, manifold):
        super().__init__()
        self.latent = manifold
        self.anchor = nn.Parameter(torch.zeros(()))

    def prepare(self, batch, train=False):
        return batch["x"]

    def posterior(self, x):
        return SimpleNamespace(loc=x)


def clusters(classes, per_class, seed):
    torch.manual_seed(seed)
    labels = torch.arange(classes).repeat(per_class)
    centres = 10 * torch.eye(classes)
    return {"x": centres[labels] + 0.1 * torch.randn(len(labels), classes), "labels": labels.to(torch.uint8)}


def test_separated_classes_are_told_apart_and_shuffled_ones_are_not():
    train, test = clusters(5, 60, 0), clusters(5, 40, 1)
    model = Plain(Euclidean(5))
    metrics = knn_metrics(model, train, test, test["x"], neighbours=5, labels=250)
    assert metrics == {"test.knn_accuracy": 1.0, "test.knn_neighbours": 5, "test.knn_labels": 250}
    shuffled = {**train, "labels": train["labels"][torch.randperm(300)]}
    assert knn_metrics(model, shuffled, test, test["x"])["test.knn_accuracy"] < 0.4


def test_attributes_leave_constant_ones_out_and_state_the_majority():
    train, test = clusters(4, 50, 0), clusters(4, 25, 1)
    for split in (train, test):
        label = split.pop("labels")
        split["attributes"] = torch.stack([label == 0, label < 2, label < 9], -1).to(torch.uint8)
    metrics = knn_metrics(Plain(Euclidean(4)), train, test, test["x"])
    assert metrics["test.knn_attributes"] == 2
    assert metrics["test.knn_balanced_accuracy"] == metrics["test.knn_accuracy"] == 1.0
    assert metrics["test.knn_majority"] == pytest.approx((0.75 + 0.5) / 2)
    constant = {**test, "attributes": torch.ones_like(test["attributes"])}
    metrics = knn_metrics(Plain(Euclidean(4)), train, constant, test["x"])
    assert metrics["test.knn_balanced_accuracy"] is None and metrics["test.knn_attributes"] == 0


def test_data_without_labels_are_not_classified():
    split = {"x": torch.zeros(3, 2)}
    assert knn_metrics(Plain(Euclidean(2)), split, split, split["x"]) == {}
