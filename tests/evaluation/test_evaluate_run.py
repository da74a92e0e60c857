"""Laws of a run's evaluation: what its files hold, equal bits, no NaN, and what becomes of runs that diverged."""

import json
import shutil

import numpy as np
import pytest
import torch

from mcvae import data
from mcvae.data.qm9 import TARGETS
from mcvae.datasets import DATASETS
from mcvae.errors import UserError
from mcvae.evaluation import evaluate, score
from mcvae.evaluation.likelihood import bound, bound_metrics
from mcvae.evaluation.quadrature import QUADRATURE_KEYS
from mcvae.options import Evaluation
from mcvae.training import load_run
from mcvae.training.seeding import settings

OPTIONS = Evaluation(importance_samples=20, knn_labels=50, samples=64)
CASES = [
    ("mnist", "e2", "vae"),
    ("mnist", "s2", "vae"),
    ("mnist", "h2,2s2,e3", "vae"),
    ("mnist", "e2", "autoencoder"),
    ("celeba", "e4", "vae"),
    ("qm9", "h2,e2", "vae"),
    ("qm9", "e4", "autoencoder"),
]


def copy(folder, target):
    return shutil.copytree(folder, target / "run")


def diverge(folder):
    path = folder / "training.json"
    cause = "epoch 1: train.kl was nan; the run diverged"
    value = {"status": "diverged", "cause": cause, "epochs": 0, "best_epoch": None, "parameters": 9}
    path.write_text(json.dumps(value))


@pytest.mark.parametrize(("dataset", "latent", "kind"), CASES)
def test_metrics_and_latents_are_complete(dataset, latent, kind, trained, tmp_path):
    prepared, folder = trained(dataset, latent, kind)
    folder = copy(folder, tmp_path)
    metrics = evaluate(folder, prepared, OPTIONS)
    assert json.loads((folder / "metrics.json").read_text(), parse_constant=pytest.fail) == metrics
    training = json.loads((folder / "training.json").read_text())
    assert {name: metrics[name] for name in training} == training
    assert metrics["test.n"] == 40 and metrics["status"] == "finished"
    with np.load(folder / "latents.npz", allow_pickle=False) as arrays:
        shapes = {name: arrays[name].shape for name in arrays.files}
        assert all(np.isfinite(arrays[name]).all() for name in ("loc", "tangent"))
        label = {"mnist": "labels", "celeba": "attributes", "qm9": "properties"}[dataset]
        assert len(arrays[label]) == 40
        kinds = {arrays[name].dtype.kind for name in ("inputs", "reconstructions")}
    assert kinds == ({"U"} if dataset == "qm9" else {"f"})
    assert shapes["loc"][0] == shapes["tangent"][0] == 40
    assert shapes["inputs"] == shapes["reconstructions"] and shapes["inputs"][0] == 16
    assert ("samples" in shapes) == (kind == "vae")
    assert ("grid" in shapes) == (latent in ("e2", "s2"))


@pytest.mark.parametrize(("dataset", "latent", "kind"), CASES)
def test_a_diverged_run_has_the_keys_of_a_finished_one_and_no_numbers(dataset, latent, kind, trained, tmp_path):
    prepared, folder = trained(dataset, latent, kind)
    folder = copy(folder, tmp_path)
    finished = evaluate(folder, prepared, OPTIONS)
    diverge(folder)
    (folder / "model.safetensors").unlink()
    diverged = evaluate(folder, prepared, OPTIONS)
    assert set(diverged) == set(finished)
    assert diverged["status"] == "diverged" and "kl" in diverged["cause"]
    stated = {"status", "cause", "epochs", "best_epoch", "parameters", "test.n"}
    assert {diverged[name] for name in diverged.keys() - stated} == {None}
    with np.load(folder / "latents.npz", allow_pickle=False) as arrays:
        assert all(len(arrays[name]) == 0 for name in arrays.files) and {"loc", "tangent"} <= set(arrays.files)


