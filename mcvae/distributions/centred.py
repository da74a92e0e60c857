"""What distributions share that are made in the tangent space at a point: z = exp_loc(u) with random u."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from ..manifolds import Manifold
from ..manifolds.shapes import broadcast_shapes
from .support import OnManifold


class Draw(NamedTuple):
    """The last draw z, its normal coordinates u, whether gradients flowed when it was made; noise in u, logdetexp0."""

    z: Tensor | None = None
    u: Tensor | None = None
    requires_grad: bool = False
    grad_enabled: bool = False
    noise: Tensor | None = None
    logdet: Tensor | None = None


class Centred(Distribution):
    """z = exp_loc(u), with u in the frame transported from the origin to ``loc``, of spread ``scale``.

    Args:
        manifold: a single space, or ``count`` stacked copies; then the last batch axis is the copies.
        loc: points [..., ambient_dim]; None for the origin, which saves the transport.
        scale: > 0, [..., w] with a width w that the distribution allows.
        remember: recognise the last draw in ``log_prob``, whose normal coordinates are known exactly and without a
            logarithm. Its log-density then depends on the parameters directly, and no longer through z, which is the
            same to a reparameterised estimate, but not to who differentiates by z alone.

    Raises:
        ValueError: with validation on, for points off the manifold, scales that are not positive, or wrong last axes.
    """

    has_rsample = True

    def __init__(
        self,
        manifold: Manifold,
        loc: Tensor | None,
        scale: Tensor,
        *,
        remember: bool = False,
        validate_args: bool | None = None,
    ):
        self.manifold, self._loc, self.scale = manifold, loc, scale
        self.remember, self._draw = remember, Draw()
        if validate_args or (validate_args is None and Distribution._validate_args):
            self._validate_shapes()
        leading = scale.shape[:-1] if loc is None else broadcast_shapes(loc.shape[:-1], scale.shape[:-1])
        batch_shape = broadcast_shapes(leading, manifold.batch_shape)
        super().__init__(batch_shape, torch.Size((manifold.ambient_dim,)), validate_args=validate_args)

    @property
    def loc(self) -> Tensor:
        """The point at which the density is centred, [..., ambient_dim]."""
        if self._loc is None:
            return self.manifold.origin(dtype=self.scale.dtype, device=self.scale.device)
        return self._loc

    @property
    def mean(self) -> Tensor:
        """``loc``: by the symmetry of exp about it the Fréchet mean, wherever that is unique (always, for k <= 0)."""
        return self.loc.expand(self._extended_shape())

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:
        """What ``loc`` and ``scale`` must satisfy."""
        return {"loc": self.support, "scale": constraints.independent(constraints.positive, 1)}

    @property
    def support(self) -> constraints.Constraint:
        """The manifold."""
        return OnManifold(self.manifold)

    def expand(self, batch_shape: Sequence[int], _instance: "Centred | None" = None) -> "Centred":
        """The same distribution with parameters expanded to ``batch_shape`` (which ends in the copies, if stacked)."""
        new = self._get_checked_instance(type(self), _instance)
        batch_shape = torch.Size(batch_shape)
        new.manifold, new.remember, new._draw = self.manifold, self.remember, Draw()
        new._loc = None if self._loc is None else self._loc.expand(*batch_shape, -1)
        new.scale = self.scale.expand(*batch_shape, -1)
        Distribution.__init__(new, batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def _place(self, u: Tensor, noise: Tensor | None = None) -> Tensor:
        """The points with normal coordinates u at loc, remembered as the last draw if asked for, with the ``noise``."""
        logdet = None
        if self._loc is None:
            z = self.manifold.expmap0(u)
        elif self.remember and noise is not None:
            z, logdet = self.manifold.expmap_frame_logdet(self._loc, u)
        else:
            z = self.manifold.expmap_frame(self._loc, u)
        if self.remember:
            self._draw = Draw(z, u, z.requires_grad, torch.is_grad_enabled(), noise, logdet)
        return z

    def _recalls(self, value: Tensor) -> bool:
        """Whether ``value`` is the last draw, and its coordinates have the gradient that is asked for now.

        They lack it where z was made a leaf since, or drawn without a graph.
        """
        draw = self._draw
        same_graph = value.requires_grad == draw.requires_grad and (draw.grad_enabled or not torch.is_grad_enabled())
        return value is draw.z and same_graph

    def _coordinates(self, value: Tensor) -> Tensor:
        """Normal coordinates of points at loc: of the last draw those that made it, else by the logarithm."""
        if self._recalls(value):
            return self._draw.u
        return self.manifold.logmap0(value) if self._loc is None else self.manifold.logmap_frame(self._loc, value)

    def _widths(self) -> tuple[int, ...]:
        """What the last axis of ``scale`` may be."""
        return (1,)

    def _validate_shapes(self) -> None:
        name, manifold = type(self).__name__, self.manifold
        if not isinstance(manifold, Manifold):
            raise ValueError(
                f"{name}: on a {type(manifold).__name__}; a product has a distribution on each factor, see mcvae.latent"
            )
        if self.scale.shape[-1:] not in [(width,) for width in self._widths()]:
            allowed = " or ".join(map(str, self._widths()))
            raise ValueError(f"{name}: scale of shape {list(self.scale.shape)}; the last axis must be {allowed}")
        if self._loc is not None and self._loc.shape[-1:] != (manifold.ambient_dim,):
            raise ValueError(
                f"{name}: loc of shape {list(self._loc.shape)}; the last axis must be {manifold.ambient_dim}"
            )
