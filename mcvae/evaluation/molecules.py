"""What a model of molecules gets right: properties, reconstructions, and what its samples are.

Numbers and texts of one run on QM9; what is measured, and how, is in the modules that this one calls.
"""

import logging
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ..data.load import Dataset
from ..models import graph
from ..models.inputs import PAD
from . import chemistry
from .blocks import count, first, locations, predicted_properties
from .classification import draw
from .descriptors import DISTANCE_KEYS, sample_distances
from .fingerprints import baseline as fingerprint_baseline
from .generation import RECONSTRUCTIONS, SAMPLES, prior_sample
from .judged_molecules import records_of
from .latent_optimisation import OPTIMISED_KEYS, TARGET, optimisation
from .latent_slopes import property_slopes, slope_keys
from .property_probes import PROBES, Known, property_probes

logger = logging.getLogger("mcvae.evaluation")

Metrics = dict[str, float | int | None]
Arrays = dict[str, np.ndarray]
CAP = 2000  # test records that are reconstructed code by code
CHECKED = 2000  # validation records that choose between probes
BATCH = 500
PREDICTORS = ("", "_location", "_baseline", "_morgan", *(f"_{probe}" for probe in PROBES))
PATHS, POINTS, NEAR = 50, 9, 5  # geodesics, molecules on each of them, nearest molecules of a picture
RECONSTRUCTION_KEYS = tuple(f"test.{name}" for name in ("exact_reconstruction", "token_accuracy", "reconstruction_n"))
PATH_KEYS = ("test.path_validity", "test.path_distinct")


def molecule_keys(targets: Sequence[str], *, autoencoder: bool) -> list[str]:
    """What :func:`molecule_metrics` says."""
    keys = [f"test.{kind}{end}.{name}" for kind in _ERRORS for end in PREDICTORS for name in targets]
    keys += [f"test.standardised_mae{end}" for end in PREDICTORS]
    keys += [
        "test.probe_labels",
        "test.probe_neighbours",
        "test.probe_knn_n",
        *slope_keys(targets),
        *RECONSTRUCTION_KEYS,
        *PATH_KEYS,
    ]
    keys += OPTIMISED_KEYS
    return keys if autoencoder else [*keys, *chemistry.describe_samples([], []), *DISTANCE_KEYS]


def molecule_metrics(
    model: torch.nn.Module,
    dataset: Dataset,
    loc: Tensor,
    *,
    labels: int,
    samples: int,
    baseline: np.ndarray | None = None,
) -> tuple[Metrics, Arrays]:
    """All numbers and texts of molecules on the test split.

    Args:
        loc: [N, ambient_dim], posterior locations of the test split.
        labels: training records that the probes learn from. samples: draws from the prior.
        baseline: what :func:`.fingerprints.baseline` says of the data; computed if it is not given.
    """
    baseline = fingerprint_baseline(dataset) if baseline is None else baseline
    metrics, arrays = property_metrics(model, dataset, loc, labels, baseline)
    logger.info("molecules that come back, that are drawn, that lie between and that are wanted")
    for more, texts in (
        reconstructions(model, dataset, loc),
        drawn(model, dataset, samples),
        paths(model, loc, dataset.stats["vocabulary"]),
        wanted(model, dataset, loc),
    ):
        metrics |= more
        arrays |= texts
    return metrics, arrays


def decoder(model: torch.nn.Module, vocabulary: Sequence[str]) -> Callable[[Tensor], list[str | None]]:
    """What decodes points z [n, ambient_dim] greedily to canonical SMILES, or None where no molecule results."""
    return lambda z: chemistry.molecules_of(generated(model, z).numpy(), vocabulary, model.protocol.makes_graphs)


def generated(model: torch.nn.Module, z: Tensor) -> Tensor:
    """Greedily decoded codes [n, L] at z [n, ambient_dim]: tokens after the start token, or a graph's."""
    with torch.inference_mode():
        return torch.cat([model.generate(part) for part in z.split(BATCH)]).cpu()


