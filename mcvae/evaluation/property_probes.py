"""What the frozen latent space knows of properties: ridge, neighbours, a small network, a Gaussian process.

Each learns from the same labelled training records; the validation split alone chooses what is to be chosen.
"""

import logging
import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import UserError
from ..latent import AMBIENT_BY_DEFAULT, LatentSpace
from ..training.seeding import generator, stream
from .classification import nearest

logger = logging.getLogger("mcvae.evaluation")

PROBES = ("ridge", "knn", "mlp", "gp")
STRENGTHS = tuple(10.0**power for power in range(-3, 5))
NEIGHBOURS = (1, 2, 3, 5, 10, 20, 50)
WIDTH, EPOCHS, BATCH, RATE = 128, 60, 256, 2e-3
PROCESS, FITTED = 2000, 500  # records of the Gaussian process; those that its kernel's parameters are fitted to
ASKED, CHOOSING = 3000, 1000  # test and validation records whose neighbours are looked for: that takes most time


class Known(NamedTuple):
    """Records of a split: posterior locations ``loc`` [n, ambient_dim], :func:`coordinates` of them [n, C], and
    ``values`` [n, T], their properties in standard deviations of the training split."""

    loc: Tensor
    coordinates: Tensor
    values: Tensor

    @classmethod
    def of(cls, latent: LatentSpace, loc: Tensor, values: Tensor) -> "Known":
        """With the coordinates of the points; these and the values on the CPU in float64."""
        return cls(loc, coordinates(latent, loc).double().cpu(), values.double().cpu())


def coordinates(latent: LatentSpace, z: Tensor) -> Tensor:
    """What a probe reads of points z [..., ambient_dim]: ambient coordinates of e and s, logmap0 of others; [..., C].

    Tangent coordinates at one pole of a sphere tear at its antipode. The same whatever the model's decoder sees.
    """
    manifold = latent.manifold
    parts = zip(latent.signature.components, manifold.factors, manifold.split(z), strict=True)
    return manifold.join([x if c.letter in AMBIENT_BY_DEFAULT else m.logmap0(x) for c, m, x in parts])


class Probed(NamedTuple):
    """``predicted`` {probe: [N, T]} for the test records (``knn``: the first 3,000 of them); ``neighbours`` that the
    validation split chose; for each of these records the ``nearest`` of the labelled ones, int64 [n, 50] or fewer."""

    predicted: dict[str, Tensor]
    neighbours: int
    nearest: Tensor


def property_probes(latent: LatentSpace, train: Known, validation: Known, test: Known) -> Probed:
    """Predictions of all :data:`PROBES`, float64 [N, T], in standard deviations.

    - ``ridge``: on :func:`coordinates`, standardised; its strength is chosen for each target;
    - ``knn``: the mean of k geodesic neighbours, one k for all targets (of 3,000 test, 1,000 validation records);
    - ``mlp``: two layers of 128 on standardised coordinates, trained on the absolute error; the best epoch;
    - ``gp``: Gaussian process on the coordinates of the first 2,000 records, with one radial kernel and noise for
      all targets, fitted by the marginal likelihood of the first 500 records.

    Raises:
        UserError: scikit-learn is not installed.
    """
    logger.info("probes of %d labelled records", len(train.values))
    mean, scale = train.coordinates.mean(0), train.coordinates.std(0, correction=0)
    scale = scale.where(scale > 0, 1.0)
    scaled = [split._replace(coordinates=(split.coordinates - mean) / scale) for split in (train, validation, test)]
    neighbours, found, near = _knn(latent, train, validation, test)
    predicted = {"ridge": ridge(*scaled), "knn": found, "mlp": network(*scaled), "gp": process(train, test)}
    return Probed(predicted, neighbours, near)


