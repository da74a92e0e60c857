"""Positive controls: hidden points of known geometry, observed through a fixed random network with noise.

A pipeline that finds geometry finds that of these sets. They are no stand-ins: the generator is their source.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from . import store

SIZES = (3000, 500, 1000)  # train, validation, test
WIDTH = 50  # numbers in an observation
FILES = ("observations", "points", "labels")
# Observations lie on multiples of this: the last bits of sums and of tanh differ between machines, files must not.
GRID = 2.0**-10
SEED = 20190117

Random = np.random.RandomState  # its streams are frozen, those of numpy's Generator are not


@dataclass(frozen=True)
class Space:
    """One factor of the hidden space.

    draw: (random, n) -> points [n, ambient] and labels [n].
    distances: (random, points, width) -> signed distances [n, width] to random hyperplanes, drawn uniformly (that is,
    by the measure that no isometry changes) among those that come near the points.
    off: points [n, ambient] -> how far each is off the space, [n].
    planes: number of hyperplanes. gain: steepness of tanh, per unit of distance.
    """

    ambient: int
    draw: Callable[[Random, int], tuple[np.ndarray, np.ndarray]]
    distances: Callable[[Random, np.ndarray, int], np.ndarray]
    off: Callable[[np.ndarray], np.ndarray]
    planes: int
    gain: float


@dataclass(frozen=True)
class Control:
    """A data set: its factors, and the standard deviation of the noise in units of length on the hidden space."""

    spaces: tuple[Space, ...]
    noise: float


def write_control(name: str, folder: str | os.PathLike) -> None:
    """Write observations float32 [N, 50], points float64 [N, ambient] and labels uint8 [N] as ``.npy`` files.

    Records are in the order train, validation, test; they are independent and of one distribution.

    x = W tanh(g d(z)) - mean + noise, with d(z) the signed distances of the hidden point z to random hyperplanes
    (geodesics; of each factor for itself) and W a matrix of independent normals, scaled so that the mean of the
    pulled-back metric is the space's own: one unit of hidden length is about one unit of |x|. As the number of
    hyperplanes that part two points is proportional to their distance (Crofton's formula), the network prefers no place
    and no direction. The hidden points:

    - ``plane``: normal on the plane, of unequal scales, which only flat space has a frame for everywhere;
    - ``sphere``: uniform on the unit sphere S² (observed as in Davidson et al. 2018, section 5.1); by octant;
    - ``tree``: noise about the nodes of a branching walk on the hyperbolic plane of curvature -1 (after the branching
      diffusion of Mathieu et al. 2019, section 5.1, which is of flat steps); by branch;
    - ``sphere-hyperbolic``: independent points of the two, side by side; by octant.

    Raises: UserError for another name.
    """
    if name not in CONTROLS:
        raise UserError(f"control {name!r}: unknown; choose one of {', '.join(CONTROLS)}")
    control, records = CONTROLS[name], sum(SIZES)
    random = Random(SEED)
    drawn = [space.draw(random, records) for space in control.spaces]
    layers = [_layer(random, space, points) for space, (points, _) in zip(control.spaces, drawn, strict=True)]
    layer = np.concatenate(layers, 1)
    clean = layer @ random.standard_normal((layer.shape[1], WIDTH)) / WIDTH**0.5
    observed = clean - clean.mean(0) + control.noise * random.standard_normal(clean.shape)
    arrays = {
        "observations": (np.rint(observed / GRID) * GRID).astype(np.float32),
        "points": np.rint(np.concatenate([points for points, _ in drawn], 1) * 2.0**30) * 2.0**-30,
        "labels": drawn[0][1].astype(np.uint8),
    }
    for file, array in arrays.items():
        store.save_tensor(folder, file, array)


def prepare(
    raw: str | os.PathLike, prepared: str | os.PathLike, options: Mapping[str, Any] | None = None, threads: int = 1
) -> None:
    """Write observations float32 [N,50], points float32 [N,ambient], labels uint8 [N], ids int32 [N] and their stats.

    ``stats.json`` has the mean and standard deviation of all training observations, and ``noise``, that of the noise.
    Which set it is, the points tell. Controls have no options; one thread is enough.
    Raises: UserError naming the file that is missing, broken, or of the wrong shape.
    """
    if options:
        raise UserError(f"data: unknown option {', '.join(sorted(options))}; a control has none")
    raw, prepared = Path(raw), Path(prepared)
    prepared.mkdir(parents=True, exist_ok=True)
    arrays = {name: _read(store.tensor_path(raw, name)) for name in FILES}
    name = _recognise(raw, arrays)
    arrays["points"] = arrays["points"].astype(np.float32)
    arrays["ids"] = np.arange(sum(SIZES), dtype=np.int32)
    splits = store.write_splits(prepared, *SIZES)
    tensors = {name: store.save_tensor(prepared, name, array) for name, array in arrays.items()}
    train = arrays["observations"][: SIZES[0]].astype(np.float64)
    classes = int(arrays["labels"].max()) + 1
    counts = {split: stop - start for split, (start, stop) in splits.items()}
    balance = {
        split: np.bincount(arrays["labels"][start:stop], minlength=classes).tolist()
        for split, (start, stop) in splits.items()
    }
    # Sums of multiples of 2^-10 and 2^-20 are exact, in whatever order.
    mean = float(train.mean())
    std = float(np.sqrt(np.square(train).mean() - mean**2))
    noise = CONTROLS[name].noise
    store.write_stats(prepared, raw, name, tensors, counts, mean=mean, std=std, noise=noise, classes=balance)


def _read(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; a control needs {', '.join(f'{name}.npy' for name in FILES)}") from None
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{path}: not a readable array ({error})") from None


def _recognise(raw: Path, arrays: Mapping[str, np.ndarray]) -> str:
    """The name of the set in whose space the points lie; shapes and types are checked on the way."""
    records = sum(SIZES)
    expected = {"observations": ("float32", (records, WIDTH)), "labels": ("uint8", (records,))}
    for name, (dtype, shape) in expected.items():
        array = arrays[name]
        if array.dtype.name != dtype or array.shape != shape:
            path = store.tensor_path(raw, name)
            raise UserError(f"{path}: expected {dtype} {list(shape)}, got {array.dtype.name} {list(array.shape)}")
    if not np.isfinite(arrays["observations"]).all():
        raise UserError(f"{store.tensor_path(raw, 'observations')}: has a number that is not finite")
    points = arrays["points"]
    for name, control in CONTROLS.items():
        widths = [space.ambient for space in control.spaces]
        if points.dtype == np.float64 and points.shape == (records, sum(widths)):
            parts = np.split(points, np.cumsum(widths)[:-1], axis=1)
            # "not >" would let NaN pass
            if all((space.off(part) < 1e-6).all() for space, part in zip(control.spaces, parts, strict=True)):
                return name
    raise UserError(f"{store.tensor_path(raw, 'points')}: the points lie in the space of no control")


def _layer(random: Random, space: Space, points: np.ndarray) -> np.ndarray:
    """a tanh(g d), with a such that the squared gradient's mean over the points is 1 for each dimension of the two."""
    layer = np.tanh(space.gain * space.distances(random, points, space.planes))
    squared_gradient = np.square(space.gain * (1 - np.square(layer))).sum(1).mean()
    return layer * np.sqrt(2 / squared_gradient)


PLANE_SCALES = (2.0, 0.5)
PLANE_REACH = 7.0  # farthest line from the origin


def _draw_plane(random: Random, n: int) -> tuple[np.ndarray, np.ndarray]:
    points = random.standard_normal((n, 2)) * PLANE_SCALES
    # Four quadrants, each in a near and a far half (2 log 2 is the median of χ² with 2 degrees of freedom).
    far = np.square(points / PLANE_SCALES).sum(1) > 2 * np.log(2)
    return points, (points > 0) @ [1, 2] + 4 * far


def _lines(random: Random, points: np.ndarray, width: int) -> np.ndarray:
    angle, place = random.uniform(0, 2 * np.pi, width), random.uniform(0, PLANE_REACH, width)
    return points @ np.stack([np.cos(angle), np.sin(angle)]) - place


def _draw_sphere(random: Random, n: int) -> tuple[np.ndarray, np.ndarray]:
    points = random.standard_normal((n, 3))
    points /= np.sqrt(np.square(points).sum(1, keepdims=True))
    return points, (points > 0) @ [1, 2, 4]


def _great_circles(random: Random, points: np.ndarray, width: int) -> np.ndarray:
    poles, _ = _draw_sphere(random, width)
    return np.arcsin(np.clip(points @ poles.T, -1, 1))


TREE_ROOTS = 3  # branches that leave the root; every other node has two children
TREE_FORK = 0.6  # angle between a child's direction and straight on
TREE_SPREAD = 0.15  # standard deviation of that angle
TREE_REACH = 7.0  # farthest geodesic from the origin
CANDIDATES = 10_000  # geodesics drawn at a time; of them those stay that come near one of the first SCOUTS points
SCOUTS = 400
SIGNS = np.array([-1.0, 1.0, 1.0])


def tree_nodes(random: Random, depth: int, edge: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes [n, 3] on the hyperboloid in R^(1,2), their level from 0 at the root, their branch (0 for the root).

    A frame (point, forward, left) goes along the edges: each child is one edge away, at a random angle near the fork's.
    """
    frames, levels, branches = [np.eye(3)], [0], [0]
    for node, angle in ((0, 2 * np.pi * i / TREE_ROOTS) for i in range(TREE_ROOTS)):
        frames.append(_walk(frames[node], angle + TREE_SPREAD * random.standard_normal(), edge))
        levels.append(1)
        branches.append(len(frames) - 1)
    node = 1
    while levels[node] < depth:
        for angle in (-TREE_FORK, TREE_FORK):
            frames.append(_walk(frames[node], angle + TREE_SPREAD * random.standard_normal(), edge))
            levels.append(levels[node] + 1)
            branches.append(branches[node])
        node += 1
    return np.stack(frames)[:, 0], np.array(levels), np.array(branches)


def _walk(frame: np.ndarray, angle: float, edge: float) -> np.ndarray:
    """The frame (rows point, forward, left) after a turn to the left by ``angle`` and an edge straight on."""
    point, forward, left = frame
    ahead = np.cos(angle) * forward + np.sin(angle) * left
    aside = np.cos(angle) * left - np.sin(angle) * forward
    cosh, sinh = np.cosh(edge), np.sinh(edge)
    return np.stack([cosh * point + sinh * ahead, sinh * point + cosh * ahead, aside])


def _draw_tree(random: Random, n: int, depth: int, edge: float, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Records about nodes: every level is as likely as another, and so is every node of a level."""
    nodes, levels, branches = tree_nodes(random, depth, edge)
    sizes = np.bincount(levels)
    level = random.randint(0, depth + 1, n)
    chosen = np.cumsum([0, *sizes])[level] + np.floor(random.uniform(0, 1, n) * sizes[level]).astype(int)
    return wrapped_normal(random, nodes[chosen], noise), branches[chosen]


def wrapped_normal(random: Random, centres: np.ndarray, scale: float) -> np.ndarray:
    """One draw from the isotropic wrapped normal at each of the points [n, 3] of the hyperboloid.

    z = cosh |u| y + sinh |u| / |u| v, where v = (0, u) + (y·u) / (1 + y₀) (e₀ + y) is u at y (Nagano et al. 2019).
    """
    u = np.pad(scale * random.standard_normal((len(centres), 2)), ((0, 0), (1, 0)))
    ratio = (centres * u).sum(1, keepdims=True) / (1 + centres[:, :1])
    moved = u + ratio * (centres + np.eye(3)[0])
    length = np.sqrt(np.square(u).sum(1, keepdims=True))
    points = np.cosh(length) * centres + np.sinh(length) / np.maximum(length, 1e-300) * moved
    points[:, 0] = np.sqrt(1 + np.square(points[:, 1:]).sum(1))
    return points


def _geodesics(random: Random, points: np.ndarray, width: int, near: float) -> np.ndarray:
    kept: list[np.ndarray] = []
    while sum(normals.shape[1] for normals in kept) < width:
        angle = random.uniform(0, 2 * np.pi, CANDIDATES)
        place = np.arcsinh(random.uniform(0, np.sinh(TREE_REACH), CANDIDATES))
        normals = np.stack([np.sinh(place), np.cosh(place) * np.cos(angle), np.cosh(place) * np.sin(angle)])
        # The disc is nearly empty: most of its geodesics have all points far away on one side.
        kept.append(normals[:, np.abs(points[:SCOUTS] * SIGNS @ normals).min(0) < np.sinh(near)])
    return np.arcsinh(points * SIGNS @ np.concatenate(kept, 1)[:, :width])


def _off_hyperboloid(points: np.ndarray) -> np.ndarray:
    return np.abs((SIGNS * np.square(points)).sum(1) + 1) / np.square(points[:, 0])


def _off_sphere(points: np.ndarray) -> np.ndarray:
    return np.abs(np.square(points).sum(1) - 1)


def _tree(depth: int, edge: float, noise: float, *, near: float, gain: float) -> Space:
    """The space of a tree with edges of length ``edge``; ``noise`` is that of records about their nodes."""
    draw = partial(_draw_tree, depth=depth, edge=edge, noise=noise)
    return Space(3, draw, partial(_geodesics, near=near), _off_hyperboloid, planes=3000, gain=gain)


PLANE = Space(2, _draw_plane, _lines, lambda points: 0 * points.sum(1), planes=400, gain=0.3)
SPHERE = Space(3, _draw_sphere, _great_circles, _off_sphere, planes=400, gain=1.0)
CONTROLS: dict[str, Control] = {
    "plane": Control((PLANE,), noise=0.15),
    "sphere": Control((SPHERE,), noise=0.25),
    "tree": Control((_tree(4, 0.7, 0.4, near=3.0, gain=0.3),), noise=0.1),
    "sphere-hyperbolic": Control((SPHERE, _tree(3, 1.0, 0.3, near=2.5, gain=0.5)), noise=0.15),
}
