"""Evaluate one trained run: every number of metrics.json and every array of latents.npz, from its files alone."""

import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from .. import data
from ..config import RunConfig
from ..datasets import DATASETS
from ..errors import UserError
from ..files import atomic, read_json, write_json
from ..gallery import curved_surfaces
from ..models import Model
from ..models.factory import PIXELS
from ..options import Evaluation
from ..training import checkpoint, data_digest, load_run, read_config
from ..training.attributes import load_attribute_classifier
from ..training.devices import usable_device
from ..training.seeding import settings
from .bits import BITS_KEYS, bits_metrics
from .blocks import count, first, locations
from .classification import budget_keys, knn_metrics
from .diagnostics import ablation, active_units, aggregate_posterior, diagnostic_keys, diagnostic_metrics
from .generation import images
from .likelihood import (
    LL_KEYS,
    bound,
    bound_metrics,
    curve_keys,
    curve_metrics,
    likelihood_curve,
    likelihood_metrics,
    log_likelihood,
)
from .probe import probe_metrics
from .quadrature import QUADRATURE_KEYS, has_quadrature, quadrature, quadrature_metrics
from .surfaces import small_pictures, surfaces

logger = logging.getLogger("mcvae.evaluation")

Metrics = dict[str, str | float | int | None]
Arrays = dict[str, np.ndarray]
KNN_CLASSES = ("knn_accuracy", "knn_neighbours", "knn_labels")
KNN = {
    "celeba": (
        "knn_balanced_accuracy",
        "knn_accuracy",
        "knn_majority",
        "knn_attributes",
        "knn_neighbours",
        "knn_labels",
    ),
    "qm9": (),
}
LABELS = ("labels", "attributes", "properties")  # what a point of latents.npz is known by, whichever the data have


def evaluate(
    folder: str | os.PathLike,
    prepared: str | os.PathLike,
    options: Evaluation,
    *,
    classifier: str | os.PathLike | None = None,
    baseline: str | os.PathLike | None = None,
    weights: Mapping[str, str | os.PathLike] | None = None,
    features: str | os.PathLike | None = None,
    threads: int = 1,
    device: str = "cpu",
) -> Metrics:
    """Evaluate the run in ``folder`` on the test split of the ``prepared`` data; write metrics.json and latents.npz.

    Equal runs give equal bits on the CPU: all noise is fixed, and torch's global state is the caller's again
    afterwards. Numbers that do not exist (an autoencoder's likelihood, any number of a diverged run) are None. A
    diverged run has the keys of a finished one, and arrays without records. ``classifier`` is the folder of the data's
    attribute classifier (celeba); without one, what is measured in its features is None. ``baseline`` is the file of
    the data's fingerprint baseline (qm9); without one, it is computed here, to the same numbers. ``weights``: the
    folders of the ``options.networks``; ``features`` is the file of the data's Inception features (celeba), computed
    here without one.

    Returns:
        the content of metrics.json: status, cause, epochs, best_epoch, parameters, the best epoch's ``validation.…``,
        ``test.…`` and ``samples.…`` (nats a record unless their functions say otherwise), ``curvature.{component}``.

    Raises:
        UserError: a file of the run is missing or broken, or the data are not the run's, or the device is not there,
            or a network's weights are not.
    """
    folder = Path(folder)
    usable_device(device)
    config, dataset = opened(folder, prepared)
    lacking = [name for name in options.networks if name not in (weights or {})]
    if lacking:
        raise UserError(f"{folder}: this evaluation needs the weights of {' and '.join(lacking)}; give their folders")
    training = read_json(folder / "training.json")
    with settings(threads), torch.inference_mode():
        if training["status"] == "finished":
            model = trained_model(folder, dataset, device)
            metrics, arrays = measure(model, config, dataset, options, device, classifier, baseline)
            metrics |= networked(model, dataset, options, device, weights or {}, features)
        else:
            metrics, arrays = nothing(config, dataset, options)
            metrics = {name: value for name, value in metrics.items() if name not in training}
    metrics = {name: _number(name, value) for name, value in (training | metrics).items()}
    with atomic(folder / "latents.npz") as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)
    write_json(folder / "metrics.json", metrics)
    checkpoint.remove(checkpoint.path_of(folder))  # the run is done: nothing is left to resume
    return metrics


