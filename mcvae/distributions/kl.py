"""The one KL divergence behind every ELBO: in closed form where there is one, else estimated at the sample in hand."""

from torch import Tensor
from torch.distributions import Distribution, kl_divergence, register_kl

from ..manifolds import Euclidean
from ..manifolds.shapes import broadcast_shapes
from .wrapped_normal import WrappedNormal


def kl(q: Distribution, p: Distribution, z: Tensor) -> Tensor:
    """KL(q || p) where it is known in closed form, else its estimate log q(z) - log p(z), which may be negative.

    ``z`` is a sample of q, [..., ambient_dim]; the result has its batch shape (a closed form is expanded to it).
    """
    if has_closed_form(q, p):
        divergence = kl_divergence(q, p)
        return divergence.expand(broadcast_shapes(divergence.shape, z.shape[:-1]))
    return q.log_prob(z) - p.log_prob(z)


def has_closed_form(q: Distribution, p: Distribution) -> bool:
    """Whether :func:`torch.distributions.kl_divergence` is registered for, and applies to, this pair."""
    pair = (q, p)
    return all(isinstance(d, WrappedNormal) and isinstance(d.manifold, Euclidean) for d in pair)


@register_kl(WrappedNormal, WrappedNormal)
def _kl_normal(q: WrappedNormal, p: WrappedNormal) -> Tensor:
    """Σ ((σ_q/σ_p)² + ((μ_q - μ_p)/σ_p)² - 1)/2 - log(σ_q/σ_p) on Euclidean space; no closed form elsewhere."""
    if not has_closed_form(q, p):
        raise NotImplementedError("wrapped normals have a closed KL on Euclidean space only; use log q(z) - log p(z)")
    ratio = (q.scale / p.scale).square()
    shift = q.loc if p._loc is None else q.loc - p.loc
    terms = ratio - ratio.log() + (shift / p.scale).square()
    return 0.5 * (terms.sum(-1) - terms.shape[-1])
