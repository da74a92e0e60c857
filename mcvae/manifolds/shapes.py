"""Broadcast shapes without ``torch.broadcast_shapes``, whose first call imports symbolic algebra (seconds)."""

from collections.abc import Sequence

import torch


def broadcast_shapes(*shapes: Sequence[int]) -> torch.Size:
    """The shape that tensors of the given shapes broadcast to.

    Raises:
        ValueError: naming the shapes, if they do not.
    """
    result = [1] * max(map(len, shapes), default=0)
    for shape in shapes:
        for axis in range(-len(shape), 0):
            if shape[axis] != 1:
                if result[axis] not in (1, shape[axis]):
                    raise ValueError(f"shapes {', '.join(str(list(each)) for each in shapes)} do not broadcast")
                result[axis] = shape[axis]
    return torch.Size(result)
