"""Faces: probes find what is there, pairs are of one person or of two, and a run's evaluation says all of it."""

import json
import shutil

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from mcvae import data
from mcvae.errors import UserError
from mcvae.evaluation import evaluate
from mcvae.evaluation.attributes import (
    attribute_metrics,
    chosen_attributes,
    class_directions,
    probes,
    resampled_auroc,
)
from mcvae.evaluation.bits import BITS_KEYS
from mcvae.evaluation.blocks import locations
from mcvae.evaluation.classification import draw
from mcvae.evaluation.faces import FACE_KEYS, picture_metrics, sample_metrics
from mcvae.evaluation.frechet import frechet_distance_of
from mcvae.evaluation.verification import pairs, verification_metrics, verified_error
from mcvae.latent import build
from mcvae.options import Evaluation
from mcvae.training import load_run
from mcvae.training.attributes import load_attribute_classifier, train_attribute_classifier

OPTIONS = Evaluation(importance_samples=5, knn_labels=50, samples=64)


@pytest.fixture
def noise():
    return torch.Generator().manual_seed(1)


@pytest.fixture(scope="module")
def classifier(prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier")
    train_attribute_classifier(prepared["celeba"], folder, epochs=6)
    return folder


def test_probes_are_the_logistic_regressions_of_sklearn(noise):
    x, y = torch.randn(120, 4, generator=noise), torch.randn(80, 4, generator=noise)
    answers = (x[:, :2] + 0.8 * torch.randn(120, 2, generator=noise) > 0.5).byte()
    truth = (y[:, :2] + 0.8 * torch.randn(80, 2, generator=noise) > 0.5).byte()
    found = probes(x, answers, y, truth)
    mean, scale = x.mean(0).numpy(), x.std(0).numpy()
    for index in range(2):
        fitted = LogisticRegression().fit((x.numpy() - mean) / scale, answers[:, index].numpy())
        scores = fitted.decision_function((y.numpy() - mean) / scale)
        rate = answers[:, index].double().mean().item()
        assert found.auroc[index].item() == pytest.approx(roc_auc_score(truth[:, index], scores), abs=1e-3)
        expected = balanced_accuracy_score(truth[:, index], scores > np.log(rate / (1 - rate)))
        assert found.balanced_accuracy[index].item() == pytest.approx(expected, abs=0.03)
        assert found.accuracy[index].item() == pytest.approx(np.mean((scores > 0) == truth[:, index].numpy()), abs=0.03)


def test_attributes_that_do_not_vary_are_left_out(noise):
    x = torch.randn(60, 3, generator=noise)
    answers = torch.stack([x[:, 0] > 0, torch.ones(60, dtype=torch.bool)], -1).byte()
    found = probes(x, answers, x, answers)
    assert found.auroc[0] == 1 and found.auroc[1].isnan()
    metrics = attribute_metrics(found, None, answers, answers)
    assert metrics["test.attribute_n"] == 1 and metrics["test.attribute_auroc"] == 1
    assert metrics["test.attribute_auroc_pca"] is None
    majority = max(float((x[:, 0] > 0).double().mean()), float((x[:, 0] <= 0).double().mean()))
    assert metrics["test.attribute_majority"] == pytest.approx(majority)


def test_what_a_latent_does_not_know_scores_one_half(noise):
    x, y = torch.randn(2000, 3, generator=noise), torch.randn(2000, 3, generator=noise)
    answers, truth = (torch.randint(0, 2, (2000, 1), generator=noise) for _ in range(2))
    found = probes(x, answers, y, truth)
    assert found.auroc.item() == pytest.approx(0.5, abs=0.05)
    assert found.balanced_accuracy.item() == pytest.approx(0.5, abs=0.05)


def test_class_directions_point_from_those_without_to_those_with(noise):
    attributes = torch.randint(0, 2, (500, 3), generator=noise)
    true = torch.tensor([[2.0, 0, 0], [0, -1.0, 0], [0, 0, 0.5]])
    tangent = attributes.float() @ true + 0.01 * torch.randn(500, 3, generator=noise)
    torch.testing.assert_close(class_directions(tangent, attributes), true, atol=0.2, rtol=0)


def test_shown_attributes_are_known_ones_and_vary():
    attributes = torch.tensor([[0, 1, 1, 0], [0, 0, 1, 1], [0, 1, 0, 0], [0, 0, 1, 0]])
    names = ["Smiling", "Bald", "Male", "Blurry"]
    assert chosen_attributes(names, attributes, 3) == [2, 1, 3]  # Smiling never varies here


def test_pairs_are_all_that_there_are_each_once(noise):
    identities = torch.randint(0, 12, (60,), generator=noise)
    members, truth = pairs(identities)
    same = identities[members[:, 0]] == identities[members[:, 1]]
    assert torch.equal(same, truth.bool())
    every = [(i, j) for i in range(60) for j in range(i + 1, 60)]
    assert sorted(tuple(sorted(pair)) for pair in members.tolist()) == every


def test_many_pairs_are_drawn_at_random_each_once_and_always_the_same(noise):
    identities = torch.randint(0, 12, (60,), generator=noise)
    members, truth = pairs(identities, 70)
    assert truth.tolist() == [1] * 70 + [0] * 70
    assert torch.equal((identities[members[:, 0]] == identities[members[:, 1]]).long(), truth)
    assert len({tuple(sorted(pair)) for pair in members.tolist()}) == 140
    assert torch.equal(pairs(identities, 70).members, members)
    drawn = members[70:].flatten().bincount(minlength=60)
    assert drawn.max() < 12 and (drawn > 0).sum() > 45  # 2.3 each


def test_the_sex_of_two_persons_is_no_identity(noise):
    """A latent that knows sex alone does as well as that attribute, and no better than chance within a sex."""
    identities = torch.arange(60).repeat_interleave(3)
    male = (torch.arange(60) % 2).repeat_interleave(3)
    space = build("e2")
    loc = 5.0 * male.unsqueeze(-1) + 0.1 * torch.randn(180, 2, generator=noise)
    found = verification_metrics(space, loc, identities, None, male)
    chosen = pairs(identities)
    agree = male[chosen.members[:, 0]] == male[chosen.members[:, 1]]
    expected = roc_auc_score(chosen.truth, agree)
    assert found["test.verification_auroc_male"] == pytest.approx(expected)
    assert found["test.verification_auroc"] == pytest.approx(expected, abs=0.06)
    assert found["test.verification_auroc_matched"] == pytest.approx(0.5, abs=0.08)
    distance = (loc[chosen.members[:, 0]] - loc[chosen.members[:, 1]]).norm(dim=-1)
    kept = agree | (chosen.truth > 0)
    within = roc_auc_score(chosen.truth[kept], -distance[kept])
    assert found["test.verification_auroc_matched"] == pytest.approx(within)
    assert found["test.verification_matched"] == (~chosen.truth.bool() & agree).sum()
    assert found["test.verification_genuine"] == 180 and found["test.verification_impostors"] == 180 * 177 // 2


def test_without_impostors_of_equal_sex_nothing_is_matched():
    people = torch.tensor([0, 0, 1, 1])
    found = verification_metrics(build("e2"), torch.randn(4, 2), people, None, people)
    assert found["test.verification_matched"] == 0 and found["test.verification_auroc_matched"] is None
    assert found["test.verification_auroc_male"] == 1


def test_the_error_of_verification_is_the_spread_over_other_persons(noise):
    """Of 40 samples of 30 persons, each a new draw: their areas vary as the bootstrap of five of them says."""
    areas, errors = [], []
    for _ in range(40):
        identities = torch.arange(30).repeat_interleave(3)
        points = 0.7 * torch.randn(30, 2, generator=noise)[identities] + torch.randn(90, 2, generator=noise)
        chosen = pairs(identities)
        distance = (points[chosen.members[:, 0]] - points[chosen.members[:, 1]]).norm(dim=-1).double()
        areas.append(roc_auc_score(chosen.truth, -distance))
        if len(errors) < 5:
            errors.append(verified_error(distance, chosen, identities))
    assert np.mean(errors) == pytest.approx(np.std(areas, ddof=1), rel=0.35)


def test_the_bootstrap_of_attributes_knows_the_spread_over_test_records(noise):
    """The standard error of Hanley & McNeil (1982) for exponential scores."""
    truth = (torch.arange(400) % 2).unsqueeze(-1)
    scores = torch.empty(400, 1, dtype=torch.float64).exponential_(generator=noise) * (1 + 2.0 * truth)
    found = resampled_auroc(scores, truth)
    area = roc_auc_score(truth[:, 0], scores[:, 0])
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    expected = (area * (1 - area) + 199 * (first - area**2) + 199 * (second - area**2)) / 200**2
    assert found.mean().item() == pytest.approx(area, abs=0.01)
    assert found.std().item() == pytest.approx(expected**0.5, rel=0.15)
    assert torch.equal(found, resampled_auroc(scores, truth))
    twice = resampled_auroc(torch.cat([scores, scores], -1), torch.cat([truth, truth], -1))
    torch.testing.assert_close(twice, found)


def test_the_error_of_a_gain_is_that_of_pairs(noise):
    x, y = torch.randn(300, 4, generator=noise), torch.randn(200, 4, generator=noise)
    answers = (x[:, :2] + torch.randn(300, 2, generator=noise) > 0).byte()
    truth = (y[:, :2] + torch.randn(200, 2, generator=noise) > 0).byte()
    whole, part = probes(x, answers, y, truth), probes(x[:, :1], answers, y[:, :1], truth)
    itself = attribute_metrics(whole, whole, answers, truth)
    assert itself["test.attribute_auroc_gain_se"] == 0 < itself["test.attribute_auroc_se"]
    other = attribute_metrics(whole, part, answers, truth)
    pairs_of = resampled_auroc(whole.scores, truth) - resampled_auroc(part.scores, truth)
    assert other["test.attribute_auroc_gain_se"] == pytest.approx(pairs_of.std().item())


@pytest.mark.parametrize("identities", [torch.arange(5), torch.zeros(5, dtype=torch.int64), torch.zeros(0).long()])
def test_without_pairs_of_both_kinds_nothing_is_verified(identities):
    latent = build("h2")
    loc = latent.expmap0(torch.randn(len(identities), 2))
    metrics = verification_metrics(latent, loc, identities, None, torch.zeros(len(identities)))
    assert metrics["test.verification_auroc"] is None and metrics["test.verification_genuine"] == 0


@pytest.mark.parametrize("latent", ["e3", "s3:vmf", "h3", "s2,h2"])
def test_persons_are_told_apart_by_geodesic_distance(latent, noise):
    space = build(latent)
    centres = torch.randn(8, space.dim, generator=noise)
    identities = torch.arange(8).repeat_interleave(5)
    near = space.expmap0(centres[identities] + 0.01 * torch.randn(40, space.dim, generator=noise))
    found = verification_metrics(space, near, identities, torch.randn(40, 2, generator=noise), None)
    assert found["test.verification_auroc"] > 0.99 and found["test.verification_eer"] < 0.05
    assert 0.3 < found["test.verification_auroc_pca"] < 0.7  # which were given no sense
    assert found["test.verification_auroc_matched"] is None


def test_the_classifier_learns_the_attribute_that_can_be_seen(prepared, classifier):
    dataset = data.load(prepared["celeba"])
    network = load_attribute_classifier(classifier, dataset)
    facts = json.loads((classifier / "classifier.json").read_text())
    assert facts["validation.loss"] < facts["validation.rates_loss"] + 0.2 and facts["epochs"] == 6
    test = dataset.split("test")
    with torch.inference_mode():
        logits = network(test["images"].float() / 255)
    assert network.features(test["images"].float() / 255).shape == (40, 64)
    assert roc_auc_score(test["attributes"][:, 0], logits[:, 0]) > 0.9


def test_training_the_classifier_twice_gives_equal_files(prepared, classifier, tmp_path):
    torch.manual_seed(99)
    train_attribute_classifier(prepared["celeba"], tmp_path, epochs=6)
    for name in ("model.safetensors", "classifier.json"):
        assert (tmp_path / name).read_bytes() == (classifier / name).read_bytes()


def test_a_classifier_of_other_data_or_without_weights_is_refused(prepared, classifier, tmp_path):
    dataset = data.load(prepared["celeba"])
    shutil.copytree(classifier, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.safetensors").write_bytes(b"<html>")
    with pytest.raises(UserError, match="no weights of the attribute classifier"):
        load_attribute_classifier(tmp_path, dataset)
    facts = json.loads((tmp_path / "classifier.json").read_text())
    (tmp_path / "classifier.json").write_text(json.dumps(facts | {"data": "00000000"}))
    with pytest.raises(UserError, match="other data"):
        load_attribute_classifier(tmp_path, dataset)
    with pytest.raises(UserError, match="no attributes"):
        train_attribute_classifier(prepared["mnist"], tmp_path)


def test_a_run_says_all_of_it(trained, classifier, tmp_path):
    prepared, folder = trained("celeba", "e4")
    folder = shutil.copytree(folder, tmp_path / "run")
    metrics = evaluate(folder, prepared, OPTIONS, classifier=classifier)
    assert set(FACE_KEYS) <= set(metrics)
    alone = "samples.attribute_frechet_data_sd"  # of a single draw of validation records
    assert {name for name in FACE_KEYS if metrics[name] is None} == {"test.ssim", alone}  # of pictures of 8 pixels
    assert set(BITS_KEYS) <= set(metrics) and metrics["test.bits_per_dim_gain"] > 0
    assert metrics["test.bits_per_dim"] < metrics["test.bits_per_dim_elbo"]
    assert 0 < metrics["test.mse"] < metrics["test.mse_draw"]
    assert metrics["samples.attribute_frechet_data"] < metrics["samples.attribute_frechet"]
    assert metrics["test.attribute_frechet_reconstructions"] > 0
    facts = json.loads((classifier / "classifier.json").read_text())
    assert metrics["samples.attribute_classifier_auroc"] == facts["validation.auroc"]
    with np.load(folder / "latents.npz", allow_pickle=False) as arrays:
        shapes = {name: arrays[name].shape for name in arrays.files}
        assert np.isfinite(arrays["attribute_directions"]).all()
    assert shapes["attribute_directions"] == (6, 9, 3, 8, 8) and shapes["direction_attributes"] == (6,)
    assert shapes["attribute_auroc"] == (40,)


def test_without_a_classifier_its_numbers_are_null(trained, tmp_path, caplog):
    prepared, folder = trained("celeba", "e4")
    dataset = data.load(prepared)
    model, _ = load_run(folder, dataset.stats)
    test = dataset.split("test")
    found = sample_metrics(model.eval(), None, dataset.split("validation"), test, locations(model, test), 64)
    assert set(found.values()) == {None} and "no attribute classifier" in caplog.text


def test_the_reference_is_the_mean_over_disjoint_parts_of_the_validation_split(trained, classifier):
    prepared, folder = trained("celeba", "e4")
    dataset = data.load(prepared)
    model = load_run(folder, dataset.stats)[0].eval()
    network = load_attribute_classifier(classifier, dataset)
    test, validation = dataset.split("test"), dataset.split("validation")
    n, loc = len(validation["images"]), locations(model, test)
    found = sample_metrics(model, network, validation, test, loc, n // 3)
    with torch.inference_mode():
        described = network.features(test["images"].float() / 255)
        real = network.features(validation["images"].float() / 255)[draw(n, n)]
        again = frechet_distance_of(network.features(model.mean(model.decode(loc))), described)
    expected = [frechet_distance_of(part, described) for part in real.split(n // 3)[:3]]
    assert found["samples.attribute_frechet_data"] == pytest.approx(np.mean(expected), rel=1e-4)
    assert found["samples.attribute_frechet_data_sd"] == pytest.approx(np.std(expected, ddof=1), rel=1e-3)
    assert found["samples.attribute_frechet_data_n"] == n // 3
    assert found["test.attribute_frechet_reconstructions"] == pytest.approx(again, rel=1e-4)


def test_the_mean_squared_error_is_that_of_decoded_locations(trained):
    prepared, folder = trained("celeba", "e4")
    dataset = data.load(prepared)
    model = load_run(folder, dataset.stats)[0].eval()
    test = dataset.split("test")
    with torch.inference_mode():
        inputs = model.prepare(test)
        decoded = model.mean(model.decode(model.posterior(inputs).loc))
    expected = (decoded - test["images"] / 255).square().mean().item()
    assert picture_metrics(model, test)["test.mse"] == pytest.approx(expected, rel=1e-5)
