"""What is measured of faces besides likelihood and neighbours: bits, pictures, attributes, persons, samples."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.pages import bounded
from ..models.attributes import AttributeClassifier
from .attributes import ATTRIBUTE_KEYS, Probes, attribute_metrics, probes
from .blocks import POSTERIOR, PRIOR, SIZE, blocks, count, device_of, locations, noise
from .classification import draw
from .face_pictures import face_pictures
from .frechet import Moments, frechet_distance, moments
from .pca import principal_components, project, squared_error
from .property_probes import coordinates
from .ssim import WINDOW, ssim
from .verification import VERIFICATION_KEYS, verification_metrics

logger = logging.getLogger("mcvae.evaluation")

Metrics = dict[str, float | int | None]
PICTURE_KEYS = ("test.mse", "test.mse_draw", "test.ssim")
PCA_KEY = "test.mse_pca"
FRECHET = ("samples.attribute_frechet", "test.attribute_frechet_reconstructions", "samples.attribute_frechet_data")
CLASSIFIER_KEY = "samples.attribute_classifier_auroc"
SAMPLE_KEYS = (*FRECHET, f"{FRECHET[2]}_sd", f"{FRECHET[2]}_n", CLASSIFIER_KEY, "samples.n")
DRAWS = 5  # of pictures that nothing was trained on, at most
FACE_KEYS = (*PICTURE_KEYS, PCA_KEY, *ATTRIBUTE_KEYS, *VERIFICATION_KEYS, *SAMPLE_KEYS)


@torch.inference_mode()
def face_metrics(
    model: torch.nn.Module,
    train: Mapping[str, Tensor],
    validation: Mapping[str, Tensor],
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
    tangent = model.latent.logmap0(known)
    answers, truth = train["attributes"][records], test["attributes"]
    logger.info("attributes from %d dimensions, and from as many principal components of the pixels", tangent.shape[1])
    latent = probes(coordinates(model.latent, known), answers, coordinates(model.latent, loc), truth)
    linear, components, error = _pixel_probes(train, test, records, tangent.shape[1], answers)
    metrics = picture_metrics(model, test) | {PCA_KEY: error} | attribute_metrics(latent, linear, answers, truth)
    male = truth[:, list(names).index("Male")] if "Male" in names else None
    metrics |= verification_metrics(model.latent, loc, test["identities"], components, male)
    metrics |= sample_metrics(model, classifier, validation, test, loc, samples)
    arrays = face_pictures(model, loc, tangent, answers, names) | {
        "attribute_names": np.array(list(names)),
        "attribute_auroc": latent.auroc.numpy(),
        "attribute_auroc_pca": (torch.full_like(latent.auroc, torch.nan) if linear is None else linear.auroc).numpy(),
    }
    return metrics, arrays


def _pixel_probes(
    train: Mapping[str, Tensor], test: Mapping[str, Tensor], records: Tensor, dim: int, answers: Tensor
) -> tuple[Probes | None, Tensor | None, float | None]:
    """Probes of ``dim`` principal components of the pixels, these of the test split, and the error of test pictures
    that are made from them (``test.mse_pca``); None if there are fewer."""
    if dim > min(len(records) - 1, train["images"][0].numel()):
        return None, None, None
    components = principal_components(train["images"], records, dim)
    every = torch.arange(count(test))
    asked = project(test["images"], every, components)
    known = project(train["images"], records, components)
    found = probes(known, answers, asked, test["attributes"])
    return found, asked, squared_error(test["images"], every, components)


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
    validation: Mapping[str, Tensor],
    test: Mapping[str, Tensor],
    loc: Tensor,
    samples: int,
) -> Metrics:
    """``samples.attribute_frechet``: Fréchet distance of ``samples.n`` decoded draws from the prior to the test split.

    In the features of the project's own attribute classifier, and so no FID: other features, other scale.
    ``test.attribute_frechet_reconstructions`` is that of the test split's decoder means at ``loc``, its posterior
    locations. ``samples.attribute_frechet_data`` is that of real pictures, for reference: parts of the validation
    split, which has no gradient in the classifier (it chose its epoch); the mean over up to five disjoint parts of
    ``samples.attribute_frechet_data_n`` pictures, as many as samples where there are so many, and their standard
    deviation, None of one. Few pictures raise it. ``samples.attribute_classifier_auroc`` is how well that classifier
    ranks validation pictures. None without a classifier; an autoencoder, which has no prior, has no samples.
    """
    found: Metrics = dict.fromkeys(SAMPLE_KEYS)
    if classifier is None:
        logger.warning("no attribute classifier: Fréchet distances in its features are null")
        return found
    device = device_of(model)

    def described(pictures: Iterable[Tensor]) -> Moments:
        return moments(classifier.features(part) for part in pictures)

    reference = described(_pictures(test["images"], None, device))
    parts = draw(count(validation), count(validation)).split(samples)[:DRAWS]
    parts = [part for part in parts if len(part) == len(parts[0])]
    real = [described(_pictures(validation["images"], part, device)) for part in parts]
    again = described(model.mean(model.decode(part)) for part in loc.split(SIZE))
    away = torch.tensor([frechet_distance(each, reference) for each in real], dtype=torch.float64)
    found |= {FRECHET[1]: frechet_distance(again, reference), FRECHET[2]: away.mean().item()}
    found[CLASSIFIER_KEY] = classifier.auroc
    found |= {f"{FRECHET[2]}_sd": away.std().item() if len(away) > 1 else None, f"{FRECHET[2]}_n": len(parts[0])}
    if model.kind != "autoencoder":
        made = described(_decoded(model, samples))
        found |= {FRECHET[0]: frechet_distance(made, reference), "samples.n": samples}
    return found


def _pictures(images: Tensor, records: Tensor | None, device: torch.device) -> Iterator[Tensor]:
    records = torch.arange(len(images)) if records is None else records
    for part in bounded(records.split(SIZE), [images]):
        yield images[part].to(device).float() / 255


def _decoded(model: torch.nn.Module, samples: int) -> Iterator[Tensor]:
    """Means of pictures at draws from the prior, a block at a time; the first are those that figures show."""
    with noise(PRIOR, 0, device_of(model)):
        z: Any = model.latent.prior().rsample((samples,))
    for part in z.split(SIZE):
        yield model.mean(model.decode(part))