def test_an_autoencoder_has_a_reconstruction_and_no_likelihood(trained, tmp_path):
    prepared, folder = trained("mnist", "e2", "autoencoder")
    metrics = evaluate(copy(folder, tmp_path), prepared, OPTIONS)
    assert metrics["test.reconstruction"] < 0 and 0 <= metrics["test.knn_accuracy"] <= 1
    for name in ("elbo", "kl", "ll", "ll_se", "importance_samples"):
        assert metrics[f"test.{name}"] is None


def test_the_bound_lies_below_the_log_likelihood_and_components_add_up(trained, tmp_path):
    prepared, folder = trained("mnist", "h2,2s2,e3")
    metrics = evaluate(copy(folder, tmp_path), prepared, Evaluation(importance_samples=200))
    assert metrics["test.elbo"] < metrics["test.ll"]
    assert metrics["test.elbo"] == pytest.approx(metrics["test.reconstruction"] - metrics["test.kl"], abs=1e-4)
    assert metrics["test.kl"] == pytest.approx(sum(metrics[f"test.kl.{i}"] for i in range(4)), abs=1e-4)
    assert [metrics[f"curvature.{i}"] for i in range(4)] == pytest.approx([-1, 1, 1, 0])


def test_equal_evaluations_have_equal_bytes_and_leave_torch_alone(trained, tmp_path):
    prepared, folder = trained("mnist", "s2")
    folder = copy(folder, tmp_path)
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        state, threads = torch.random.get_rng_state(), torch.get_num_threads()
        evaluate(folder, prepared, OPTIONS, threads=1)
        assert torch.equal(torch.random.get_rng_state(), state) and torch.get_num_threads() == threads
        assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
        results.append([(folder / name).read_bytes() for name in ("metrics.json", "latents.npz")])
    assert results[0] == results[1]


def test_options_limit_the_records_of_the_likelihood_alone(trained, tmp_path):
    prepared, folder = trained("mnist", "e2")
    folder = copy(folder, tmp_path)
    whole = evaluate(folder, prepared, OPTIONS)
    part = evaluate(folder, prepared, OPTIONS.model_copy(update={"images": 10}))
    assert part["test.ll_n"] == 10 and whole["test.ll_n"] == 40
    changed = {name for name in whole if whole[name] != part[name]}
    own = {f"test.{name}" for name in ("ll", "ll_se", "ll_mc_se", "ll_ess", "ll_n")} | set(QUADRATURE_KEYS)
    assert changed <= own and part["test.ll_quadrature_n"] == 10
    assert whole["test.ll_quadrature_mass"] == pytest.approx(1, abs=1e-5)


def test_property_errors_are_in_the_targets_units(trained, tmp_path):
    prepared, folder = trained("qm9", "h2,e2")
    metrics = evaluate(copy(folder, tmp_path), prepared, OPTIONS)
    properties = np.load(prepared / "properties.npy")
    baseline = np.abs(properties[80:] - properties[:60].mean(0)).mean(0)
    np.testing.assert_allclose([metrics[f"test.mae_baseline.{t.name}"] for t in TARGETS], baseline, rtol=1e-5)
    assert all(0 < metrics[f"test.mae.{t.name}"] < 10 for t in TARGETS)
    assert 0 <= metrics["test.exact_reconstruction"] <= 1 and 0 < metrics["test.token_accuracy"] <= 1
    assert metrics["samples.n"] == 64


def test_constant_attributes_are_left_out_and_counted(trained, tmp_path):
    prepared, folder = trained("celeba", "e4")
    metrics = evaluate(copy(folder, tmp_path), prepared, OPTIONS)
    assert metrics["test.knn_attributes"] == 39
    assert 0 < metrics["test.knn_balanced_accuracy"] < 1 and 0.4 < metrics["test.knn_majority"] < 0.7


