"""What distributions on the unit sphere share whose density depends on the angle to ``loc`` alone.

A draw is a normal tangent vector at ``loc``, its length changed to a random angle of exact law and gradient.
"""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from ..manifolds.fused import Fused, Gradients
from ..manifolds.shapes import broadcast_shapes
from . import transport
from .hyperspherical_uniform import OnUnitSphere


class RotationallySymmetric(Distribution):
    """A density on S^dim that grows with loc·x alone; ``loc`` [..., dim + 1] is its mode and its mean direction.

    Raises:
        ValueError: with validation on, for a ``loc`` that is no unit vector, a ``concentration`` [...] outside [0,
            1e15], or vectors of fewer than two coordinates.
    """

    has_rsample = True
    _law: transport.Law  # of the angle

    def __init__(self, loc: Tensor, concentration: Tensor, *, validate_args: bool | None = None):
        if loc.ndim < 1 or loc.shape[-1] < 2:
            raise ValueError(
                f"{type(self).__name__}: loc of shape {list(loc.shape)}; the last axis must be dim + 1, at least 2"
            )
        batch_shape = broadcast_shapes(loc.shape[:-1], concentration.shape)
        self.dim = loc.shape[-1] - 1
        self.loc, self.concentration = loc.expand(*batch_shape, -1), concentration.expand(batch_shape)
        super().__init__(batch_shape, loc.shape[-1:], validate_args=validate_args)

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:
        """What ``loc`` and ``concentration`` must satisfy."""
        return {"loc": self.support, "concentration": constraints.interval(0.0, 1e15)}

    @property
    def support(self) -> constraints.Constraint:
        """The unit sphere."""
        return OnUnitSphere(self.dim)

    def expand(
        self, batch_shape: Sequence[int], _instance: "RotationallySymmetric | None" = None
    ) -> "RotationallySymmetric":
        """The same distribution with parameters expanded to ``batch_shape``."""
        new = self._get_checked_instance(type(self), _instance)
        batch_shape = torch.Size(batch_shape)
        new.dim = self.dim
        new.loc, new.concentration = self.loc.expand(*batch_shape, -1), self.concentration.expand(batch_shape)
        Distribution.__init__(new, batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draws [*sample_shape, *batch_shape, dim + 1], differentiable in loc and concentration without bias."""
        shape = self._extended_shape(sample_shape)[:-1]
        tangent = torch.randn((*shape, self.dim), dtype=self.loc.dtype, device=self.loc.device)
        length = torch.linalg.vector_norm(tangent, dim=-1).double().clamp_min(1e-30)
        angle = self._angle(length, self.concentration.double())
        cosine, sine = angle.cos(), angle.sin() / length
        return turn(self.loc, cosine.to(self.loc.dtype), sine.to(self.loc.dtype), tangent)

    @property
    def mean(self) -> Tensor:
        """The mean in R^(dim+1), inside the sphere: E[loc·x] loc."""
        return self._mean_cosine().to(self.loc.dtype).unsqueeze(-1) * self.loc

    @property
    def mode(self) -> Tensor:
        """``loc``."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        """Variance of each coordinate: that of loc·x along ``loc``, that of the other directions across it."""
        along, across = (each.to(self.loc.dtype).unsqueeze(-1) for each in self._variances())
        square = self.loc.square()
        return along * square + across * (1 - square)

    def _angle(self, length: Tensor, kappa: Tensor) -> Tensor:
        """Angles to loc for the lengths of normal vectors in R^dim, differentiable in kappa; all float64."""
        return transport.angle(self._law, length, kappa, self.dim)

    @abstractmethod
    def _mean_cosine(self) -> Tensor:
        """E[loc·x] in float64, batch_shape."""

    @abstractmethod
    def _variances(self) -> tuple[Tensor, Tensor]:
        """Variances of x along loc and in each direction across it, in float64, batch_shape."""


def turn(loc: Tensor, cosine: Tensor, sine: Tensor, tangent: Tensor) -> Tensor:
    """cosine · loc + sine · t, where t has the coordinates ``tangent`` in an orthonormal frame of tangents at loc.

    The frame is that of the pole (±1, 0, …, 0) nearer to loc, carried to loc along the geodesic. So its derivative in
    loc stays bounded, which no frame on the whole sphere does; it jumps at the equator, where a uniform direction does
    not notice. loc [..., dim + 1], cosine and sine [...], tangent [..., dim]; result [..., dim + 1].
    """
    return _TURN(loc, cosine.unsqueeze(-1), sine.unsqueeze(-1), tangent)


def _turn(loc: Tensor, cosine: Tensor, sine: Tensor, tangent: Tensor) -> Tensor:
    return _turn_forward(loc, cosine, sine, tangent)[0]


def _turn_forward(loc: Tensor, cosine: Tensor, sine: Tensor, tangent: Tensor) -> tuple[Tensor, ...]:
    first, spatial = loc.split((1, loc.shape[-1] - 1), -1)
    south, tangent = first < 0, tangent * sine
    along = (spatial * tangent).sum(-1, keepdim=True)
    steps = along / (1 + torch.where(south, -first, first))
    shift = cosine - steps
    z = torch.cat([first * cosine - torch.where(south, -along, along), torch.addcmul(tangent, spatial, shift)], -1)
    return z, first, spatial, south, tangent, steps, shift


def _turn_backward(needed: Sequence[bool], grad: Tensor, _: Tensor, *known: Tensor) -> Gradients:
    first, spatial, south, turned, steps, shift, _, cosine, sine, tangent = known
    by_first, by_spatial = grad.split((1, spatial.shape[-1]), -1)
    by_shift = (by_spatial * spatial).sum(-1, keepdim=True)
    by_cosine = torch.addcmul(by_shift, by_first, first)
    side = torch.where(south, -1.0, 1.0).to(first.dtype)
    by_shift = by_shift / (1 + side * first)
    by_along = torch.addcmul(by_shift, by_first, side)  # negative
    by_turned = torch.addcmul(by_spatial, spatial, by_along, value=-1)
    by_loc = None
    if needed[0]:
        by_pole = torch.addcmul(by_first * cosine, by_shift * steps, side)
        by_loc = torch.cat([by_pole, torch.addcmul(by_spatial * shift, turned, by_along, value=-1)], -1)
    return by_loc, by_cosine, (by_turned * tangent).sum(-1, keepdim=True), by_turned * sine if needed[3] else None


_TURN = Fused(_turn, _turn_forward, _turn_backward)
