"""The trainer's own step and epoch as things to be timed, and the matrix products that no such step can do without.

Modes: ``eager``, ``compiled``, ``auto`` (what the trainer chooses for 30 epochs of MNIST), and ``graph`` (compiled and
replayed as CUDA graphs: the trainer's own way on a GPU).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..config import RunConfig
from ..data import Dataset
from ..models import Model as Network
from ..options import Model, Training
from ..toolchain import compiles
from ..training.compilation import compiled_terms
from ..training.fit import initial_state
from ..training.loop import train_epoch
from .harness import Clock, Contender, Effort

HIDDEN = (256, 128)
RATE = 1e-3
CLIP = 20.0
EPOCHS, MNIST = 30, 50_000


@dataclass(frozen=True)
class Bench:
    """What every row is measured with."""

    dataset: Dataset
    effort: Effort
    device: str = "cpu"

    def short(self) -> dict[str, Any]:
        """How a row of short things is measured."""
        return {"blocks": self.effort.blocks, "seconds": self.effort.seconds, "clock": self._clock()}

    def long(self) -> dict[str, Any]:
        """How a row of epochs or likelihoods is measured: one call a block."""
        return {"blocks": self.effort.long_blocks, "seconds": 0.0, "warmup": 1, "clock": self._clock()}

    def _clock(self) -> Clock:
        # Neighbours on a shared machine take time from the clock on the wall, and none from the processor's.
        return time.process_time if self.device == "cpu" else time.perf_counter


def configuration(latent: str, *, batch: int = 128, protocol: str = "dynamic", seed: int = 0, **training) -> RunConfig:
    """A run on MNIST with the multilayer perceptron 784-256-128-d-128-256-784."""
    return RunConfig(
        dataset="mnist",
        data="00000000",
        protocol=protocol,
        latent=latent,
        model=Model(hidden=HIDDEN, likelihood="bernoulli"),
        training=Training(
            **{"epochs": EPOCHS, "batch_size": batch, "learning_rate": RATE, "gradient_clip": CLIP} | training
        ),
        seed=seed,
    )


def steps(bench: Bench, latent: str, *, batch: int = 128, mode: str = "eager") -> Contender:
    """Training steps, everything included: gather, binarise, forward, backward, clip, Adam, sums for the history."""
    return passes(bench, configuration(latent, batch=batch), mode, bench.effort.steps * batch, name=f"{latent} step")


def epoch(bench: Bench, latent: str, *, mode: str = "eager") -> Contender:
    """An epoch of training on all records."""
    size = bench.dataset.size("train")
    return passes(bench, configuration(latent), mode, size, name=f"{latent} epoch")._replace(units=1)


def passes(
    bench: Bench,
    config: RunConfig,
    mode: str,
    records: int,
    *,
    name: str,
    tensors: Mapping[str, Tensor] | None = None,
) -> Contender:
    """One pass over so many training records, or over other ``tensors``; a unit is a step."""
    tensors = bench.dataset.split("train") if tensors is None else tensors
    shapes = {key: {"shape": list(tensor.shape)} for key, tensor in tensors.items()}
    state = initial_state(config, {"tensors": shapes}, bench.device)
    train = {key: tensors[key][:records].to(bench.device) for key in state.model.protocol.reads}
    count = len(next(iter(train.values())))
    if mode in ("compiled", "graph") or (mode == "auto" and compiles(config, MNIST)):
        state.terms = compiled_terms(state.model, config.training.batch_size, state.device)

    def run() -> None:
        train_epoch(state, train, config.training, 1.0, RATE)

    return Contender(f"{name}, {mode}", run, -(-count // config.training.batch_size))


def products(bench: Bench, latent: str, *, batch: int = 128) -> Contender:
    """The matrix products of one training step of a run, and nothing else."""
    model = initial_state(configuration(latent, batch=batch), bench.dataset.stats, "cpu").model
    run = matrix_products(linear_shapes(model), batch, bench.device)
    return Contender(f"matrix products of {latent}", run)


def linear_shapes(model: Network) -> list[tuple[int, int]]:
    """(inputs, outputs) of every linear layer, from the pixels to the pixels."""
    parts = (model.encoder, model.decoder)
    return [(m.in_features, m.out_features) for part in parts for m in part.modules() if isinstance(m, nn.Linear)]


def matrix_products(
    shapes: Sequence[tuple[int, int]], rows: int, device: str, *, backward: bool = True
) -> Callable[[], None]:
    """y = x Wᵀ, and backward dW = gᵀ x and dx = g W (not for the pixels), as bare products into existing memory."""
    jobs = []
    for index, (inputs, outputs) in enumerate(shapes):
        x, w, g = (torch.randn(shape, device=device) for shape in ((rows, inputs), (outputs, inputs), (rows, outputs)))
        jobs.append((x, w.t(), torch.empty_like(g)))
        if backward:
            jobs.append((g.t(), x, torch.empty_like(w)))
        if backward and index > 0:
            jobs.append((g, w, torch.empty_like(x)))

    def run() -> None:
        for left, right, out in jobs:
            torch.mm(left, right, out=out)

    return run
