"""Flat space: the manifold on which every verb is addition, and the limit of all others as k -> 0."""

import torch
from torch import Tensor

from .base import Manifold
from .trigonometry import safe_sqrt


class Euclidean(Manifold):
    """R^dim with the usual metric; ``k`` is 0 and only there so that all manifolds are made alike."""

    letter, sign = "e", 0

    def __init__(self, dim: int, k: float = 0.0, learn: bool = False, count: int | None = None):
        super().__init__(dim, k, learn, count)

    def expmap0(self, u: Tensor) -> Tensor:
        return u

    def logmap0(self, x: Tensor) -> Tensor:
        return x

    def expmap_frame(self, x: Tensor, u: Tensor) -> Tensor:
        return x + u

    def logmap_frame(self, x: Tensor, y: Tensor) -> Tensor:
        return y - x

    def transp0(self, y: Tensor, u: Tensor) -> Tensor:
        return u

    def transp0back(self, x: Tensor, u: Tensor) -> Tensor:
        return u

    def transp(self, x: Tensor, y: Tensor, u: Tensor) -> Tensor:
        return u

    def projx(self, x: Tensor) -> Tensor:
        return x

    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        return u

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        return safe_sqrt((x - y).square().sum(-1))

    def logdetexp0(self, u: Tensor) -> Tensor:
        return u.new_zeros(u.shape[:-1])

    def contains(self, x: Tensor) -> Tensor:
        return torch.isfinite(x).all(-1)
