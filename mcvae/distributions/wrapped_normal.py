"""The wrapped normal: a normal in the tangent space at the origin, transported to ``loc`` and pushed down by exp.

Nagano et al. (2019) on the hyperboloid, Skopek et al. (2020) elsewhere; on spheres with every winding of the geodesics.
"""

import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from ..manifolds import Manifold
from ..manifolds.fused import Fused, Gradients
from ..reach import MASS_TO_WARN, mass_beyond_injectivity
from .centred import Centred


class WrappedNormal(Centred):
    r"""z = exp_loc(u), u normal with covariance diag(scale²) in the frame transported from the origin to ``loc``.

    log p(z) = log N(u; 0, scale²) - log |det d exp(u)|, against the Riemannian volume, with u = log_loc(z). On a sphere
    exp is many-to-one, and p is the sum over all preimages (r + 2πn/√k) u/r of z, r = |u|, n in Z. (That sum is
    infinite, but integrable, at loc and its antipode when dim > 1; at loc it is taken a rounding error away from it.
    For that reason pathwise gradients have Cauchy tails as soon as draws reach the antipode, √k scale √dim near 2 and
    above: clip gradients, or prefer von Mises-Fisher and power spherical there.)

    Args:
        manifold: a single space, or ``count`` stacked copies; then the last batch axis is the copies.
        loc: points [..., ambient_dim]; None for the origin, which saves the transport.
        scale: standard deviations > 0, [..., dim], or [..., 1] for one in all directions.
        principal: on spheres, keep only the shortest preimage, as is common; that density has mass
            P(|u| < π/√k) and not 1. With validation on, a warning says so where that is below 0.99.
        remember: as in :class:`~mcvae.distributions.centred.Centred`; of no effect with ``principal`` on a sphere.

    Raises:
        ValueError: with validation on, for points off the manifold, scales that are not positive, or wrong last axes.
    """

    def __init__(
        self,
        manifold: Manifold,
        loc: Tensor | None,
        scale: Tensor,
        *,
        principal: bool = False,
        remember: bool = False,
        validate_args: bool | None = None,
    ):
        principal = principal and manifold.windings is not None  # elsewhere there is but one preimage
        # The principal branch needs the shortest preimage, which that of a draw need not be.
        super().__init__(manifold, loc, scale, remember=remember and not principal, validate_args=validate_args)
        self.principal = principal
        if self._validate_args and principal:
            warn_beyond_injectivity(manifold, scale.detach())

    @property
    def mode(self) -> Tensor:
        """``loc``, where k <= 0.

        Raises:
            NotImplementedError: where k may be positive; a density with windings is infinite at loc and its antipode.
        """
        if self.manifold.sign not in (0, -1):
            raise NotImplementedError(f"a wrapped normal on {type(self.manifold).__name__} has no single mode")
        return self.mean

    def entropy(self) -> Tensor:
        """Σ log scale + dim (1 + log 2π) / 2 on Euclidean space; [...].

        Raises:
            NotImplementedError: elsewhere, where the mean of -log_prob over draws estimates it.
        """
        if self.manifold.sign != 0:
            raise NotImplementedError(
                "wrapped normals have a closed entropy on Euclidean space only; average -log_prob"
            )
        dim = self.manifold.dim
        log_scale = self.scale.log().sum(-1) * (dim / self.scale.shape[-1])
        return (log_scale + 0.5 * dim * (1 + math.log(2 * math.pi))).expand(self.batch_shape)

    def expand(self, batch_shape: Sequence[int], _instance: "WrappedNormal | None" = None) -> "WrappedNormal":
        new = super().expand(batch_shape, _instance)
        new.principal = self.principal
        return new

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draws [*sample_shape, *batch_shape, ambient_dim], differentiable in loc, scale and curvature."""
        shape = (*sample_shape, *self.batch_shape, self.manifold.dim)
        noise = torch.randn(shape, dtype=self.scale.dtype, device=self.scale.device)
        return self._place(self.scale * noise, noise)

    def log_prob(self, value: Tensor) -> Tensor:
        """log-density of ``value`` [..., ambient_dim] against the Riemannian volume; [...]."""
        if self._validate_args:
            self._validate_sample(value)
        u, noise, logdet = self._known(value)
        result = log_normal(u, self.scale, noise) - logdet
        if self.manifold.windings is not None and not self.principal:
            result = result + self._log_windings(u)
        return result

    def _known(self, value: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Of points their normal coordinates, the noise u / scale where they are the last draw, and logdetexp0."""
        if self._recalls(value) and self._draw.logdet is not None:
            return self._draw.u, self._draw.noise, self._draw.logdet
        if self._loc is None and not self._recalls(value):
            u, logdet = self.manifold.logmap0_logdet(value)
            return u, None, logdet
        u = self._coordinates(value)
        return u, self._draw.noise if self._recalls(value) else None, self.manifold.logdetexp0(u)

    def _log_windings(self, u: Tensor) -> Tensor:
        options = (self.manifold.windings, self.manifold.sign or 0)
        return _LOG_WINDINGS(u, self.scale, self.manifold._k(u), options=options)

    def _widths(self) -> tuple[int, ...]:
        return (self.manifold.dim, 1)


