"""The Riemannian normal: the density that falls with the square of the distance, exp(-dist(loc, z)² / 2σ²) / Z.

Pennec (2006) in general; Said et al. (2014) and Mathieu et al. (2019) on hyperbolic spaces; isotropic here.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..manifolds import Manifold
from ..manifolds.shapes import broadcast_shapes
from ..manifolds.trigonometry import log_sin_ratio
from ..reach import largest_riemannian
from .centred import Centred
from .radial import RadialLaw, random_direction

REACH = 9.0  # half-width of the radius's window: a log-density with f'' <= -1 has less than 1e-17 of its mass beyond
MODE_STEPS = 2  # of Newton's method, to 3e-4 of the width of the window up to dim = 10,000


class RiemannianNormal(Centred):
    r"""p(z) = exp(-dist(loc, z)² / (2 scale²)) / Z against the Riemannian volume.

    z = exp_loc(r v) with v uniform on the unit sphere S of R^dim and r of density proportional to exp(-r² / (2 scale²))
    s(r)^(dim - 1), where s(r) = sin(√k r) / √k, r or sinh(√-k r) / √-k; Z = area(S) ∫ exp(-r² / (2 scale²))
    s(r)^(dim - 1) dr, over [0, π/√k] on a sphere. The integral and the radius are computed in float64 whatever the
    dtype, with exact pathwise gradients in scale and curvature. In hyperbolic space the mass moves out to r = (dim - 1)
    √-k scale² as the scale grows: see :func:`largest_scale`.

    Args:
        manifold: a single space, or ``count`` stacked copies; then the last batch axis is the copies.
        loc: points [..., ambient_dim]; None for the origin, which saves the transport.
        scale: > 0, [..., 1]; the standard deviation in each direction as k -> 0.
        remember: as in :class:`~mcvae.distributions.centred.Centred`; the constant is remembered too.

    Raises:
        ValueError: with validation on, for points off the manifold, scales that are not positive or beyond
            :func:`largest_scale`, or wrong last axes; always, on a space whose curvature may have either sign.
    """

    def __init__(
        self,
        manifold: Manifold,
        loc: Tensor | None,
        scale: Tensor,
        *,
        remember: bool = False,
        validate_args: bool | None = None,
    ):
        if manifold.sign is None:
            raise ValueError(
                f"{type(self).__name__}: {type(manifold).__name__} has a curvature of either sign; "
                "choose a hyperboloid, a ball, a sphere or flat space"
            )
        super().__init__(manifold, loc, scale, remember=remember, validate_args=validate_args)
        self._law: ScaledRadius | None = None  # of the last draw
        if self._validate_args:
            self._validate_range()

    @property
    def mode(self) -> Tensor:
        """Where the density is largest, loc, [*batch_shape, ambient_dim]."""
        return self.mean

    def expand(self, batch_shape: Sequence[int], _instance: "RiemannianNormal | None" = None) -> "RiemannianNormal":
        new = super().expand(batch_shape, _instance)
        new._law = None
        return new

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draws [*sample_shape, *batch_shape, ambient_dim], differentiable in loc, scale and curvature."""
        shape, dtype, device = (*sample_shape, *self.batch_shape), self.scale.dtype, self.scale.device
        law = self._radial_law()
        radius = law.rsample(torch.rand(shape, dtype=torch.float64, device=device)).to(dtype)
        self._law = law if self.remember else None
        return self._place(
            radius.unsqueeze(-1) * random_direction((*shape, self.manifold.dim), dtype=dtype, device=device)
        )

    def log_prob(self, value: Tensor) -> Tensor:
        """log-density of ``value`` [..., ambient_dim] against the Riemannian volume; [...]."""
        if self._validate_args:
            self._validate_sample(value)
        u = self._coordinates(value)
        law = self._law if self._recalls(value) else self._radial_law()
        return -0.5 * (u / self.scale).square().sum(-1) - law.log_normaliser.to(u.dtype)

    def entropy(self) -> Tensor:
        """log Z + E[r²] / (2 scale²), [*batch_shape]."""
        law, scale = self._radial_law(), self.scale.squeeze(-1)
        return (law.log_normaliser + 0.5 * law.mean_square / scale.square()).to(scale.dtype).expand(self.batch_shape)

    def _radial_law(self) -> "ScaledRadius":
        k, scale = self.manifold.k, self.scale.squeeze(-1).to(torch.float64)
        shape = broadcast_shapes(scale.shape, k.shape)
        if shape != self.batch_shape[len(self.batch_shape) - len(shape) :]:
            shape = self.batch_shape  # a draw's last axes must be the law's
        return ScaledRadius(scale.expand(shape), k, dim=self.manifold.dim, sign=self.manifold.sign)

    def _validate_shapes(self) -> None:
        if self.scale.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"{type(self).__name__}: scale of {self.scale.dtype}; give float32 or float64")
        super()._validate_shapes()

    def _validate_range(self) -> None:
        largest = largest_scale(self.manifold, self.scale.dtype).detach()
        beyond = self.scale > largest * (1 + 8 * torch.finfo(largest.dtype).eps)
        if bool(beyond.any()):
            given = self.scale.expand_as(beyond)[beyond].max().item()
            allowed = largest.expand_as(beyond)[beyond].min().item()
            space = f"{type(self.manifold).__name__}({self.manifold.dim}, k={self.manifold.k.tolist()})"
            raise ValueError(
                f"{type(self).__name__}: scale {given:g} on {space}; its mass, about (dim - 1) √-k scale² from loc, or "
                f"its tail would lie too far out for {self.scale.dtype}, which carries a scale of at most {allowed:g}"
            )


