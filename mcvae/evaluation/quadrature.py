"""The log-likelihood of latent spaces of two dimensions by quadrature: exact up to an error that is measured.

Importance sampling is biased, and by how much depends on the geometry; an integral over a surface needs no samples.
"""

import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..config import RunConfig
from ..models import Model
from ..models.likelihoods import Bernoulli, Gaussian
from .blocks import blocks, device_of
from .surfaces import radius_of

logger = logging.getLogger("mcvae.evaluation")

SPACING, NARROW = 1.0, 0.05  # of nodes, in radii of the posterior that is at the lower end, 5%, of the records'
BEYOND = 1e-6  # of the prior's mass, outside of the grid
AROUND, WITHIN = 5.0, 1.0  # radii of its posterior around each record's location: in the grid; at its full density
PANEL = 16  # Gauss-Legendre nodes of a panel; no two neighbours are farther apart than WIDEST of its length
WIDEST = 0.0947
GOLDEN = (math.sqrt(5) - 1) / 2  # of a node's angle, that rings are turned by: no two rings in step
MOST_NODES = 400_000
MOST_WORK = 4e9  # values of pairs of nodes and records, for likelihoods that are not linear in the record
OUTPUT_BYTES, RECORD_BYTES = 8 * 2**20, 256 * 2**20  # of decoder output, of records, at a time
MASS_WITHIN, LARGEST_ERROR = 1e-3, 0.05  # of 1 the mass of a number that is given; its error, in nats
QUADRATURE_KEYS = tuple(f"test.ll_quadrature{end}" for end in ("", "_n", "_error", "_mass", "_nodes"))


class Quadrature(NamedTuple):
    """log p(x) of each record, nats, float64 [N]: ``value``, and ``coarse`` from a grid of half as many ``nodes``;
    ``mass``: the prior's on the grid, 1 but for what the grid does not see."""

    value: Tensor
    coarse: Tensor
    mass: float
    nodes: int


class Grid(NamedTuple):
    """Points ``z`` [G, ambient_dim] in the model's precision and ``log_weight`` float64 [G] = log p(z) dz."""

    z: Tensor
    log_weight: Tensor


def has_quadrature(config: RunConfig) -> bool:
    """Whether a run's likelihood is integrated: a VAE of one component of two dimensions, not of molecules."""
    alone = [component.count for component in config.signature.components] == [1]
    return alone and config.signature.dim == 2 and config.model.kind == "vae" and config.dataset != "qm9"


def quadrature_metrics(result: Quadrature) -> dict[str, float | int | None]:
    """``test.ll_quadrature``, the mean log-likelihood over the records, in nats, and how far it is to be trusted.

    ``…_n``: records; ``…_nodes``: of the grid; ``…_error``: the mean over records of the difference to a grid of half
    as many nodes, without its sign; ``…_mass``: the prior's mass on the grid. Where that is not 1 within 0.001 (as of
    a density of one branch, which is not normalised) or the error above 0.05 nats, ``test.ll_quadrature`` is None.
    """
    error = (result.value - result.coarse).abs().mean().item()
    trusted = abs(result.mass - 1) <= MASS_WITHIN and error <= LARGEST_ERROR  # neither holds of NaN
    if not trusted:
        logger.warning("quadrature: error %.3g nats, mass %.6g: test.ll_quadrature is null", error, result.mass)
    value = result.value.mean().item() if trusted else None
    return dict(zip(QUADRATURE_KEYS, (value, len(result.value), error, result.mass, result.nodes), strict=True))


