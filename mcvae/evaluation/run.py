"""Evaluate one trained run: every number of metrics.json and every array of latents.npz, from its files alone."""

import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from .. import data
from ..config import Evaluation, RunConfig
from ..errors import UserError
from ..files import atomic, read_json, write_json
from ..training import checkpoint, data_digest, load_run, read_config
from ..training.seeding import settings
from .blocks import count, first, locations
from .classification import knn_metrics
from .generation import images
from .likelihood import LL_KEYS, bound, bound_metrics, likelihood_metrics, log_likelihood

logger = logging.getLogger("mcvae.evaluation")

Metrics = dict[str, str | float | int | None]
Arrays = dict[str, np.ndarray]
KNN = {
    "mnist": ("knn_accuracy", "knn_neighbours", "knn_labels"),
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
    threads: int = 1,
    device: str = "cpu",
) -> Metrics:
    """Evaluate the run in ``folder`` on the test split of the ``prepared`` data; write metrics.json and latents.npz.

    Equal runs give equal bits on the CPU: all noise is fixed, and torch's global state is the caller's again
    afterwards. Numbers that do not exist (an autoencoder's likelihood, any number of a diverged run) are None. A
    diverged run has the keys of a finished one, and arrays without records.

    Returns:
        the content of metrics.json: status, cause, epochs, best_epoch, parameters, the best epoch's ``validation.…``,
        ``test.…`` and ``samples.…`` (nats a record unless their functions say otherwise), ``curvature.{component}``.

    Raises:
        UserError: a file of the run is missing or broken, or the data are not the run's.
    """
    folder = Path(folder)
    config, dataset = read_config(folder), data.load(prepared)
    if dataset.name != config.dataset:
        raise UserError(f"{dataset.folder}: holds {dataset.name}, but the run in {folder} is of {config.dataset}")
    if read_json(folder / "provenance.json")["data_digest"] != data_digest(dataset):
        raise UserError(f"{dataset.folder}: are not the data that the run in {folder} was trained on")
    training = read_json(folder / "training.json")
    with settings(threads), torch.inference_mode():
        if training["status"] == "finished":
            metrics, arrays = measure(folder, config, dataset, options, device)
        else:
            metrics, arrays = nothing(config, dataset)
            metrics = {name: value for name, value in metrics.items() if name not in training}
    metrics = {name: _number(name, value) for name, value in (training | metrics).items()}
    with atomic(folder / "latents.npz") as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)
    write_json(folder / "metrics.json", metrics)
    checkpoint.remove(checkpoint.path_of(folder))  # the run is done: nothing is left to resume
    return metrics


def measure(
    folder: Path, config: RunConfig, dataset: data.Dataset, options: Evaluation, device: str
) -> tuple[Metrics, Arrays]:
    """All metrics and arrays of a finished run."""
    model, _ = load_run(folder, dataset.stats, device)
    model.eval()
    train, test = dataset.split("train"), dataset.split("test")
    metrics: Metrics = {"test.n": count(test)}
    logger.info("bound of %d test records", count(test))
    metrics |= bound_metrics(bound(model, test))
    logger.info("log-likelihood with %d samples", options.importance_samples)
    estimate = log_likelihood(model, first(test, options.images), samples=options.importance_samples)
    metrics |= likelihood_metrics(estimate, options.importance_samples)
    loc = locations(model, test)
    arrays = described(test, loc=loc.cpu().numpy(), tangent=model.latent.logmap0(loc).cpu().numpy())
    logger.info("what the latent space knows and makes")
    if "images" in test:
        metrics |= knn_metrics(model, train, test, loc, neighbours=options.knn_neighbours, labels=options.knn_labels)
        arrays |= images(model, test)
    if "tokens" in test:
        from .molecules import molecules, property_metrics

        vocabulary, smiles = dataset.stats["vocabulary"], dataset.smiles[slice(*dataset.splits["train"])]
        metrics |= property_metrics(model, test, loc, dataset.stats["targets"])
        more, texts = molecules(model, test, loc, vocabulary, smiles, options.samples)
        metrics |= more
        arrays |= texts
    return metrics | {f"curvature.{i}": float(k) for i, k in enumerate(model.latent.curvatures())}, arrays


def nothing(config: RunConfig, dataset: data.Dataset) -> tuple[Metrics, Arrays]:
    """The keys and arrays of a diverged run: no numbers but those of its training, no records."""
    test = dataset.split("test")
    empty = first(test, 0)
    arrays = described(
        empty,
        loc=np.zeros((0, config.signature.ambient_dim), np.float32),
        tangent=np.zeros((0, config.signature.dim), np.float32),
    )
    return {"test.n": count(test)} | dict.fromkeys(_keys(config, dataset)), arrays


def described(test: Mapping[str, torch.Tensor], **points: np.ndarray) -> Arrays:
    """Points with what is known of their records: labels, attributes or properties."""
    return points | {name: np.asarray(test[name]) for name in LABELS if name in test}


def _keys(config: RunConfig, dataset: data.Dataset) -> list[str]:
    components = sum(component.count for component in config.signature.components)
    autoencoder = config.model.kind == "autoencoder"
    keys = [f"validation.{name}" for name in ("loss", "elbo", "reconstruction", "kl")]
    keys += ["validation.property_mae"] if config.dataset == "qm9" else []
    keys += ["test.elbo", "test.reconstruction", "test.kl"]
    keys += [] if autoencoder else [f"test.kl.{i}" for i in range(components)]
    keys += LL_KEYS
    keys += [f"test.{name}" for name in KNN[config.dataset]]
    if config.dataset == "qm9":
        targets = [target["name"] for target in dataset.stats["targets"]]
        keys += [f"test.{kind}.{name}" for kind in ("mae", "mae_baseline") for name in targets]
        keys += [f"test.{name}" for name in ("exact_reconstruction", "token_accuracy", "reconstruction_n")]
        if not autoencoder:
            from .chemistry import describe_samples

            keys += describe_samples([], [])
    return keys + [f"curvature.{i}" for i in range(components)]


def _number(name: str, value: str | float | int | None) -> str | float | int | None:
    if isinstance(value, float) and not math.isfinite(value):
        logger.warning("%s is %s: written as null", name, value)
        return None
    return value
