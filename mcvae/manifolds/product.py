"""Products of manifolds: points are the factors' points side by side in one flat vector; verbs act factor by factor."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from .base import Manifold
from .shapes import broadcast_shapes
from .trigonometry import safe_sqrt


class ProductManifold(nn.Module):
    """M₁ x M₂ x …, with flat points [..., ambient_dim] and flat frame coordinates [..., dim].

    A factor of ``count`` stacked copies takes count · ambient_dim coordinates and stays one tensor operation. Squared
    distances, inner products and log-determinants are sums over the factors. The verbs are those of
    :class:`~mcvae.manifolds.base.Manifold`.

    Raises:
        ValueError: without factors.
    """

    letter = "product"

    def __init__(self, factors: Sequence[Manifold]):
        super().__init__()
        if not factors:
            raise ValueError("ProductManifold: no factors; give at least one manifold")
        self.factors = nn.ModuleList(factors)
        copies = [factor.count or 1 for factor in factors]
        self.dims = [n * factor.dim for n, factor in zip(copies, factors, strict=True)]
        self.ambient_dims = [n * factor.ambient_dim for n, factor in zip(copies, factors, strict=True)]
        self.dim, self.ambient_dim, self.num_components = sum(self.dims), sum(self.ambient_dims), sum(copies)

    @property
    def k(self) -> Tensor:
        """Sectional curvatures of all components, float64 [num_components]."""
        return torch.cat([factor.k.reshape(-1) for factor in self.factors])

    @property
    def batch_shape(self) -> torch.Size:
        """[]: a product is one point."""
        return torch.Size()

    def split(self, x: Tensor) -> list[Tensor]:
        """Flat points [..., ambient_dim] as the factors' points, [..., (count,) ambient_dim of the factor]."""
        return self._split(x, [f.ambient_dim for f in self.factors], self.ambient_dims)

    def split_tangent(self, u: Tensor) -> list[Tensor]:
        """Flat frame coordinates [..., dim] as the factors' coordinates, [..., (count,) dim of the factor]."""
        return self._split(u, [f.dim for f in self.factors], self.dims)

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """Inverts :meth:`split` and :meth:`split_tangent`."""
        flat = [p if f.count is None else p.flatten(-2) for f, p in zip(self.factors, parts, strict=True)]
        if len(flat) == 1:
            return flat[0]
        if any(part.shape[:-1] != flat[0].shape[:-1] for part in flat):
            batch = broadcast_shapes(*(part.shape[:-1] for part in flat))
            flat = [part.expand(*batch, -1) for part in flat]
        return torch.cat(flat, -1)

    def _split(self, x: Tensor, sizes: list[int], widths: list[int]) -> list[Tensor]:
        if x.shape[-1] != sum(widths):
            raise ValueError(
                f"{self._get_name()}: vectors of shape {list(x.shape)}; the last axis must be {sum(widths)}"
            )
        parts = x.split(widths, -1)
        return [
            part if factor.count is None else part.unflatten(-1, (factor.count, size))
            for factor, part, size in zip(self.factors, parts, sizes, strict=True)
        ]

    def _map(self, verb: Callable[..., Tensor], *arguments: Sequence[Tensor]) -> Tensor:
        return self.join([verb(*each) for each in zip(self.factors, *arguments, strict=True)])

    def _sum(self, verb: Callable[..., Tensor], *arguments: Sequence[Tensor]) -> Tensor:
        values = [verb(*each) for each in zip(self.factors, *arguments, strict=True)]
        return sum(v if f.count is None else v.sum(-1) for f, v in zip(self.factors, values, strict=True))

    def origin(self, *shape: int, dtype: torch.dtype | None = None, device: torch.device | None = None) -> Tensor:
        return self._map(lambda f: f.origin(*shape, dtype=dtype, device=device))

    def random(self, *shape: int, dtype: torch.dtype | None = None, device: torch.device | None = None) -> Tensor:
        return self._map(lambda f: f.random(*shape, dtype=dtype, device=device))

    def expmap0(self, u: Tensor) -> Tensor:
        return self._map(lambda f, u: f.expmap0(u), self.split_tangent(u))

    def logmap0(self, x: Tensor) -> Tensor:
        return self._map(lambda f, x: f.logmap0(x), self.split(x))

    def expmap_frame(self, x: Tensor, u: Tensor) -> Tensor:
        return self._map(lambda f, x, u: f.expmap_frame(x, u), self.split(x), self.split_tangent(u))

    def logmap_frame(self, x: Tensor, y: Tensor) -> Tensor:
        return self._map(lambda f, x, y: f.logmap_frame(x, y), self.split(x), self.split(y))

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        return self._map(lambda f, x, u: f.expmap(x, u), self.split(x), self.split(u))

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        return self._map(lambda f, x, y: f.logmap(x, y), self.split(x), self.split(y))

    def transp(self, x: Tensor, y: Tensor, u: Tensor) -> Tensor:
        return self._map(lambda f, x, y, u: f.transp(x, y, u), self.split(x), self.split(y), self.split(u))

    def transp0(self, y: Tensor, u: Tensor) -> Tensor:
        return self._map(lambda f, y, u: f.transp0(y, u), self.split(y), self.split_tangent(u))

    def transp0back(self, x: Tensor, u: Tensor) -> Tensor:
        return self._map(lambda f, x, u: f.transp0back(x, u), self.split(x), self.split(u))

    def inner(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        return self._sum(lambda f, x, u, v: f.inner(x, u, v), self.split(x), self.split(u), self.split(v))

    def norm(self, x: Tensor, u: Tensor) -> Tensor:
        return safe_sqrt(self._sum(lambda f, x, u: f.norm(x, u).square(), self.split(x), self.split(u)))

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        return safe_sqrt(self._sum(lambda f, x, y: f.dist(x, y).square(), self.split(x), self.split(y)))

    def geodesic(self, t: float | Tensor, x: Tensor, y: Tensor) -> Tensor:
        t = t.unsqueeze(-1) if isinstance(t, Tensor) else t
        return self.expmap_frame(x, t * self.logmap_frame(x, y))

    def projx(self, x: Tensor) -> Tensor:
        return self._map(lambda f, x: f.projx(x), self.split(x))

    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        return self._map(lambda f, x, u: f.proju(x, u), self.split(x), self.split(u))

    def logdetexp0(self, u: Tensor) -> Tensor:
        return self._sum(lambda f, u: f.logdetexp0(u), self.split_tangent(u))

    def logdetexp(self, x: Tensor, u: Tensor) -> Tensor:
        return self._sum(lambda f, x, u: f.logdetexp(x, u), self.split(x), self.split(u))

    def contains(self, x: Tensor) -> Tensor:
        return self._sum(lambda f, x: (~f.contains(x)).int(), self.split(x)) == 0
