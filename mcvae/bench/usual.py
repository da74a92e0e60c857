"""The usual way, as a baseline: torchvision's data set and a loader, ``torch.distributions``, rejection and scipy.

Written as tutorials and the spherical VAEs in use do it (Davidson et al. 2018, algorithms 1 to 3): proposals inside
the loop, three Bessel functions a divergence. Nothing is made slower than there.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Beta, Distribution, Normal, Uniform, kl_divergence
from torch.nn import functional

from .harness import Contender
from .steps import HIDDEN, RATE, Bench


class ScipyBessel(torch.autograd.Function):
    """exp(-x) I_v(x) on the CPU in scipy; d/dx = ive(v - 1, x) - ive(v, x) (v + x) / x."""

    @staticmethod
    def forward(ctx, order: float, x: Tensor) -> Tensor:
        ctx.order = order
        ctx.save_for_backward(x)
        return _ive(order, x)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[None, Tensor]:
        (x,) = ctx.saved_tensors
        return None, gradient * (_ive(ctx.order - 1, x) - _ive(ctx.order, x) * (ctx.order + x) / x)


def _ive(order: float, x: Tensor) -> Tensor:
    import scipy.special

    return torch.from_numpy(np.asarray(scipy.special.ive(order, x.detach().cpu().numpy()))).to(x)


class RejectionVonMisesFisher(Distribution):
    """Von Mises-Fisher with loc [..., m] and concentration [..., 1]: Wood's (1994) rejection until all are accepted.

    In every dimension, as the published loops do for m != 3. Its gradient in the concentration is biased.
    """

    has_rsample = True
    arg_constraints = {}  # noqa: RUF012 (torch's own convention)

    def __init__(self, loc: Tensor, concentration: Tensor) -> None:
        self.loc, self.concentration, self.m = loc, concentration, loc.shape[-1]
        super().__init__(loc.shape[:-1], loc.shape[-1:])

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008 (torch's own signature)
        """One draw, [..., m]."""
        w = self._accepted()
        v = functional.normalize(torch.randn_like(self.loc[..., 1:]), dim=-1)
        z = torch.cat([w, torch.sqrt(torch.clamp(1 - w.square(), min=1e-10)) * v], -1)
        pole = torch.zeros_like(self.loc)
        pole[..., 0] = 1.0
        mirror = pole - self.loc
        mirror = mirror / (mirror.norm(dim=-1, keepdim=True) + 1e-5)
        return z - 2 * (z * mirror).sum(-1, keepdim=True) * mirror

    def _accepted(self) -> Tensor:
        m, kappa = self.m, self.concentration
        root = torch.sqrt(4 * kappa.square() + (m - 1) ** 2)
        b = (-2 * kappa + root) / (m - 1)
        a = (m - 1 + 2 * kappa + root) / 4
        d = 4 * a * b / (1 + b) - (m - 1) * math.log(m - 1)
        w, open_ = torch.zeros_like(kappa), torch.ones_like(kappa, dtype=torch.bool)
        while open_.any():
            epsilon = Beta(torch.tensor(0.5 * (m - 1)), torch.tensor(0.5 * (m - 1))).sample(kappa.shape)
            u = Uniform(0.0, 1.0).sample(kappa.shape)
            candidate = (1 - (1 + b) * epsilon) / (1 - (1 - b) * epsilon)
            t = 2 * a * b / (1 - (1 - b) * epsilon)
            accept = open_ & ((m - 1) * t.log() - t + d > u.log())
            w = torch.where(accept, candidate, w)
            open_ = open_ & ~accept
        return w

    def entropy(self) -> Tensor:
        """-κ A(κ) - log C(κ), [...]."""
        m, kappa = self.m, self.concentration
        ratio = ScipyBessel.apply(m / 2, kappa) / ScipyBessel.apply(m / 2 - 1, kappa)
        log_bessel = ScipyBessel.apply(m / 2 - 1, kappa).log() + kappa
        log_constant = (m / 2 - 1) * kappa.log() - (m / 2) * math.log(2 * math.pi) - log_bessel
        return -(kappa * ratio + log_constant).squeeze(-1)

    def kl_uniform(self) -> Tensor:
        """KL against the uniform distribution, [...]."""
        return math.log(2) + (self.m / 2) * math.log(math.pi) - math.lgamma(self.m / 2) - self.entropy()


class UsualVAE(nn.Module):
    """784-256-128-d-128-256-784 with a normal, or with a von Mises-Fisher (dim is then the sphere's)."""

    def __init__(self, dim: int, spherical: bool) -> None:
        super().__init__()
        first, second = HIDDEN
        ambient = dim + 1 if spherical else dim
        self.spherical = spherical
        self.encoder = nn.Sequential(nn.Linear(784, first), nn.ReLU(), nn.Linear(first, second), nn.ReLU())
        self.mean, self.spread = nn.Linear(second, ambient), nn.Linear(second, 1 if spherical else dim)
        self.decoder = nn.Sequential(
            nn.Linear(ambient, second), nn.ReLU(), nn.Linear(second, first), nn.ReLU(), nn.Linear(first, 784)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, 784] and KL [B]."""
        hidden = self.encoder(x)
        mean, spread = self.mean(hidden), functional.softplus(self.spread(hidden))
        if self.spherical:
            q = RejectionVonMisesFisher(mean / mean.norm(dim=-1, keepdim=True), spread + 1)
            return self.decoder(q.rsample()), q.kl_uniform()
        q = Normal(mean, spread)
        p = Normal(torch.zeros_like(mean), torch.ones_like(mean))
        return self.decoder(q.rsample()), kl_divergence(q, p).sum(-1)


def loader(images: Tensor, labels: Tensor, batch: int) -> torch.utils.data.DataLoader:
    """Torchvision's MNIST over tensors that are there: an image becomes a PIL image, then a tensor again."""
    from torchvision import datasets, transforms

    class Digits(datasets.MNIST):
        def __init__(self) -> None:
            datasets.VisionDataset.__init__(self, "", transform=transforms.ToTensor())
            self.data, self.targets = images, labels

    return torch.utils.data.DataLoader(Digits(), batch_size=batch, shuffle=True)


def epoch(bench: Bench, dim: int, *, spherical: bool) -> Contender:
    """One epoch of the usual loop on all training records."""
    train = bench.dataset.split("train")
    batches = loader(train["images"], train["labels"], 128)
    model = UsualVAE(dim, spherical)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    reconstruction = nn.BCEWithLogitsLoss(reduction="none")

    def run() -> float:
        total = 0.0
        for image, _ in batches:
            x = (image > torch.rand_like(image)).float().view(-1, 784)
            optimizer.zero_grad()
            logits, kl = model(x)
            loss = (reconstruction(logits, x).sum(-1) + kl).mean()
            loss.backward()
            optimizer.step()
            total += loss.item()
        return total / len(batches)

    return Contender(f"usual epoch, {'vMF' if spherical else 'normal'}", run)
