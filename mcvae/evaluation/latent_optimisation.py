"""Molecules changed on purpose: Riemannian gradient descent from test molecules towards a wanted value of a property.

What is decoded at the end is judged thrice: by the head where it was found, by the model that reads the molecule anew,
and by the true value where the molecule is in the data. Beside it stands where random directions lead.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..training.seeding import generator
from .judged_molecules import JUDGED, Judged, Metrics, Record, describe_judged, judged

TARGET, BELOW = "gap", 2.0  # what is wanted: so many standard deviations below the training split's mean
STARTS, STEPS, STRIDE = 200, 40, 0.25  # molecules; steps at most, and the longest of them in geodesic units
CLOSE = 0.02  # standard deviations from the wanted value that end a path
SHOWN, FRAMES = 6, 8  # paths of a picture, and molecules of each
OPTIMISED_KEYS = (
    *(f"optimised.{name}" for name in ("n", "target", "length", "error_start", "error_latent", *JUDGED)),
    *(f"optimised.random.{name}" for name in ("error_latent", *JUDGED)),
)


class Climb(NamedTuple):
    """``points`` [STEPS + 1, n, ambient_dim], ``predicted`` [STEPS + 1, n] at them, ``length`` [n] of the paths."""

    points: Tensor
    predicted: Tensor
    length: Tensor


@torch.inference_mode(False)
@torch.enable_grad()
def climb(model: nn.Module, start: Tensor, index: int, wanted: float) -> Climb:
    """Follow the gradient of a predicted property f (output ``index`` of the head) until it is ``wanted``.

    With normal coordinates u at z, in the orthonormal frame that parallel transport brings from the origin, the
    Riemannian gradient is g = ∂f(exp_z u)/∂u at u = 0. A step goes along the geodesic exp_z(-η g/|g|), η the length
    that a linear f would need, |f - wanted| / |g|, and at most 0.25; a point within 0.02 of the wanted value stays.

    Args:
        start: [n, ambient_dim]. wanted: in standard deviations of the training split.
    """
    # Copies outside of inference mode: what was made inside it cannot be differentiated through.
    latent, head = copy.deepcopy(model.latent), copy.deepcopy(model.head).eval()
    manifold, z = latent.manifold, start.clone()
    points, values, length = [z], [], torch.zeros(len(z), device=z.device)
    for step in range(STEPS + 1):
        u = z.new_zeros(len(z), manifold.dim, requires_grad=True)
        predicted = head(latent.decoder_input(manifold.expmap_frame(z, u)))[:, index]
        (gradient,) = torch.autograd.grad(predicted.sum(), u)
        predicted = predicted.detach()
        values.append(predicted)
        if step == STEPS:
            break
        away, slope = predicted - wanted, gradient.norm(dim=-1)
        reach = (away.abs() / slope.clamp(min=1e-12)).clamp(max=STRIDE)
        reach = reach.where(away.abs() > CLOSE, 0.0)
        direction = -away.sign().unsqueeze(-1) * gradient / slope.clamp(min=1e-12).unsqueeze(-1)
        with torch.no_grad():
            z = manifold.projx(manifold.expmap_frame(z, reach.unsqueeze(-1) * direction))
        length = length + reach
        points.append(z)
    return Climb(torch.stack(points), torch.stack(values), length)


def wander(manifold: Any, start: Tensor, end: Tensor) -> Tensor:
    """Points as far from ``start`` [n, ambient_dim] as those of ``end``, along geodesics in random directions."""
    noise = torch.randn(len(start), manifold.dim, generator=generator(0, "evaluation/random directions"))
    direction = (noise / noise.norm(dim=-1, keepdim=True)).to(start)
    return manifold.projx(manifold.expmap_frame(start, manifold.dist(start, end).unsqueeze(-1) * direction))


def optimisation(
    model: nn.Module,
    loc: Tensor,
    start: Sequence[str],
    values: np.ndarray,
    decode: Callable[[Tensor], list[str | None]],
    records: Mapping[str, Record],
    stats: Mapping[str, Any],
) -> tuple[Metrics, dict[str, np.ndarray]]:
    """The numbers of :data:`OPTIMISED_KEYS`, from the first 200 test molecules towards a low gap, and paths to show.

    ``length`` is the mean length of the paths; errors are mean distances in eV from the wanted gap, ``target``:
    ``start``, of the true gaps at the start; ``latent``, of the prediction at the end of each path; all else is in
    :func:`.judged_molecules.describe_judged`. ``random``: the same of molecules decoded as far from the start, but in
    a random direction (:func:`wander`): what changing a molecule does by itself. All None for data without a gap.

    Arrays, in eV and NaN where there is none: ``optimised`` texts [6, 8], along paths from their start to their end,
    with ``optimised_predicted`` [6, 8], of the molecules read anew, and ``optimised_true`` [6, 8]; ``optimised_ends``
    [n, 3], the true gap of the start, and of the molecule at the end the gap predicted anew and the true one, with its
    ``optimised_split`` [n] (0 to 2; -1, and no true gap: not in the data, or still the molecule of the start).

    Args:
        loc: [N, ambient_dim], of the test split. start: its molecules. values: [N], their true gaps.
        decode: points [n, ambient_dim] -> SMILES or None. records: of all data, with their gap.
    """
    names = [target["name"] for target in stats["targets"]]
    if TARGET not in names:
        return dict.fromkeys(OPTIMISED_KEYS), {}
    index = names.index(TARGET)
    mean, std = stats["targets"][index]["mean"], stats["targets"][index]["std"]
    wanted = mean - BELOW * std
    path = climb(model, loc[:STARTS], index, -BELOW)
    before = np.asarray(values[:STARTS], np.float64)
    metrics: Metrics = {
        "optimised.n": len(before),
        "optimised.target": wanted,
        "optimised.length": path.length.double().mean().item(),
        "optimised.error_start": float(np.abs(before - wanted).mean()),
    }
    reached = path.points[-1]
    made = {"optimised": reached, "optimised.random": wander(model.latent.manifold, path.points[0], reached)}

    def judge(points: Tensor) -> Judged:
        return judged(model, decode(points), index, records, stats)

    found = {name: judge(points) for name, points in made.items()}
    for name, points in made.items():
        away = model.properties(points)[:, index].detach().double() + BELOW
        metrics[f"{name}.error_latent"] = away.abs().mean().item() * std
        told = describe_judged(found[name], start[:STARTS], before, wanted)
        metrics |= {f"{name}.{key}": value for key, value in told.items()}
    last = found["optimised"]
    changed = np.array([text != own for text, own in zip(last.smiles, start[:STARTS], strict=True)], bool)
    ends = np.stack([before, last.predicted, np.where(changed, last.true, np.nan)], -1).astype(np.float32)
    split = np.where(changed, last.split, -1).astype(np.int8)
    shown = _paths(path.points, model.latent.manifold, judge)
    return metrics, shown | {"optimised_ends": ends, "optimised_split": split}


def _paths(points: Tensor, manifold: Any, judge: Callable[[Tensor], Judged]) -> dict[str, np.ndarray]:
    """Of each of the first paths, the points that are next to equal parts of its length."""
    steps = manifold.dist(points[1:, :SHOWN], points[:-1, :SHOWN]).T
    gone = torch.cat([torch.zeros_like(steps[:, :1]), steps.cumsum(-1)], -1)
    wanted = gone[:, -1:] * torch.linspace(0, 1, FRAMES, device=gone.device, dtype=gone.dtype)
    frames = torch.searchsorted(gone, wanted.contiguous())
    shown = points[frames, torch.arange(len(gone), device=gone.device).unsqueeze(-1)]
    found = judge(shown.flatten(0, 1))
    arrays = {
        "optimised": np.array([text or "" for text in found.smiles], dtype=np.str_),
        "optimised_predicted": found.predicted.astype(np.float32),
        "optimised_true": found.true.astype(np.float32),
    }
    return {name: array.reshape(len(shown), FRAMES) for name, array in arrays.items()}
