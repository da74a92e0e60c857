"""Train one run into its folder: from prepared data to the weights of the best epoch, through any interruption."""

import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from .. import data
from ..config import RunConfig
from ..errors import UserError
from ..files import canonical_json, digest, read_json, write_json
from ..grid import VERSIONS
from ..models import build
from ..toolchain import compiles
from . import checkpoint
from .adam import Adam
from .checkpoint import Computation, Progress, State
from .compilation import compiled_terms, compiler
from .devices import check_devices, usable_device
from .history import Row
from .keeper import Keeper, parameter_count
from .lock import Lock, locked
from .loop import run_epoch
from .processes import train_together
from .provenance import circumstances, now, resident_bytes
from .seeding import generator, settings, stream
from .team import ALONE, Team

logger = logging.getLogger("mcvae.training")


def fit(
    config: RunConfig,
    prepared: str | os.PathLike,
    folder: str | os.PathLike,
    *,
    threads: int = 1,
    device: str = "cpu",
    on_epoch: Callable[[Row], None] | None = None,
    checkpoint_seconds: float = 10.0,
    wait_seconds: float = 0.0,
) -> str:
    """Train the run ``config`` on the ``prepared`` data into ``folder``; go on from a checkpoint that lies there.

    Writes run.json, model.safetensors (weights of the epoch with the least validation loss), history.csv (a row an
    epoch), training.json (how it ended) and provenance.json. ``on_epoch`` gets each new row of the history.
    A checkpoint is written after an epoch, at most every ``checkpoint_seconds``, and at the end; evaluation removes it.
    A folder in which another process trains is waited for at most ``wait_seconds``. Torch's global state is the
    caller's again afterwards. On the CPU, equal configurations make equal files, interrupted or not.
    With ``config.training.devices`` above 1, as many processes train it, each with ``threads`` threads.

    Returns:
        "finished" or "diverged" (a loss or a weight was not finite; the best weights before it are kept).

    Raises:
        UserError: the folder is another run's or in use, its checkpoint is foreign, the data do not fit, the device
            is not there, or one of several processes died.
    """
    folder = Path(folder)
    usable_device(device)
    check_devices(config.training.devices, device)
    with locked(folder, wait_seconds) as lock:
        claim(folder, config)
        dataset = data.load(prepared).trained_on(config.training.records)
        check_data(config, dataset)
        # Threads and compiled code change the last bits of sums: a run keeps those that it began with. The device is
        # part of the checkpoint's identity, and with it whether compiled code is replayed as CUDA graphs.
        how = checkpoint.saved_computation(checkpoint.path_of(folder))
        how = how or Computation(threads, compiles(config, dataset.size("train")))
        if config.training.devices > 1:
            return train_together(config, prepared, folder, how, device, lock, on_epoch, checkpoint_seconds)
        return train(config, dataset, folder, how, device, lock, on_epoch, checkpoint_seconds)


def train(
    config: RunConfig,
    dataset: data.Dataset,
    folder: Path,
    how: Computation,
    device: str,
    lock: Lock,
    on_epoch: Callable[[Row], None] | None,
    checkpoint_seconds: float,
    team: Team = ALONE,
) -> str:
    """Train as one process of a ``team`` in a folder that is claimed and locked; arguments and status as of ``fit``."""
    noise = stream(config.seed, team.purpose("noise"), device)
    with settings(how.threads), noise, compiler(how.compiled, device):
        state = initial_state(config, dataset.stats, device, team)
        if how.compiled:
            state.terms = compiled_terms(state.model, config.training.batch_size, state.device)
        train, validation = (
            {name: dataset.split(split)[name].to(device) for name in state.model.protocol.reads}
            for split in ("train", "validation")
        )
        content = data_digest(dataset)
        identity = {
            "run": canonical_json(config.canonical()),
            "data": content,
            "version": VERSIONS["train"],
            "device": torch.device(device).type,
        }
        keeper = Keeper(folder, lock, state, identity, how, checkpoint_seconds)
        resumed = checkpoint.restore(keeper.path, state, identity)
        announce(config, state, dataset, how, device, resumed)
        keeper.begin(resumed)
        progress, before = state.progress, time.perf_counter() - state.progress.seconds
        while progress.status is None:
            row = run_epoch(config, state, train, validation)
            progress.seconds = time.perf_counter() - before
            progress.peak_memory = max(filter(None, (progress.peak_memory, resident_bytes())), default=None)
            if progress.status is None and len(progress.history) == config.training.epochs:
                progress.status = "finished"
            keeper.keep()
            if row is not None and on_epoch is not None:
                on_epoch(row)
        keeper.end(circumstances(how, device, content))
    return progress.status


def claim(folder: Path, config: RunConfig) -> None:
    """Write run.json, or find it equal."""
    path = folder / "run.json"
    if path.exists() and read_json(path) != config.canonical():
        raise UserError(f"{path}: is the configuration of another run; train this one in a folder of its own")
    if not path.exists():
        write_json(path, config.canonical())


def check_data(config: RunConfig, dataset: data.Dataset) -> None:
    """Refuse data of another name, fewer records than a batch, or none to select by."""
    if dataset.name != config.dataset:
        raise UserError(f"{dataset.folder}: holds {dataset.name}, but the run is of {config.dataset}")
    if not dataset.size("validation") and config.training.selection != "last":
        raise UserError(
            f"training.records: {config.training.records} leaves no record of {dataset.folder} to validate on; choose "
            "fewer, or selection: last"
        )
    size, batch = dataset.size("train"), config.training.batch_size
    if batch > size:
        raise UserError(f"training.batch_size: {batch} is more than the {size} training records of {dataset.folder}")


def announce(
    config: RunConfig, state: State, dataset: data.Dataset, how: Computation, device: str, resumed: bool
) -> None:
    """The first line of the log."""
    logger.info(
        "%s %s %s, seed %d: %d parameters, %d records, %d thread(s) on %s%s; %s",
        config.dataset, config.model.kind, config.latent, config.seed, parameter_count(state), dataset.size("train"),
        how.threads, device if state.team.size == 1 else f"each of {state.team.size} x {state.device.type}",
        ", compiled" if how.compiled else "",
        f"resumed after epoch {len(state.progress.history)}" if resumed else "from the start",
    )  # fmt: skip


def data_digest(dataset: data.Dataset) -> str:
    """8 hex digits of the checksums of every tensor: the content of prepared data, wherever it lies."""
    return digest(canonical_json(dataset.stats["tensors"]))


def initial_state(config: RunConfig, stats: Mapping[str, Any], device: str, team: Team = ALONE) -> State:
    """An untrained model, the optimiser, and the order of the data, all from the run's seed."""
    with stream(config.seed, "initialisation"):
        model = build(config, stats).to(device)
    best = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = Adam(model.parameters(), curvatures=model.latent.manifold.parameters())
    return State(model, optimizer, generator(config.seed, "order"), best, Progress(started=now()), team)