def score(
    folder: str | os.PathLike,
    prepared: str | os.PathLike,
    protocol: str,
    options: Evaluation,
    *,
    threads: int = 1,
    device: str = "cpu",
) -> Metrics:
    """Score the run in ``folder`` with pixels treated by another ``protocol``; write metrics-{protocol}.json.

    The weights are those of the run; what the encoder reads and the likelihood scores is the other protocol's. Bound,
    log-likelihood and classification under the keys of metrics.json; ``status`` and ``protocol`` beside them.

    Raises:
        UserError: as :func:`evaluate`, or a protocol that the data set does not have.
    """
    folder = Path(folder)
    usable_device(device)
    config, dataset = opened(folder, prepared)
    allowed = DATASETS[config.dataset].protocols
    if protocol not in allowed:
        raise UserError(f"protocol {protocol!r}: not defined for {config.dataset}; choose {', '.join(allowed)}")
    stated: Metrics = {"status": read_json(folder / "training.json")["status"], "protocol": protocol}
    with settings(threads), torch.inference_mode():
        if stated["status"] == "finished":
            model = trained_model(folder, dataset, device)
            model.protocol = PIXELS[protocol]().to(device) if config.protocol != protocol else model.protocol
            test = dataset.split("test")
            metrics = likelihoods(config, model, test, options)
            metrics |= classified(model, dataset.split("train"), test, locations(model, test), options)
        else:
            metrics = dict.fromkeys(_score_keys(config, options))
    metrics = {name: _number(name, value) for name, value in (stated | metrics).items()}
    write_json(folder / f"metrics-{protocol}.json", metrics)
    return metrics


def opened(folder: Path, prepared: str | os.PathLike) -> tuple[RunConfig, data.Dataset]:
    """The configuration of a run and the data that it was trained on; a :class:`UserError` for any other data."""
    config, dataset = read_config(folder), data.load(prepared)
    if dataset.name != config.dataset:
        raise UserError(f"{dataset.folder}: holds {dataset.name}, but the run in {folder} is of {config.dataset}")
    if read_json(folder / "provenance.json")["data_digest"] != data_digest(dataset):
        raise UserError(f"{dataset.folder}: are not the data that the run in {folder} was trained on")
    return config, dataset


def trained_model(folder: Path, dataset: data.Dataset, device: str) -> Model:
    """The run's model with its best weights, for evaluation."""
    model, _ = load_run(folder, dataset.stats, device)
    return model.eval()


def likelihoods(config: RunConfig, model: Model, test: Mapping[str, torch.Tensor], options: Evaluation) -> Metrics:
    """Bound and log-likelihood of the test split, also in bits where data have levels."""
    logger.info("bound of %d test records", count(test))
    limits = bound(model, test)
    logger.info("log-likelihood with %d samples", options.importance_samples)
    few = first(test, options.images)
    estimate = log_likelihood(model, few, samples=options.importance_samples)
    metrics = bound_metrics(limits) | likelihood_metrics(estimate, options.importance_samples)
    if has_quadrature(config):
        logger.info("log-likelihood by quadrature")
        metrics |= quadrature_metrics(quadrature(model, few))
    return metrics | (bits_metrics(model, test, limits, estimate) if config.dataset == "celeba" else {})


def classified(
    model: Model,
    train: Mapping[str, torch.Tensor],
    test: Mapping[str, torch.Tensor],
    loc: torch.Tensor,
    options: Evaluation,
) -> Metrics:
    """What the latent space knows of labels or attributes; nothing for data without them."""
    budgets, draws, labels = options.label_budgets, options.label_draws, options.knn_labels
    neighbours = options.knn_neighbours
    metrics = knn_metrics(model, train, test, loc, neighbours=neighbours, labels=labels, budgets=budgets, draws=draws)
    return metrics | probe_metrics(model, train, test, loc, budgets=budgets, draws=draws, labels=labels)


def diagnosed(model: Model, test: Mapping[str, torch.Tensor], options: Evaluation) -> Metrics:
    """The curve of the likelihood over importance samples, and the diagnostics, as far as they are asked for."""
    metrics: Metrics = {}
    if options.likelihood_curve:
        logger.info("log-likelihood over numbers of samples up to %d", max(options.likelihood_curve))
        few = first(test, options.likelihood_curve_images)
        curve = likelihood_curve(model, few, samples=options.likelihood_curve)
        metrics |= curve_metrics(curve, options.likelihood_curve)
    if options.diagnostics is not None:
        logger.info("information and components of %d test records", min(options.diagnostics, count(test)))
        few = first(test, options.diagnostics)
        active = active_units(model, test)
        metrics |= diagnostic_metrics(model.latent, active, aggregate_posterior(model, few), ablation(model, few))
    return metrics


