"""Manifolds of constant curvature and their products: geometry in torch, free of any model."""

from .base import Manifold
from .euclidean import Euclidean
from .hyperboloid import Hyperboloid
from .product import ProductManifold
from .sphere import Sphere

# letter of the signature language -> manifold
MANIFOLDS: dict[str, type[Manifold]] = {cls.letter: cls for cls in (Euclidean, Sphere, Hyperboloid)}

__all__ = ["MANIFOLDS", "Euclidean", "Hyperboloid", "Manifold", "ProductManifold", "Sphere"]
