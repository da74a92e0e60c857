"""Draw, divergence and backward of a latent density, without a network around it."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch.nn import functional

from .. import latent
from .harness import Contender

BATCH = 128
Loss = Callable[..., Tensor]


def step(name: str, loss: Loss, leaves: Sequence[Tensor], mode: str = "eager") -> Contender:
    """The loss and its gradient with respect to the leaves."""
    loss(*leaves)  # torch looks up a divergence once for a pair of classes, in code that its compiler cannot trace
    compute = torch.compile(loss, fullgraph=True) if mode == "compiled" else loss

    def run() -> None:
        torch.autograd.grad(compute(*leaves), leaves)

    return Contender(f"{name}, {mode}", run)


def gaussian(dim: int, mode: str = "eager") -> Contender:
    """A normal with diagonal covariance against the standard normal."""

    def loss(loc: Tensor, scale: Tensor) -> Tensor:
        q = Normal(loc, scale, validate_args=False)
        p = Normal(torch.zeros_like(loc), torch.ones_like(scale), validate_args=False)
        return q.rsample().sum() + kl_divergence(q, p).sum()

    return step(f"Gaussian of dimension {dim}", loss, _leaves((BATCH, dim), (BATCH, dim)), mode)


def von_mises_fisher(ambient: int, mode: str = "eager") -> Contender:
    """Our von Mises-Fisher on the sphere in R^ambient against the uniform distribution."""
    from ..distributions import HypersphericalUniform, VonMisesFisher

    uniform = HypersphericalUniform(ambient - 1, validate_args=False)

    def loss(loc: Tensor, concentration: Tensor) -> Tensor:
        q = VonMisesFisher(loc, concentration, validate_args=False)
        return q.rsample().sum() + kl_divergence(q, uniform).sum()

    return step(f"vMF in R^{ambient}", loss, sphere_leaves(ambient, (BATCH,)), mode)


def usual_von_mises_fisher(ambient: int) -> Contender:
    """The usual one: rejection and scipy's Bessel functions."""
    from .usual import RejectionVonMisesFisher

    def loss(loc: Tensor, concentration: Tensor) -> Tensor:
        q = RejectionVonMisesFisher(loc, concentration)
        return q.rsample().sum() + q.kl_uniform().sum()

    return step(f"usual vMF in R^{ambient}", loss, sphere_leaves(ambient, (BATCH, 1)))


def space(signature: str, mode: str = "eager") -> Contender:
    """Posterior, draw and divergence of a latent space from its linear parameters."""
    built = latent.build(signature)

    def loss(parameters: Tensor) -> Tensor:
        q = built.posterior(parameters)
        z = q.rsample()
        return z.sum() + built.kl(q, built.prior(), z).sum()

    leaves = [torch.randn(BATCH, built.parameter_dim).requires_grad_()]
    return step(f"{signature} draw and KL", loss, leaves, mode)


def sphere_leaves(ambient: int, shape: tuple[int, ...]) -> list[Tensor]:
    """Locations [128, ambient] on the unit sphere, and concentrations of the given shape around those of training."""
    loc = functional.normalize(torch.randn(BATCH, ambient), dim=-1).requires_grad_()
    return [loc, (1.0 + 50.0 * torch.rand(shape)).requires_grad_()]


def _leaves(*shapes: tuple[int, ...]) -> list[Tensor]:
    return [(0.1 + torch.rand(shape)).requires_grad_() for shape in shapes]
