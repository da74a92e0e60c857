"""A run's state as one safe file: resumed from it, training ends with the bits of a run that was never stopped.

``.checkpoint/state.safetensors`` holds weights, best weights, optimiser and generator states as tensors, and progress,
history and the identity of the run as JSON in its header. One file, replaced whole: there is no half of a state.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..config import RunConfig
from ..errors import UserError
from ..files import read_json, write_bytes
from ..models import Model, build
from .adam import Adam
from .compilation import TermsOf, training_terms
from .history import Row
from .seeding import restore_stream, stream
from .team import ALONE, Team


class Computation(NamedTuple):
    """How a run is computed; decided once, because its last bits depend on it."""

    threads: int
    compiled: bool


@dataclass
class Progress:
    """Where a run is: rows of history so far, the best of them, and how it ended."""

    history: list[Row] = field(default_factory=list)
    best_epoch: int | None = None
    stale: int = 0
    status: str | None = None
    cause: str | None = None
    resumed: int = 0
    seconds: float = 0.0
    started: str = ""
    peak_memory: int | None = None

    @property
    def best(self) -> Row | None:
        """The row of the best epoch."""
        return None if self.best_epoch is None else self.history[self.best_epoch - 1]


@dataclass
class State:
    """All that changes while a run trains."""

    model: Model
    optimizer: Adam
    order: torch.Generator
    best: dict[str, Tensor]
    progress: Progress
    team: Team = ALONE
    terms: TermsOf = field(init=False)

    def __post_init__(self) -> None:
        self.terms = training_terms(self.model)

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        return next(self.model.parameters()).device


def path_of(folder: str | os.PathLike) -> Path:
    """The checkpoint of a run's folder."""
    return Path(folder) / ".checkpoint" / "state.safetensors"


def save(path: Path, state: State, identity: Mapping[str, Any], computation: Computation) -> None:
    """Write the state whole; ``identity`` says what it belongs to, ``computation`` how it was computed.

    All processes of a team call this, and the one that leads writes.
    """
    streams = state.team.streams(state.device)
    if not state.team.leads:
        return
    tensors = {f"model.{k}": v for k, v in state.model.state_dict().items()}
    tensors |= {f"best.{k}": v for k, v in state.best.items()}
    tensors |= {f"optimizer.{k}": v for k, v in state.optimizer.state().items()}
    tensors |= {f"stream.{k}": v for k, v in streams.items()}
    tensors["order"] = state.order.get_state()
    # In the order of insertion, not sorted: a row of history that was restored is written as one that was not.
    header = {"identity": identity, "computation": computation._asdict(), "progress": asdict(state.progress)}
    text = json.dumps(header, allow_nan=False)
    write_bytes(path, safetensors.torch.save({k: v.contiguous() for k, v in tensors.items()}, {"state": text}))


def saved_computation(path: Path) -> Computation | None:
    """How the run of a checkpoint is computed; None if there is none.

    Raises:
        UserError: the file is unreadable, or another version wrote it.
    """
    if not path.exists():
        return None
    with _refused(path):
        return Computation(**_read(path, tensors=False)[0]["computation"])


def restore(path: Path, state: State, identity: Mapping[str, Any]) -> bool:
    """Set the state, and torch's default streams, to what was saved; False if there is no checkpoint.

    Raises:
        UserError: the file is unreadable, or belongs to another configuration, data, code version or device.
    """
    if not path.exists():
        return False
    with _refused(path):
        header, groups = _read(path)
        _check(path, header["identity"], identity)
        progress = Progress(**header["progress"])
        state.model.load_state_dict(groups["model"])
        for name, tensor in state.best.items():
            tensor.copy_(groups["best"][name])
        state.optimizer.load_state(groups["optimizer"])
        state.order.set_state(groups["order"][""])
        restore_stream(state.team.own_streams(groups["stream"]), state.device)
        state.progress = progress
    return True


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    """Whatever a file lacks or has too much of becomes one sentence."""
    try:
        yield
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        cure = f"delete {path.parent} to start the run over"
        raise UserError(f"{path}: not a checkpoint of this version of mcvae ({reason}); {cure}") from None


def _read(path: Path, tensors: bool = True) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["state"])
        names = file.keys() if tensors else ()
        return header, _grouped({name: file.get_tensor(name).clone() for name in names})


def _grouped(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        group, _, rest = name.partition(".")
        groups.setdefault(group, {})[rest] = tensor
    return groups


def _check(path: Path, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    for key, value in expected.items():
        if found.get(key) != value:
            raise UserError(
                f"{path}: belongs to another run ({key} {found.get(key)!r}, this one has {value!r}); "
                f"delete {path.parent} to start the run over"
            )


def remove(path: Path) -> None:
    """Delete the checkpoint: the run is done."""
    shutil.rmtree(path.parent, ignore_errors=True)


def save_model(path: str | os.PathLike, weights: Mapping[str, Tensor]) -> None:
    """Write a model's weights as safetensors; equal weights make equal files."""
    write_bytes(path, safetensors.torch.save({k: v.detach().cpu().contiguous() for k, v in weights.items()}))


def read_config(folder: str | os.PathLike) -> RunConfig:
    """The configuration of a run's folder, from its run.json."""
    path = Path(folder) / "run.json"
    return RunConfig.from_canonical(read_json(path), str(path))


def load_run(folder: str | os.PathLike, stats: Mapping[str, Any], device: str = "cpu") -> tuple[Model, RunConfig]:
    """A finished run's model, from run.json and model.safetensors; ``stats`` is the prepared data's stats.json.

    Raises:
        UserError: a file is missing, or the weights do not fit the configuration and the data.
    """
    config, path = read_config(folder), Path(folder) / "model.safetensors"
    with stream(0, "load"):
        model = build(config, stats)
    try:
        model.load_state_dict(safetensors.torch.load_file(path))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; train the run first") from None
    except (SafetensorError, RuntimeError) as error:
        raise UserError(f"{path}: not the weights of this run ({str(error).splitlines()[0]})") from None
    return model.to(device), config
