"""What is measured of faces besides likelihood and neighbours: bits, pictures, attributes, persons, samples."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..models.attributes import AttributeClassifier
from .attributes import ATTRIBUTE_KEYS, Probes, attribute_metrics, probes
from .blocks import POSTERIOR, PRIOR, SIZE, blocks, count, device_of, locations, noise
from .classification import draw
from .face_pictures import face_pictures
from .frechet import frechet_distance, moments
from .pca import principal_components, project
from .ssim import WINDOW, ssim
from .verification import VERIFICATION_KEYS, verification_metrics

logger = logging.getLogger("mcvae.evaluation")

Metrics = dict[str, float | int | None]
PICTURE_KEYS = ("test.mse", "test.mse_draw", "test.ssim")
SAMPLE_KEYS = ("samples.attribute_frechet", "samples.attribute_frechet_data", "samples.n")
FACE_KEYS = (*PICTURE_KEYS, *ATTRIBUTE_KEYS, *VERIFICATION_KEYS, *SAMPLE_KEYS)


class Split(NamedTuple):
    """Records of a split with their points: ``images`` uint8, ``attributes`` 0/1, ``loc`` [n, ambient_dim]."""

    images: Tensor
    attributes: Tensor
    loc: Tensor


@torch.inference_mode()
def face_metrics(
    model: torch.nn.Module,
    train: Mapping[str, Tensor],
    test: Mapping[str, Tensor],
    loc: Tensor,
    names: Sequence[str],
    classifier: AttributeClassifier | None,
    *,
    labels: int,
    samples: int,
) -> tuple[Metrics, dict[str, np.ndarray]]:
    """The numbers of :data:`FACE_KEYS`, and the pictures and attributes' numbers for figures.

    Args:
        loc: [N, ambient_dim], posterior locations of the test split. names: of the attributes.
        classifier: in whose features samples are compared; None: its numbers are None.
        labels: training records that the probes and principal components may look at. samples: draws from the prior.
    """
    records = draw(count(train), labels)
    known = locations(model, train, records)
    tangent, asked = model.latent.logmap0(known), model.latent.logmap0(loc)
    answers, truth = train["attributes"][records], test["attributes"]
    logger.info("attributes from %d coordinates, and from as many principal components of the pixels", tangent.shape[1])
    latent = probes(tangent, answers, asked, truth)
    linear, components = _pixel_probes(train, test, records, tangent.shape[1], answers)
    metrics = picture_metrics(model, test) | attribute_metrics(latent, linear, answers, truth)
    metrics |= verification_metrics(model.latent, loc, test["identities"], components)
    metrics |= sample_metrics(model, classifier, train, test, samples)
    arrays = face_pictures(model, loc, tangent, answers, names) | {
        "attribute_names": np.array(list(names)),
        "attribute_auroc": latent.auroc.numpy(),
        "attribute_auroc_pca": (torch.full_like(latent.auroc, torch.nan) if linear is None else linear.auroc).numpy(),
    }
    return metrics, arrays


def _pixel_probes(
    train: Mapping[str, Tensor], test: Mapping[str, Tensor], records: Tensor, dim: int, answers: Tensor
) -> tuple[Probes | None, Tensor | None]:
    """Probes of ``dim`` principal components of the pixels, and these of the test split; None if there are fewer."""
    if dim > min(len(records) - 1, train["images"][0].numel()):
        return None, None
    components = principal_components(train["images"], records, dim)
    asked = project(test["images"], torch.arange(count(test)), components)
    known = project(train["images"], records, components)
    return probes(known, answers, asked, test["attributes"]), asked


@torch.inference_mode()
def picture_metrics(model: torch.nn.Module, test: Mapping[str, Tensor]) -> Metrics:
    """How near decoder means are to the pictures, pixels in [0, 1].

    ``test.mse``: mean squared error of a pixel and colour, decoded at the posterior location; ``test.mse_draw``: at one
    draw from the posterior, that of the bound; ``test.ssim``: structural similarity at the location, None for pictures
    smaller than its window.
    """
    located, drawn, similar = [], [], []
    for block in blocks(model, test):
        posterior, x = model.posterior(block.inputs), block.inputs.observed
        with noise(POSTERIOR, block.index, device_of(model)):
            z = posterior.rsample()
        y = model.mean(model.decode(posterior.loc))
        located.append((y - x).square().flatten(1).mean(1))
        drawn.append((model.mean(model.decode(z)) - x).square().flatten(1).mean(1))
        if min(x.shape[-2:]) >= WINDOW:
            similar.append(ssim(x, y))
    values = [torch.cat(part).double().mean().item() if part else None for part in (located, drawn, similar)]
    return dict(zip(PICTURE_KEYS, values, strict=True))


@torch.inference_mode()
def sample_metrics(
    model: torch.nn.Module,
    classifier: AttributeClassifier | None,
    train: Mapping[str, Tensor],
    test: Mapping[str, Tensor],
    samples: int,
) -> Metrics:
    """``samples.attribute_frechet``: Fréchet distance of ``samples.n`` decoded draws from the prior to the test split.

    In the features of the project's own attribute classifier, and so no FID: other features, other scale.
    ``samples.attribute_frechet_data`` is that of as many training pictures: what perfect samples have, the finite sets
    included. None without a classifier, and for an autoencoder, which has no prior.
    """
    if classifier is None or model.kind == "autoencoder":
        if classifier is None:
            logger.warning("no attribute classifier: samples.attribute_frechet is null")
        return dict.fromkeys(SAMPLE_KEYS)
    pictures = draw(count(train), samples)
    reference = moments(classifier.features(part) for part in _pictures(test["images"], None, device_of(model)))
    real = moments(classifier.features(part) for part in _pictures(train["images"], pictures, device_of(model)))
    made = moments(classifier.features(part) for part in _decoded(model, samples))
    values = [frechet_distance(made, reference), frechet_distance(real, reference), samples]
    return dict(zip(SAMPLE_KEYS, values, strict=True))


def _pictures(images: Tensor, records: Tensor | None, device: torch.device) -> Iterator[Tensor]:
    total = len(images) if records is None else len(records)
    for part in torch.arange(total).split(SIZE):
        yield images[part if records is None else records[part]].to(device).float() / 255


def _decoded(model: torch.nn.Module, samples: int) -> Iterator[Tensor]:
    """Means of pictures at draws from the prior, a block at a time; the first are those that figures show."""
    with noise(PRIOR, 0, device_of(model)):
        z: Any = model.latent.prior().rsample((samples,))
    for part in z.split(SIZE):
        yield model.mean(model.decode(part))