def test_data_of_another_name_and_untrained_runs_are_refused_in_a_sentence(trained, prepared, tmp_path):
    _, folder = trained("mnist", "e2")
    with pytest.raises(UserError, match="holds celeba"):
        evaluate(folder, prepared["celeba"], OPTIONS)
    folder = copy(folder, tmp_path)
    other = shutil.copytree(prepared["mnist"], tmp_path / "other")
    stats = json.loads((other / "stats.json").read_text())
    stats["tensors"]["images"]["sha256"] = "0" * 64
    (other / "stats.json").write_text(json.dumps(stats))
    with pytest.raises(UserError, match="not the data that the run"):
        evaluate(folder, other, OPTIONS)
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors"):
        evaluate(folder, prepared["mnist"], OPTIONS)
    assert not (folder / "metrics.json").exists()


def test_a_run_is_scored_under_any_protocol_of_its_data(trained, tmp_path):
    prepared, folder = trained("mnist", "h2,2s2,e3", "vae")
    folder = copy(folder, tmp_path)
    own = evaluate(folder, prepared, OPTIONS)
    before = (folder / "metrics.json").read_bytes()
    other = {name: score(folder, prepared, name, OPTIONS) for name in DATASETS["mnist"].protocols}
    assert (folder / "metrics.json").read_bytes() == before
    for name, metrics in other.items():
        assert json.loads((folder / f"metrics-{name}.json").read_text()) == metrics
        assert metrics["protocol"] == name and metrics["status"] == "finished"
        assert all(metrics[key] == own[key] for key in metrics.keys() - {"protocol"}) == (name == "dynamic")
    # Validation and test of the mixed protocol are cut.
    assert other["mixed"] == other["threshold"] | {"protocol": "mixed"}
    # Pixels that are black or white are drawn as they are.
    dataset = data.load(prepared)
    test = dataset.split("test")
    test["images"] = (test["images"] > 127).to(torch.uint8) * 255
    model, _ = load_run(folder, dataset.stats, "cpu")
    with settings(1):
        expected = bound_metrics(bound(model, test))
    assert {key: other["threshold"][key] for key in expected} == expected


def test_a_diverged_run_is_scored_with_the_keys_of_a_finished_one(trained, tmp_path):
    prepared, folder = trained("mnist", "e2", "vae")
    folder = copy(folder, tmp_path)
    options = OPTIONS.model_copy(update={"label_budgets": (10,)})
    finished = score(folder, prepared, "grey", options)
    diverge(folder)
    diverged = score(folder, prepared, "grey", options)
    assert set(diverged) == set(finished)
    assert {diverged[name] for name in diverged.keys() - {"status", "protocol"}} == {None}


def test_an_unknown_protocol_is_one_sentence(trained, tmp_path):
    prepared, folder = trained("mnist", "e2", "vae")
    with pytest.raises(UserError, match="'standard': not defined for mnist; choose dynamic"):
        score(copy(folder, tmp_path), prepared, "standard", OPTIONS)


@pytest.mark.parametrize("kind", ["vae", "autoencoder"])
def test_what_is_asked_for_is_measured_and_a_diverged_run_has_its_keys(trained, tmp_path, kind):
    prepared, folder = trained("mnist", "e2", kind)
    folder = copy(folder, tmp_path)
    asked = {"label_budgets": (10, 30), "label_draws": 3, "likelihood_curve": (1, 5), "diagnostics": 30}
    options = OPTIONS.model_copy(update=asked)
    finished = evaluate(folder, prepared, options)
    assert finished["test.knn_draws"] == 3 and 0 < finished["test.probe_accuracy@30"] <= 1
    known = kind == "vae"
    for key in ("test.ll@5", "test.active_units", "test.mutual_information", "test.aggregate_kl"):
        assert (finished[key] is not None) == known
    assert ("test.reconstruction_without.0" in finished) == known
    diverge(folder)
    assert set(evaluate(folder, prepared, options)) == set(finished)
