"""A distribution on the unit sphere carried to spheres of other curvature: points times R = 1/√k."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints, register_kl
from torch.distributions.kl import _KL_REGISTRY

from ..manifolds import Sphere
from ..manifolds.shapes import broadcast_shapes
from .support import OnManifold


class OnSphere(Distribution):
    """z = R x with x of ``base``, a distribution on the unit sphere, and R = 1/√k the radius of ``manifold``.

    log p(z) = log p_base(z/R) + (dim/2) log k, against the area of the sphere of radius R. Divergences do not depend
    on k; draws, densities and entropies do, also for gradients.

    Args:
        manifold: one sphere, or ``count`` stacked copies; then the last batch axis is the copies.
        base: of event shape [dim + 1].

    Raises:
        ValueError: for another manifold or a base of another dimension; with validation on, for values off the sphere.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 (torch's own declaration)

    def __init__(self, manifold: Sphere, base: Distribution, *, validate_args: bool | None = None):
        if not isinstance(manifold, Sphere):
            raise ValueError(f"{type(self).__name__}: on {type(manifold).__name__}; the manifold must be a Sphere")
        if base.event_shape != (manifold.ambient_dim,):
            raise ValueError(
                f"{type(self).__name__}: base of event shape {list(base.event_shape)}; "
                f"on a sphere of dim={manifold.dim} it must be {[manifold.ambient_dim]}"
            )
        batch_shape = broadcast_shapes(base.batch_shape, manifold.batch_shape)
        self.manifold = manifold
        self.base = base if base.batch_shape == batch_shape else base.expand(batch_shape)
        super().__init__(batch_shape, base.event_shape, validate_args=validate_args)

    @property
    def has_rsample(self) -> bool:
        """Whether draws of the base are reparameterised."""
        return self.base.has_rsample

    @property
    def support(self) -> constraints.Constraint:
        """The manifold."""
        return OnManifold(self.manifold)

    def expand(self, batch_shape: Sequence[int], _instance: "OnSphere | None" = None) -> "OnSphere":
        """The same distribution with the base expanded to ``batch_shape`` (which ends in the copies, if stacked)."""
        new = self._get_checked_instance(OnSphere, _instance)
        batch_shape = torch.Size(batch_shape)
        new.manifold, new.base = self.manifold, self.base.expand(batch_shape)
        super(OnSphere, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def loc(self) -> Tensor:
        """R times the base's loc, [..., dim + 1]."""
        return self._scale(self.base.loc)

    @property
    def mean(self) -> Tensor:
        """The mean in R^(dim+1), [..., dim + 1]."""
        return self._scale(self.base.mean)

    @property
    def mode(self) -> Tensor:
        """Where the density is largest, [..., dim + 1]."""
        return self._scale(self.base.mode)

    @property
    def variance(self) -> Tensor:
        """Variance of each coordinate, [..., dim + 1]."""
        return self._scale(self._scale(self.base.variance))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draws [*sample_shape, *batch_shape, dim + 1], differentiable in the base's parameters and in k."""
        return self._scale(self.base.rsample(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """log-density of ``value`` [..., dim + 1] against the area of the sphere; [...]."""
        if self._validate_args:
            self._validate_sample(value)
        root = self.manifold.k.sqrt().to(value.dtype)
        return self.base.log_prob(value * root.unsqueeze(-1)) + self.manifold.dim * root.log()

    def entropy(self) -> Tensor:
        """Entropy of the base less (dim/2) log k; batch_shape."""
        entropy = self.base.entropy()
        return entropy - self.manifold.dim / 2 * self.manifold.k.log().to(entropy.dtype)

    def _scale(self, x: Tensor) -> Tensor:
        return x * self.manifold.k.rsqrt().to(x.dtype).unsqueeze(-1)


@register_kl(OnSphere, OnSphere)
def _kl_on_sphere(q: OnSphere, p: OnSphere) -> Tensor:
    """KL of the bases, whatever the curvature of the sphere that both share.

    Raises:
        NotImplementedError: for distributions on two manifolds, or bases without a closed form.
    """
    if q.manifold is not p.manifold:
        raise NotImplementedError("distributions on spheres have a closed KL on one manifold only")
    return registered_kl(q.base, p.base)


def registered_kl(q: Distribution, p: Distribution) -> Tensor:
    """torch's kl_divergence of exactly these types, without its search among superclasses, which does not compile.

    Raises:
        NotImplementedError: if there is none.
    """
    if (type(q), type(p)) not in _KL_REGISTRY:
        raise NotImplementedError(f"no closed KL of {type(q).__name__} against {type(p).__name__}")
    return _KL_REGISTRY[type(q), type(p)](q, p)
