"""The Riemannian normal: the density that falls with the square of the distance, exp(-dist(loc, z)² / 2σ²) / Z.

Pennec (2006) in general; Said et al. (2014) and Mathieu et al. (2019) on hyperbolic spaces; isotropic here.
"""

import math

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from ..manifolds import Manifold
from ..manifolds.shapes import broadcast_shapes
from ..manifolds.trigonometry import log_sin_ratio
from ..reach import largest_riemannian
from .radial import RadialLaw, random_direction
from .support import OnManifold
from .wrapped_normal import _Draw

REACH = 9.0  # half-width of the radius's window: a log-density with f'' <= -1 has less than 1e-17 of its mass beyond
MODE_STEPS = 2  # of Newton's method, to 3e-4 of the width of the window up to dim = 10,000


class RiemannianNormal(Distribution):
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
        remember: recognise the last draw in :meth:`log_prob`, whose radius is known exactly and whose constant has been
            computed. Its log-density then depends on the parameters directly, and no longer through z, which is the
            same to a reparameterised estimate, but not to who differentiates by z alone.

    Raises:
        ValueError: with validation on, for points off the manifold, scales that are not positive or beyond
            :func:`largest_scale`, or wrong last axes; always, on a space whose curvature may have either sign.
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
        if manifold.sign is None:
            raise ValueError(
                f"{type(self).__name__}: {type(manifold).__name__} has a curvature of either sign; "
                "choose a hyperboloid, a ball, a sphere or flat space"
            )
        self.manifold, self._loc, self.scale = manifold, loc, scale
        self.remember, self._draw, self._law = remember, _Draw(), None
        validate = validate_args or (validate_args is None and Distribution._validate_args)
        if validate:
            self._validate_shapes()
        leading = scale.shape[:-1] if loc is None else broadcast_shapes(loc.shape[:-1], scale.shape[:-1])
        batch_shape = broadcast_shapes(leading, manifold.batch_shape)
        super().__init__(batch_shape, torch.Size((manifold.ambient_dim,)), validate_args=validate_args)
        if validate:
            self._validate_range()

    @property
    def loc(self) -> Tensor:
        """The point at which the density is centred, [..., ambient_dim]."""
        if self._loc is None:
            return self.manifold.origin(dtype=self.scale.dtype, device=self.scale.device)
        return self._loc

    @property
    def mean(self) -> Tensor:
        """The Fréchet mean, loc, [*batch_shape, ambient_dim]."""
        return self.loc.expand(self._extended_shape())

    @property
    def mode(self) -> Tensor:
        """Where the density is largest, loc, [*batch_shape, ambient_dim]."""
        return self.mean

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:
        """What ``loc`` and ``scale`` must satisfy."""
        return {"loc": self.support, "scale": constraints.independent(constraints.positive, 1)}

    @property
    def support(self) -> constraints.Constraint:
        """The manifold."""
        return OnManifold(self.manifold)

    def expand(self, batch_shape: torch.Size, _instance: "RiemannianNormal | None" = None) -> "RiemannianNormal":
        """The same distribution with parameters expanded to ``batch_shape`` (which ends in the copies, if stacked)."""
        new = self._get_checked_instance(RiemannianNormal, _instance)
        batch_shape = torch.Size(batch_shape)
        new.manifold, new.remember, new._draw, new._law = self.manifold, self.remember, _Draw(), None
        new._loc = None if self._loc is None else self._loc.expand(*batch_shape, -1)
        new.scale = self.scale.expand(*batch_shape, -1)
        super(RiemannianNormal, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008 (torch's own signature)
        """Draws [*sample_shape, *batch_shape, ambient_dim], differentiable in loc, scale and curvature."""
        shape, dtype, device = (*sample_shape, *self.batch_shape), self.scale.dtype, self.scale.device
        law = self._radial_law()
        radius = law.rsample(torch.rand(shape, dtype=torch.float64, device=device)).to(dtype)
        u = radius.unsqueeze(-1) * random_direction((*shape, self.manifold.dim), dtype=dtype, device=device)
        z = self.manifold.expmap0(u) if self._loc is None else self.manifold.expmap_frame(self._loc, u)
        if self.remember:
            self._draw, self._law = _Draw(z, u, z.requires_grad, torch.is_grad_enabled()), law
        return z

    def log_prob(self, value: Tensor) -> Tensor:
        """log-density of ``value`` [..., ambient_dim] against the Riemannian volume; [...]."""
        if self._validate_args:
            self._validate_sample(value)
        if value is self._draw.z and self._draw.serves(value):
            u, law = self._draw.u, self._law
        else:
            u = self.manifold.logmap0(value) if self._loc is None else self.manifold.logmap_frame(self._loc, value)
            law = self._radial_law()
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
        name, manifold = type(self).__name__, self.manifold
        if self.scale.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"{name}: scale of {self.scale.dtype}; give float32 or float64")
        if self.scale.shape[-1:] != (1,):
            raise ValueError(f"{name}: scale of shape {list(self.scale.shape)}; the last axis must be 1 (isotropic)")
        if self._loc is not None and self._loc.shape[-1:] != (manifold.ambient_dim,):
            raise ValueError(
                f"{name}: loc of shape {list(self._loc.shape)}; the last axis must be {manifold.ambient_dim}"
            )

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
