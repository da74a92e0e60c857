"""Molecules changed on purpose: Riemannian gradient descent from test molecules towards a wanted value of a property.

What is decoded at the end is judged thrice: by the head where it was found, by the model that reads the molecule anew,
and by the true value where the molecule is in the data.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..data.smiles import tensors_of
from ..errors import UserError

TARGET, BELOW = "gap", 2.0  # what is wanted: so many standard deviations below the training split's mean
STARTS, STEPS, STRIDE = 200, 40, 0.25  # molecules; steps at most, and the longest of them in geodesic units
CLOSE = 0.02  # standard deviations from the wanted value that end a path
SHOWN, FRAMES = 6, 8  # paths of a picture, and molecules of each
NAMES = ("start", "latent", "decoded", "true")
OPTIMISED_KEYS = (
    *(f"optimised.{name}" for name in ("n", "target", "valid", "distinct", "known", "new", "length")),
    *(f"optimised.error_{name}" for name in NAMES),
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


def read_again(model: nn.Module, smiles: Sequence[str | None], stats: Mapping[str, Any]) -> np.ndarray:
    """Predicted properties float64 [N, T] of molecules as the encoder reads them, in their units; NaN for one that has
    no place in the tensors (more than nine atoms, several fragments, a symbol that the data lack)."""
    targets = stats["targets"]
    found = np.full((len(smiles), len(targets)), np.nan)
    device = next(model.parameters()).device
    rows, batches = [], []
    for row, text in enumerate(smiles):
        try:
            batches.append(tensors_of([text or ""], stats))
            rows.append(row)
        except UserError:
            continue
    if rows:
        batch = {name: torch.cat([each[name] for each in batches]).to(device) for name in model.protocol.reads}
        with torch.inference_mode():
            values = model.properties(model.posterior(model.prepare(batch)).loc).double().cpu().numpy()
        found[rows] = values * [target["std"] for target in targets] + [target["mean"] for target in targets]
    return found


def optimisation(
    model: nn.Module,
    loc: Tensor,
    test: Mapping[str, Tensor],
    decode: Any,
    known: Mapping[str, np.ndarray],
    training: frozenset[str] | set[str],
    stats: Mapping[str, Any],
) -> tuple[dict[str, float | int | None], dict[str, np.ndarray]]:
    """The numbers of :data:`OPTIMISED_KEYS`, from the first 200 test molecules towards a low gap, and paths to show.

    Errors are mean distances from the wanted value ``optimised.target``, in eV: ``start``, of the true values of the
    molecules at the start; ``latent``, of the prediction at the end of each path; ``decoded``, of the prediction for
    the molecules that are decoded there and read anew; ``true``, of the true values of those that are in the data.
    ``valid`` counts the decoded ones that can be read, ``distinct`` the different ones among these, ``known`` those in
    the data, ``new`` those not in the training split; ``length`` is the mean length of the paths. All None for data
    without a gap.

    Arrays: ``optimised`` texts [6, 8], along paths from their start to their end; ``optimised_predicted`` [6, 8], at
    the points that they are decoded at, ``optimised_true`` [6, 8], NaN where the molecule is not in the data, eV.

    Args:
        loc: [N, ambient_dim], of the ``test`` split. decode: points [n, ambient_dim] -> SMILES or None.
        known: SMILES -> properties [T], of all data. training: SMILES of the training split.
    """
    names = [target["name"] for target in stats["targets"]]
    if TARGET not in names:
        return dict.fromkeys(OPTIMISED_KEYS), {}
    index = names.index(TARGET)
    mean, std = stats["targets"][index]["mean"], stats["targets"][index]["std"]
    wanted = mean - BELOW * std
    path = climb(model, loc[:STARTS], index, -BELOW)
    smiles = decode(path.points[-1])
    again = read_again(model, smiles, stats)[:, index]
    valid = [text for text, value in zip(smiles, again, strict=True) if not np.isnan(value)]
    true = [float(known[text][index]) for text in valid if text in known]
    predicted = path.predicted.double().cpu().numpy() * std + mean
    values = {
        "start": test["properties"][:STARTS, index].double().cpu().numpy(),
        "latent": predicted[-1],
        "decoded": again[~np.isnan(again)],
        "true": np.array(true),
    }
    metrics: dict[str, float | int | None] = {
        "optimised.n": len(smiles),
        "optimised.target": wanted,
        "optimised.valid": len(valid),
        "optimised.distinct": len(set(valid)),
        "optimised.known": len(true),
        "optimised.new": len(set(valid) - set(training)),
        "optimised.length": path.length.double().mean().item(),
    }
    for name, found in values.items():
        metrics[f"optimised.error_{name}"] = float(np.abs(found - wanted).mean()) if len(found) else None
    return metrics, _paths(path.points, predicted, decode, known, index)


def _paths(
    points: Tensor, predicted: np.ndarray, decode: Any, known: Mapping[str, np.ndarray], index: int
) -> dict[str, np.ndarray]:
    """Of the first paths, frames at equal numbers of steps, from where they start to where the last of them arrives."""
    moved = (points[1:, :SHOWN] != points[:-1, :SHOWN]).any(-1).any(-1)
    last = int(moved.sum())  # a point that has arrived stays
    frames = np.linspace(0, last, FRAMES).round().astype(int)
    shown = points[frames, :SHOWN].transpose(0, 1)
    texts = [text or "" for text in decode(shown.flatten(0, 1))]
    true = [float(known[text][index]) if text in known else np.nan for text in texts]
    return {
        "optimised": np.array(texts, dtype=np.str_).reshape(len(shown), FRAMES),
        "optimised_predicted": predicted[frames, :SHOWN].T.astype(np.float32),
        "optimised_true": np.array(true, np.float32).reshape(len(shown), FRAMES),
    }
