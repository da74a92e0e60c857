"""Principal components of pixels: what a linear map of the pictures themselves keeps in as many numbers as a latent.

By subspace iteration over blocks, so that neither the pictures nor their covariance are ever in memory as a whole.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ..data.pages import bounded
from ..training.seeding import generator

BLOCK = 512
EXTRA, ROUNDS = 16, 4  # directions besides those asked for, and passes over the pictures


class Components(NamedTuple):
    """``mean`` [D] and orthonormal ``directions`` [dim, D], those of the largest variance first; pixels in [0, 1]."""

    mean: Tensor
    directions: Tensor


@torch.inference_mode()
def principal_components(images: Tensor, records: Tensor, dim: int) -> Components:
    """The first ``dim`` principal components of ``records`` of the pictures (Halko et al. 2011, algorithm 4.4).

    Args:
        images: uint8 [N, ...]. records: int64 [n]. dim: at most n - 1, and the numbers of a picture.

    Raises:
        ValueError: more components than there can be.
    """
    size = images[0].numel()
    if dim > min(len(records) - 1, size):
        raise ValueError(f"{dim} components of {len(records)} pictures of {size} numbers: there are fewer")
    mean = sum(pixels.sum(0, dtype=torch.float64) for pixels in _pixels(images, records)) / len(records)
    mean = mean.float()
    width = min(dim + EXTRA, len(records) - 1, size)
    basis = torch.randn(size, width, generator=generator(0, "evaluation/principal components"))
    for _ in range(ROUNDS):
        basis = torch.linalg.qr(_covariance_times(images, records, mean, basis)).Q
    projected = torch.cat([(pixels - mean) @ basis for pixels in _pixels(images, records)])
    turn = torch.linalg.svd(projected, full_matrices=False).Vh
    return Components(mean, (turn @ basis.T)[:dim])


@torch.inference_mode()
def project(images: Tensor, records: Tensor, components: Components) -> Tensor:
    """Coordinates [n, dim] of ``records`` along the components."""
    centred = (pixels - components.mean for pixels in _pixels(images, records))
    return torch.cat([part @ components.directions.T for part in centred])


@torch.inference_mode()
def squared_error(images: Tensor, records: Tensor, components: Components) -> float:
    """Mean squared error of a pixel and colour of ``records`` made from their components and cut at 0 and 1."""
    total = 0.0
    for pixels in _pixels(images, records):
        made = components.mean + (pixels - components.mean) @ components.directions.T @ components.directions
        total += (made.clamp(0, 1) - pixels).double().square().sum().item()
    return total / (len(records) * images[0].numel())


def _pixels(images: Tensor, records: Tensor) -> Iterator[Tensor]:
    """Blocks [at most 512, D] of the records' pixels, in [0, 1]."""
    for part in bounded(records.split(BLOCK), [images]):
        yield images[part].flatten(1).float() / 255


def _covariance_times(images: Tensor, records: Tensor, mean: Tensor, basis: Tensor) -> Tensor:
    total = torch.zeros_like(basis)
    for pixels in _pixels(images, records):
        centred = pixels - mean
        total += centred.T @ (centred @ basis)
    return total