def warn_beyond_injectivity(manifold: Manifold, scale: Tensor) -> None:
    """Warn where a normal of the given scales [..., dim or 1] has more than 1% beyond the injectivity radius π/√k.

    Decided at the widest element of the batch, for unequal scales by the χ² of equal mean and variance. It waits for
    the device: for validation only.
    """
    squares = manifold._k(scale).detach() * scale.square()
    if squares.shape[-1] == 1:
        squares = squares.expand(*squares.shape[:-1], manifold.dim)
    first, second = squares.sum(-1), squares.square().sum(-1)
    widest = first.argmax()
    first, second = first.flatten()[widest].item(), second.flatten()[widest].item()
    if not (first > 0 and math.isfinite(second) and second > 0):
        return
    mass = mass_beyond_injectivity(first**2 / second, 1.0, math.sqrt(second / first))
    if mass > MASS_TO_WARN:
        warnings.warn(
            f"WrappedNormal: {mass:.1%} of its mass lies beyond the injectivity radius of {manifold}, "
            "where principal=True leaves it out; use a smaller scale or dimension, or principal=False",
            stacklevel=3,
        )


def log_normal(u: Tensor, scale: Tensor, noise: Tensor | None = None) -> Tensor:
    """log N(u; 0, diag(scale²)) summed over the last axis; scale is [..., dim] or [..., 1]; [...].

    ``noise`` is u / scale, where it is known to be a constant.
    """
    dim = u.shape[-1]
    log_scale, square = scale.log().sum(-1), (u / scale if noise is None else noise).square().sum(-1)
    if scale.shape[-1] != dim:
        log_scale = log_scale * dim
    return -0.5 * dim * math.log(2 * math.pi) - torch.add(log_scale, square, alpha=0.5)


def log_windings(u: Tensor, scale: Tensor, windings: Tensor, *, k: Tensor) -> Tensor:
    """log of the density with all windings over that of the preimage u alone, on a sphere of curvature k > 0; [...].

    log Σ_n |r_n|^(dim - 1) exp(-q r_n² / 2) less its term n = 0, where r = |u|, r_n = r + 2πn/√k, and q = Σ (u_i / (r
    scale_i))²; n runs over :func:`mcvae.manifolds.windings.windings`, which is exact up to √k scale = 3.
    """
    return _LOG_WINDINGS(u, scale, k, options=(windings, 1))


def _is_wound(square: Tensor, scale: Tensor, k: Tensor, dim: int) -> Tensor:
    """Of a curvature of either sign: whether to sum at |u|² = ``square``; [..., 1].

    Not for k <= 0, nor where the next preimage, at 2π/√k - r, adds less than a share exp(-1500). So the sum ends as
    k -> 0 without a step, and without the derivatives of what cancels in it.
    """
    with torch.no_grad():
        angle = (square * k.clamp_min(0)).sqrt()
        spread = scale.square().amax(-1, keepdim=True) * (k * ((1500 + 10 * dim) / (2 * math.pi)))
        return math.pi - angle < spread


