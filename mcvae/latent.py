"""From a parsed signature to torch modules: posterior head, prior, divergence and decoder input of a latent space.

A model sees flat tensors only: parameters in, points [..., ambient_dim] out, one number a component for densities.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from .distributions import kl
from .errors import UserError
from .families import FAMILIES
from .manifolds import MANIFOLDS, Manifold, ProductManifold
from .reach import check_reach
from .signature import Signature, parse

DECODER_INPUTS = ("default", "ambient", "tangent", "gyroplane", "scaled")
PRIOR_SCALES = ("fixed", "learned")
CONCENTRATIONS = ("softplus", "exponential")
AMBIENT_BY_DEFAULT = "es"  # letters whose points the decoder sees as they are; of the others it sees logmap0


class LatentDistribution:
    """A posterior or the prior: independent distributions, one a run of equal components, over flat points.

    Attributes:
        parts: the distributions, each with the copies of its component as last batch axis.
    """

    def __init__(self, manifold: ProductManifold, parts: Sequence[Distribution]):
        self.manifold, self.parts = manifold, list(parts)
        self._draw: tuple[Tensor | None, list[Tensor]] = (None, [])

    @property
    def loc(self) -> Tensor:
        """Where the density is centred, [..., ambient_dim]."""
        return self.manifold.join([part.loc for part in self.parts])

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Reparameterised draws, [*sample_shape, ..., ambient_dim], with torch's own random stream."""
        points = [part.rsample(sample_shape) for part in self.parts]
        z = self.manifold.join(points)
        self._draw = (z, points)
        return z

    def log_prob(self, z: Tensor) -> Tensor:
        """log-density of each component at z [..., ambient_dim] against the Riemannian volume; [..., num_components].

        The last draw is recognised: its density is exact however far out it lies, and its gradient with respect to the
        parameters flows past z (see ``remember`` of :class:`~mcvae.distributions.WrappedNormal`).
        """
        return _side_by_side([part.log_prob(x) for part, x in zip(self.parts, self.split(z), strict=True)])

    def split(self, z: Tensor) -> list[Tensor]:
        """z [..., ambient_dim] as one point a part; of the last draw, the very tensors that the parts have drawn."""
        return self._draw[1] if z is self._draw[0] else self.manifold.split(z)


