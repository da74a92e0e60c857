"""Draws the map of where each density leaves its accuracy: ``python docs/accuracy.py`` writes accuracy.csv and .svg.

Draws z of a posterior about a point at distance 1 are scored by ``log_prob``, which knows nothing but z, and compared
with the same density from the very numbers that made the draw, in extended precision (mpmath for the constants).
"""

import csv
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import mpmath
import numpy as np
import torch
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure

from mcvae import distributions as D
from mcvae.manifolds import MANIFOLDS, Manifold
from mcvae.plotting import style

HERE = Path(__file__).parent
DRAWS = 256
DIMS = (1, 2, 3, 5, 8, 12, 20, 32, 64, 128, 512)
CURVATURES = tuple(10.0**e for e in (-4, -3, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2))
CONCENTRATIONS = tuple(10.0**e for e in (-4, -2, -1, 0, 1, 2, 3, 4, 5, 6))
DTYPES = {"float32": torch.float32, "float64": torch.float64}
LEVELS = (-16, -14, -12, -10, -8, -6, -4, -2, 0)
Long = np.longdouble


def centre(manifold: Manifold, dtype: torch.dtype) -> torch.Tensor:
    """A point at distance 1 from the origin, or half way to the equator where that is nearer."""
    k = manifold.k.item()
    length = min(1.0, math.pi / (4 * math.sqrt(k))) if k > 0 else 1.0
    direction = torch.nn.functional.normalize(torch.randn(manifold.dim, dtype=torch.float64), dim=-1)
    return manifold.expmap0((length * direction).to(dtype))


def wrapped_normal(letter: str, dim: int, size: float, dtype: torch.dtype) -> float | None:
    """Error of the wrapped normal of scale 1 at curvature ± ``size``, of either sign as the letter says."""
    manifold = MANIFOLDS[letter](dim, k=size * (-1 if letter in "hp" else 1))
    loc, u = centre(manifold, dtype), torch.randn(DRAWS, dim, dtype=torch.float64).to(dtype)
    z = manifold.expmap_frame(loc, u)
    value = D.WrappedNormal(manifold, loc, torch.ones(dim, dtype=dtype)).log_prob(z)
    square = (u.numpy().astype(Long) ** 2).sum(-1)
    r, root = np.sqrt(square), Long(size) ** Long(0.5)
    flat = -square / 2 - dim * np.log(2 * Long(np.pi)) / 2
    if letter in "hp":
        return worst(value, flat - (dim - 1) * np.log(np.sinh(root * r) / (root * r)))
    turns = np.arange(-200, 201, dtype=Long) * (2 * Long(np.pi) / root)
    lengths = np.abs(r[:, None] + turns)
    logs = (dim - 1) * np.log(lengths) - lengths**2 / 2
    peak = logs.max(-1, keepdims=True)
    total = np.log(np.exp(logs - peak).sum(-1)) + peak[:, 0]
    sine = np.abs(np.sin(root * r)) / root
    return worst(value, total - (dim - 1) * np.log(sine) - dim * np.log(2 * Long(np.pi)) / 2)


def riemannian_normal(letter: str, dim: int, size: float, dtype: torch.dtype) -> float | None:
    """Error of the Riemannian normal of scale 1; None where that is refused."""
    manifold = MANIFOLDS[letter](dim, k=-size)
    if D.largest_scale(manifold, dtype).item() < 1:
        return None
    loc = centre(manifold, dtype)
    q = D.RiemannianNormal(manifold, loc, torch.ones(1, dtype=dtype), remember=True)
    z = q.rsample((DRAWS,))
    square = (q._draw.u.numpy().astype(Long) ** 2).sum(-1)
    value = D.RiemannianNormal(manifold, loc, torch.ones(1, dtype=dtype)).log_prob(z)
    return worst(value, -square / 2 - Long(log_constant(dim, size)))


def log_constant(dim: int, size: float) -> float:
    """log ∫ exp(-dist²/2) over hyperbolic space of curvature -size, by quadrature in 30 digits."""
    with mpmath.workdps(30):
        root = mpmath.sqrt(size)
        peak = (dim - 1) * root + mpmath.sqrt(dim)

        def density(r: mpmath.mpf) -> mpmath.mpf:
            return mpmath.exp(-(r**2) / 2) * (mpmath.sinh(root * r) / root) ** (dim - 1)

        radial = mpmath.quad(density, mpmath.linspace(0, 2 * peak + 20, 24))
        return float(mpmath.log(radial * 2 * mpmath.pi ** (mpmath.mpf(dim) / 2) / mpmath.gamma(mpmath.mpf(dim) / 2)))


def von_mises_fisher(letter: str, dim: int, size: float, dtype: torch.dtype) -> float | None:
    """Error of the von Mises-Fisher density of concentration ``size`` at its own draws."""
    loc = centre(MANIFOLDS["s"](dim), dtype)
    loc = loc / loc.norm()
    z = D.VonMisesFisher(loc, torch.tensor(size, dtype=dtype)).rsample((DRAWS,))
    value = D.VonMisesFisher(loc, torch.tensor(size, dtype=dtype)).log_prob(z)
    with mpmath.workdps(40):
        order, kappa = (mpmath.mpf(dim) - 1) / 2, mpmath.mpf(float(torch.tensor(size, dtype=dtype)))
        constant = mpmath.log(mpmath.hyp0f1(order + 1, kappa**2 / 4)) - kappa
        constant += mpmath.log(2 * mpmath.pi ** (order + 1) / mpmath.gamma(order + 1))
    chord = ((z.numpy().astype(Long) - loc.numpy().astype(Long)) ** 2).sum(-1)
    return worst(value, -Long(float(kappa)) * chord / 2 - Long(mpmath.nstr(constant, 25)))