def ridge(train: Known, validation: Known, test: Known) -> Tensor:
    """ŷ = ȳ + x·w with w the minimum of |y - ŷ|² + λ|w|² over centred x; λ of least validation error a target."""
    centre, mean = train.coordinates.mean(0), train.values.mean(0)
    u, s, vh = torch.linalg.svd(train.coordinates - centre, full_matrices=False)
    moment = u.T @ (train.values - mean)
    predicted = torch.empty(len(test.coordinates), len(mean), dtype=torch.float64)
    best = torch.full_like(mean, torch.inf)
    for strength in STRENGTHS:
        weights = vh.T @ ((s / (s.square() + strength)).unsqueeze(-1) * moment)
        errors = _errors((validation.coordinates - centre) @ weights + mean, validation.values)
        better = errors < best
        predicted[:, better] = ((test.coordinates - centre) @ weights + mean)[:, better]
        best = torch.minimum(best, errors)
    return predicted


def _knn(latent: Any, train: Known, validation: Known, test: Known) -> tuple[int, Tensor, Tensor]:
    most = min(max(NEIGHBOURS), len(train.values))
    asked = nearest(latent, validation.loc[:CHOOSING], train.loc, most).cpu()
    found = nearest(latent, test.loc[:ASKED], train.loc, most).cpu()
    allowed = [k for k in NEIGHBOURS if k <= most]
    errors = [_errors(train.values[asked[:, :k]].mean(1), validation.values[:CHOOSING]).mean().item() for k in allowed]
    chosen = allowed[int(np.argmin(errors))]
    return chosen, train.values[found[:, :chosen]].mean(1), found


@torch.inference_mode(False)
@torch.enable_grad()
def network(train: Known, validation: Known, test: Known) -> Tensor:
    """Predictions of a network of two layers at its epoch of least validation error."""
    x, y, asked, queries = (
        part.float().clone() for part in (train.coordinates, train.values, validation.coordinates, test.coordinates)
    )
    with stream(0, "evaluation/probe"):
        net = nn.Sequential(
            nn.Linear(x.shape[1], WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, y.shape[1])
        )
    optimizer = torch.optim.Adam(net.parameters(), RATE)
    order, best, predicted = generator(0, "evaluation/probe/order"), torch.inf, None
    for epoch in range(EPOCHS):
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1 - epoch / EPOCHS)
        for index in torch.randperm(len(x), generator=order).split(BATCH):
            optimizer.zero_grad()
            (net(x[index]) - y[index]).abs().mean().backward()
            optimizer.step()
        with torch.no_grad():
            error = _errors(net(asked).double(), validation.values).mean().item()
            if predicted is None or error < best:
                best, predicted = error, net(queries).double()
    return predicted


def process(train: Known, test: Known) -> Tensor:
    """Posterior means of a Gaussian process with the kernel a exp(-|x - x'|²/2l²) + b (Rasmussen & Williams 2006)."""
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise UserError(f"the Gaussian process needs scikit-learn (pip install 'mcvae[data]'): {error}") from None
    x, y = train.coordinates[:PROCESS].numpy(), train.values[:PROCESS].numpy()
    centre = y.mean(0)
    length = float(np.sqrt(2 * x.var(0).sum())) or 1.0  # the distance of two records, as a start
    kernel = ConstantKernel(1.0, (1e-4, 1e4)) * RBF(length, (1e-3 * length, 1e3 * length)) + WhiteKernel(
        0.3, (1e-6, 10)
    )
    with threadpool_limits(1, user_api="blas"), warnings.catch_warnings():
        # A parameter at its bound is an answer too: that of properties which the latent space does not know.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = GaussianProcessRegressor(kernel).fit(x[:FITTED], (y - centre)[:FITTED])
        whole = GaussianProcessRegressor(fitted.kernel_, optimizer=None).fit(x, y - centre)
        parts = [whole.predict(part.numpy()) for part in test.coordinates.split(PROCESS)]
    return torch.from_numpy(np.concatenate(parts) + centre)


def _errors(predicted: Tensor, truth: Tensor) -> Tensor:
    return (predicted - truth).abs().mean(0)