class LatentSpace(nn.Module):
    """The latent space of a model: a product manifold with a family of distributions on each component.

    Attributes:
        signature: what it was built from.
        components: one entry a component, counts expanded (``6h2`` gives six ``h2``).
        labels: their texts, such as ``["h2", "s2", "e2"]``.
        manifold: the :class:`~mcvae.manifolds.ProductManifold`.
        dim, ambient_dim: of the product; ambient_dim is the width of a point z.
        num_components: components with counts expanded; the width of densities and divergences.
        parameter_dim: width of the linear output that :meth:`posterior` takes.
        decoder_dim: width of :meth:`decoder_input`.
        gyroplanes: whether the decoder's first layer is to be one of gyroplanes.
        validate_args: whether distributions check their arguments (slow: it waits for the device). Off.
    """

    def __init__(
        self,
        signature: Signature,
        decoder_input: str,
        prior_scale: str,
        principal: bool,
        concentration: str = "softplus",
    ):
        super().__init__()
        self.signature = signature
        self.components = [replace(c, count=1) for c in signature.components for _ in range(c.count)]
        self.labels = [str(component) for component in self.components]
        self.manifold = ProductManifold(
            [MANIFOLDS[c.letter](c.dim, k=c.k, learn=c.learn, count=c.count) for c in signature.components]
        )
        self.families = nn.ModuleList(
            FAMILIES[c.family](c, prior_scale=prior_scale, principal=principal, concentration=concentration)
            for c in signature.components
        )
        self.dim, self.ambient_dim = self.manifold.dim, self.manifold.ambient_dim
        self.num_components = self.manifold.num_components
        self.parameter_dims = [family.parameter_dim for family in self.families]
        self.parameter_dim = sum(self.parameter_dims)
        self.in_tangent = [
            c.letter not in AMBIENT_BY_DEFAULT if decoder_input in ("default", "scaled") else decoder_input == "tangent"
            for c in signature.components
        ]
        widths = zip(self.in_tangent, self.manifold.dims, self.manifold.ambient_dims, strict=True)
        self.decoder_dim = sum(dim if tangent else ambient_dim for tangent, dim, ambient_dim in widths)
        self.gyroplanes = decoder_input == "gyroplane"
        self.scaled = [decoder_input == "scaled" and c.letter == "s" for c in signature.components]
        self.validate_args = False

    def posterior(self, parameters: Tensor) -> LatentDistribution:
        """The posterior with the given parameters [..., parameter_dim], an unconstrained linear output.

        Raises:
            ValueError: for another last axis.
        """
        if parameters.shape[-1] != self.parameter_dim:
            raise ValueError(
                f"latent {str(self.signature)!r}: parameters of shape {list(parameters.shape)}; "
                f"the last axis must be {self.parameter_dim}"
            )
        parts = zip(self.families, self.manifold.factors, parameters.split(self.parameter_dims, -1), strict=True)
        return LatentDistribution(self.manifold, [f.posterior(m, p, self.validate_args) for f, m, p in parts])

    def prior(self) -> LatentDistribution:
        """The prior; its draws have the dtype and device of the module."""
        parts = zip(self.families, self.manifold.factors, strict=True)
        return LatentDistribution(self.manifold, [family.prior(m, self.validate_args) for family, m in parts])

    def kl(self, q: LatentDistribution, p: LatentDistribution, z: Tensor) -> Tensor:
        """KL(q || p) of each component: in closed form where there is one, else log q(z) - log p(z); never clamped.

        ``z`` is the sample of q that the decoder sees, [..., ambient_dim]; the result, in nats, [..., num_components].
        """
        return _side_by_side([kl(*each) for each in zip(q.parts, p.parts, q.split(z), strict=True)])

    def decoder_input(self, z: Tensor) -> Tensor:
        """What the decoder sees of points z [..., ambient_dim]; [..., decoder_dim]."""
        if not any(self.in_tangent) and not any(self.scaled) and z.shape[-1] == self.ambient_dim:
            return z
        seen = zip(self.in_tangent, self.scaled, self.manifold.factors, self.manifold.split(z), strict=True)
        return self.manifold.join(
            [m.logmap0(x) if tangent else _standardised(m, x) if scaled else x for tangent, scaled, m, x in seen]
        )

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """Geodesic distance of the product, broadcast over the leading axes; [...]."""
        return self.manifold.dist(x, y)

    def logmap0(self, z: Tensor) -> Tensor:
        """Coordinates [..., dim] of the points z in the tangent space at the origin."""
        return self.manifold.logmap0(z)

    def expmap0(self, u: Tensor) -> Tensor:
        """Points [..., ambient_dim] with tangent coordinates u [..., dim] at the origin."""
        return self.manifold.expmap0(u)

    def curvatures(self) -> Tensor:
        """Sectional curvature of each component, float64 [num_components]."""
        return self.manifold.k


def build(
    signature: Signature | str,
    *,
    decoder_input: str = "default",
    prior_scale: str = "fixed",
    principal: bool = False,
    concentration: str = "softplus",
) -> LatentSpace:
    """The latent space of a signature.

    Args:
        signature: parsed, or as text.
        decoder_input: what the decoder sees: ``ambient`` coordinates, ``tangent`` (logmap0), or the ``default`` of each
            letter (ambient for e and s, tangent for the others), or that with spheres ``scaled``: coordinates of
            variance 1 under the uniform distribution, as those of e under its prior. With ``gyroplane`` it sees the
            ambient coordinates, and its first layer is a :class:`~mcvae.models.gyroplane.GyroplaneLayer`.
        prior_scale: ``fixed`` at 1, or ``learned``: one positive number a component.
        principal: wrapped normals on spheres without windings, as in Skopek et al. (2020).
        concentration: of vmf and ps, from the head's output x: ``softplus`` (+ 1), or ``exponential``, 1 + dim e^x.

    Raises:
        UserError: for an unknown option, or a prior that does not fit into float32.
    """
    signature = parse(signature) if isinstance(signature, str) else signature
    _require_choice("decoder_input", decoder_input, DECODER_INPUTS)
    _require_choice("prior_scale", prior_scale, PRIOR_SCALES)
    _require_choice("concentration", concentration, CONCENTRATIONS)
    check_reach(signature)
    return LatentSpace(signature, decoder_input, prior_scale, principal, concentration)


def _standardised(sphere: Manifold, x: Tensor) -> Tensor:
    """Points [..., (count,) dim + 1] of a sphere of radius 1/√k times √(k (dim + 1))."""
    return x * (sphere.k * sphere.ambient_dim).sqrt().to(x).unsqueeze(-1)


def _require_choice(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise UserError(f"{name} {value!r}: choose one of {', '.join(allowed)}")


def _side_by_side(values: list[Tensor]) -> Tensor:
    return values[0] if len(values) == 1 else torch.cat(values, -1)