@torch.inference_mode()
def quadrature(model: Model, tensors: Mapping[str, Tensor]) -> Quadrature:
    """log p(x) = log ∫ p(x|z) p(z) dz of every record of a split, over a grid of the whole surface.

    Rings about the prior's origin, with radii by Gauss-Legendre rules and equally spaced points, as far apart as the
    radius (at one standard deviation) of a narrow posterior, the 5% quantile over the records: for a smooth integrand
    both rules converge faster than any power of that distance. The grid ends where less than 1e-6 of the prior's mass
    lies farther out and no record's posterior reaches. The decoder runs once over the nodes (and once over half as
    many), again for each 256 MB of records; the records' likelihoods are matrix products where they are linear in the
    record. The pixels are those of :func:`.likelihood.log_likelihood`.

    Args:
        tensors: of a split, for the model of a run with :func:`has_quadrature`.
    """
    far, narrow, size = _posteriors(model, tensors)
    most = MOST_NODES if _is_linear(model) else min(MOST_NODES, int(MOST_WORK / (size * len(far))))
    reach, furthest = far.amax(0).tolist()
    extent = max(_extent(model), reach), furthest
    fine = grid(model, SPACING * narrow, *extent, most)
    coarse = grid(model, SPACING * narrow, *extent, len(fine.z) // 2)
    value, rough = (
        integrated(model, nodes, (block.inputs.observed for block in blocks(model, tensors)))
        for nodes in (fine, coarse)
    )
    return Quadrature(value, rough, float(fine.log_weight.logsumexp(0).exp()), len(fine.z))


def _posteriors(model: Model, tensors: Mapping[str, Tensor]) -> tuple[Tensor, float, int]:
    """How far out [N, 2] each posterior reaches, with 5 radii and 1; the radius of narrow ones; a record's size."""
    (manifold,) = model.latent.manifold.factors
    far, narrow, size = [], [], 0
    for block in blocks(model, tensors):
        (posterior,) = model.posterior(block.inputs).parts
        radius = radius_of(manifold, posterior).double().flatten(1)
        distance = torch.linalg.vector_norm(manifold.logmap0(posterior.loc).double(), dim=-1).flatten()
        far.append(torch.stack([distance + radii * radius.amax(-1) for radii in (AROUND, WITHIN)], -1))
        narrow.append(radius.amin(-1))
        size = block.inputs.observed[0].numel()
    return torch.cat(far), float(torch.cat(narrow).quantile(NARROW)), size


def _extent(model: Model) -> float:
    """The distance from the origin beyond which 1e-6 of the prior's mass lies; π/√k, the antipode, at most."""
    reach, end = 1.0, _injectivity(model)
    while reach < min(end, 100.0):
        radii, widths = _radial(reach, reach / 8)
        log_density, log_circle = _on_ring(model, radii)
        if float(((log_density + log_circle).exp() * widths).sum()) > 1 - BEYOND:
            break
        reach *= 1.05
    return min(reach, end)


def _injectivity(model: Model) -> float:
    k = float(model.latent.curvatures()[0])
    return math.pi / math.sqrt(k) if k > 0 else math.inf


def _radial(reach: float, spacing: float) -> tuple[Tensor, Tensor]:
    """Radii and weights of ∫ dr over [0, reach]: panels of Gauss-Legendre rules, at most ``spacing`` apart."""
    panels = max(1, math.ceil(reach * WIDEST / spacing))
    roots, weights = map(torch.from_numpy, np.polynomial.legendre.leggauss(PANEL))
    half = reach / panels / 2
    middle = half * (2 * torch.arange(panels, dtype=torch.float64) + 1)
    return (middle.unsqueeze(-1) + half * roots).flatten(), (half * weights).repeat(panels)


def _on_ring(model: Model, radii: Tensor) -> tuple[Tensor, Tensor]:
    """log p at the distances ``radii`` from the origin, about which every prior is symmetric; log of their circles."""
    (manifold,) = model.latent.manifold.factors
    radii = radii.to(device_of(model))
    u = torch.stack([radii, torch.zeros_like(radii)], -1).unsqueeze(1)  # [R, 1 copy, 2]
    (prior,) = model.latent.prior().parts
    log_density = prior.log_prob(manifold.expmap0(u)).double().squeeze(-1)
    log_circle = (2 * math.pi * radii).log() + manifold.logdetexp0(u).squeeze(-1)
    return log_density.cpu(), log_circle.cpu()


def grid(model: Model, spacing: float, reach: float, furthest: float, most: int) -> Grid:
    """At most ``most`` nodes within ``reach`` of the origin, ``spacing`` apart, or farther where that are too many.

    Beyond ``furthest``, which the farthest record's posterior hardly reaches, circles have no more nodes than there.
    """
    reach = min(reach, _injectivity(model))
    while True:
        radii, widths = _radial(reach, spacing)
        log_density, log_circle = _on_ring(model, radii)
        within = log_circle[radii <= furthest]
        at_most = torch.where(radii > furthest, within.amax() if len(within) else torch.inf, torch.inf)
        counts = (torch.minimum(log_circle, at_most).exp() / spacing).ceil().clamp_min(6).long()
        if (total := int(counts.sum())) <= most or spacing > reach:
            break
        spacing *= max(1.001, math.sqrt(total / most))
    ring = torch.repeat_interleave(torch.arange(len(radii)), counts)
    place = torch.arange(total) - (counts.cumsum(0) - counts)[ring]
    angle = 2 * math.pi * (place + GOLDEN * ring % 1) / counts[ring]
    u = (radii[ring, None] * torch.stack([angle.cos(), angle.sin()], -1)).to(device_of(model))
    (manifold,) = model.latent.manifold.factors
    dtype = next(model.parameters()).dtype
    log_weight = (log_density + log_circle + widths.log() - counts.log())[ring]
    return Grid(manifold.expmap0(u.unsqueeze(1)).flatten(1).to(dtype), log_weight.to(u.device))


def integrated(model: Model, nodes: Grid, records: Iterable[Tensor]) -> Tensor:
    """log Σ_g w_g p(x|z_g) of all records, given in blocks [B, ...]; float64 [N]."""
    return torch.cat([_of_some(model, nodes, some) for some in _together(records)]).cpu()


def _of_some(model: Model, nodes: Grid, x: Tensor) -> Tensor:
    size = model.decode(nodes.z[:1])[0]
    step = max(1, OUTPUT_BYTES // (size.numel() * size.element_size()))
    total = torch.full((len(x),), -torch.inf, dtype=torch.float64, device=x.device)
    for z, log_weight in zip(nodes.z.split(step), nodes.log_weight.split(step), strict=True):
        scores = _scores(model, model.decode(z), x)
        total = torch.logaddexp(total, (scores + log_weight.to(scores.dtype).unsqueeze(-1)).logsumexp(0).double())
    return total


def _together(records: Iterable[Tensor]) -> Iterator[Tensor]:
    """Blocks of records joined, as many as may be held at a time: the decoder runs once for each."""
    held: list[Tensor] = []
    for block in records:
        held.append(block)
        if sum(each.numel() * each.element_size() for each in held) >= RECORD_BYTES:
            yield torch.cat(held)
            held = []
    if held:
        yield torch.cat(held)


def _is_linear(model: Model) -> bool:
    """Whether log p(x|z) is, but for a term of x alone, linear in x."""
    return isinstance(model.likelihood, (Bernoulli, Gaussian))


def _scores(model: Model, output: Tensor, x: Tensor) -> Tensor:
    """log p(x|z) [C, N] of every decoder output [C, ...] and record [N, ...].

    Bernoulli: x·l - Σ softplus(l); Gaussian: x·m/σ² - |m|²/2σ² - |x|²/2σ² + constant, in float64, for it cancels.
    """
    likelihood = model.likelihood
    if isinstance(likelihood, Bernoulli):
        return torch.addmm(likelihood(output, torch.zeros_like(x[:1])).unsqueeze(-1), output.flatten(1), x.flatten(1).T)
    if isinstance(likelihood, Gaussian):
        output, x = output.double(), x.double()
        precision = (-2 * likelihood.log_scale.double()).exp()
        of_x = 0.5 * precision * x.flatten(1).square().sum(-1)
        alone = likelihood(output, torch.zeros_like(x[:1])).unsqueeze(-1) - of_x
        return torch.addmm(alone, likelihood.mean(output).flatten(1) * precision, x.flatten(1).T)
    return torch.cat([likelihood(output.unsqueeze(1), part) for part in x.split(8)], -1)
