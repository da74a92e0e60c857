"""Distributions on manifolds, reparameterised, with densities against the Riemannian volume."""

from .hyperspherical_uniform import HypersphericalUniform
from .kl import has_closed_form, kl
from .power_spherical import PowerSpherical
from .riemannian_normal import RiemannianNormal, largest_scale
from .scaled import OnSphere
from .support import OnManifold
from .von_mises_fisher import VonMisesFisher
from .wrapped_normal import WrappedNormal

__all__ = [
    "HypersphericalUniform",
    "OnManifold",
    "OnSphere",
    "PowerSpherical",
    "RiemannianNormal",
    "VonMisesFisher",
    "WrappedNormal",
    "has_closed_form",
    "kl",
    "largest_scale",
]
