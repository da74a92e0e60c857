"""A first decoder layer that respects the geometry: signed distances to learned hyperplanes of the latent space.

The gyroplane layer of Mathieu et al. (2019), after Ganea et al. (2018): on flat space, a linear layer.
"""

import math

import torch
from torch import Tensor, nn

from ..manifolds import Manifold, ProductManifold
from ..manifolds.trigonometry import angle_ratio, asinh_ratio, sin_ratio


class GyroplaneLayer(nn.Module):
    """f_j(z) = |a_j| times the signed distance of z to the hyperplane through p_j = expmap0(b_j) with normal a_j.

    On flat space that is a_j · (z - p_j), a linear layer; elsewhere, for the normal coordinates w of z at p_j,
    |a_j| asin_k(sin_k(|w|) w · a_j / (|w| |a_j|)), with sin_k(r) = sin(√k r) / √k, r, sinh(√-k r) / √-k, and its
    inverse. On a product, and over stacked copies, the distances to the hyperplanes of the factors are added up.

    Attributes:
        weight: the normals a, [width, dim], in the frame at p (transported from the origin).
        offset: the frame coordinates b of p at the origin, [width, dim].

    Raises:
        ValueError: for a width below 1.
    """

    def __init__(self, manifold: Manifold | ProductManifold, width: int):
        super().__init__()
        if width < 1:
            raise ValueError(f"{self._get_name()}: width={width}; a layer has at least one output")
        # In a tuple: the manifold is the latent space's, whose parameters must not appear a second time in a model.
        self._manifold = (manifold if isinstance(manifold, ProductManifold) else ProductManifold([manifold]),)
        self.width = width
        self.weight = nn.Parameter(torch.empty(width, self.manifold.dim))
        self.offset = nn.Parameter(torch.empty(width, self.manifold.dim))
        self.reset_parameters()

    @property
    def manifold(self) -> ProductManifold:
        """Where the points lie; not a submodule, so that its curvatures are parameters of its owner only."""
        return self._manifold[0]

    def reset_parameters(self) -> None:
        """Draws from torch's default stream: normals as ``nn.Linear``'s, a · b of the variance of its bias."""
        nn.init.uniform_(self.weight, -(self.manifold.dim**-0.5), self.manifold.dim**-0.5)
        nn.init.uniform_(self.offset, -math.sqrt(3 / self.manifold.dim), math.sqrt(3 / self.manifold.dim))

    def extra_repr(self) -> str:
        """Width, for ``print``."""
        return f"width={self.width}"

    def forward(self, z: Tensor) -> Tensor:
        """Points z [..., ambient_dim] to [..., width].

        Raises:
            ValueError: for another last axis.
        """
        if z.shape[-1] != self.manifold.ambient_dim:
            shape, name = list(z.shape), self._get_name()
            raise ValueError(f"{name}: points of shape {shape}; the last axis must be {self.manifold.ambient_dim}")
        flat = z.reshape(-1, self.manifold.ambient_dim)
        widths, dims = self.manifold.ambient_dims, self.manifold.dims
        parts = zip(flat.split(widths, -1), self.weight.split(dims, -1), self.offset.split(dims, -1), strict=True)
        values = [_distances(f, *each) for f, each in zip(self.manifold.factors, parts, strict=True)]
        return sum(values[1:], values[0]).reshape(*z.shape[:-1], self.width)


def _distances(manifold: Manifold, z: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Σ over the copies of |a| times the signed distances, [N, width], of z [N, copies · ambient_dim].

    With S = sin_k(r) v and cos = cos(√k r) for z = exp(r v), sin_k(|w|) w · a / |w| is N·S - c cos, where

        N = a - k b (a·b) ½ sinc²(√k |b| / 2),    c = sinc(√k |b|) a·b,    sinc(θ) = sin θ / θ.

    (cos, S) is the place of z on the sphere or hyperboloid, (c, N) that of the normal at p, and their product is the
    same wherever it is taken: all hyperplanes cost one matrix product, and nothing is singular in b.
    """
    copies = manifold.count or 1
    z, a, b = (v.unflatten(-1, (copies, -1)).transpose(0, 1) for v in (z, a, b))
    along = (a * b).sum(-1, keepdim=True)
    if manifold.letter == "e":
        return torch.baddbmm(-along.mT, z, a.mT).sum(0)
    k, sign = manifold.k.to(z).reshape(-1, 1, 1), manifold.sign or 0
    t = k * b.square().sum(-1, keepdim=True)
    normal = (a - b * (0.5 * k * along * sin_ratio(t / 4, sign).square())).mT
    shift = (along * sin_ratio(t, sign)).mT
    if manifold.letter in "sh":  # z is (cos / √|k|, S)
        sine = z @ torch.cat([-k.abs().sqrt() * shift, normal], -2)
    else:  # S = factor · z, cos = factor - 1
        factor = 2 / (1 + k * z.square().sum(-1, keepdim=True))
        sine = torch.addcmul(shift, factor, z @ normal - shift)
    length = a.square().sum(-1, keepdim=True).mT.clamp_min(torch.finfo(a.dtype).tiny)
    return (sine * _asin_ratio(k * sine.square() / length, sign)).sum(0)


def _asin_ratio(t: Tensor, sign: int) -> Tensor:
    """asin(√t) / √t for t >= 0, asinh(√-t) / √-t for t <= 0; with a finite gradient at t = 1, the poles."""
    if sign < 0:
        return asinh_ratio(t)
    t = t.clamp_max(1.0)
    return angle_ratio(t, (1 - t).clamp_min(torch.finfo(t.dtype).eps).sqrt(), sign)
