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
from .reach import LARGEST_RADIUS
from .signature import Component

SMALLEST_SCALE = 1e-5
SMALLEST_CONCENTRATION = 1.0
MOST_UNBOUND = 12  # dimensions of a hyperbolic space whose normals may lie and spread as they like
SPREAD = 1.25  # of the lengths of normal vectors, in scale √dim, that stay within a bound
TINY_CURVATURE = 1e-6
LARGEST_EXPONENT = 12.0  # of a concentration: e^12 dim is a point as far as single precision can tell


class Family(nn.Module, ABC):
    """Head and prior of a component; parameters of a posterior are those of ``widths``, one after the other.

    Args:
        component: with its count; options such as ``iso`` are the family's business.
        prior_scale: ``fixed`` at 1, or ``learned``: one positive number a copy (of no use to a uniform prior).
        principal: wrapped normals on spheres without windings.
        concentration: what posteriors about a direction make of it: ``softplus`` or ``exponential``.
    """

    widths: list[int]

    def __init__(self, component: Component, *, prior_scale: str, principal: bool, concentration: str = "softplus"):
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


def _bent(x: Tensor, limit: Tensor) -> Tensor:
    """x up to half of the limit, bending towards the limit beyond, with a gradient everywhere."""
    half = 0.5 * limit
    over = (x - half).clamp_min(0)
    return torch.minimum(x, half) + over / (1 + over / half)


def _shortened(u: Tensor, limit: Tensor) -> Tensor:
    """Vectors [..., dim] with lengths bent as by :func:`_bent`."""
    length = torch.linalg.vector_norm(u, dim=-1, keepdim=True)
    far = length > 0.5 * limit
    return u * torch.where(far, _bent(length, limit) / length.masked_fill(~far, 1.0), 1.0)


class NormalFamily(Family):
    """(Wrapped) normals: loc = expmap0(linear), scale = softplus + 1e-5, one a dimension or (``iso``) one a copy.

    The prior lies at the origin with scale 1, or a learned one.

    In hyperbolic spaces of more than 12 dimensions both bend towards half each of what the floating point can carry
    (see :mod:`mcvae.reach`). Points end there, but log q goes on: without a bound, log q - log p falls with every step
    farther out, to minus millions, and training finds it. Up to half of the bound nothing changes.
    """

    bends = True

    def __init__(self, component: Component, *, prior_scale: str, principal: bool, concentration: str = "softplus"):
        super().__init__(component, prior_scale=prior_scale, principal=principal, concentration=concentration)
        self.principal = principal
        self.scale_dim = self._scale_dim(component)
        self.widths = [self.count * self.dim, self.count * self.scale_dim]
        bent = self.bends and component.dim > MOST_UNBOUND and component.letter in "hpu"
        self.radii = LARGEST_RADIUS["h" if component.letter == "h" else "p"] if bent else None
        if prior_scale == "learned":
            self.log_prior_scale = nn.Parameter(torch.zeros(self.count, 1))
        else:
            self.register_buffer("log_prior_scale", torch.zeros(self.count, 1), persistent=False)

    def posterior(self, manifold: Manifold, parameters: Tensor, validate_args: bool) -> Distribution:
        loc, scale = parameters.split(self.widths, -1)
        loc = loc.unflatten(-1, (-1, self.dim))
        scale = functional.softplus(scale).unflatten(-1, (-1, self.scale_dim)) + SMALLEST_SCALE
        if self.radii is not None:
            reach = self.radii[str(scale.dtype).removeprefix("torch.")]
            half = (0.5 * reach * manifold.k.clamp_max(-TINY_CURVATURE).neg().rsqrt()).to(scale).unsqueeze(-1)
            loc, scale = _shortened(loc, half), _bent(scale, half / (SPREAD * self.dim**0.5))
        loc = manifold.expmap0(loc)
        return self._normal(manifold, loc, scale, validate_args)

    def prior(self, manifold: Manifold, validate_args: bool) -> Distribution:
        return self._normal(manifold, None, self.log_prior_scale.exp(), validate_args)

    def _scale_dim(self, component: Component) -> int:
        return 1 if component.iso else component.dim

    def _normal(self, manifold: Manifold, loc: Tensor | None, scale: Tensor, validate_args: bool) -> Distribution:
        return WrappedNormal(manifold, loc, scale, principal=self.principal, remember=True, validate_args=validate_args)


class RiemannianFamily(NormalFamily):
    """Riemannian normals: as :class:`NormalFamily`, with one scale, kept within what the floating point can carry."""

    bends = False

    def _scale_dim(self, component: Component) -> int:
        return 1

    def _normal(self, manifold: Manifold, loc: Tensor | None, scale: Tensor, validate_args: bool) -> Distribution:
        largest = largest_scale(manifold, scale.dtype)
        # The prior keeps its scale to the last; a posterior's bends towards the limit and never loses its gradient.
        scale = torch.minimum(scale, largest) if loc is None else scale * (1 + (scale / largest) ** 4) ** -0.25
        return RiemannianNormal(manifold, loc, scale, remember=True, validate_args=validate_args)


class SphericalFamily(Family):
    """Distributions about a direction on the sphere: loc = linear / |linear|, concentration = softplus + 1.

    ``exponential`` is concentration = 1 + dim e^x, x = the linear output, bent to stay within ±12. Points spread over
    1/√concentration, of the sphere's coordinates 1/√(dim + 1): to say much about a record in many dimensions takes
    concentrations of dim times 10² to 10⁵, which a softplus, linear far out, does not reach in the steps that it has.

    The prior is uniform, so a learned prior scale changes nothing.
    """

    distribution: type[Distribution]

    def __init__(self, component: Component, *, prior_scale: str, principal: bool, concentration: str = "softplus"):
        super().__init__(component, prior_scale=prior_scale, principal=principal, concentration=concentration)
        self.widths = [self.count * (self.dim + 1), self.count]
        self.exponential = concentration == "exponential"
        self.register_buffer("pole", torch.eye(self.dim + 1)[0], persistent=False)

    def posterior(self, manifold: Manifold, parameters: Tensor, validate_args: bool) -> Distribution:
        loc, concentration = parameters.split(self.widths, -1)
        loc = _DIRECTION(loc.unflatten(-1, (-1, self.dim + 1)), self.pole)
        if self.exponential:
            grown = self.dim * (LARGEST_EXPONENT * torch.tanh(concentration / LARGEST_EXPONENT)).exp()
        else:
            grown = functional.softplus(concentration)
        concentration = grown + SMALLEST_CONCENTRATION
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
