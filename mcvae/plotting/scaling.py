"""Many dimensions on paper so that distances stay: multidimensional scaling of geodesic distances, in plain numpy.

Points are tangent coordinates at the origin, of any model of a space of constant curvature; see :mod:`.projections`.
"""

from collections.abc import Sequence

import numpy as np

FLAT = 1e-9
ROUNDS = 150
CLOSE = 1e-4  # of the stress from round to round


def distances(tangent: np.ndarray, k: float) -> np.ndarray:
    """Geodesic distances [N, N] of points [N, dim] in a space of sectional curvature k.

    Of the law of cosines in half angles, whose terms are all positive, so that no digits cancel: sn²(d/2) =
    sn²((a - b)/2) + sn a sn b |û - v̂|²/4 with sn the sine or its hyperbolic twin, a and b the distances from the
    origin, û and v̂ the directions.
    """
    tangent = np.asarray(tangent, dtype=np.float64)
    if abs(k) < FLAT:
        return _apart(tangent)
    scale = np.sqrt(abs(k))
    length = np.linalg.norm(tangent, axis=1)
    directions = tangent / np.where(length > 0, length, 1)[:, None]
    a = scale * length
    sn = np.sin if k > 0 else np.sinh
    square = sn((a[:, None] - a) / 2) ** 2 + sn(a)[:, None] * sn(a) * _apart(directions) ** 2 / 4
    half = np.arcsin(np.sqrt(square.clip(0, 1))) if k > 0 else np.arcsinh(np.sqrt(square.clip(0)))
    return 2 * half / scale


def product_distances(parts: Sequence[tuple[np.ndarray, float]]) -> np.ndarray:
    """Geodesic distances [N, N] in a product of spaces: the root of the sum of their squares; (tangent, k) of each."""
    return np.sqrt(sum(distances(tangent, k) ** 2 for tangent, k in parts))


def scaled(apart: np.ndarray) -> np.ndarray:
    """Places [N, 2] on paper whose distances are as near to ``apart`` [N, N] as can be, in the mean square.

    Classical scaling (Torgerson 1952), then the majorisation of the stress (de Leeuw 1977: SMACOF), which never makes
    it larger. Axes are the principal ones, signs fixed: equal distances give equal places.
    """
    count = len(apart)
    if count < 2:
        return np.zeros((count, 2))
    square = apart**2
    means = square.mean(axis=0)
    values, vectors = np.linalg.eigh(-(square - means - means[:, None] + square.mean()) / 2)
    places = vectors[:, :-3:-1] * np.sqrt(np.maximum(values[:-3:-1], 0))
    before = np.inf
    for _ in range(ROUNDS):
        now = _apart(places)
        left = ((now - apart) ** 2).sum()
        if before - left <= CLOSE * left:
            break
        before = left
        ratio = apart / np.where(now > 0, now, np.inf)
        places = (ratio.sum(axis=1, keepdims=True) * places - ratio @ places) / count
    _, _, rows = np.linalg.svd(places - places.mean(axis=0), full_matrices=False)
    rows = rows * np.sign(rows[np.arange(2), np.abs(rows).argmax(axis=1)])[:, None]
    return (places - places.mean(axis=0)) @ rows.T


def stress(apart: np.ndarray, places: np.ndarray) -> float:
    """Kruskal's stress-1 of places [N, 2]: the root of the squared errors of distances over the squared distances."""
    total = (apart**2).sum()
    return float(np.sqrt(((_apart(places) - apart) ** 2).sum() / total)) if total > 0 else 0.0


def kept(apart: np.ndarray, places: np.ndarray) -> float:
    """The correlation of distances on paper with ``apart``, over all pairs; 0 if either has one value only."""
    pairs = np.triu_indices(len(apart), 1)
    there, here = apart[pairs], _apart(places)[pairs]
    if len(there) < 2 or np.ptp(there) == 0 or np.ptp(here) == 0:
        return 0.0
    return float(np.corrcoef(there, here)[0, 1])


def _apart(points: np.ndarray) -> np.ndarray:
    """Euclidean distances [N, N] of points [N, dim]."""
    square = np.zeros((len(points), len(points)))
    for column in points.T:
        square += (column[:, None] - column) ** 2
    return np.sqrt(square)
