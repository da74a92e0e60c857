"""How often a geodesic winds around a sphere: which multiples of 2π/√k a sum over the preimages of exp runs over."""

import math

import torch
from torch import Tensor


def windings(dim: int) -> Tensor:
    """Numbers of turns n to sum over, and the logarithms of how many turns each stands for; float64 [2, terms].

    Every n that a normal of dimension ``dim`` reaches at √k scale <= 3; beyond, where a wider scale makes the terms
    smooth in n, the middles of blocks that widen with n: a third (in higher dimensions 1/√dim) of their distance.
    """
    exact = math.ceil(3 * (math.sqrt(dim) + 6) / (2 * math.pi))
    turns, widths = [float(n) for n in range(1, exact + 1)], [1.0] * exact
    edge = exact + 0.5
    while edge < 5 * exact:
        width = edge * min(1 / 3, dim**-0.5)
        turns.append(edge + width / 2)
        widths.append(width)
        edge += width
    log_widths = [math.log(width) for width in widths]
    return torch.tensor([[0.0, *turns, *(-n for n in turns)], [0.0, *log_widths, *log_widths]], dtype=torch.float64)
