"""How probable a split is under a model: the evidence lower bound and the importance-sampled log-likelihood.

Both work for every latent space through the model's interface alone; neither touches the caller's random state.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from math import isnan, log
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .blocks import IMPORTANCE, POSTERIOR, blocks, device_of, noise
from .pareto import SMALLEST_TAIL, LargestWeights, tail_size, threshold

SAMPLES = 32  # latent draws at a time: a constant, so that the noise does not depend on how decoding is chunked
DECODER_BYTES = 2 * 2**20  # of decoder output at a time: about a core's second-level cache
DECODER_BYTES_GPU = 256 * 2**20  # a GPU wants many at once
LL_KEYS = tuple(
    f"test.{name}"
    for name in ("ll", "ll_se", "ll_mc_se", "ll_ess", "ll_pareto_k", "ll_pareto_k_high", "importance_samples", "ll_n")
)


class Bound(NamedTuple):
    """The bound in nats, float64: ``elbo`` [N], ``reconstruction`` [N] = E_q log p(x|z), ``kl`` [N, components].

    An autoencoder has neither ``elbo`` nor ``kl``.
    """

    elbo: Tensor | None
    reconstruction: Tensor
    kl: Tensor | None


class LogLikelihood(NamedTuple):
    """Per-record estimates, float64 [N].

    ``value`` and its Monte Carlo standard error ``se`` in nats (NaN for one sample); ``ess``, the effective number of
    samples, in [1, S]; ``pareto_k``, the shape of the tail of the weights (see :func:`.pareto.tail_shape`): where it is
    large, ``value`` is too low and ``se`` and ``ess`` do not know it.
    """

    value: Tensor
    se: Tensor
    ess: Tensor
    pareto_k: Tensor


class LikelihoodCurve(NamedTuple):
    """The bound L_S of log p(x) for each S of ``samples``, nats: ``value`` and ``se`` float64 [N, len(samples)].

    ``se`` is the Monte Carlo standard error of a record's value, of its draws alone (NaN for a single draw).
    """

    samples: tuple[int, ...]
    value: Tensor
    se: Tensor


@torch.inference_mode()
def bound(model: torch.nn.Module, tensors: Mapping[str, Tensor], *, samples: int = 1) -> Bound:
    """The evidence lower bound of a split, with ``samples`` posterior draws a record.

    ELBO = E_q[log p(x|z)] - KL(q(z|x) || p(z)), the KL in closed form where there is one, else at the same draws.
    """
    parts: dict[str, list[Tensor]] = {"elbo": [], "reconstruction": [], "kl": []}
    for block in blocks(model, tensors):
        with noise(POSTERIOR, block.index, device_of(model)):
            draws = [model.terms(block.inputs) for _ in range(samples)]
        for name, values in parts.items():
            if getattr(draws[0], name) is not None:
                values.append(torch.stack([getattr(terms, name).double() for terms in draws]).mean(0))
    return Bound(**{name: torch.cat(values) if values else None for name, values in parts.items()})


@torch.inference_mode()
def log_likelihood(
    model: torch.nn.Module,
    tensors: Mapping[str, Tensor],
    *,
    samples: int = 500,
    decoder_bytes: int | None = None,
) -> LogLikelihood | None:
    """The importance-sampled log-likelihood of every record of a split; None for an autoencoder.

    log p(x) ≈ log 1/S Σ_s p(x|z_s) p(z_s) / q(z_s|x),  z_s ~ q(z|x)   (Burda et al. 2016, eq. 8: a lower bound in
    expectation that grows with S). S x N is streamed: the memory depends neither on S nor on N.

    Args:
        samples: S.
        decoder_bytes: of decoder output at a time: the chunk is found from it. The draws do not depend on it. None: as
            many as suit the device.
    """
    if model.kind == "autoencoder":
        return None
    _keep_large_blocks()
    parts = []
    for block in blocks(model, tensors):
        with noise(IMPORTANCE, block.index, device_of(model)):
            parts.append(_estimate(model, block.inputs, samples, decoder_bytes))
    return LogLikelihood(*map(torch.cat, zip(*parts, strict=True)))


@torch.inference_mode()
def likelihood_curve(
    model: torch.nn.Module,
    tensors: Mapping[str, Tensor],
    *,
    samples: Sequence[int],
    decoder_bytes: int | None = None,
) -> LikelihoodCurve | None:
    """How the importance-sampled bound of each record of a split grows with its samples; None for an autoencoder.

    L_S = E log 1/S Σ_s p(x|z_s) p(z_s) / q(z_s|x) (Burda et al. 2016, eq. 8) is the ELBO for S = 1 and log p(x) in the
    limit. One pass of max(samples) draws, those of :func:`log_likelihood` for as many, serves every S: it is cut into
    as many groups of S as there are, and L_S is the mean over the groups. Where each S divides the next and the
    largest, no record's curve falls (Jensen). The weights of a block are held: 1 KB a sample.

    Args:
        samples: the S, in any order; ``LikelihoodCurve.samples`` has them sorted, each once.
        decoder_bytes: as in :func:`log_likelihood`.

    Raises:
        ValueError: without an S, or for one below 1.
    """
    sizes = tuple(sorted(set(samples)))
    if not sizes or sizes[0] < 1:
        raise ValueError(f"samples {list(samples)}: give at least one number of samples, each 1 or more")
    if model.kind == "autoencoder":
        return None
    _keep_large_blocks()
    values, errors = [], []
    for block in blocks(model, tensors):
        with noise(IMPORTANCE, block.index, device_of(model)):
            weight = torch.cat(list(_log_weights(model, block.inputs, sizes[-1], decoder_bytes)))
        value, se = zip(*(_grouped(weight, size) for size in sizes), strict=True)
        values.append(torch.stack(value, -1))
        errors.append(torch.stack(se, -1))
    return LikelihoodCurve(sizes, torch.cat(values), torch.cat(errors))


def bound_metrics(result: Bound) -> dict[str, float | None]:
    """Means over a split: ``test.elbo``, ``test.reconstruction``, ``test.kl`` and ``test.kl.{component}``, in nats."""
    metrics = {
        "test.elbo": None if result.elbo is None else result.elbo.mean().item(),
        "test.reconstruction": result.reconstruction.mean().item(),
        "test.kl": None if result.kl is None else result.kl.sum(-1).mean().item(),
    }
    for index, value in enumerate(() if result.kl is None else result.kl.mean(0).tolist()):
        metrics[f"test.kl.{index}"] = value
    return metrics


def likelihood_metrics(result: LogLikelihood | None, samples: int) -> dict[str, float | int | None]:
    """The mean log-likelihood of a split and how well it is known.

    ``test.ll`` is the mean over records (nats), ``test.ll_se`` its standard error as an estimate for the population
    that the records were drawn from: sd(record estimates) / √N. The estimates' Monte Carlo noise is independent between
    records, so it is part of that sd already and must not be added again. ``test.ll_mc_se`` = √(Σ se²) / N is that
    part alone: what another seed of the importance samples would change. ``test.ll_ess`` is the mean effective sample
    size, ``test.ll_pareto_k`` the median shape k̂ of the weights' tails, ``test.ll_pareto_k_high`` the share of records
    whose k̂ is above min(1 - 1 / log₁₀ S, 0.7), ``test.importance_samples`` S, and ``test.ll_n`` N. Records without a
    tail have no k̂ (None, if that is all of them) and count as low; with fewer than 21 samples none has one, and both
    are None. A median that is infinite, as that of weights beyond all floating point numbers, is null in metrics.json;
    ``test.ll_pareto_k_high`` tells it from that of no tails.
    """
    if result is None:
        return dict.fromkeys(LL_KEYS)
    n = len(result.value)
    spread = result.value.std().item() / n**0.5 if n > 1 else None
    noise_alone = result.se.square().sum().sqrt().item() / n if samples > 1 else None
    known = result.pareto_k[~result.pareto_k.isnan()]
    shape = known.median().item() if len(known) else None
    high = (known > threshold(samples)).sum().item() / n if tail_size(samples) >= SMALLEST_TAIL else None
    values = result.value.mean().item(), spread, noise_alone, result.ess.mean().item(), shape, high, samples, n
    return dict(zip(LL_KEYS, values, strict=True))


def curve_keys(samples: Sequence[int]) -> list[str]:
    """The keys of :func:`curve_metrics`."""
    return [f"test.ll@{size}{end}" for size in sorted(set(samples)) for end in ("", "_mc_se")] + ["test.ll_curve_n"]


def curve_metrics(result: LikelihoodCurve | None, samples: Sequence[int]) -> dict[str, float | int | None]:
    """``test.ll@{S}``, the mean of L_S over records, its Monte Carlo standard error √(Σ se²) / N, and N; nats.

    The differences along a curve are known better than that error says: all of its points are of the same draws.
    """
    keys = curve_keys(samples)
    if result is None:
        return dict.fromkeys(keys)
    n = len(result.value)
    noise_alone = (result.se.square().sum(0).sqrt() / n).tolist()
    pairs = zip(result.value.mean(0).tolist(), noise_alone, strict=True)
    values = [number for value, se in pairs for number in (value, None if isnan(se) else se)]
    return dict(zip(keys, [*values, n], strict=True))


def _keep_large_blocks() -> None:
    # glibc hands blocks larger than any freed before back to the system, and faults them in again page by page; once it
    # has seen one of 31 MB it keeps them. Never touched, this one costs nothing; without it faults can take a quarter.
    torch.empty(31 * 2**18)


def _estimate(model: torch.nn.Module, inputs: Any, samples: int, decoder_bytes: int | None) -> tuple[Tensor, ...]:
    """Value, standard error, effective sample size and tail shape [B] for one block."""
    running, largest = _RunningSum(), LargestWeights(samples)
    for weight in _log_weights(model, inputs, samples, decoder_bytes):
        running.add(weight)
        largest.add(weight)
    return *running.result(), largest.shape()


def _grouped(log_weight: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """L_S and its standard error [B]: the mean over groups of ``size`` log-weights [samples, B], what is left unused.

    With one group alone the error is that of :class:`_RunningSum`, else that of the mean over groups.
    """
    groups = len(log_weight) // size
    if groups == 1:
        running = _RunningSum()
        running.add(log_weight[:size])
        return running.result()[:2]
    each = log_weight[: groups * size].unflatten(0, (groups, size)).logsumexp(1) - log(size)
    return each.mean(0), each.std(0) / groups**0.5


def _log_weights(model: torch.nn.Module, inputs: Any, samples: int, decoder_bytes: int | None) -> Iterator[Tensor]:
    """log p(x|z) p(z) / q(z|x) of ``samples`` posterior draws for one block, float64 [s, B] at a time."""
    posterior = model.posterior(inputs)
    most = decoder_bytes or (DECODER_BYTES if device_of(model).type == "cpu" else DECODER_BYTES_GPU)
    pieces, step = [], 0
    for start in range(0, samples, SAMPLES):
        z = posterior.rsample((min(SAMPLES, samples - start),))  # [s, B, ambient_dim]
        if not pieces:
            size = _bytes(model.decode(z[:1, :1], _rows(inputs, slice(1))))
            step, pieces = (
                max(1, most // (size * z.shape[1])),
                _pieces(inputs, z.shape[1], most // size),
            )
        fit = [
            torch.cat([model.log_likelihood(model.decode(part[:, rows], x), x).double() for rows, x in pieces], -1)
            for part in z.split(step)
        ]
        yield torch.cat(fit) + (model.latent.prior().log_prob(z) - posterior.log_prob(z)).sum(-1).double()


def _pieces(inputs: Any, count: int, most: int) -> list[tuple[slice, Any]]:
    """The ``count`` records of a block in pieces of at most ``most``, as rows and inputs; one at least in each."""
    if most >= count:
        return [(slice(None), inputs)]
    rows = [slice(start, start + max(1, most)) for start in range(0, count, max(1, most))]
    return [(each, _rows(inputs, each)) for each in rows]


def _rows(inputs: Any, rows: slice) -> Any:
    if isinstance(inputs, Tensor):
        return inputs[rows]
    return inputs._replace(**{name: each[rows] for name, each in inputs._asdict().items() if each is not None})


class _RunningSum:
    """Σ w and Σ w² [B] of weights given by their logarithms, scaled by the largest so far."""

    def __init__(self) -> None:
        self.count = 0
        self.peak = torch.tensor(-torch.inf)
        self.first = self.second = torch.zeros(())

    def add(self, log_weight: Tensor) -> None:
        """Add weights [s, B]."""
        peak = torch.maximum(self.peak.to(log_weight.device), log_weight.amax(0))
        scale = self._scale(peak)
        weight, old = (log_weight - scale).exp(), (self.peak - scale).exp()
        self.first = weight.sum(0) + self.first * old
        self.second = weight.square().sum(0) + self.second * old.square()
        self.count += len(log_weight)
        self.peak = peak

    def result(self) -> tuple[Tensor, Tensor, Tensor]:
        """log of the mean weight, its standard error by the delta method sd(w) / (√S mean(w)), and (Σ w)² / Σ w²."""
        n = self.count
        ess = self.first.square() / self.second
        value = self._scale(self.peak) + self.first.log() - log(n)
        # Σ(w - w̄)² / (n (n-1) w̄²) = (n / ess - 1) / (n - 1), which rounding may take below 0.
        variance = (n / ess - 1).clamp(min=0) / (n - 1) if n > 1 else torch.full_like(ess, torch.nan)
        return value, variance.sqrt(), ess

    @staticmethod
    def _scale(peak: Tensor) -> Tensor:
        # With nothing but zero weights (or a NaN) the scale is 1, and the sums say 0 (or NaN) themselves.
        return torch.where(peak.isfinite(), peak, 0.0)


def _bytes(output: Any) -> int:
    if isinstance(output, Tensor):
        return output.numel() * output.element_size()
    if is_dataclass(output):
        output = [getattr(output, field.name) for field in fields(output)]
    return sum(map(_bytes, output.values() if isinstance(output, Mapping) else output or ()))
