"""Charts: one component of a latent space on paper, with the lines that its geometry asks for.

Plane for flat spaces, Hammer map for spheres, Poincaré disc for hyperbolic planes, principal components of the tangent
space for what has more than two dimensions, a strip for one; and the whole of a space by its geodesic distances.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Ellipse

from ..signature import Component
from . import projections, scaling, style
from .centre import at_mean
from .folders import RunFolder

Projection = Callable[[np.ndarray], np.ndarray]
FLAT = 1e-6  # a curvature whose chart cannot be told from the plane's
RECORDS = 600  # whose distances are looked at, evenly spread over all


@dataclass(frozen=True)
class Chart:
    """Points on paper [N, 2] with their limits, the lines behind them, and what a caption says of them."""

    name: str
    heading: str
    projection: str
    points: np.ndarray
    limits: tuple[float, float, float, float]
    lines: Callable[[Axes], None]
    framed: bool = False
    labels: tuple[str, str] = ("", "")
    sphere: np.ndarray | None = None
    project: Projection | None = None  # of the surfaces: what takes tangent coordinates to paper
    records: np.ndarray | None = None  # whose points these are, if not all have one

    @property
    def ratio(self) -> float:
        """Height of a unit of width."""
        left, right, bottom, top = self.limits
        return (top - bottom) / (right - left)

    def prepare(self, axes: Axes) -> Axes:
        """Limits, lines and frame."""
        axes.set_xlim(self.limits[:2])
        axes.set_ylim(self.limits[2:])
        if not self.framed:
            style.bare(axes)
        self.lines(axes)
        return axes


def charts(run: RunFolder, tangent: np.ndarray, spread: np.ndarray | None) -> list[Chart]:
    """One chart a component of a product; ``tangent`` [N, dim], ``spread`` [N] in (-0.5, 0.5) the height in a strip."""
    result, start = [], 0
    curvatures = iter(run.curvatures())
    for component in run.signature.components:
        for _ in range(component.count):
            part = tangent[:, start : start + component.dim]
            result.append(chart(component, next(curvatures), part, spread))
            start += component.dim
    return result


def overview(run: RunFolder, tangent: np.ndarray) -> Chart:
    """A space as a whole, laid out by geodesic distances of at most 600 records; ``tangent`` [N, dim]."""
    records, parts, start = _some(len(tangent)), [], 0
    curvatures = iter(run.curvatures())
    for component in run.signature.components:
        for _ in range(component.count):
            parts.append((tangent[records, start : start + component.dim].astype(np.float64), next(curvatures)))
            start += component.dim
    apart = scaling.product_distances(parts)
    points = scaling.scaled(apart)
    limits, outside = _square(points)
    loss = f"stress {scaling.stress(apart, points):.2f}, {_correlation(scaling.kept(apart, points))}"
    return Chart(
        "Whole space" if len(parts) > 1 else component_name(run.signature.components[0], parts[0][1]),
        f"MDS of geodesic distances; {loss}",
        f"MDS of the geodesic distances of {len(records)} records: {loss}{_outside(outside)}",
        points,
        limits,
        _gridded,
        framed=True,
        records=records,
    )


def _correlation(value: float) -> str:
    return f"r\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{value:.2f}"


def _some(count: int) -> np.ndarray:
    return np.linspace(0, count - 1, min(count, RECORDS)).round().astype(int)


def chart(component: Component, k: float, tangent: np.ndarray, spread: np.ndarray | None) -> Chart:
    """The chart of one component from its tangent coordinates [N, dim]."""
    tangent = np.asarray(tangent, dtype=np.float64)
    name = component_name(component, k)
    if component.dim == 1:
        return _strip(name, tangent, spread)
    if component.dim > 2:
        return _principal(name, tangent, k)
    if k > FLAT:
        return _hammer(name, tangent, k)
    if k < -FLAT:
        return _disc(name, tangent, k)
    return _plane(name, tangent)


def component_name(component: Component, k: float) -> str:
    """A component as a heading: ``ℍ², K = −0.7 (learned)``."""
    name = style.space(component.letter, component.dim)
    if component.letter == "e":
        return name
    return f"{name}, K\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{_number(k)}" + (" (learned)" if component.learn else "")


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")


def _square(points: np.ndarray) -> tuple[tuple[float, float, float, float], int]:
    """A square around all but the outermost points, and how many of them fall outside."""
    low, high = np.percentile(points, [0.2, 99.8], axis=0)
    centre, half = (low + high) / 2, 0.54 * max(float((high - low).max()), 1e-6)
    outside = int((np.abs(points - centre) > half).any(axis=1).sum())
    return (centre[0] - half, centre[0] + half, centre[1] - half, centre[1] + half), outside


def _gridded(axes: Axes) -> None:
    axes.grid(True)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color(style.LIGHT)


def _outside(count: int) -> str:
    return f"; {count} point{'s' * (count > 1)} outside the frame" if count else ""


def _plane(name: str, tangent: np.ndarray) -> Chart:
    limits, outside = _square(tangent)
    return Chart(
        name,
        "plane",
        f"plane{_outside(outside)}",
        tangent,
        limits,
        _gridded,
        framed=True,
        labels=("z₁", "z₂"),
        project=np.asarray,
    )


def _principal(name: str, tangent: np.ndarray, k: float) -> Chart:
    points, shares = projections.principal(at_mean(tangent, k))
    limits, outside = _square(points)
    first, second = (f"{100 * share:.0f}%" for share in shares)
    together, lost = round(100 * shares.sum()), 100 - round(100 * shares.sum())
    records = _some(len(points))
    correlation = _correlation(scaling.kept(scaling.distances(tangent[records], k), points[records]))
    return Chart(
        name,
        f"tangent-space PCA at the mean; {lost}% of variance lost, {correlation}",
        f"tangent-space PCA at the Fréchet mean: two of {tangent.shape[1]} dimensions, {together}% of the variance of "
        f"geodesic distances from it; {lost}% is lost, {correlation}{_outside(outside)}",
        points,
        limits,
        _gridded,
        framed=True,
        labels=(f"first component ({first})", f"second component ({second})"),
    )


def _strip(name: str, tangent: np.ndarray, spread: np.ndarray | None) -> Chart:
    x = tangent[:, 0]
    y = np.zeros_like(x) if spread is None else spread
    low, high = float(x.min()), float(x.max())
    margin = 0.05 * (high - low) or 1.0

    def lines(axes: Axes) -> None:
        _gridded(axes)
        axes.set_yticks([])

    limits = (low - margin, high + margin, -0.6, 0.6)
    heading = "strip; height tells points apart only"
    return Chart(name, heading, heading, np.stack([x, y], -1), limits, lines, framed=True, labels=("z₁", ""))


def _roomy(axes: Axes) -> bool:
    """Whether there is room for a fine graticule and labels."""
    return axes.get_window_extent().width > 300


def _hammer(name: str, tangent: np.ndarray, k: float) -> Chart:
    points = projections.sphere_points(tangent, k)

    def lines(axes: Axes) -> None:
        outline = (0, 0), 4 * np.sqrt(2), 2 * np.sqrt(2)
        axes.add_patch(Ellipse(*outline, facecolor=style.PAPER, zorder=0))
        axes.add_patch(Ellipse(*outline, **style.RIM))
        for longitude, latitude in projections.graticule() if _roomy(axes) else projections.graticule(60, 17):
            x, y = projections.hammer(longitude, latitude).T
            axes.plot(x, y, color=style.HAIR, linewidth=0.7, zorder=1)

    width, height = 2 * np.sqrt(2) * 1.01, np.sqrt(2) * 1.02
    return Chart(
        name,
        "Hammer map (equal-area)",
        "Hammer map (equal-area), graticule of 30°, origin in the middle",
        projections.hammer(*projections.angles(points)),
        (-width, width, -height, height),
        lines,
        sphere=points,
        project=lambda u: projections.hammer(*projections.angles(projections.sphere_points(u, k))),
    )


def _disc(name: str, tangent: np.ndarray, k: float) -> Chart:
    radius = float(np.percentile(np.linalg.norm(tangent, axis=1), 99.5))
    step = projections.round_step(max(radius, 1e-3), 3)
    radii = [step * i for i in range(1, 5) if np.tanh(np.sqrt(-k) * step * i / 2) < 0.97]

    def lines(axes: Axes) -> None:
        axes.add_patch(Circle((0, 0), 1, facecolor=style.PAPER, zorder=0))
        axes.add_patch(Circle((0, 0), 1, **style.RIM))
        for angle in np.radians(range(0, 180, 30)):
            x, y = np.cos(angle), np.sin(angle)
            axes.plot([-x, x], [-y, y], color=style.HAIR, linewidth=0.7, zorder=1)
        for r in radii:
            rho = float(np.tanh(np.sqrt(-k) * r / 2))
            axes.add_patch(Circle((0, 0), rho, fill=False, edgecolor=style.LIGHT, linewidth=0.8, zorder=1))
            if _roomy(axes):
                box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8}
                axes.text(
                    0, -rho, f"r = {r:g}", ha="center", va="center", size=7.5, color=style.GREY, bbox=box, zorder=7
                )

    words = ", ".join(f"{r:g}" for r in radii)
    return Chart(
        name,
        "Poincaré disc (conformal)",
        f"Poincaré disc (conformal), circles at geodesic distance {words}",
        projections.disc(tangent, k),
        (-1.02, 1.02, -1.02, 1.02),
        lines,
        project=lambda u: projections.disc(u, k),
    )