class ScaledRadius:
    """The law of r = dist(loc, z) as that of x = r / unit, whose only parameter is k scale²; batch [B...].

    The unit is the scale, so that x has a limit as k -> 0. Where the mass reaches the antipode of a sphere it is 1/√k:
    x then ends at π whatever k, while the density need not vanish there (on a circle), and an end that moves would have
    a derivative of its own.
    """

    def __init__(self, scale: Tensor, k: Tensor, *, dim: int, sign: int):
        product = k * scale.square()
        lower, upper = _window(product.detach(), dim=dim, sign=sign)
        unit = torch.ones_like(product)  # in multiples of the scale
        if sign > 0:
            antipode = product.rsqrt()
            reached = upper >= math.pi * antipode.detach()
            unit, upper = torch.where(reached, antipode, unit), torch.where(reached, math.pi * antipode, upper)
        precision, curvature = unit.square().unsqueeze(-1), (product * unit.square()).unsqueeze(-1)

        def log_density(x: Tensor) -> Tensor:
            square = x.square()
            log_normal = -0.5 * precision * square
            if dim == 1:
                return log_normal
            log_circle = x.log() + log_sin_ratio(curvature * square, sign) if sign else x.log()
            return log_normal + (dim - 1) * log_circle

        self._dim, self._unit = dim, scale * unit
        self._law = RadialLaw(log_density, lower / unit, upper / unit)

    @property
    def log_normaliser(self) -> Tensor:
        """log Z, [B...]."""
        log_area = math.log(2) + self._dim / 2 * math.log(math.pi) - math.lgamma(self._dim / 2)
        return log_area + self._dim * self._unit.log() + self._law.log_normaliser

    @property
    def mean_square(self) -> Tensor:
        """E[r²], [B...]."""
        return self._unit.square() * self._law.expectation(torch.square)

    def rsample(self, uniform: Tensor) -> Tensor:
        """The radii of distribution function ``uniform``, float64 [S..., B...]; same shape."""
        return self._unit * self._law.rsample(uniform)

    def cdf(self, r: Tensor) -> Tensor:
        """The distribution function at the radii r, float64 [S..., B...]; same shape."""
        return self._law.cdf(r / self._unit)


def _window(product: Tensor, *, dim: int, sign: int) -> tuple[Tensor, Tensor]:
    """Radii, in units of the scale, that hold all but 1e-17 of the mass: 9 widths around the mode; product = k scale².

    At the mode r = (dim - 1) cot r, where cot r is 1/r, √k cot(√k r) or √-k coth(√-k r); the second derivative of the
    log-density is at most -1, on spheres -1 - (dim - 1) k, which bounds the width.
    """
    if dim == 1:
        mode = torch.zeros_like(product)
    elif sign == 0:
        mode = torch.full_like(product, math.sqrt(dim - 1))
    else:
        mode = _solve_mode((dim - 1) * product.abs(), sign) * product.abs().rsqrt()
    width = REACH * (1 + (dim - 1) * product).rsqrt() if sign > 0 else REACH
    return (mode - width).clamp_min(0), mode + width


def _solve_mode(s: Tensor, sign: int) -> Tensor:
    """y > 0 with y tan y = s, y < π/2, for sign > 0; with y tanh y = s for sign < 0; by Newton's method."""
    y = s.sqrt().atan() if sign > 0 else (s + s.square()).sqrt()
    for _ in range(MODE_STEPS):
        if sign > 0:
            sine, cosine = y.sin(), y.cos()
            y = y - (y * sine - s * cosine) / ((1 + s) * sine + y * cosine)
        else:
            slope = y.tanh()
            y = y - (y * slope - s) / (slope + y * (1 - slope.square()))
    return y


def largest_scale(manifold: Manifold, dtype: torch.dtype) -> Tensor:
    """The largest scale of a Riemannian normal on ``manifold`` that ``dtype`` can carry; [*batch_shape, 1] of it.

    The smaller of the two bounds of :func:`mcvae.reach.largest_riemannian`: the radius has its mode near (dim - 1) √-k
    scale², at most 15 in float64 and 8 in float32, and its tail ends where coordinates lose their meaning.
    Differentiable in k; infinite on flat space and spheres.
    """
    k = manifold.k.unsqueeze(-1).to(dtype)
    if manifold.sign >= 0:
        return torch.full_like(k, math.inf)
    by_radius, by_mode = largest_riemannian(manifold.letter, manifold.dim, str(dtype).removeprefix("torch."))
    return torch.minimum(by_radius * (-k) ** -0.5, by_mode * (-k) ** -0.25)
