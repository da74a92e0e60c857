"""Maps of two-dimensional spaces: from tangent coordinates at the origin to the paper, in plain numpy.

Every space is read through its geodesic polar coordinates: ``u = logmap0(x)`` in the orthonormal frame has the length
of the geodesic from the origin, whatever coordinates the points themselves use, so one function serves a sphere and
its stereographic twin, a hyperboloid and a Poincaré ball.
"""

import numpy as np


def sphere_points(tangent: np.ndarray, k: float) -> np.ndarray:
    """``expmap0`` onto the unit sphere: [..., 2] -> [..., 3], the origin at (1, 0, 0); k > 0."""
    radius = np.linalg.norm(tangent, axis=-1, keepdims=True)
    angle = np.sqrt(k) * radius
    direction = tangent / np.where(radius > 0, radius, 1)
    return np.concatenate([np.cos(angle), np.sin(angle) * direction], axis=-1)


def angles(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Longitude and latitude in radians of unit vectors [..., 3]."""
    return np.arctan2(points[..., 1], points[..., 0]), np.arcsin(np.clip(points[..., 2], -1, 1))


def hammer(longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
    """The Hammer projection, which keeps areas: onto the ellipse with half axes 2√2 and √2 (Snyder 1987, p. 160)."""
    scale = np.sqrt(1 + np.cos(latitude) * np.cos(longitude / 2))
    x = 2 * np.sqrt(2) * np.cos(latitude) * np.sin(longitude / 2) / scale
    return np.stack([x, np.sqrt(2) * np.sin(latitude) / scale], axis=-1)


def graticule(step: int = 30, points: int = 41) -> list[tuple[np.ndarray, np.ndarray]]:
    """Meridians and parallels every ``step`` degrees, of ``points`` points, as (longitude, latitude) in radians."""
    fine = np.linspace(-90, 90, points)
    lines = [(np.full_like(fine, m), fine) for m in range(-180 + step, 180, step)]
    lines += [(2 * fine, np.full_like(fine, p)) for p in range(-90 + step, 90, step)]
    return [(np.radians(a), np.radians(b)) for a, b in lines]


def disc(tangent: np.ndarray, k: float) -> np.ndarray:
    """The Poincaré disc of radius 1: a point at distance r from the origin goes to tanh(√-k r / 2); k < 0."""
    radius = np.linalg.norm(tangent, axis=-1, keepdims=True)
    return np.tanh(np.sqrt(-k) * radius / 2) * tangent / np.where(radius > 0, radius, 1)


def principal(tangent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first two principal components of [N, dim], and the fraction of the variance along each."""
    centred = tangent - tangent.mean(axis=0)
    rows, squares = principal_axes(centred)
    total = squares.sum()
    return centred @ rows[:2].T, squares[:2] / (total if total > 0 else 1)


def principal_axes(centred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The principal axes of centred [N, dim], as rows [min(N, dim), dim], and the sum of squares along each.

    The sign of an axis is fixed (its largest loading is positive), so that equal inputs give equal pictures.
    """
    _, singular, rows = np.linalg.svd(centred, full_matrices=False)
    largest = np.abs(rows).argmax(axis=1)
    return rows * np.sign(rows[np.arange(len(rows)), largest])[:, None], singular**2


def medoid(points: np.ndarray, most: int = 400) -> np.ndarray:
    """The point with the least sum of distances to the others, of at most ``most`` of them: where a label sits."""
    some = points[np.linspace(0, len(points) - 1, min(most, len(points))).astype(int)]
    return some[np.linalg.norm(some[:, None] - some[None], axis=-1).sum(axis=1).argmin()]


def round_step(span: float, lines: int = 4) -> float:
    """The step of 1, 2 or 5 times a power of ten that cuts ``span`` into about ``lines`` pieces."""
    raw = span / lines
    power = 10.0 ** np.floor(np.log10(raw))
    return float(min((m * power for m in (1, 2, 5, 10)), key=lambda step: abs(step - raw)))


def mercator(longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
    """The Mercator projection, which keeps angles: (λ, artanh sin φ), infinite at the poles (Snyder 1987, p. 38)."""
    with np.errstate(divide="ignore"):
        return np.stack([longitude, np.arctanh(np.sin(latitude))], axis=-1)


def half_plane(tangent: np.ndarray, k: float) -> np.ndarray:
    """The upper half plane, which keeps angles, with the origin at (0, 1); k < 0.

    y = 1 / (cosh a - sinh a sin t), x = y sinh a cos t at the distance a = √-k r in the direction t.
    """
    a = np.sqrt(-k) * np.linalg.norm(tangent, axis=-1)
    direction = np.sqrt(-k) * tangent / np.where(a > 0, a, 1)[..., None]
    y = 1 / (np.exp(-a) + np.sinh(a) * (1 - direction[..., 1]))  # no difference of large numbers
    return np.stack([y * np.sinh(a) * direction[..., 0], y], axis=-1)


def sphere_tangent(points: np.ndarray, k: float) -> np.ndarray:
    """Tangent coordinates at the origin of points of the unit sphere: undoes :func:`sphere_points`."""
    across = np.linalg.norm(points[..., 1:], axis=-1, keepdims=True)
    angle = np.arctan2(across, points[..., :1])
    return angle / np.sqrt(k) * points[..., 1:] / np.where(across > 0, across, 1)


def unit_vectors(longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
    """Points [..., 3] of the unit sphere at angles in radians: undoes :func:`angles`."""
    around = np.cos(latitude)
    return np.stack([around * np.cos(longitude), around * np.sin(longitude), np.sin(latitude)], axis=-1)


def hammer_angles(paper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Longitude and latitude at places [..., 2] of a Hammer map, NaN outside of its ellipse (Snyder 1987, p. 160)."""
    x, y = paper[..., 0], paper[..., 1]
    square = 1 - (x / 4) ** 2 - (y / 2) ** 2
    square = np.where(square >= 0.5, square, np.nan)  # a half on the outline
    z = np.sqrt(square)
    return 2 * np.arctan2(z * x, 2 * (2 * square - 1)), np.arcsin(np.clip(z * y, -1, 1))


def disc_tangent(paper: np.ndarray, k: float) -> np.ndarray:
    """Tangent coordinates at the origin of places [..., 2] in the disc: undoes :func:`disc`."""
    radius = np.linalg.norm(paper, axis=-1, keepdims=True)
    return 2 * np.arctanh(radius) / np.sqrt(-k) * paper / np.where(radius > 0, radius, 1)


def half_plane_tangent(paper: np.ndarray, k: float) -> np.ndarray:
    """Tangent coordinates at the origin of places [..., 2] with y > 0: undoes :func:`half_plane`.

    By Cayley's map, w = i (z - i) / (z + i), to the disc.
    """
    z = paper[..., 0] + 1j * paper[..., 1]
    w = 1j * (z - 1j) / (z + 1j)
    return disc_tangent(np.stack([w.real, w.imag], axis=-1), k)
