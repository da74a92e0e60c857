"""The one KL divergence behind every ELBO: in closed form where there is one, else estimated at the sample in hand."""

from torch import Tensor
from torch.distributions import Distribution, register_kl
from torch.distributions.kl import _KL_REGISTRY

from ..manifolds import Euclidean
from ..manifolds.shapes import broadcast_shapes
from .scaled import OnSphere, registered_kl
from .wrapped_normal import WrappedNormal


def kl(q: Distribution, p: Distribution, z: Tensor) -> Tensor:
    """KL(q || p) where it is known in closed form, else its estimate log q(z) - log p(z), which may be negative.

    ``z`` is a sample of q, [..., ambient_dim]; the result has its batch shape (a closed form is expanded to it).
    """
    if has_closed_form(q, p):
        divergence = registered_kl(q, p)
        return divergence.expand(broadcast_shapes(divergence.shape, z.shape[:-1]))
    return q.log_prob(z) - p.log_prob(z)


def has_closed_form(q: Distribution, p: Distribution) -> bool:
    """Whether :func:`torch.distributions.kl_divergence` is registered for, and applies to, this pair."""
    if isinstance(q, WrappedNormal) and isinstance(p, WrappedNormal):
        return isinstance(q.manifold, Euclidean) and isinstance(p.manifold, Euclidean)
    if isinstance(q, OnSphere) and isinstance(p, OnSphere):
        return q.manifold is p.manifold and has_closed_form(q.base, p.base)
    return (type(q), type(p)) in _KL_REGISTRY


@register_kl(WrappedNormal, WrappedNormal)
def _kl_normal(q: WrappedNormal, p: WrappedNormal) -> Tensor:
    """Σ ((σ_q/σ_p)² + ((μ_q - μ_p)/σ_p)² - 1)/2 - log(σ_q/σ_p) on Euclidean space; no closed form elsewhere."""
    if not has_closed_form(q, p):
        raise NotImplementedError("wrapped normals have a closed KL on Euclidean space only; use log q(z) - log p(z)")
    if q.manifold.dim != p.manifold.dim:
        raise ValueError(f"KL divergence between normals of dim={q.manifold.dim} and {p.manifold.dim}; make them equal")
    ratio = (q.scale / p.scale).square()
    shift = q.loc if p._loc is None else q.loc - p.loc
    terms = ratio - ratio.log() + (shift / p.scale).square()
    return 0.5 * (terms.sum(-1) - terms.shape[-1])
