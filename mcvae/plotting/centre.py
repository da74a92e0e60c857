"""The Fréchet mean of points and the tangent space there, in plain numpy: where principal components are taken.

Points are tangent coordinates at the origin, of any model of a space of constant curvature; see :mod:`.projections`.
"""

import numpy as np

STEPS = 300
CLOSE = 1e-10
FLAT = 1e-9


def at_mean(tangent: np.ndarray, k: float) -> np.ndarray:
    """Logarithms [N, dim] of points at their :func:`frechet_mean`, in the frame transported to it from the origin."""
    return frechet_mean(tangent, k)[1]


def frechet_mean(tangent: np.ndarray, k: float) -> tuple[np.ndarray, np.ndarray]:
    """The Fréchet mean [dim], as its logarithm at the origin, and the logarithms [N, dim] of the points there.

    The mean minimises the sum of squared geodesic distances; it is found by Karcher's iteration, m <- exp_m(t/N Σ
    log_m x_i), from the mean of the embedded points, with t = 1 on spheres and shorter steps where curvature is
    negative. The logarithms there sum to zero.

    Args:
        tangent: [N, dim], logarithms at the origin, in an orthonormal frame. k: sectional curvature.
    """
    tangent = np.asarray(tangent, dtype=np.float64)
    if len(tangent) == 0:
        return np.zeros(tangent.shape[1]), tangent
    if abs(k) < FLAT:
        return tangent.mean(axis=0), tangent - tangent.mean(axis=0)
    scale, sign = np.sqrt(abs(k)), np.sign(k)
    points = _exp(_origin(tangent.shape[1]), np.pad(scale * tangent, ((0, 0), (1, 0))), sign)
    mean = points.mean(axis=0)
    square = sign * _inner(mean, mean, sign)
    mean = mean / np.sqrt(square) if square > CLOSE else _origin(tangent.shape[1])
    for _ in range(STEPS):
        seen = _log(mean, points, sign)
        step = seen.mean(axis=0)
        if sign < 0:  # the second derivative of half the mean squared distance is at most the mean of a coth a
            away = np.sqrt(np.maximum(_inner(seen, seen, sign), CLOSE))
            step = step / (away / np.tanh(away)).mean()
        mean = _exp(mean, step[None], sign)[0]
        if np.sqrt(max(_inner(step, step, sign), 0.0)) < CLOSE:
            break
    here = _log(_origin(tangent.shape[1]), mean, sign)[1:] / scale
    return here, _to_origin(mean, _log(mean, points, sign), sign) / scale


def _origin(dim: int) -> np.ndarray:
    return np.eye(dim + 1)[0]


def _inner(x: np.ndarray, y: np.ndarray, sign: float) -> np.ndarray:
    """Of the space around: Euclidean for the sphere, Minkowski's, with minus first, for the hyperboloid."""
    return sign * x[..., 0] * y[..., 0] + (x[..., 1:] * y[..., 1:]).sum(axis=-1)


def _exp(x: np.ndarray, u: np.ndarray, sign: float) -> np.ndarray:
    length = np.sqrt(np.maximum(_inner(u, u, sign), 0))[..., None]
    even, odd = (np.cos, np.sin) if sign > 0 else (np.cosh, np.sinh)
    return even(length) * x + odd(length) * u / np.where(length > 0, length, 1)


def _log(x: np.ndarray, y: np.ndarray, sign: float) -> np.ndarray:
    along = sign * _inner(x, y, sign)[..., None]
    u = y - along * x
    length = np.sqrt(np.maximum(_inner(u, u, sign), 0))[..., None]
    distance = np.arctan2(length, along) if sign > 0 else np.arcsinh(length)
    return distance * u / np.where(length > 0, length, 1)


def _to_origin(x: np.ndarray, u: np.ndarray, sign: float) -> np.ndarray:
    """Coordinates at the origin of tangent vectors u [N, dim + 1] at x, transported along the geodesic."""
    both = x + _origin(len(x) - 1)
    below = 1 + x[0]  # |x[0]| is the inner product with the origin; zero at the antipode, where frames are as they are
    if below < CLOSE:
        return u[:, 1:]
    return (u - u[:, :1] / below * both)[:, 1:]
