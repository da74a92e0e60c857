"""How smooth properties are over the latent space: their change along geodesics and between neighbours."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

PAIRS, STEPS = 500, 16  # geodesics between test records, and the pieces of each that predictions are compared over


def slope_keys(targets: Sequence[str]) -> list[str]:
    """What :func:`property_slopes` says."""
    return [f"test.{kind}.{name}" for kind in ("property_slope", "neighbour_slope") for name in targets]


@torch.inference_mode()
def property_slopes(
    model: nn.Module,
    loc: Tensor,
    values: Tensor,
    neighbours: Tensor,
    neighbour_values: Tensor,
    targets: Sequence[str],
) -> dict[str, float | int | None]:
    """Change of properties, in standard deviations of the training split, for a unit of geodesic length.

    ``test.property_slope.{target}``: of the head's prediction f along geodesics γ between the first test records, the
    first and second, the third and fourth, …: Σ |f(γ(t + 1/16)) - f(γ(t))| / Σ length(γ). ``test.neighbour_slope.…``:
    of the true values y between each test record and its nearest training record: Σ |y - y'| / Σ dist(z, z'). Ratios
    of sums, so that records at nearly one point do not decide. None where all lengths are zero.

    Args:
        loc: [N, ambient_dim]. values: [N, T]. neighbours: [n, ambient_dim], the nearest of the first n records, and
            neighbour_values: [n, T], their values.
    """
    manifold, number = model.latent.manifold, min(PAIRS, len(loc) // 2)
    starts, ends = loc[0 : 2 * number : 2], loc[1 : 2 * number : 2]
    times = torch.linspace(0, 1, STEPS + 1, dtype=loc.dtype, device=loc.device).unsqueeze(-1)
    path = manifold.geodesic(times, starts, ends)
    changes = model.properties(path).double().diff(dim=0).abs().sum((0, 1))
    asked = len(neighbours)
    apart = (values[:asked] - neighbour_values).double().abs().sum(0)
    slopes = (
        ("property_slope", changes, manifold.dist(starts, ends)),
        ("neighbour_slope", apart, manifold.dist(loc[:asked], neighbours)),
    )
    found: dict[str, float | int | None] = {}
    for kind, change, lengths in slopes:
        length = lengths.double().sum().item()
        for name, value in zip(targets, change.tolist(), strict=True):
            found[f"test.{kind}.{name}"] = value / length if length > 0 else None
    return found
