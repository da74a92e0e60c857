"""Bits per dimension of pictures of 256 levels, from log-densities of pixels in [0, 1] or log-probabilities of levels.

No noise is added to the levels (no dequantisation), and none is needed: see :func:`bits_per_dim`.
"""

from collections.abc import Mapping
from math import log

import torch

BITS_KEYS = ("test.bits_per_dim", "test.bits_per_dim_elbo")


def bits_per_dim(nats: float, log_level: float, dims: int) -> float:
    """-(log p(x) + D log w) / (D log 2), with D numbers a picture, and w = e^log_level the width of a level.

    For a likelihood of the levels themselves w is 1. A density of pixels x = level / 255 times w = 1/255 is a
    probability of levels too: over all whole numbers it sums to 1 + 5e-9 at most as long as no scale is below w
    (Poisson's summation), so over the 256 levels to less. What it loses outside of [0, 1] is its own cost: the result
    is never too small.

    Args:
        nats: log p(x) of a picture, or a lower bound of it. dims: D, colours x height x width.
    """
    return -(nats / dims + log_level) / log(2)


def bits_metrics(
    model: torch.nn.Module, test: Mapping[str, torch.Tensor], metrics: Mapping[str, str | float | int | None]
) -> dict[str, float | None]:
    """``test.bits_per_dim`` of ``test.ll`` and ``test.bits_per_dim_elbo`` of ``test.elbo``.

    None for an autoencoder, and for a density whose learned scale is below a level: it is no probability of levels.
    """
    level, dims = model.likelihood.log_level, test["images"][0].numel()
    result = {}
    for key, source in zip(BITS_KEYS, ("test.ll", "test.elbo"), strict=True):
        nats = metrics[source]
        result[key] = None if nats is None or level is None else bits_per_dim(nats, level, dims)
    return result
