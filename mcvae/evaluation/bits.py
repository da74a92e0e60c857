"""Bits per dimension of pictures of 256 levels, from log-densities of pixels in [0, 1] or log-probabilities of levels.

No noise is added to the levels (no dequantisation), and none is needed: see :func:`bits_per_dim`.
"""

from collections.abc import Mapping
from math import log

import torch

from .likelihood import Bound, LogLikelihood

BITS_KEYS = tuple(
    f"test.bits_per_dim{name}" for name in ("_elbo", "_elbo_se", "", "_se", "_elbo_same", "_gain", "_gain_se", "_n")
)


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
    model: torch.nn.Module, test: Mapping[str, torch.Tensor], limits: Bound, estimate: LogLikelihood | None
) -> dict[str, float | int | None]:
    """The bits of the ELBO of all test records, and those of the log-likelihood of the first ``test.bits_per_dim_n``.

    ``test.bits_per_dim_elbo`` and its standard error over records, sd / √N, ``…_elbo_se``; ``test.bits_per_dim`` and
    ``…_se`` of the importance-sampled log-likelihood; of its records alone ``…_elbo_same``, the ELBO's, and ``…_gain``
    = ``…_elbo_same`` - ``test.bits_per_dim``, whose error ``…_gain_se`` is of pairs.

    None for an autoencoder, and for a density whose learned scale is below a level: it is no probability of levels.
    """
    level, dims = model.likelihood.log_level, test["images"][0].numel()
    if limits.elbo is None or estimate is None or level is None:
        return dict.fromkeys(BITS_KEYS)
    n, per_bit = len(estimate.value), dims * log(2)
    same = limits.elbo[:n]
    values = [
        bits_per_dim(limits.elbo.mean().item(), level, dims),
        _error(limits.elbo, per_bit),
        bits_per_dim(estimate.value.mean().item(), level, dims),
        _error(estimate.value, per_bit),
        bits_per_dim(same.mean().item(), level, dims),
        (estimate.value - same).mean().item() / per_bit,
        _error(estimate.value - same, per_bit),
        n,
    ]
    return dict(zip(BITS_KEYS, values, strict=True))


def _error(nats: torch.Tensor, per_bit: float) -> float | None:
    """The standard error of a mean, in bits; None of a single record."""
    return nats.std().item() / len(nats) ** 0.5 / per_bit if len(nats) > 1 else None
