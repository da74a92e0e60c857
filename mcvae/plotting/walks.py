"""Ways through the latent space of images, decoded: geodesics between test records, axes of the components.

Made from a run's weights and the posterior locations that its evaluation left behind.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..evaluation.generation import chosen
from ..trained import TrainedRun
from .centre import frechet_mean
from .charts import FLAT, component_name
from .folders import RunFolder
from .projections import principal_axes

PAIRS, FRAMES = 5, 10  # geodesics, and pictures on each
ROWS, STEPS, REACH = 6, 9, 3.0  # axes shared out among components, pictures on each, and how far in deviations
MOST = 12  # components with an axis


@dataclass(frozen=True)
class Axis:
    """An axis of a component at the Fréchet mean of the posterior locations.

    Attributes:
        component: its number among all. name: its heading. number: of the axis within the component, from 1.
        vector: [dim], of length one, zero outside the component, in the frame transported from the origin.
        deviation: root mean square of the locations' coordinates along it. share: of the component's variance.
        around: whether it is walked once around the component's sphere.
        times: [9], where the pictures lie, in the metric's unit of length.
    """

    component: int
    name: str
    number: int
    vector: np.ndarray
    deviation: float
    share: float
    around: bool
    times: np.ndarray


def pairs(classes: np.ndarray, seed: int, most: int = PAIRS) -> list[tuple[int, int]]:
    """At most so many pairs of records, by number: each record once, and every two classes once; drawn by the seed."""
    left = np.random.default_rng(seed).permutation(len(classes)).tolist()
    found: list[tuple[int, int]] = []
    joined = {frozenset([one]) for one in classes.tolist()}
    while left and len(found) < most:
        first = left.pop(0)
        for second in left:
            both = frozenset(classes[[first, second]].tolist())
            if both not in joined:
                joined.add(both)
                left.remove(second)
                found.append((first, second))
                break
    return found


def pictured(arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The test records [16] whose pictures latents.npz holds, and a class of each: its label, or its own number."""
    labels = arrays.get("labels")
    name, known = ("tangent", arrays["tangent"]) if labels is None else ("labels", labels)
    records = chosen({name: torch.as_tensor(known)}, len(arrays["inputs"])).numpy()
    return records, records if labels is None else labels[records].astype(int)


def between(trained: TrainedRun, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Decoder means [P, 10, *shape] at equal steps of geodesics, and the distances [P, 10] from their starts.

    Args:
        starts, ends: [P, dim], tangent coordinates at the origin.
    """
    first, last = (trained.latent.expmap0(torch.as_tensor(u, dtype=torch.float64)) for u in (starts, ends))
    path = trained.interpolate(first, last, FRAMES)
    with torch.inference_mode():
        travelled = trained.latent.manifold.dist(path[:1], path)
    return _pictures(trained, path.transpose(0, 1)), travelled.T.numpy()


def axes(run: RunFolder, tangent: np.ndarray) -> tuple[np.ndarray, list[Axis]]:
    """The Fréchet mean [dim], as tangent coordinates at the origin, and the axes of largest variance there.

    Six rows are shared out evenly among the components, the first of which get what is left over; each of the first
    twelve gets one at least. An axis is walked from -3 to 3 standard deviations; on a sphere once around, in nine equal
    steps, if three deviations along its first axis are more than a quarter of the way round.

    Args:
        tangent: [N, dim], tangent coordinates at the origin of the posterior locations.
    """
    curvatures = run.curvatures()
    parts = [(component, i) for component in run.signature.components for i in range(component.count)]
    mean, result, start = np.zeros(tangent.shape[1]), [], 0
    for index, ((component, place), k) in enumerate(zip(parts, curvatures, strict=True)):
        own = slice(start, start := start + component.dim)
        mean[own], seen = frechet_mean(tangent[:, own], 0.0 if abs(k) < FLAT else k)
        rows = max(ROWS // len(parts) + (index < ROWS % len(parts)), int(index < MOST))
        vectors, squares = principal_axes(seen)
        deviations = np.sqrt(squares / len(tangent))
        around = k > FLAT and REACH * deviations[0] > np.pi / (2 * np.sqrt(k))
        of_many = f" · {place + 1} of {component.count}" if component.count > 1 else ""
        for number, (vector, deviation) in enumerate(zip(vectors[:rows], deviations[:rows], strict=True), 1):
            whole = np.zeros(tangent.shape[1])
            whole[own] = vector
            times = np.linspace(-REACH, REACH, STEPS) * deviation
            if around:
                times = 2 * np.pi / np.sqrt(k) * (np.arange(STEPS) - STEPS // 2) / STEPS
            share = float(deviation**2 / max((deviations**2).sum(), np.finfo(float).tiny))
            name = component_name(component, k) + of_many
            result.append(Axis(index, name, number, whole, float(deviation), share, bool(around), times))
    return mean, result


def along(trained: TrainedRun, mean: np.ndarray, found: list[Axis]) -> np.ndarray:
    """Decoder means [A, 9, *shape] along axes through a mean [dim], given by tangent coordinates at the origin."""
    walked = torch.as_tensor(np.stack([axis.times[:, None] * axis.vector for axis in found]))
    with torch.inference_mode():
        middle = trained.latent.expmap0(torch.as_tensor(mean)).expand(len(found), 1, -1)
        path = trained.latent.manifold.expmap_frame(middle, walked)
    return _pictures(trained, path)


def _pictures(trained: TrainedRun, points: Tensor) -> np.ndarray:
    """Means at points [..., ambient_dim] of float64, in which geodesics keep to their space."""
    return np.asarray(trained.decode(points.to(torch.get_default_dtype())))
