"""What a posterior looks like in each two-dimensional component: contours of single records, the density of many.

Points are tangent coordinates at the origin, in the orthonormal frame, whatever coordinates the component itself has.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from ..distributions import OnSphere, RiemannianNormal, VonMisesFisher
from ..distributions.riemannian_normal import ScaledRadius
from ..manifolds import Manifold
from .blocks import POSTERIOR, PRIOR, SIZE, blocks, count, device_of, noise

CONTOURS, AROUND = 80, 49  # records with a contour, points of it
RECORDS = 512  # that the density is of
PICTURES, WIDEST = 600, 32  # records with a small picture, its most pixels a side
MASS = -math.expm1(-0.5)  # of a normal of two dimensions within one standard deviation: 39%
ROWS, COLUMNS = 41, 81  # of a mesh, whatever the curvature: copies of a component may bend either way
FLAT = 1e-6
AT_ONCE = 250_000  # densities: bounds the memory, and that of the windings of a sphere


def evenly(total: int, number: int) -> Tensor:
    """At most ``number`` of ``total`` records, int64, evenly spread over them, the first and the last among them."""
    if total <= number:
        return torch.arange(total)
    return torch.linspace(0, total - 1, number, dtype=torch.float64).round().long()


@torch.inference_mode()
def surfaces(model: torch.nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Contours and densities of every component i of two dimensions; nothing of an autoencoder, which has no posterior.

    ``contour_records`` [R]: which records of the split have contours; ``contours.{i}`` float32 [R, P, 2]: see
    :func:`contour`. ``density_at.{i}`` float32 [A, B, 2], a mesh (:func:`mesh`), and ``density.{i}`` float32 [2, A, B]
    on it: log q(z) = log 1/N Σ_j q(z|x_j) of N records, and log p(z), nats, against the area.
    """
    latent = model.latent
    flat = [c.dim == 2 for c in latent.signature.components]
    if model.kind == "autoencoder" or not any(flat):
        return {}
    records = evenly(count(tensors), CONTOURS)
    result: dict[str, np.ndarray] = {"contour_records": records.numpy()}
    shapes = [_parts(model.posterior(block.inputs), flat) for block in blocks(model, tensors, records)]
    seen, draws = [], []
    for block in blocks(model, tensors, evenly(count(tensors), RECORDS)):
        q = model.posterior(block.inputs)
        with noise(POSTERIOR, block.index, device_of(model)):
            draws.append(latent.manifold.split(q.rsample()))
        seen.append(q.parts)
    prior = latent.prior()
    with noise(PRIOR, 0, device_of(model)):
        expected = latent.manifold.split(prior.rsample((RECORDS,)))
    index = 0
    for place, component in enumerate(latent.signature.components):
        if flat[place]:
            manifold = latent.manifold.factors[place]
            drawn = torch.cat([points[place] for points in draws])
            around = torch.cat([contour(manifold, parts[place]) for parts in shapes])
            reach = 1.05 * max(_reach(manifold, drawn, 0.995), _reach(manifold, expected[place], 0.99))
            at = torch.stack([mesh(float(k), reach) for k in manifold.k.reshape(-1)], -2)  # [A, B, count, 2]
            z = manifold.expmap0(at.to(drawn))
            posterior = _mixture(z, [parts[place] for parts in seen])
            both = torch.stack([posterior, prior.parts[place].log_prob(z).double()])
            for copy in range(component.count):
                result[f"contours.{index + copy}"] = _float(around[:, :, copy])
                result[f"density_at.{index + copy}"] = _float(at[:, :, copy])
                result[f"density.{index + copy}"] = _float(both[..., copy])
        index += component.count
    return result


def contour(manifold: Manifold, posterior: Distribution, points: int = AROUND) -> Tensor:
    """Closed curves [B, points, count, 2] around the locations of a posterior on a surface, in tangent coordinates.

    Of wrapped normals exp of the ellipse of one standard deviation, which holds 39% of the mass (in the tangent space
    at the location); of distributions that know no direction the geodesic circle that holds as much.
    """
    angle = torch.linspace(0, 2 * math.pi, points, dtype=torch.float64)
    circle = torch.stack([angle.cos(), angle.sin()], -1).to(posterior.loc)  # [points, 2]
    radius = radius_of(manifold, posterior).to(posterior.loc)  # [B, count, 2 or 1]
    u = circle[:, None] * radius.unsqueeze(-3)
    k = manifold.k.to(u).unsqueeze(-1)
    furthest = torch.where(k > 0, 0.999 * math.pi * k.clamp_min(FLAT).rsqrt(), torch.inf)
    length = torch.linalg.vector_norm(u, dim=-1, keepdim=True)
    u = u * (furthest / length.clamp_min(1e-30)).clamp_max(1.0)
    return manifold.logmap0(manifold.expmap_frame(posterior.loc.unsqueeze(-3), u))


