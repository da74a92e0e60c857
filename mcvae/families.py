"""Families of distributions on a component of a latent space: the posterior's head and the prior of each.

A family reads a posterior off a linear output [..., parameter_dim]; ``count`` copies are one tensor operation.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional

from .distributions import (
    HypersphericalUniform,
    OnSphere,
    PowerSpherical,
    RiemannianNormal,
    VonMisesFisher,
    WrappedNormal,
    largest_scale,
)
from .manifolds import Manifold
from .manifolds.fused import Fused, Gradients
from .signature import Component

SMALLEST_SCALE = 1e-5
SMALLEST_CONCENTRATION = 1.0


class Family(nn.Module, ABC):
    """Head and prior of a component; parameters of a posterior are those of ``widths``, one after the other.

    Args:
        component: with its count; options such as ``iso`` are the family's business.
        prior_scale: ``fixed`` at 1, or ``learned``: one positive number a copy (of no use to a uniform prior).
        principal: wrapped normals on spheres without windings.
    """

    widths: list[int]

    def __init__(self, component: Component, *, prior_scale: str, principal: bool):
        super().__init__()
        self.dim, self.count = component.dim, component.count

    @property
    def parameter_dim(self) -> int:
        """Number of parameters of a posterior."""
        return sum(self.widths)

    @abstractmethod
    def posterior(self, manifold: Manifold, parameters: Tensor, validate_args: bool) -> Distribution:
        """The posterior of unconstrained parameters [..., parameter_dim]."""

    @abstractmethod
    def prior(self, manifold: Manifold, validate_args: bool) -> Distribution:
        """The prior."""


class NormalFamily(Family):
    """(Wrapped) normals: loc = expmap0(linear), scale = softplus + 1e-5, one a dimension or (``iso``) one a copy.

    The prior lies at the origin with scale 1, or a learned one.
    """

    def __init__(self, component: Component, *, prior_scale: str, principal: bool):
        super().__init__(component, prior_scale=prior_scale, principal=principal)
        self.principal = principal
        self.scale_dim = self._scale_dim(component)
        self.widths = [self.count * self.dim, self.count * self.scale_dim]
        if prior_scale == "learned":
            self.log_prior_scale = nn.Parameter(torch.zeros(self.count, 1))
        else:
            self.register_buffer("log_prior_scale", torch.zeros(self.count, 1), persistent=False)

    def posterior(self, manifold: Manifold, parameters: Tensor, validate_args: bool) -> Distribution:
        loc, scale = parameters.split(self.widths, -1)
        loc = manifold.expmap0(loc.unflatten(-1, (-1, self.dim)))
        scale = functional.softplus(scale).unflatten(-1, (-1, self.scale_dim)) + SMALLEST_SCALE
        return self._normal(manifold, loc, scale, validate_args)

    def prior(self, manifold: Manifold, validate_args: bool) -> Distribution:
        return self._normal(manifold, None, self.log_prior_scale.exp(), validate_args)

    def _scale_dim(self, component: Component) -> int:
        return 1 if component.iso else component.dim

    def _normal(self, manifold: Manifold, loc: Tensor | None, scale: Tensor, validate_args: bool) -> Distribution:
        return WrappedNormal(manifold, loc, scale, principal=self.principal, remember=True, validate_args=validate_args)


class RiemannianFamily(NormalFamily):
    """Riemannian normals: as :class:`NormalFamily`, with one scale, kept within what the floating point can carry."""

    def _scale_dim(self, component: Component) -> int:
        return 1

    def _normal(self, manifold: Manifold, loc: Tensor | None, scale: Tensor, validate_args: bool) -> Distribution:
        largest = largest_scale(manifold, scale.dtype)
        # The prior keeps its scale to the last; a posterior's bends towards the limit and never loses its gradient.
        scale = torch.minimum(scale, largest) if loc is None else scale * (1 + (scale / largest) ** 4) ** -0.25
        return RiemannianNormal(manifold, loc, scale, remember=True, validate_args=validate_args)


class SphericalFamily(Family):
    """Distributions about a direction on the sphere: loc = linear / |linear|, concentration = softplus + 1.

    The prior is uniform, so a learned prior scale changes nothing.
    """

    distribution: type[Distribution]

    def __init__(self, component: Component, *, prior_scale: str, principal: bool):
        super().__init__(component, prior_scale=prior_scale, principal=principal)
        self.widths = [self.count * (self.dim + 1), self.count]
        self.register_buffer("pole", torch.eye(self.dim + 1)[0], persistent=False)

    def posterior(self, manifold: Manifold, parameters: Tensor, validate_args: bool) -> Distribution:
        loc, concentration = parameters.split(self.widths, -1)
        loc = _DIRECTION(loc.unflatten(-1, (-1, self.dim + 1)), self.pole)
        concentration = functional.softplus(concentration) + SMALLEST_CONCENTRATION
        base = self.distribution(loc, concentration, validate_args=validate_args)
        return OnSphere(manifold, base, validate_args=validate_args)

    def prior(self, manifold: Manifold, validate_args: bool) -> Distribution:
        base = HypersphericalUniform(
            self.dim, (self.count,), dtype=self.pole.dtype, device=self.pole.device, validate_args=validate_args
        )
        return OnSphere(manifold, base, validate_args=validate_args)


def _direction(x: Tensor, pole: Tensor) -> Tensor:
    """x / |x|; for x = 0, as of a head that starts there, the pole with the derivative of a unit length."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    nowhere = length == 0
    return torch.where(nowhere, pole + x, x / length.masked_fill(nowhere, 1.0))


def _direction_forward(x: Tensor, pole: Tensor) -> tuple[Tensor, ...]:
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    nowhere = length == 0
    length = length.masked_fill(nowhere, 1.0)
    return torch.where(nowhere, pole, x / length), length, nowhere


def _direction_backward(needed: Sequence[bool], grad: Tensor, result: Tensor, *known: Tensor) -> Gradients:
    length, nowhere, _, _ = known
    along = (grad * result).sum(-1, keepdim=True).masked_fill(nowhere, 0.0)
    return torch.addcmul(grad, result, along, value=-1) / length, None


_DIRECTION = Fused(_direction, _direction_forward, _direction_backward)


class VonMisesFisherFamily(SphericalFamily):
    """von Mises-Fisher posteriors (Davidson et al. 2018)."""

    distribution = VonMisesFisher


class PowerSphericalFamily(SphericalFamily):
    """Power spherical posteriors (De Cao & Aziz 2020)."""

    distribution = PowerSpherical


# family of the signature language -> head and prior
FAMILIES: dict[str | None, type[Family]] = {
    None: NormalFamily,
    "wn": NormalFamily,
    "vmf": VonMisesFisherFamily,
    "ps": PowerSphericalFamily,
    "rn": RiemannianFamily,
}
