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
from ..files import canonical_json, digest, read_json, write_json, write_text
from ..grid import VERSIONS
from ..models import build
from ..toolchain import compiles
from . import checkpoint
from .adam import Adam
from .checkpoint import Computation, Progress, State
from .compilation import compiled_terms, compiler
from .devices import usable_device
from .history import Row, columns, to_csv
from .lock import locked
from .loop import run_epoch
from .provenance import circumstances, now, resident_bytes
from .seeding import generator, settings, stream

logger = logging.getLogger("mcvae.training")

HISTORY_SECONDS = 2.0  # history.csv is rewritten no more often: whoever watches a run reads it
OUTPUTS = ("model.safetensors", "history.csv", "training.json", "provenance.json")


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

    Returns:
        "finished" or "diverged" (a loss or a weight was not finite; the best weights before it are kept).

    Raises:
        UserError: the folder is another run's or in use, its checkpoint is foreign, the data do not fit, or the device
            is not there.
    """
    folder = Path(folder)
    usable_device(device)
    with locked(folder, wait_seconds):
        claim(folder, config)
        path, dataset = checkpoint.path_of(folder), data.load(prepared).trained_on(config.training.records)
        check_data(config, dataset)
        # Threads and compiled code change the last bits of sums: a run keeps those that it began with. The device is
        # part of the checkpoint's identity, and with it whether compiled code is replayed as CUDA graphs.
        how = checkpoint.saved_computation(path) or Computation(threads, compiles(config, dataset.size("train")))
        with settings(how.threads), stream(config.seed, "noise", device), compiler(how.compiled, device):
            return _fit(config, dataset, folder, path, how, device, on_epoch, checkpoint_seconds)


def _fit(
    config: RunConfig,
    dataset: data.Dataset,
    folder: Path,
    path: Path,
    how: Computation,
    device: str,
    on_epoch: Callable[[Row], None] | None,
    checkpoint_seconds: float,
) -> str:
    state = initial_state(config, dataset.stats, device)
    if how.compiled:
        state.terms = compiled_terms(state.model, config.training.batch_size, state.device)
    reads, header = state.model.protocol.reads, columns(state.model)
    train, validation = (
        {name: dataset.split(split)[name].to(device) for name in reads} for split in ("train", "validation")
    )
    content = data_digest(dataset)
    identity = {
        "run": canonical_json(config.canonical()),
        "data": content,
        "version": VERSIONS["train"],
        "device": torch.device(device).type,
    }
    resumed = checkpoint.restore(path, state, identity)
    announce(config, state, dataset, how, device, resumed)
    for name in OUTPUTS:  # what an earlier training left must not look like this one's end
        (folder / name).unlink(missing_ok=True)
    if resumed:
        state.progress.resumed += 1
        write_text(folder / "history.csv", to_csv(header, state.progress.history))
    progress, before = state.progress, time.perf_counter() - state.progress.seconds
    saved = shown = time.monotonic()

    while progress.status is None:
        row = run_epoch(config, state, train, validation)
        progress.seconds = time.perf_counter() - before
        progress.peak_memory = max(filter(None, (progress.peak_memory, resident_bytes())), default=None)
        if progress.status is None and len(progress.history) == config.training.epochs:
            progress.status = "finished"
        if time.monotonic() - saved >= checkpoint_seconds:
            checkpoint.save(path, state, identity, how)
            saved = time.monotonic()
        if len(progress.history) == 1 or time.monotonic() - shown >= HISTORY_SECONDS:
            write_text(folder / "history.csv", to_csv(header, progress.history))
            shown = time.monotonic()
        if row is not None and on_epoch is not None:
            on_epoch(row)

    # Kept until the run is evaluated: should whoever asked for the run die before it hears of its end and delete the
    # files below, the next asker has them again at once.
    checkpoint.save(path, state, identity, how)
    state.model.load_state_dict(state.best)
    checkpoint.save_model(folder / "model.safetensors", state.best)
    write_text(folder / "history.csv", to_csv(header, progress.history))
    write_json(folder / "training.json", summary(state))
    write_json(folder / "provenance.json", provenance(progress, circumstances(how, device, content)))
    logger.info("%s after %d epochs, best epoch %s", progress.status, len(progress.history), progress.best_epoch)
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
        how.threads, device, ", compiled" if how.compiled else "",
        f"resumed after epoch {len(state.progress.history)}" if resumed else "from the start",
    )  # fmt: skip


def parameter_count(state: State) -> int:
    """Numbers that are learned."""
    return sum(p.numel() for p in state.model.parameters())


def data_digest(dataset: data.Dataset) -> str:
    """8 hex digits of the checksums of every tensor: the content of prepared data, wherever it lies."""
    return digest(canonical_json(dataset.stats["tensors"]))


def initial_state(config: RunConfig, stats: Mapping[str, Any], device: str) -> State:
    """An untrained model, the optimiser, and the order of the data, all from the run's seed."""
    with stream(config.seed, "initialisation"):
        model = build(config, stats).to(device)
    best = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = Adam(model.parameters(), curvatures=model.latent.manifold.parameters())
    return State(model, optimizer, generator(config.seed, "order"), best, Progress(started=now()))


def summary(state: State) -> dict[str, Any]:
    """How the run ended: status, cause, epochs, best epoch, parameters, and the best epoch's validation."""
    progress = state.progress
    best = progress.best or {}
    return {
        "status": progress.status,
        "cause": progress.cause,
        "epochs": len(progress.history),
        "best_epoch": progress.best_epoch,
        "parameters": parameter_count(state),
    } | {name: value for name, value in best.items() if name.startswith("validation.")}


def provenance(progress: Progress, where: Mapping[str, Any]) -> dict[str, Any]:
    """The circumstances of the run, over all its sittings."""
    epochs = len(progress.history)
    return {
        "wall_seconds": progress.seconds,
        "epoch_seconds": progress.seconds / epochs if epochs else None,
        "peak_memory_bytes": progress.peak_memory,
        "started": progress.started,
        "finished": now(),
        "resumed": progress.resumed,
        **where,
    }
