"""How far a prior reaches: around a sphere, or farther out in hyperbolic space than a floating point can follow.

Plain Python, for what must not load torch.
"""

import math

from .errors import UserError
from .signature import Signature

MASS_TO_WARN = 0.01  # of a wrapped normal beyond the injectivity radius
# Of a Riemannian normal in hyperbolic space: the largest mode of the radius, and how far it may go in units of 1/√-k:
# as far as the squares of a hyperboloid's coordinates are finite, with room for a loc; as far as a ball has points.
LARGEST_MODE = {"float32": 8.0, "float64": 15.0}
LARGEST_RADIUS = {"h": {"float32": 32.0, "float64": 340.0}, "p": {"float32": 14.5, "float64": 34.5}}
TAIL = {"h": 6.0, "p": 3.0}  # scales beyond the mode that must still lie within that


def check_reach(signature: Signature) -> list[str]:
    """A sentence for each component whose prior, of scale 1, a sphere is too small for; none is the usual answer.

    Raises:
        UserError: for a Riemannian normal prior that lies farther out than float32 can follow.
    """
    warnings = []
    for component in signature.components:
        if component.family == "rn" and component.k < 0:
            by_radius, by_mode = largest_riemannian(component.letter, component.dim, "float32")
            largest = min(by_radius**2, by_mode**4)
            if -component.k > largest:
                raise UserError(
                    f"latent '{signature}': the mass of a Riemannian normal prior of scale 1 lies too far out for "
                    f"float32; on {component.letter}{component.dim} choose k >= {-largest:.4g}, or wn"
                )
        mass = mass_beyond_injectivity(component.dim, component.k, 1.0) if component.family == "wn" else 0.0
        if mass > MASS_TO_WARN:
            warnings.append(
                f"latent '{signature}': {mass:.0%} of the normal that makes the prior lies beyond the injectivity "
                f"radius of {component.letter}{component.dim}, where it wraps around the sphere; vmf and ps do not"
            )
    return warnings


def largest_riemannian(letter: str, dim: int, dtype: str) -> tuple[float, float]:
    """A and B where A |k|^-1/2 and B |k|^-1/4 bound the scale of a Riemannian normal on h or p of ``dim`` dimensions.

    A: TAIL scales beyond its mode, (dim - 1) √-k scale², lies LARGEST_RADIUS. B: the mode itself is LARGEST_MODE.
    """
    degree, tail, radius = dim - 1, TAIL[letter], LARGEST_RADIUS[letter][dtype]
    by_radius = 2 * radius / (tail + math.sqrt(tail**2 + 4 * degree * radius))
    return by_radius, math.sqrt(LARGEST_MODE[dtype] / degree) if degree else math.inf


def mass_beyond_injectivity(dim: float, k: float, scale: float) -> float:
    """P(|u| > π/√k) of a normal u with standard deviation ``scale`` in each of ``dim`` directions; 0 for k <= 0.

    That is the upper tail of χ² with ``dim`` degrees of freedom at π² / (k scale²).

    Raises:
        ValueError: unless dim and scale are positive and k is finite.
    """
    if not (dim > 0 and scale > 0 and math.isfinite(k)):
        raise ValueError(f"mass_beyond_injectivity: dim={dim}, k={k}, scale={scale}; give dim > 0, scale > 0, finite k")
    half = dim / 2
    x = math.pi**2 / (2 * k * scale**2) if k * scale**2 > 0 else math.inf
    if math.isinf(x):
        return 0.0
    weight = math.exp(half * math.log(x) - x - math.lgamma(half))
    # Q(half, x), the regularised upper incomplete gamma function: DLMF 8.11.4 for its complement, 8.9.2 beyond
    if x < half + 1:
        return max(0.0, 1 - weight * _series(half, x))
    return weight * _continued_fraction(half, x)


def _series(a: float, x: float) -> float:
    """Σ xⁿ / (a (a + 1) … (a + n)), n >= 0."""
    term = total = 1 / a
    n = 1
    while term > total * 1e-17:
        term *= x / (a + n)
        total += term
        n += 1
    return total


def _continued_fraction(a: float, x: float) -> float:
    """1 / (x + 1 - a - 1 (1 - a) / (x + 3 - a - …)) by Lentz's method, for x >= a + 1."""
    b = x + 1 - a
    c, d = math.inf, 1 / b
    total, n = d, 1
    while True:
        factor, b = n * (a - n), b + 2
        d = 1 / (b + factor * d)
        c = b + factor / c
        total *= c * d
        if abs(c * d - 1) < 1e-14:
            return total
        n += 1
