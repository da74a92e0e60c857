"""Manifolds of constant curvature and their products: geometry in torch, free of any model."""

from .base import Manifold
from .euclidean import Euclidean
from .hyperboloid import Hyperboloid
from .isometries import isometry
from .product import ProductManifold
from .sphere import Sphere
from .stereographic import PoincareBall, ProjectedSphere, Stereographic

# letter of the signature language -> manifold
MANIFOLDS: dict[str, type[Manifold]] = {
    cls.letter: cls for cls in (Euclidean, Sphere, ProjectedSphere, Hyperboloid, PoincareBall, Stereographic)
}

__all__ = [
    "MANIFOLDS",
    "Euclidean",
    "Hyperboloid",
    "Manifold",
    "PoincareBall",
    "ProductManifold",
    "ProjectedSphere",
    "Sphere",
    "Stereographic",
    "isometry",
]
