"""FID and KID: distances of samples to the test split in the features of the original Inception network.

The network, its resizing and its weights are torch-fidelity's, those of the original FID (Heusel et al. 2017).
"""

import io
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import safetensors
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from .. import data
from ..data.pages import bounded
from ..data.weights import read_weights
from ..errors import UserError
from ..files import atomic, canonical_json, digest
from ..sources import SUMS
from ..training import data_digest
from ..training.seeding import settings
from .blocks import device_of
from .classification import draw
from .frechet import frechet_distance_of, kernel_distances
from .generation import prior_sample

logger = logging.getLogger("mcvae.evaluation")

FILE = "weights-inception-2015-12-05-6726825d.pth"
LAYER = "2048"  # the last average pooling
BLOCK = 16  # pictures at a time: inside the network they are 299 pixels wide
SUBSETS, LARGEST = 100, 1000  # of the kernel distance, as is usual
FID_KEYS = ("samples.fid", "samples.kid", "samples.kid_sd")
DATA_KEYS = ("samples.fid_data", "samples.kid_data", "samples.kid_data_sd")
INCEPTION_KEYS = (*FID_KEYS, *DATA_KEYS, "samples.fid_n", "samples.kid_n")


class Reference(NamedTuple):
    """What all runs of a data set share: ``test`` features [N, 2048], and the distances of training pictures to it."""

    test: Tensor
    distances: dict[str, float]


def load_inception(folder: str | os.PathLike, device: str | torch.device = "cpu") -> torch.nn.Module:
    """The network with the weights in ``folder``: uint8 [B, 3, S, S] -> ([B, 2048],).

    Pictures of any size are resized to 299 pixels as TensorFlow 1 did: bilinearly, without antialiasing.

    Raises:
        UserError: torch-fidelity is not installed, or the weights are not there or not what was fetched.
    """
    try:
        from torch_fidelity import FeatureExtractorInceptionV3
    except ImportError as error:
        raise UserError(f"evaluation.fid needs torch-fidelity (pip install 'mcvae[faces]'): {error}") from None
    # The constructor unpickles whatever file it is given: it is given tensors alone, from memory.
    tensors = io.BytesIO()
    torch.save(read_weights(folder, FILE), tensors)
    tensors.seek(0)
    try:
        network = FeatureExtractorInceptionV3("inception-v3-compat", [LAYER], feature_extractor_weights_path=tensors)
    except RuntimeError as error:
        raise UserError(f"{Path(folder) / FILE}: no weights of Inception ({str(error)[:200]})") from None
    return network.to(device)


@torch.inference_mode()
def inception_features(network: torch.nn.Module, pictures: Iterable[Tensor]) -> Tensor:
    """Features float32 [N, 2048] on the CPU of blocks of pictures, uint8 [B, 3, S, S]."""
    device = device_of(network)
    return torch.cat([network(part.to(device))[0].cpu() for block in pictures for part in block.split(BLOCK)])


def levels(pictures: Tensor) -> Tensor:
    """Pictures in [0, 1] as uint8: the nearest of the 256 levels, as a file of them would have it."""
    return (255 * pictures.float()).round().clamp(0, 255).to(torch.uint8)


def distances(features: Tensor, reference: Tensor) -> tuple[float, float, float]:
    """Fréchet distance, and mean and standard deviation of the kernel distances over 100 pairs of subsets.

    A subset is half of the smaller set, or 1,000 pictures if that is less.
    """
    kernel = kernel_distances(features, reference, subset_size(features, reference), SUBSETS)
    return frechet_distance_of(features, reference), kernel.mean().item(), kernel.std(correction=0).item()


def subset_size(features: Tensor, reference: Tensor) -> int:
    """Pictures in a subset of the kernel distance."""
    return min(LARGEST, len(features) // 2, len(reference) // 2)


def reference(dataset: data.Dataset, network: torch.nn.Module, samples: int) -> Reference:
    """Features of the whole test split, and the distances to it of ``samples`` training pictures (all, if fewer)."""
    train, test = dataset.split("train")["images"], dataset.split("test")["images"]
    records = draw(len(train), samples)
    logger.info("Inception features of %d test and %d training pictures", len(test), len(records))
    every = torch.arange(len(test))
    features = inception_features(network, (test[part] for part in bounded(every.split(BLOCK), [test])))
    real = inception_features(network, (train[part] for part in bounded(records.split(BLOCK), [train])))
    return Reference(features, dict(zip(DATA_KEYS, distances(real, features), strict=True)))


def write_reference(
    prepared: str | os.PathLike,
    weights: str | os.PathLike,
    path: str | os.PathLike,
    samples: int,
    *,
    threads: int = 1,
    device: str = "cpu",
) -> None:
    """Write :func:`reference` of the ``prepared`` data, and what it was computed from, as one safetensors file.

    Raises:
        UserError: as :func:`load_inception`.
    """
    dataset = data.load(prepared)
    with settings(threads):
        test, values = reference(dataset, load_inception(weights, device), samples)
    tensors = {"test": test} | {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}
    with atomic(path) as temporary:
        origin = {"computed_from": computed_from(dataset, weights, samples)}
        safetensors.torch.save_file(tensors, temporary, origin)


def read_reference(
    path: str | os.PathLike, dataset: data.Dataset, weights: str | os.PathLike, samples: int
) -> Reference:
    """What :func:`write_reference` wrote of the same data, weights and number of samples.

    Raises:
        UserError: the file is not there, is broken, or is of others.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            own = (file.metadata() or {}).get("computed_from")
            tensors = {name: file.get_tensor(name) for name in ("test", *DATA_KEYS)}
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: no Inception features ({str(error)[:200]})") from None
    if own != computed_from(dataset, weights, samples):
        raise UserError(f"{path}: are not the Inception features of the data in {dataset.folder} and {samples} samples")
    return Reference(tensors["test"], {name: tensors[name].item() for name in DATA_KEYS})


def computed_from(dataset: data.Dataset, weights: str | os.PathLike, samples: int) -> str:
    """8 hex digits of all that the reference depends on: pictures, splits, weights, samples and settings."""
    sums = (Path(weights) / SUMS).read_text(encoding="utf-8")
    return digest(canonical_json([data_digest(dataset), dataset.splits, sums, samples, LAYER, SUBSETS, LARGEST]))


@torch.inference_mode()
def inception_metrics(
    model: torch.nn.Module, network: torch.nn.Module, shared: Reference, samples: int
) -> dict[str, float | int | None]:
    """The numbers of :data:`INCEPTION_KEYS`, of ``samples`` decoder means at draws from the prior, cut to 256 levels.

    ``samples.fid``, ``samples.kid``: to the whole test split; ``samples.kid_sd``: over pairs of subsets of
    ``samples.kid_n`` pictures; ``…_data``: of as many training pictures, what perfect samples have. ``samples.fid_n``:
    samples; FID grows as they become fewer, KID does not. All are None for an autoencoder, which has no prior.
    """
    if model.kind == "autoencoder":
        return dict.fromkeys(INCEPTION_KEYS)
    logger.info("Inception features of %d samples", samples)
    features = inception_features(network, _samples(model, samples))
    found = dict(zip(FID_KEYS, distances(features, shared.test), strict=True))
    return {**found, **shared.distances, "samples.fid_n": samples, "samples.kid_n": subset_size(features, shared.test)}


def _samples(model: torch.nn.Module, samples: int) -> Iterator[Tensor]:
    for part in prior_sample(model, samples).split(BLOCK):
        yield levels(model.mean(model.decode(part)))