@torch.inference_mode()
def property_metrics(
    model: torch.nn.Module, dataset: Dataset, loc: Tensor, labels: int, baseline: np.ndarray
) -> tuple[Metrics, Arrays]:
    """Errors of the joint head, and of what it is compared with.

    For each target ``test.mae{predictor}.{target}``, mean absolute error in its unit; ``test.standardised_mae…``, the
    same in standard deviations of the training split, and its mean over the targets; ``test.r2…``, 1 - Σ (y - ŷ)² / Σ
    (y - ȳ)² with the test split's mean ȳ. Predictors: the head in the mean over draws of the posterior has no suffix
    (:func:`.blocks.predicted_properties`); ``_location``, the head at the posterior's location; ``_baseline``, always
    the training mean; ``_morgan``, ridge regression on Morgan fingerprints of the whole training split; probes of the
    frozen latent space (:func:`.property_probes.property_probes`) that learn from ``test.probe_labels`` training
    records.

    Beside them what :func:`.latent_slopes.property_slopes` measures.

    Arrays: ``predicted`` float32 [N, T], by the head, in the units of ``properties``; ``neighbours`` texts [6, 6], test
    molecules with their nearest labelled training molecules, and ``neighbour_distances`` [6, 5].
    """
    targets = dataset.stats["targets"]
    mean, std = (torch.tensor([target[key] for target in targets], dtype=torch.float64) for key in ("mean", "std"))
    splits = {name: dataset.split(name) for name in ("train", "validation", "test")}

    def standardised(name: str, records: Tensor | slice = slice(None)) -> Tensor:
        return (splits[name]["properties"][records].double() - mean) / std

    records = draw(count(splits["train"]), labels)
    checked = first(splits["validation"], CHECKED)
    labelled = Known.of(model.latent, locations(model, splits["train"], records), standardised("train", records))
    choosing = standardised("validation", slice(CHECKED))
    choice = Known.of(model.latent, locations(model, checked), choosing)
    truth = standardised("test")
    probed = property_probes(model.latent, labelled, choice, Known.of(model.latent, loc, truth))
    head = predicted_properties(model, splits["test"])
    at_location = torch.cat([model.properties(part) for part in loc.split(BATCH)]).double().cpu()
    predicted = {"": head, "_location": at_location}
    predicted |= {"_baseline": torch.zeros_like(truth), "_morgan": torch.from_numpy(baseline)}
    predicted |= {f"_{probe}": values for probe, values in probed.predicted.items()}
    names = [target["name"] for target in targets]
    metrics = property_errors(predicted, truth, std, names)
    nearest = probed.nearest[:, 0]
    metrics |= {"test.probe_labels": len(records), "test.probe_neighbours": probed.neighbours}
    metrics |= {"test.probe_knn_n": len(nearest)}
    metrics |= property_slopes(model, loc, truth, labelled.loc[nearest], labelled.values[nearest], names)
    arrays = {"predicted": (head * std + mean).float().numpy()}
    train, test = (dataset.smiles[slice(*dataset.splits[name])] for name in ("train", "test"))
    known = [train[int(record)] for record in records]
    return metrics, arrays | _neighbours(model, loc, labelled, probed.nearest, test, known)


_ERRORS = ("mae", "standardised_mae", "r2")


def property_errors(predicted: Mapping[str, Tensor], truth: Tensor, std: Tensor, names: Sequence[str]) -> Metrics:
    """Errors of predictions {suffix: [n, T]} of the first n <= N of ``truth`` [N, T], both in standard deviations
    ``std`` [T]."""
    metrics: Metrics = {}
    for end, values in predicted.items():
        known = truth[: len(values)]
        error = (values - known).abs().mean(0)
        residual, spread = (values - known).square().sum(0), (known - known.mean(0)).square().sum(0)
        r2 = [1 - a / b if b > 0 else None for a, b in zip(residual.tolist(), spread.tolist(), strict=True)]
        for kind, numbers in zip(_ERRORS, ((error * std).tolist(), error.tolist(), r2), strict=True):
            metrics |= {f"test.{kind}{end}.{name}": value for name, value in zip(names, numbers, strict=True)}
        metrics[f"test.standardised_mae{end}"] = error.mean().item()
    return metrics


def _neighbours(
    model: torch.nn.Module, loc: Tensor, labelled: Known, nearest: Tensor, test: Sequence[str], train: Sequence[str]
) -> Arrays:
    """Of the first test molecules and their nearest training molecules: ``neighbours`` texts [6, 6], the test molecule
    first, and ``neighbour_distances`` [6, 5]; fewer columns with fewer labelled records."""
    found = nearest[:6, :NEAR]
    distances = model.latent.dist(loc[:6].unsqueeze(1), labelled.loc[found.to(loc.device)])
    rows = [[test[row], *(train[int(index)] for index in near)] for row, near in enumerate(found)]
    return {"neighbours": np.array(rows, dtype=np.str_), "neighbour_distances": distances.float().cpu().numpy()}


