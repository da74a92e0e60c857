"""What the decoder makes of latent points: reconstructions, draws from the prior, a grid over a 2-D latent space."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .blocks import PRIOR, SIZE, device_of, locations, noise

RECONSTRUCTIONS = 16
SAMPLES = 64
SIDE = 20
EXTENT = 3.0  # of the grid over the plane, in scales of the prior
DISC = 0.95  # radius of the grid in the Poincaré disc


def chosen(tensors: Mapping[str, Tensor], number: int = RECONSTRUCTIONS) -> Tensor:
    """Records int64 [<= number] that stand for a split, always the same ones.

    With labels the first record of each class, then the second of each, until there are enough; in order of class.
    Without labels the first records.
    """
    if "labels" not in tensors:
        return torch.arange(min(number, len(next(iter(tensors.values())))))
    labels = tensors["labels"].long()
    rank = torch.zeros_like(labels)
    for label in labels.unique():
        of_class = labels == label
        rank[of_class] = torch.arange(int(of_class.sum()))
    classes = int(labels.max()) + 1
    records = (rank * classes + labels).argsort()[:number]
    return records[(labels[records] * len(labels) + rank[records]).argsort()]


def prior_sample(model: torch.nn.Module, number: int) -> Tensor:
    """Draws [number, ambient_dim] from the prior; equal for equal priors."""
    with torch.inference_mode(), noise(PRIOR, 0, device_of(model)):
        return model.latent.prior().rsample((number,))


def decoded(model: torch.nn.Module, z: Tensor) -> np.ndarray:
    """Means of the images at z [n, ambient_dim], float32 in [0, 1], [n, *shape]."""
    with torch.inference_mode():
        return np.concatenate([model.mean(model.decode(part)).float().cpu().numpy() for part in z.split(SIZE)])


def images(model: torch.nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """The pictures of a run, float32 in [0, 1].

    ``inputs`` and ``reconstructions`` [16, *shape], ``samples`` [64, *shape] (none for an autoencoder: no prior),
    and what :func:`latent_grid` tells, with the decoder means ``grid`` [G, G, *shape]; NaN outside the disc.
    Reconstructions are decoder means at the posterior location; inputs are the pictures before any binarisation.
    """
    records = chosen(tensors)
    result = {
        "inputs": (tensors["images"][records].float() / 255).numpy(),
        "reconstructions": decoded(model, locations(model, tensors, records)),
    }
    if model.kind != "autoencoder":
        result["samples"] = decoded(model, prior_sample(model, SAMPLES))
    charted = latent_grid(model, locations(model, tensors) if model.kind == "autoencoder" else None)
    if charted:
        z = charted.pop("z")
        flat = decoded(model, z.flatten(0, -2))
        grid = flat.reshape(*z.shape[:-1], *flat.shape[1:])
        grid[np.isnan(charted["grid_coordinates"]).any(-1)] = np.nan
        result |= {"grid": grid, **charted}
    return result


def latent_grid(model: torch.nn.Module, codes: Tensor | None = None, side: int = SIDE) -> dict[str, Any]:
    """A regular grid over a 2-D latent space of one component; empty for products and other dimensions.

    Returns ``grid_kind`` (numpy text), ``grid_coordinates`` float32 [side, side, 2], whose row 0 is the top and column
    0 the left of the picture, and the points ``z`` [side, side, ambient_dim]:

    - "plane" (flat): x and y from -3 to 3; for an autoencoder over the central 98% of its ``codes``;
    - "equirectangular" (positive curvature): longitude in (-π, π), latitude in (-π/2, π/2), centres of equal cells; the
      origin of the sphere is the centre of the map;
    - "disc" (negative curvature): the Poincaré disc up to radius 0.95, NaN outside it.
    """
    components = model.latent.signature.components
    if len(components) != 1 or components[0].count != 1 or components[0].dim != 2:
        return {}
    k = float(model.latent.curvatures()[0])
    if k == 0:
        kind, (x, y) = "plane", _plane(codes, side)
        tangent = torch.stack([x, y], -1)
    elif k > 0:
        kind, (x, y) = "equirectangular", _axes((-math.pi, math.pi), (-math.pi / 2, math.pi / 2), side, centres=True)
        point = torch.stack([y.cos() * x.cos(), y.cos() * x.sin(), y.sin()], -1)
        tangent = _polar(torch.atan2(point[..., 1:].norm(dim=-1), point[..., 0]), point[..., 1:]) / math.sqrt(k)
    else:
        kind, (x, y) = "disc", _axes((-DISC, DISC), (-DISC, DISC), side)
        radius = torch.hypot(x, y)
        inside = radius <= DISC
        tangent = _polar(2 * torch.atanh(radius.clamp(max=DISC)), torch.stack([x, y], -1)) / math.sqrt(-k)
        x, y = x.where(inside, torch.nan), y.where(inside, torch.nan)
    with torch.inference_mode():
        z = model.latent.expmap0(tangent.to(device_of(model), torch.get_default_dtype()))
    coordinates = torch.stack([x, y], -1).float().numpy()
    return {"grid_kind": np.array(kind), "grid_coordinates": coordinates, "z": z}


def _plane(codes: Tensor | None, side: int) -> tuple[Tensor, Tensor]:
    if codes is None:
        return _axes((-EXTENT, EXTENT), (-EXTENT, EXTENT), side)
    low, high = np.quantile(codes.double().cpu().numpy(), [0.01, 0.99], axis=0)
    return _axes((low[0], high[0]), (low[1], high[1]), side)


def _axes(
    across: tuple[float, float], up: tuple[float, float], side: int, centres: bool = False
) -> tuple[Tensor, Tensor]:
    """Float64 x and y [side, side] of a regular grid, y falling with the row; from edge to edge, or cell centres."""

    def axis(low: float, high: float) -> Tensor:
        margin = (high - low) / (2 * side) if centres else 0.0
        return torch.linspace(low + margin, high - margin, side, dtype=torch.float64)

    y, x = torch.meshgrid(axis(*up).flip(0), axis(*across), indexing="ij")
    return x, y


def _polar(length: Tensor, direction: Tensor) -> Tensor:
    """Vectors of given length [...] along direction [..., 2]; zero where the direction is."""
    return length.unsqueeze(-1) * torch.nn.functional.normalize(direction, dim=-1)
