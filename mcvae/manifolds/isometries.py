"""Between the models of one space: hyperboloid and ball, sphere and its projection, and κ-stereographic space."""

from collections.abc import Callable

import torch
from torch import Tensor

from . import hyperboloid, sphere
from .base import Manifold, split
from .stereographic import projx


def isometry(source: Manifold, target: Manifold) -> Callable[[Tensor], Tensor]:
    """The isometry of ``source`` onto ``target`` that keeps the origin and its frame, of equal dimension and curvature.

    It equals ``target.expmap0(source.logmap0(x))`` without the logarithm: x R / (R + x₀) from the embedded sphere or
    hyperboloid (coordinates 1 … dim of x) to stereographic coordinates (Skopek et al. 2020, appendix A), 2x / (1 +
    k |x|²) back, and 2x from κ-stereographic space of curvature 0 to Euclidean space.

    Returns:
        A function of points [..., ambient_dim of source] to points [..., ambient_dim of target], differentiable in
        both curvatures.

    Raises:
        ValueError: for spaces of different dimension, curvature or number of copies, which are not isometric.
    """
    same = (source.dim, source.count) == (target.dim, target.count)
    if not same or not torch.allclose(source.k, target.k, rtol=1e-12, atol=0):
        raise ValueError(f"{_name(source)} and {_name(target)} are not isometric; give equal dim, k and count")
    if source.letter == target.letter:
        return lambda x: x
    return lambda x: _from_stereographic(_to_stereographic(x, source), target)


def _to_stereographic(x: Tensor, source: Manifold) -> Tensor:
    k = source._k(x)
    if source.letter == "e":
        return x / 2
    if source.letter == "s":
        first, spatial = split(x)
        radius = k.rsqrt()
        return spatial * (radius / sphere.from_antipode(first, spatial, radius))
    if source.letter == "h":
        first, spatial = split(x)
        radius = (-k).rsqrt()
        return projx(spatial * (radius / (radius + first)), k=k, sign=-1)
    return x


def _from_stereographic(x: Tensor, target: Manifold) -> Tensor:
    k = target._k(x)
    if target.letter == "e":
        return 2 * x
    if target.letter in "sh":
        a = 1 + k * x.square().sum(-1, keepdim=True)
        if target.letter == "h":
            return hyperboloid.lift(x * (2 / a), k=k)
        return torch.cat([k.rsqrt() * (2 / a - 1), x * (2 / a)], -1)
    return x


def _name(manifold: Manifold) -> str:
    return f"{type(manifold).__name__}({manifold.dim}, k={manifold.k.tolist()}, count={manifold.count})"
