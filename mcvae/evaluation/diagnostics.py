"""What a VAE does with its latent space: active units, information, aggregate posterior, components in use.

All of it is streamed in blocks with fixed noise; the posterior's draws are the very ones of the bound.
"""

from collections.abc import Iterator, Mapping
from math import log
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .blocks import POSTERIOR, blocks, count, device_of, noise

ACTIVE = 0.01  # variance above which a unit counts as active (Burda et al. 2016)
ABLATION = "ablation"  # a purpose of noise


class Aggregate(NamedTuple):
    """Information and aggregate posterior at one posterior draw a record, in nats, float64.

    ``information`` [N] = log q(z|x) - log q(z) and ``divergence`` [N] = log q(z) - log p(z); ``information_above`` [N],
    with the record itself left out of q(z) (+inf for a single record); ``component_information`` and
    ``component_divergence`` [N, components], of each component alone.
    """

    information: Tensor
    information_above: Tensor
    divergence: Tensor
    component_information: Tensor
    component_divergence: Tensor


class Ablation(NamedTuple):
    """E log p(x|z) at one draw a record, nats, float64: ``reconstruction`` [N] with z from the posterior, and
    ``without`` [N, components] with one component of it from its prior instead."""

    reconstruction: Tensor
    without: Tensor


@torch.inference_mode()
def aggregate_posterior(model: torch.nn.Module, tensors: Mapping[str, Tensor]) -> Aggregate | None:
    """The aggregate posterior q(z) = 1/N Σ_j q(z|x_j) of a split at one draw z_i ~ q(z|x_i) a record.

    Means over records: E_x KL(q(z|x) || p) = I(x; z) + KL(q(z) || p) (Hoffman & Johnson 2016), where I is the
    information about which of the N records it was, at most log N. For the population that the records are from, that
    mean of ``information`` bounds I from below and that of ``information_above`` from above (Poole et al. 2019, § 2.2).

    N² densities are evaluated, a pair of blocks at a time: choose N by the time it may take (:func:`.blocks.first`).
    None for an autoencoder.
    """
    if model.kind == "autoencoder":
        return None
    seen = []
    for block in blocks(model, tensors):
        q = model.posterior(block.inputs)
        with noise(POSTERIOR, block.index, device_of(model)):
            z = q.rsample()
        own = q.log_prob(z).double()  # of the very draw: exact however far out it lies
        seen.append((q, z, own, model.latent.prior().log_prob(z).double()))
    total = log(count(tensors))
    parts = []
    for q, z, own, prior in seen:
        others, each = _mixture(z, (other for other, *_ in seen if other is not q), q)
        joint, alone = own.sum(-1), prior.sum(-1)
        mixture = torch.logaddexp(others, joint) - total
        each = torch.logaddexp(each, own) - total
        above = joint - others + (log(count(tensors) - 1) if count(tensors) > 1 else 0.0)
        parts.append((joint - mixture, above, mixture - alone, own - each, each - prior))
    return Aggregate(*map(torch.cat, zip(*parts, strict=True)))


def _mixture(z: Tensor, others: Iterator[Any], q: Any) -> tuple[Tensor, Tensor]:
    """log Σ_j q(z_i|x_j) over all records but i: of the joint density [B], and of each component's [B, components]."""
    joint, each = [], []
    for other in (q, *others):
        pairs = other.log_prob(z.unsqueeze(1)).double()  # [B, J, components]
        whole = pairs.sum(-1)
        if other is q:
            whole.fill_diagonal_(-torch.inf)
            pairs.diagonal(dim1=0, dim2=1).fill_(-torch.inf)
        joint.append(whole.logsumexp(1))
        each.append(pairs.logsumexp(1))
    return torch.stack(joint).logsumexp(0), torch.stack(each).logsumexp(0)


