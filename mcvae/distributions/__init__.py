"""Distributions on manifolds, reparameterised, with densities against the Riemannian volume."""

from .kl import has_closed_form, kl
from .support import OnManifold
from .wrapped_normal import WrappedNormal

__all__ = ["OnManifold", "WrappedNormal", "has_closed_form", "kl"]