def reconstructions(model: torch.nn.Module, dataset: Dataset, loc: Tensor) -> tuple[Metrics, Arrays]:
    """``test.exact_reconstruction``: share of the first 2,000 test molecules that come back from their posterior
    location as the same molecule (equal canonical SMILES); ``test.token_accuracy``: share of their tokens, the end
    token counted, that do; of a graph decoder's codes, all that there are to say.

    Arrays of text: ``inputs`` and ``reconstructions`` [16]; "" stands for no molecule.
    """
    test, vocabulary = first(dataset.split("test"), CAP), dataset.stats["vocabulary"]
    graphs = model.protocol.makes_graphs
    truth = graph.codes(graph.pack(test)) if graphs else test["tokens"][:, 1:].long()
    codes = generated(model, loc[:CAP])
    given, back = (chemistry.molecules_of(each.numpy(), vocabulary, graphs) for each in (truth, codes))
    observed = truth != (-1 if graphs else PAD)
    exact = sum(a is not None and a == b for a, b in zip(given, back, strict=True))
    metrics: Metrics = {
        "test.exact_reconstruction": exact / len(given),
        "test.token_accuracy": ((codes == truth) & observed).sum().item() / observed.sum().item(),
        "test.reconstruction_n": len(given),
    }
    return metrics, {"inputs": _text(given[:RECONSTRUCTIONS]), "reconstructions": _text(back[:RECONSTRUCTIONS])}


def drawn(model: torch.nn.Module, dataset: Dataset, samples: int) -> tuple[Metrics, Arrays]:
    """What decoded draws from the prior are: :func:`.chemistry.describe_samples`, :func:`.descriptors.sample_distances`
    (of the strictly valid ones, from as many test molecules). Nothing for an autoencoder, which has no prior.

    Arrays of text: ``samples`` [64].
    """
    if model.kind == "autoencoder":
        return {}, {}
    smiles = decoder(model, dataset.stats["vocabulary"])(prior_sample(model, samples))
    train, test = (dataset.smiles[slice(*dataset.splits[name])] for name in ("train", "test"))
    valid = [text for text in smiles if text and "." not in text]
    logger.info("descriptors of %d sampled molecules", len(valid))
    real = [train[int(record)] for record in draw(len(train), samples)]
    metrics = chemistry.describe_samples(smiles, train) | sample_distances(valid, test[:samples], real)
    return metrics, {"samples": _text(smiles[:SAMPLES])}


def paths(model: torch.nn.Module, loc: Tensor, vocabulary: Sequence[str]) -> tuple[Metrics, Arrays]:
    """Molecules at nine equal steps of geodesics between the first test records.

    ``test.path_validity``: share that are one valid molecule; ``test.path_distinct``: different ones on a geodesic, the
    mean over 50. Arrays of text: ``molecule_paths`` [6, 9].
    """
    number = min(PATHS, len(loc) // 2)
    times = torch.linspace(0, 1, POINTS, dtype=loc.dtype, device=loc.device)
    path = model.latent.manifold.geodesic(
        times, loc[0 : 2 * number : 2].unsqueeze(1), loc[1 : 2 * number : 2].unsqueeze(1)
    )
    texts = [text or "" for text in decoder(model, vocabulary)(path.flatten(0, 1))]
    rows = [texts[start : start + POINTS] for start in range(0, len(texts), POINTS)]
    whole = [{text for text in row if text and "." not in text} for row in rows]
    valid = sum(bool(text) and "." not in text for text in texts)
    metrics: Metrics = dict.fromkeys(PATH_KEYS)
    if rows:
        metrics = dict(zip(PATH_KEYS, (valid / len(texts), sum(map(len, whole)) / len(rows)), strict=True))
    return metrics, {"molecule_paths": np.array(rows[:6], dtype=np.str_)}


def wanted(model: torch.nn.Module, dataset: Dataset, loc: Tensor) -> tuple[Metrics, Arrays]:
    """:func:`.latent_optimisation.optimisation` with the values of all data as what is true of a molecule."""
    names = [target["name"] for target in dataset.stats["targets"]]
    column = names.index(TARGET) if TARGET in names else 0
    values = np.asarray(dataset.tensors["properties"])[:, column]
    records = records_of(dataset.smiles, values, dataset.splits)
    test, decode = slice(*dataset.splits["test"]), decoder(model, dataset.stats["vocabulary"])
    return optimisation(model, loc, dataset.smiles[test], values[test], decode, records, dataset.stats)


def _text(smiles: Sequence[str | None]) -> np.ndarray:
    return np.array([text or "" for text in smiles], dtype=np.str_)