def measure(
    model: Model,
    config: RunConfig,
    dataset: data.Dataset,
    options: Evaluation,
    device: str,
    classifier: str | os.PathLike | None = None,
    baseline: str | os.PathLike | None = None,
) -> tuple[Metrics, Arrays]:
    """All metrics and arrays of a finished run, but for those by networks of others."""
    train, test = dataset.split("train"), dataset.split("test")
    metrics: Metrics = {"test.n": count(test)} | likelihoods(config, model, test, options)
    loc = locations(model, test)
    arrays = described(test, loc=loc.cpu().numpy(), tangent=model.latent.logmap0(loc).cpu().numpy())
    logger.info("what the latent space knows and makes")
    metrics |= classified(model, train, test, loc, options) | diagnosed(model, test, options)
    arrays |= surfaces(model, test)
    if curved_surfaces(config.signature):
        arrays |= small_pictures(test)
    if "images" in test:
        arrays |= images(model, test)
    if config.dataset == "celeba":
        from .faces import face_metrics

        network = None if classifier is None else load_attribute_classifier(classifier, dataset, device)
        known = {"labels": options.knn_labels, "samples": options.samples}
        more, pictures = face_metrics(
            model, train, dataset.split("validation"), test, loc, dataset.stats["attributes"], network, **known
        )
        metrics |= more
        arrays |= pictures
    if config.dataset == "qm9":
        from .fingerprints import read_baseline
        from .molecules import molecule_metrics

        others = None if baseline is None else read_baseline(baseline, dataset)
        known = {"labels": options.knn_labels, "samples": options.samples}
        more, texts = molecule_metrics(model, dataset, loc, baseline=others, **known)
        metrics |= more
        arrays |= texts
    return metrics | {f"curvature.{i}": float(k) for i, k in enumerate(model.latent.curvatures())}, arrays


def networked(
    model: Model,
    dataset: data.Dataset,
    options: Evaluation,
    device: str,
    weights: Mapping[str, str | os.PathLike],
    features: str | os.PathLike | None,
) -> Metrics:
    """What is measured by networks of others, as far as it is asked for."""
    metrics: Metrics = {}
    if options.lpips:
        from .perceptual import load_lpips, perceptual_metrics

        metrics |= perceptual_metrics(model, load_lpips(weights["lpips"], device), dataset.split("test"))
    if options.fid:
        from .inception import inception_metrics, load_inception, read_reference, reference

        inception = load_inception(weights["inception"], device)
        if features is None:
            shared = reference(dataset, inception, options.samples)
        else:
            shared = read_reference(features, dataset, weights["inception"], options.samples)
        metrics |= inception_metrics(model, inception, shared, options.samples)
    return metrics


def nothing(config: RunConfig, dataset: data.Dataset, options: Evaluation) -> tuple[Metrics, Arrays]:
    """The keys and arrays of a diverged run: no numbers but those of its training, no records."""
    test = dataset.split("test")
    empty = first(test, 0)
    arrays = described(
        empty,
        loc=np.zeros((0, config.signature.ambient_dim), np.float32),
        tangent=np.zeros((0, config.signature.dim), np.float32),
    )
    return {"test.n": count(test)} | dict.fromkeys(_keys(config, dataset, options)), arrays


def described(test: Mapping[str, torch.Tensor], **points: np.ndarray) -> Arrays:
    """Points with what is known of their records: labels, attributes or properties."""
    return points | {name: np.asarray(test[name]) for name in LABELS if name in test}


def _score_keys(config: RunConfig, options: Evaluation) -> list[str]:
    """What :func:`likelihoods` and :func:`classified` say of any run."""
    keys = ["test.elbo", "test.reconstruction", "test.kl"]
    if config.model.kind != "autoencoder":
        keys += [f"test.kl.{i}" for i in range(_components(config))]
    keys += BITS_KEYS if config.dataset == "celeba" else []
    keys += [*LL_KEYS, *(f"test.{name}" for name in KNN.get(config.dataset, KNN_CLASSES))]
    keys += QUADRATURE_KEYS if has_quadrature(config) else ()
    if options.label_budgets:
        keys += [*budget_keys("knn", options.label_budgets), *budget_keys("probe", options.label_budgets)]
        keys += ["test.knn_draws"]
    return keys


def _keys(config: RunConfig, dataset: data.Dataset, options: Evaluation) -> list[str]:
    """What :func:`measure` says of a run of this configuration."""
    components, autoencoder = _components(config), config.model.kind == "autoencoder"
    keys = [f"validation.{name}" for name in ("loss", "elbo", "reconstruction", "kl")]
    keys += ["validation.property_mae"] if config.dataset == "qm9" else []
    keys += _score_keys(config, options)
    keys += curve_keys(options.likelihood_curve) if options.likelihood_curve else []
    keys += [] if options.diagnostics is None else diagnostic_keys(components, autoencoder=autoencoder)
    if config.dataset == "qm9":
        from .molecules import molecule_keys

        targets = [target["name"] for target in dataset.stats["targets"]]
        keys += molecule_keys(targets, autoencoder=autoencoder)
    if config.dataset == "celeba":
        from .faces import FACE_KEYS

        keys += FACE_KEYS
    if options.fid:
        from .inception import INCEPTION_KEYS

        keys += INCEPTION_KEYS
    if options.lpips:
        from .perceptual import LPIPS_KEY

        keys += [LPIPS_KEY]
    return keys + [f"curvature.{i}" for i in range(components)]


def _components(config: RunConfig) -> int:
    return sum(component.count for component in config.signature.components)


def _number(name: str, value: str | float | int | None) -> str | float | int | None:
    if isinstance(value, float) and not math.isfinite(value):
        logger.warning("%s is %s: written as null", name, value)
        return None
    return value