@torch.inference_mode()
def active_units(latent: Any, loc: Tensor) -> Tensor:
    """Whether each unit is active, bool [dim]: the variance over records of its posterior location is above 0.01.

    Units are the coordinates of ``latent.logmap0``, in an orthonormal frame (Burda et al. 2016, § 5.2, in flat space;
    the bound is meant for a prior of scale 1).

    Args:
        loc: [N, ambient_dim], N >= 2, posterior locations.
    """
    return latent.logmap0(loc).double().var(0) > ACTIVE


@torch.inference_mode()
def ablation(model: torch.nn.Module, tensors: Mapping[str, Tensor]) -> Ablation | None:
    """E log p(x|z) of a split as it is, and with one component of z drawn from its prior in place of q(z|x).

    The other components are the draws of :func:`.likelihood.bound`; so a component that the decoder ignores leaves
    its ``reconstruction`` as it is. None for an autoencoder.
    """
    if model.kind == "autoencoder":
        return None
    parts = []
    for block in blocks(model, tensors):
        device = device_of(model)
        with noise(POSTERIOR, block.index, device):
            z = model.posterior(block.inputs).rsample()
        with noise(ABLATION, block.index, device):
            prior = model.latent.prior().rsample(z.shape[:1])
        values, start = [model.log_likelihood(model.decode(z, block.inputs), block.inputs).double()], 0
        for component in model.latent.components:
            replaced = z.clone()
            columns = slice(start, start := start + component.ambient_dim)
            replaced[:, columns] = prior[:, columns]
            output = model.decode(replaced, block.inputs)
            values.append(model.log_likelihood(output, block.inputs).double())
        parts.append(torch.stack(values, -1))
    found = torch.cat(parts)
    return Ablation(found[:, 0], found[:, 1:])


def diagnostic_keys(components: int, *, autoencoder: bool = False) -> list[str]:
    """The keys of :func:`diagnostic_metrics`; an autoencoder has those of the whole alone."""
    names = ("active_units", "mutual_information", "aggregate_kl", "reconstruction_without")
    whole = ["active_units", "mutual_information", "mutual_information_se", "mutual_information_above"]
    whole += ["aggregate_kl", "aggregate_n", "reconstruction_with"]
    each = [] if autoencoder else [f"{name}.{index}" for name in names for index in range(components)]
    return [f"test.{name}" for name in (*whole, *each)]


def diagnostic_metrics(
    latent: Any, loc: Tensor, aggregate: Aggregate | None, ablated: Ablation | None
) -> dict[str, float | int | None]:
    """The numbers of :func:`active_units`, :func:`aggregate_posterior` and :func:`ablation`, nats a record.

    ``test.active_units``; ``test.mutual_information``, its standard error over records ``…_se``, and the upper bound
    ``…_above``; ``test.aggregate_kl``; ``test.aggregate_n``, the records N of these four: no information is above
    log N; ``test.reconstruction_with``, of the same records. Of each component: ``test.active_units.{i}``,
    ``test.mutual_information.{i}``, ``test.aggregate_kl.{i}``, and ``test.reconstruction_without.{i}``. None for an
    autoencoder.
    """
    if aggregate is None or ablated is None:
        return dict.fromkeys(diagnostic_keys(latent.num_components, autoencoder=True))
    n = len(aggregate.information)
    active = active_units(latent, loc).split([component.dim for component in latent.components])
    counts = [int(each.sum()) for each in active]
    values = [
        sum(counts),
        aggregate.information.mean().item(),
        aggregate.information.std().item() / n**0.5 if n > 1 else None,
        aggregate.information_above.mean().item() if n > 1 else None,
        aggregate.divergence.mean().item(),
        n,
        ablated.reconstruction.mean().item(),
        *counts,
        *aggregate.component_information.mean(0).tolist(),
        *aggregate.component_divergence.mean(0).tolist(),
        *ablated.without.mean(0).tolist(),
    ]
    return dict(zip(diagnostic_keys(latent.num_components), values, strict=True))
