"""Pictures of what the latent space of faces is made of: geodesics, directions of attributes, axes of components.

All are decoder means; float16 in [0, 1], as nobody sees the difference.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .attributes import chosen_attributes, class_directions
from .generation import decoded

PAIRS, STEPS = 5, 9
DIRECTIONS, REACH = 6, 2.0  # of attributes: how many, and how far in differences of class means
AXES, AXIS_REACH = 6, 3.0  # of components: rows in all, and how far in standard deviations


def face_pictures(
    model: torch.nn.Module,
    test: dict[str, Tensor],
    loc: Tensor,
    tangent: Tensor,
    attributes: Tensor,
    names: Sequence[str],
) -> dict[str, np.ndarray]:
    """The arrays of a run's figures.

    ``interpolations`` [5, 9, *shape] along geodesics between posterior locations, ``interpolation_ends``
    [5, 2, *shape], the test pictures that they join; ``attribute_directions`` [6, 9, *shape], ``direction_attributes``
    (their names); ``traversals`` [6, 9, *shape], ``traversal_components`` (the component of each row).

    Args:
        loc: [N, ambient_dim], of the test split. tangent: [n, dim], logmap0 of training records with ``attributes``
            [n, A].
    """
    return (
        _interpolations(model, test["images"], loc)
        | _directions(model, loc, tangent, attributes, list(names))
        | _traversals(model, loc)
    )


def _half(pictures: np.ndarray, rows: int) -> np.ndarray:
    return pictures.reshape(rows, -1, *pictures.shape[1:]).astype(np.float16)


def _interpolations(model: torch.nn.Module, images: Tensor, loc: Tensor) -> dict[str, np.ndarray]:
    """Between the first test records: the first and second, the third and fourth, and so on."""
    number = min(PAIRS, len(loc) // 2)
    starts, ends = loc[0 : 2 * number : 2], loc[1 : 2 * number : 2]
    times = torch.linspace(0, 1, STEPS, dtype=loc.dtype, device=loc.device)
    path = model.latent.manifold.geodesic(times, starts.unsqueeze(1), ends.unsqueeze(1))
    shown = images[: 2 * number].reshape(number, 2, *images.shape[1:])
    return {
        "interpolations": _half(decoded(model, path.flatten(0, 1)), number),
        "interpolation_ends": (shown.float() / 255).numpy().astype(np.float16),
    }


def _directions(
    model: torch.nn.Module, loc: Tensor, tangent: Tensor, attributes: Tensor, names: list[str]
) -> dict[str, np.ndarray]:
    """One test record moved along the difference of class means, carried from the origin by parallel transport."""
    chosen = chosen_attributes(names, attributes, DIRECTIONS)
    along = class_directions(tangent, attributes.to(tangent.device))[chosen]
    times = torch.linspace(-REACH, REACH, STEPS, dtype=loc.dtype, device=loc.device)
    start = loc[:1].expand(len(chosen), -1).unsqueeze(1)
    path = model.latent.manifold.expmap_frame(start, times.unsqueeze(-1) * along.unsqueeze(1))
    return {
        "attribute_directions": _half(decoded(model, path.flatten(0, 1)), len(chosen)),
        "direction_attributes": np.array([names[index] for index in chosen]),
    }


def _traversals(model: torch.nn.Module, loc: Tensor) -> dict[str, np.ndarray]:
    """One test record moved within one component, along the directions in which the records differ most there.

    Directions are principal axes of the tangent coordinates of all records, carried from the origin to the record; the
    rows are shared out evenly among the components, the first of which get what is left over.
    """
    components = [component.dim for component in model.latent.components]
    tangent = model.latent.logmap0(loc)
    shares = [AXES // len(components) + (index < AXES % len(components)) for index in range(len(components))]
    axes, owners, start = [], [], 0
    for index, (dim, share) in enumerate(zip(components, shares, strict=True)):
        part = tangent[:, start : start + dim]
        _, spread, along = torch.linalg.svd(part - part.mean(0), full_matrices=False)
        for row in range(min(share, dim, len(spread))):
            axis = torch.zeros_like(tangent[0])
            axis[start : start + dim] = along[row] * spread[row] / len(part) ** 0.5
            axes.append(axis)
            owners.append(index)
        start += dim
    times = torch.linspace(-AXIS_REACH, AXIS_REACH, STEPS, dtype=loc.dtype, device=loc.device)
    begin = loc[:1].expand(len(axes), -1).unsqueeze(1)
    path = model.latent.manifold.expmap_frame(begin, times.unsqueeze(-1) * torch.stack(axes).unsqueeze(1))
    return {
        "traversals": _half(decoded(model, path.flatten(0, 1)), len(axes)),
        "traversal_components": np.array([model.latent.labels[owner] for owner in owners]),
    }
