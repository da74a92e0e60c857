"""What a VAE does with its latent space: active units, information, aggregate posterior, components in use.

All of it is streamed in blocks with fixed noise; the posterior's draws are the very ones of the bound.
"""

from collections.abc import Iterator, Mapping
from math import log
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..distributions import OnSphere
from .blocks import POSTERIOR, PRIOR, blocks, count, device_of, noise

ACTIVE = 0.01  # variance above which a unit counts as active (Burda et al. 2016)
DRAWS = 4096  # of the prior, that units are standardised by
SATURATED = 0.5  # nats below the log of the number of records, above which information says little more than that
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
def active_units(model: torch.nn.Module, tensors: Mapping[str, Tensor]) -> Tensor | None:
    r"""Whether each unit is active, bool [dim]: Var_x E_q[u | x] > 0.01 (Burda et al. 2016, § 5.2), Var_z u = 1.

    The bound is meant for units whose variance under the prior is 1, so u are standardised coordinates. Of von
    Mises-Fisher and power spherical posteriors u = √(d + 1) z on the unit sphere, z in R^(d+1), which a uniform z
    standardises, and E_q[z] = A(κ) μ with A the mean cosine: the direction μ alone is a unit vector whatever the record
    says, also where κ is least. Of these d + 1 coordinates the d that vary most are the units, in falling order. Of
    others u are the tangent coordinates at the origin over their standard deviation under the prior (that of 4,096
    draws; on spheres that a prior wraps around it is not the prior's scale), and E_q[u] is that of the location.

    None for an autoencoder.

    Args:
        tensors: of a split, of two records or more.
    """
    if model.kind == "autoencoder":
        return None
    manifold = model.latent.manifold
    with noise(PRIOR, 0, device_of(model)):
        drawn = manifold.split(model.latent.prior().rsample((DRAWS,)))
    means: list[list[Tensor]] = [[] for _ in manifold.factors]
    for block in blocks(model, tensors):
        for seen, factor, part in zip(means, manifold.factors, model.posterior(block.inputs).parts, strict=True):
            seen.append(part.base.mean if isinstance(part, OnSphere) else factor.logmap0(part.loc))
    active = []
    for seen, factor, z in zip(means, manifold.factors, drawn, strict=True):
        variance = torch.cat(seen).double().var(0)  # [count, dim or dim + 1]
        if variance.shape[-1] > factor.dim:
            variance = variance.topk(factor.dim, -1).values * factor.ambient_dim
        else:
            variance = variance / factor.logmap0(z).double().square().mean((0, -1)).unsqueeze(-1)
        active.append(variance.flatten() > ACTIVE)
    return torch.cat(active)


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
    latent: Any, active: Tensor | None, aggregate: Aggregate | None, ablated: Ablation | None
) -> dict[str, float | int | None]:
    """The numbers of :func:`active_units`, :func:`aggregate_posterior` and :func:`ablation`, nats a record.

    ``test.active_units``; ``test.mutual_information``, its standard error over records ``…_se``, and the upper bound
    ``…_above``, or the mean log q(z|x) / p(z) of the same draws where that is less, which bounds the information of
    any number of records; ``test.aggregate_kl``; ``test.aggregate_n``, the records N of these four: no information is
    above log N, and within 0.5 of it the information is that number rather than the model's, and the aggregate's KL,
    KL(q(z|x) || p) less information, None. ``test.reconstruction_with``, of the same records. Of each component:
    ``test.active_units.{i}``, ``test.mutual_information.{i}``, ``test.aggregate_kl.{i}``, and
    ``test.reconstruction_without.{i}``. None for an autoencoder.
    """
    if active is None or aggregate is None or ablated is None:
        return dict.fromkeys(diagnostic_keys(latent.num_components, autoencoder=True))
    n = len(aggregate.information)
    counts = [int(each.sum()) for each in active.split([component.dim for component in latent.components])]
    information, divergence = aggregate.information.mean().item(), aggregate.divergence.mean().item()
    each = aggregate.component_information.mean(0).tolist()
    apart = aggregate.component_divergence.mean(0).tolist()
    values = [
        sum(counts),
        information,
        aggregate.information.std().item() / n**0.5 if n > 1 else None,
        min(aggregate.information_above.mean().item(), information + divergence) if n > 1 else None,
        _unsaturated(divergence, information, n),
        n,
        ablated.reconstruction.mean().item(),
        *counts,
        *each,
        *(_unsaturated(kl, known, n) for kl, known in zip(apart, each, strict=True)),
        *ablated.without.mean(0).tolist(),
    ]
    return dict(zip(diagnostic_keys(latent.num_components), values, strict=True))


def _unsaturated(divergence: float, information: float, records: int) -> float | None:
    return divergence if log(records) - information > SATURATED else None