def _log_windings(u: Tensor, scale: Tensor, k: Tensor, windings: Tensor, sign: int) -> Tensor:
    if not sign:
        wound = _is_wound(u.square().sum(-1, keepdim=True), scale, k, u.shape[-1])
        summed = _log_windings(u, scale, torch.where(wound, k, 1.0), windings, 1)
        return torch.where(wound.squeeze(-1), summed, 0.0)
    dim = u.shape[-1]
    turns, log_widths = windings.to(u.dtype).unbind()
    radius = k.rsqrt()
    floor = (torch.finfo(u.dtype).eps * radius).square().detach()
    square = u.square().sum(-1, keepdim=True)
    centre = square < floor
    square = torch.where(centre, floor, square)
    r = square.sqrt()
    half_q = -0.5 * (torch.where(centre, dim**-0.5, u / r) / scale).square().sum(-1, keepdim=True)
    squares = torch.maximum((r + 2 * math.pi * radius * turns).square(), floor)
    weights = torch.addcmul(log_widths, half_q, squares).add(squares.log(), alpha=(dim - 1) / 2)
    return torch.logsumexp(weights, -1) - (half_q * square).add(square.log(), alpha=(dim - 1) / 2).squeeze(-1)


def _log_windings_forward(u: Tensor, scale: Tensor, k: Tensor, windings: Tensor, sign: int) -> tuple[Tensor, ...]:
    dim, square = u.shape[-1], (u * u).sum(-1, keepdim=True)
    wound = [] if sign else [_is_wound(square, scale, k, dim)]
    radius = (k if sign else torch.where(wound[0], k, 1.0)).rsqrt()
    turns, log_widths = windings.to(u.dtype).unbind()
    floor = (radius * torch.finfo(u.dtype).eps).square()
    centre, r = square < floor, torch.maximum(square, floor).sqrt()
    direction = (u / r).masked_fill(centre, dim**-0.5)
    steep = direction / scale
    q = (steep * steep).sum(-1, keepdim=True)
    radii = torch.addcmul(r, radius, turns, value=2 * math.pi)
    squares = torch.maximum(radii * radii, floor)
    weights = torch.addcmul(log_widths, q, squares, value=-0.5).add(squares.log(), alpha=(dim - 1) / 2)
    log_shares = weights.log_softmax(-1)  # of the preimage u alone, the first, it is the negative result
    result = log_shares[..., 0].neg()
    if wound:
        result = result.masked_fill_(~wound[0].squeeze(-1), 0.0)
    return result, radius, log_shares, turns, floor, centre, r, direction, steep, q, radii, squares, *wound


def _log_windings_backward(needed: Sequence[bool], grad: Tensor, _: Tensor, *known: Tensor | int) -> Gradients:
    """Through q and the radii r_n: a mean of their derivatives over the windings, less that of n = 0."""
    radius, log_shares, turns, floor, centre, r, direction, steep, q, radii, squares, *wound, u, scale, _, _, _ = known
    grad, shares = grad.unsqueeze(-1), log_shares.exp()
    if wound:
        grad = grad * wound[0]
    shares[..., 0] -= 1
    by_q = grad * (shares * squares).sum(-1, keepdim=True)  # times -2
    by_radii = torch.sub((u.shape[-1] - 1) / squares, q) * radii * shares * (squares > floor)
    by_r = grad * by_radii.sum(-1, keepdim=True)
    steeper, pull = steep / scale, by_q / r
    by_u = torch.addcmul(direction * torch.addcmul(by_r, q, pull), steeper, pull, value=-1).masked_fill(centre, 0.0)
    by_k = -math.pi * grad * (by_radii * turns).sum(-1, keepdim=True) * radius**3 if needed[2] else None
    return by_u, steep * steeper * by_q if needed[1] else None, by_k


_LOG_WINDINGS = Fused(_log_windings, _log_windings_forward, _log_windings_backward)