def power_spherical(letter: str, dim: int, size: float, dtype: torch.dtype) -> float | None:
    """Error of the power spherical density of concentration ``size`` at its own draws."""
    loc = centre(MANIFOLDS["s"](dim), dtype)
    loc = loc / loc.norm()
    kappa = torch.tensor(size, dtype=dtype)
    z = D.PowerSpherical(loc, kappa).rsample((DRAWS,))
    value = D.PowerSpherical(loc, kappa).log_prob(z)
    with mpmath.workdps(40):
        alpha, beta = mpmath.mpf(dim) / 2 + mpmath.mpf(kappa.item()), mpmath.mpf(dim) / 2
        constant = (alpha + beta) * mpmath.log(2) + beta * mpmath.log(mpmath.pi)
        constant += mpmath.loggamma(alpha) - mpmath.loggamma(alpha + beta)
    chord = ((z.numpy().astype(Long) - loc.numpy().astype(Long)) ** 2).sum(-1)
    return worst(value, Long(kappa.item()) * np.log(2 - chord / 2) - Long(mpmath.nstr(constant, 25)))


def worst(value: torch.Tensor, reference: np.ndarray) -> float:
    """Largest |error| / (1 + |log p|); infinity for a value that is not finite."""
    error = np.abs(value.numpy().astype(Long) - reference) / (1 + np.abs(reference))
    return float(error.max()) if np.isfinite(error).all() else math.inf


Measure = Callable[[str, int, float, torch.dtype], float | None]
CURVED, CONCENTRATED = ("|K|", CURVATURES), ("concentration", CONCENTRATIONS)
MAPS: dict[str, tuple[Measure, str, tuple[str, tuple[float, ...]]]] = {
    "wrapped normal, hyperboloid": (wrapped_normal, "h", CURVED),
    "wrapped normal, Poincaré ball": (wrapped_normal, "p", CURVED),
    "wrapped normal, sphere": (wrapped_normal, "s", CURVED),
    "wrapped normal, projected sphere": (wrapped_normal, "d", CURVED),
    "Riemannian normal, hyperboloid": (riemannian_normal, "h", CURVED),
    "von Mises-Fisher": (von_mises_fisher, "s", CONCENTRATED),
    "power spherical": (power_spherical, "s", CONCENTRATED),
}


def measure(dims: tuple[int, ...] = DIMS) -> Iterator[dict[str, object]]:
    """One row a cell of the map; ``error`` is empty where the library refuses."""
    for name, (function, letter, (axis, sizes)) in MAPS.items():
        for dtype_name, dtype in DTYPES.items():
            for dim in dims:
                for size in sizes:
                    torch.manual_seed(0)
                    error = function(letter, dim, size, dtype)
                    yield {
                        "density": name,
                        "dtype": dtype_name,
                        "dim": dim,
                        "axis": axis,
                        "size": f"{size:.4g}",
                        "error": "" if error is None else f"{error:.2e}",
                    }


def draw(rows: list[dict[str, object]]) -> Figure:
    """One panel a density and dtype: decimal logarithm of the worst relative error over dim and size."""
    figure = Figure(figsize=(10, 2.3 * len(MAPS)), layout="constrained")
    axes = figure.subplots(len(MAPS), 2, squeeze=False)
    norm = BoundaryNorm(LEVELS, 256)
    for line, (name, (_, _, (axis, sizes))) in zip(axes, MAPS.items(), strict=True):
        for panel, dtype in zip(line, DTYPES, strict=True):
            chosen = [row for row in rows if row["density"] == name and row["dtype"] == dtype]
            dims = list(dict.fromkeys(row["dim"] for row in chosen))
            values = np.array([float(row["error"] or "nan") for row in chosen]).reshape(len(dims), len(sizes)).T
            panel.set_facecolor(style.HAIR)
            shown = panel.imshow(
                np.log10(np.maximum(values, 1e-16)), origin="lower", aspect="auto", cmap="magma_r", norm=norm
            )
            panel.set_title(f"{name} · {dtype}")
            panel.set_xticks(range(len(dims)), dims)
            panel.set_yticks(range(0, len(sizes), 2), [f"{s:.3g}" for s in sizes[::2]])
            panel.set_xlabel("dim")
            panel.set_ylabel(axis)
            for row, column in np.argwhere(np.isinf(values)):
                panel.text(column, row, "×", ha="center", va="center", color="white", fontsize=7)
    bar = figure.colorbar(shown, ax=axes, shrink=0.35, ticks=LEVELS, pad=0.02)
    bar.set_label("log₁₀ of the worst |error| / (1 + |log p|) of 256 draws; grey: refused; ×: not finite")
    return figure


def main() -> None:
    """Measure, write the table and draw it."""
    rows = list(measure())
    with (HERE / "accuracy.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    with style.look():
        style.save(draw(rows), HERE / "accuracy.svg", HERE / "accuracy.png", "Accuracy of the densities")


if __name__ == "__main__":
    main()