def radius_of(manifold: Manifold, posterior: Distribution) -> Tensor:
    """The scales of a wrapped normal, or the radius of the circle of mass 39%, [B, count, 2 or 1].

    On S² with t the cosine of the angle to the location: vMF has the density e^(κt), so that P(1 - t < h) is
    (1 - e^(-κh)) / (1 - e^(-2κ)); power spherical (1 + t)^κ, so that it is 1 - (1 - h/2)^(κ+1).
    """
    if isinstance(posterior, OnSphere):
        kappa = posterior.base.concentration.double()
        if isinstance(posterior.base, VonMisesFisher):
            height = -torch.log1p(MASS * torch.expm1(-2 * kappa)) / kappa
        else:
            height = -2 * torch.expm1(-0.5 / (kappa + 1))
        return (2 * torch.asin((height / 2).sqrt()) * manifold.k.rsqrt()).unsqueeze(-1)
    if isinstance(posterior, RiemannianNormal):
        scale = posterior.scale.squeeze(-1).double()
        law = ScaledRadius(scale, manifold.k, dim=manifold.dim, sign=manifold.sign)
        return law.rsample(torch.full_like(scale, MASS)).unsqueeze(-1)
    return posterior.scale


def mesh(k: float, reach: float) -> Tensor:
    """Tangent coordinates float64 [A, B, 2] of a mesh over a surface of curvature k.

    k > 0: parallels by meridians of the whole sphere, longitude and latitude 0 at the origin; k < 0: circles by rays up
    to the distance ``reach``; k = 0: a square of half side ``reach``.
    """
    if k > FLAT:
        seam = math.pi * (1 - 1e-5)  # on either side of it, also in single precision
        up, across = _grid((-math.pi / 2, math.pi / 2), (-seam, seam))
        side = torch.stack([up.cos() * across.sin(), up.sin()], -1)
        length = torch.linalg.vector_norm(side, dim=-1, keepdim=True)
        angle = torch.atan2(length, (up.cos() * across.cos()).unsqueeze(-1))
        return angle / math.sqrt(k) * side / length.clamp_min(1e-300)
    if k < -FLAT:
        radius, angle = _grid((0, reach), (0, 2 * math.pi))
        return torch.stack([radius * angle.cos(), radius * angle.sin()], -1)
    y, x = _grid((-reach, reach), (-reach, reach))
    return torch.stack([x, y], -1)


def small_pictures(tensors: Mapping[str, Tensor], number: int = PICTURES) -> dict[str, np.ndarray]:
    """``thumbnails`` uint8 [T, ...], at most 32 pixels a side, and ``thumbnail_records`` [T]; none without images."""
    if "images" not in tensors:
        return {}
    records = evenly(count(tensors), number)
    pictures = tensors["images"][records]
    factor = -(-pictures.shape[-1] // WIDEST)
    if factor > 1:
        cut = [size // factor * factor for size in pictures.shape[-2:]]
        pooled = pictures[..., : cut[0], : cut[1]].float().unflatten(-1, (-1, factor)).unflatten(-3, (-1, factor))
        pictures = pooled.mean((-1, -3)).round().to(torch.uint8)
    return {"thumbnails": pictures.cpu().numpy(), "thumbnail_records": records.numpy()}


def _parts(q: Any, wanted: list[bool]) -> list[Distribution | None]:
    return [part if keep else None for part, keep in zip(q.parts, wanted, strict=True)]


def _reach(manifold: Manifold, points: Tensor, share: float) -> float:
    """The distance from the origin within which that share of the points [N, count, ambient_dim] lies."""
    return float(torch.linalg.vector_norm(manifold.logmap0(points).double(), dim=-1).quantile(share))


def _mixture(z: Tensor, parts: list[Distribution]) -> Tensor:
    """log 1/N Σ_j q(z|x_j) at z [A, B, count, ambient_dim], over all records of all parts; float64 [A, B, count]."""
    points, found = z.flatten(0, 1), []
    for some in points.split(max(1, AT_ONCE // (SIZE * z.shape[-2]))):
        densities = [part.log_prob(some.unsqueeze(1)).double().logsumexp(1) for part in parts]
        found.append(torch.stack(densities).logsumexp(0))
    records = sum(len(part.loc) for part in parts)
    return (torch.cat(found) - math.log(records)).unflatten(0, z.shape[:2])


def _grid(up: tuple[float, float], across: tuple[float, float]) -> tuple[Tensor, ...]:
    axes = torch.linspace(*up, ROWS, dtype=torch.float64), torch.linspace(*across, COLUMNS, dtype=torch.float64)
    return torch.meshgrid(*axes, indexing="ij")


def _float(values: Tensor) -> np.ndarray:
    return values.float().cpu().numpy()
