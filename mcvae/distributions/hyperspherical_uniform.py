"""The uniform distribution on the unit sphere: the prior of von Mises-Fisher and power spherical posteriors."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints, register_kl

from .radial import random_direction


class OnUnitSphere(constraints.Constraint):
    """Unit vectors [..., dim + 1], up to the square root of the rounding error."""

    event_dim = 1

    def __init__(self, dim: int):
        self.dim = dim
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        """Whether each vector lies on the sphere; bool [...]."""
        error = (value.square().sum(-1) - 1).abs()
        return (error <= torch.finfo(value.dtype).eps ** 0.5) & (value.shape[-1] == self.dim + 1)

    def __repr__(self) -> str:
        return f"a unit vector of {self.dim + 1} coordinates"


class HypersphericalUniform(Distribution):
    """The uniform distribution on S^dim in R^(dim+1), of density 1/area.

    Args:
        dim: dimension of the sphere, not of the space around it.
        batch_shape: of the distribution.
        dtype, device: of the draws; torch's defaults unless given.

    Raises:
        ValueError: for dim below 1.
    """

    has_rsample = True
    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 (torch's own declaration)

    def __init__(
        self,
        dim: int,
        batch_shape: Sequence[int] = (),
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
        validate_args: bool | None = None,
    ):
        if dim < 1:
            raise ValueError(f"{type(self).__name__}: dim={dim}; a sphere has at least one dimension")
        self.dim, self.dtype, self.device = dim, torch.get_default_dtype() if dtype is None else dtype, device
        super().__init__(torch.Size(batch_shape), torch.Size((dim + 1,)), validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:
        """The unit sphere."""
        return OnUnitSphere(self.dim)

    def expand(
        self, batch_shape: Sequence[int], _instance: "HypersphericalUniform | None" = None
    ) -> "HypersphericalUniform":
        """The same distribution with another batch shape."""
        new = self._get_checked_instance(HypersphericalUniform, _instance)
        new.dim, new.dtype, new.device = self.dim, self.dtype, self.device
        super(HypersphericalUniform, new).__init__(torch.Size(batch_shape), self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draws [*sample_shape, *batch_shape, dim + 1]."""
        return random_direction(self._extended_shape(sample_shape), dtype=self.dtype, device=self.device)

    def log_prob(self, value: Tensor) -> Tensor:
        """-log area for ``value`` [..., dim + 1]; [...]."""
        if self._validate_args:
            self._validate_sample(value)
        # Broadcast by arithmetic, which also works on the batches of torch.func.vmap.
        return torch.zeros_like(value[..., 0]) - self.entropy().to(value.dtype)

    def entropy(self) -> Tensor:
        """log area; batch_shape."""
        return torch.full(self.batch_shape, log_area(self.dim), dtype=self.dtype, device=self.device)

    @property
    def mean(self) -> Tensor:
        """The mean in R^(dim+1), which is 0."""
        return torch.zeros(self._extended_shape(), dtype=self.dtype, device=self.device)

    @property
    def variance(self) -> Tensor:
        """1 / (dim + 1) along every axis."""
        return torch.full(self._extended_shape(), 1 / (self.dim + 1), dtype=self.dtype, device=self.device)


def log_area(dim: int) -> float:
    """log of the area of the unit sphere S^dim, 2 π^((dim+1)/2) / Γ((dim+1)/2)."""
    half = (dim + 1) / 2
    return math.log(2) + half * math.log(math.pi) - math.lgamma(half)


def require_equal_dims(q: Distribution, p: Distribution) -> None:
    """Refuse a divergence between distributions on different spheres.

    Raises:
        ValueError: naming both.
    """
    if q.dim != p.dim:
        names = " and ".join(f"{type(d).__name__} of dim={d.dim}" for d in (q, p))
        raise ValueError(f"KL divergence between {names}; both must lie on one sphere")


@register_kl(HypersphericalUniform, HypersphericalUniform)
def _kl_uniform(q: HypersphericalUniform, p: HypersphericalUniform) -> Tensor:
    """0."""
    require_equal_dims(q, p)
    return q.entropy() - p.entropy()
