"""Pictures of a face that is moved along the directions of attributes in the latent space.

All are decoder means; float16 in [0, 1], as nobody sees the difference.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .attributes import chosen_attributes, class_directions
from .generation import decoded

STEPS = 9
DIRECTIONS, REACH = 6, 2.0  # of attributes: how many, and how far in differences of class means


def face_pictures(
    model: torch.nn.Module, loc: Tensor, tangent: Tensor, attributes: Tensor, names: Sequence[str]
) -> dict[str, np.ndarray]:
    """One test record moved along the difference of class means, carried from the origin by parallel transport.

    ``attribute_directions`` [6, 9, *shape], ``direction_attributes`` (their names).

    Args:
        loc: [N, ambient_dim], of the test split. tangent: [n, dim], logmap0 of training records with ``attributes``
            [n, A].
    """
    chosen = chosen_attributes(list(names), attributes, DIRECTIONS)
    along = class_directions(tangent, attributes.to(tangent.device))[chosen]
    times = torch.linspace(-REACH, REACH, STEPS, dtype=loc.dtype, device=loc.device)
    start = loc[:1].expand(len(chosen), -1).unsqueeze(1)
    path = model.latent.manifold.expmap_frame(start, times.unsqueeze(-1) * along.unsqueeze(1))
    pictures = decoded(model, path.flatten(0, 1))
    return {
        "attribute_directions": pictures.reshape(len(chosen), -1, *pictures.shape[1:]).astype(np.float16),
        "direction_attributes": np.array([names[index] for index in chosen]),
    }
