"""The same network in pythae (Chadebec et al. 2022): its VAE, SVAE and PoincareVAE under its own trainer.

Grey pixels on both sides, as pythae has no binarisation; both maximise the same bound, so their test bounds compare.
"""

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..models.mlp import mlp
from ..training.fit import initial_state
from ..training.loop import train_epoch, validate
from ..training.seeding import stream
from .harness import Contender, Measurement, interleave
from .steps import HIDDEN, RATE, Bench, configuration, passes

BATCH, DIM, PIXELS = 128, 5, 784
PEERS = {"VAE": "e5", "SVAE": "s5:vmf", "PoincareVAE": "p5"}  # pythae's model -> the latent space that it has


def speed(bench: Bench, name: str) -> Measurement:
    """Pythae's time for an epoch over ours."""
    config, records = configuration(PEERS[name], batch=BATCH, protocol="grey"), bench.effort.peer_records
    ours = passes(bench, config, "auto", records, name=f"{PEERS[name]} epoch")._replace(units=1)
    with trainer(name, bench) as theirs:
        return interleave(
            ours, Contender(f"pythae {name} epoch", lambda: theirs.train_step(1)), **bench.long(), invert=True
        )


def bounds(bench: Bench, name: str) -> Measurement:
    """Our test ELBO less theirs after equal epochs, in nats; a value a seed."""
    sides: dict[str, list[float]] = {"ours": [], "pythae": []}
    for seed in range(bench.effort.peer_seeds):
        sides["ours"].append(_our_bound(bench, PEERS[name], seed))
        with stream(seed, f"pythae/{name}"), trainer(name, bench, seed) as theirs:
            for epoch in range(bench.effort.peer_epochs):
                theirs.train_step(epoch + 1)
            sides["pythae"].append(_their_bound(theirs.model, _pixels(bench, "test")))
    values = [a - b for a, b in zip(sides["ours"], sides["pythae"], strict=True)]
    return Measurement(values, "nats", sides, "nats")


def _our_bound(bench: Bench, latent: str, seed: int) -> float:
    config = configuration(latent, batch=BATCH, protocol="grey", seed=seed)
    state = initial_state(config, bench.dataset.stats, "cpu")
    train = {"images": bench.dataset.split("train")["images"][: bench.effort.peer_records]}
    with stream(seed, "noise"):
        for _ in range(bench.effort.peer_epochs):
            train_epoch(state, train, config.training, 1.0, RATE)
        averages = validate(state.model, {"images": bench.dataset.split("test")["images"]})
    return averages.means(1.0, 0.0)["elbo"]


@torch.no_grad()
def _their_bound(model: nn.Module, pixels: Tensor) -> float:
    model.eval()
    losses = [model({"data": part}).loss.double() * len(part) for part in pixels.split(512)]
    return -(torch.stack([loss.sum() for loss in losses]).sum() / len(pixels)).item()


def _pixels(bench: Bench, split: str, records: int | None = None) -> Tensor:
    return bench.dataset.split(split)["images"][:records].flatten(1) / 255


@contextmanager
def trainer(name: str, bench: Bench, seed: int = 0) -> Iterator:
    """Pythae's trainer of one of its models on the training records, ready for ``train_step``; it says nothing."""
    from pythae.data.datasets import BaseDataset
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from pythae.trainers.base_trainer import base_trainer
    from pythae.trainers.training_callbacks import CallbackHandler, TrainingCallback

    base_trainer.logger.setLevel(logging.WARNING)
    pixels = _pixels(bench, "train", bench.effort.peer_records)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(prefix="mcvae-bench-") as folder:
        warnings.simplefilter("ignore")  # its SVAE warns of a copied tensor at every step
        settings = BaseTrainerConfig(
            output_dir=folder, learning_rate=RATE, per_device_train_batch_size=BATCH, seed=seed, no_cuda=True
        )
        data = BaseDataset(pixels, torch.zeros(len(pixels)))
        made = BaseTrainer(model=network(name), train_dataset=data, training_config=settings)
        made.prepare_training()
        made.callback_handler = CallbackHandler([TrainingCallback()], model=made.model)  # no progress bar: it costs
        yield made


def network(name: str) -> nn.Module:
    """Pythae's model around the same multilayer perceptron."""
    from pythae import models
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    first, second = HIDDEN
    width = DIM + 1 if name == "SVAE" else DIM  # of an SVAE it counts the coordinates

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Sequential(mlp([PIXELS, first, second]), nn.ReLU())
            self.loc, self.spread = nn.Linear(second, width), nn.Linear(second, 1 if name == "SVAE" else width)

        def forward(self, x: Tensor) -> ModelOutput:
            hidden = self.hidden(x)
            loc, spread = self.loc(hidden), self.spread(hidden)
            if name == "SVAE":
                return ModelOutput(embedding=loc, log_concentration=spread)
            if name == "PoincareVAE":  # it wants points of the ball
                norm = loc.norm(dim=-1, keepdim=True).clamp_min(1e-7)
                loc = norm.tanh() * loc / norm
            return ModelOutput(embedding=loc, log_covariance=spread)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(mlp([width, second, first, PIXELS]), nn.Sigmoid())

        def forward(self, z: Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=self.layers(z))

    config = getattr(models, f"{name}Config")(input_dim=(PIXELS,), latent_dim=width, reconstruction_loss="bce")
    return getattr(models, name)(config, encoder=Encoder(), decoder=Decoder())
