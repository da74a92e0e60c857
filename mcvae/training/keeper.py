"""What a training run writes into its folder, and when."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import write_json, write_text
from . import checkpoint
from .checkpoint import Computation, Progress, State
from .history import columns, to_csv
from .lock import Lock
from .provenance import now

logger = logging.getLogger("mcvae.training")

HISTORY_SECONDS = 2.0  # history.csv is rewritten no more often: whoever watches a run reads it
OUTPUTS = ("model.safetensors", "history.csv", "training.json", "provenance.json")


class Keeper:
    """The writer of a run; of several processes, the one that leads writes.

    Before it writes it looks whether the folder is still its own: a process that slept while another took over stops.
    """

    def __init__(
        self,
        folder: Path,
        lock: Lock,
        state: State,
        identity: Mapping[str, Any],
        how: Computation,
        checkpoint_seconds: float,
    ) -> None:
        self.folder, self.lock, self.state, self.identity, self.how = folder, lock, state, identity, how
        self.path, self.header = checkpoint.path_of(folder), columns(state.model)
        self.seconds = checkpoint_seconds
        self.saved = self.shown = time.monotonic()

    def begin(self, resumed: bool) -> None:
        """What an earlier training left must not look like this one's end; a resumed run shows how far it is."""
        if resumed:
            self.state.progress.resumed += 1
        if not self.state.team.leads:
            return
        self.lock.check()
        for name in OUTPUTS:
            (self.folder / name).unlink(missing_ok=True)
        if resumed:
            self._show()

    def keep(self) -> None:
        """After an epoch: the checkpoint and the history, if it is time."""
        team = self.state.team
        if team.agreed(time.monotonic() - self.saved >= self.seconds):
            self._save()
            self.saved = time.monotonic()
        if not team.leads:
            return
        if len(self.state.progress.history) == 1 or time.monotonic() - self.shown >= HISTORY_SECONDS:
            self.lock.check()
            self._show()
            self.shown = time.monotonic()

    def end(self, where: Mapping[str, Any]) -> None:
        """All that a run leaves; ``where`` it was trained."""
        # The checkpoint is kept until the run is evaluated: should whoever asked for the run die before it hears of its
        # end and delete the files below, the next asker has them again at once.
        self._save()
        state, progress = self.state, self.state.progress
        if not state.team.leads:
            return
        state.model.load_state_dict(state.best)
        checkpoint.save_model(self.folder / "model.safetensors", state.best)
        self._show()
        write_json(self.folder / "training.json", summary(state))
        write_json(self.folder / "provenance.json", provenance(progress, where))
        logger.info("%s after %d epochs, best epoch %s", progress.status, len(progress.history), progress.best_epoch)

    def _save(self) -> None:
        if self.state.team.leads:
            self.lock.check()
        checkpoint.save(self.path, self.state, self.identity, self.how)

    def _show(self) -> None:
        write_text(self.folder / "history.csv", to_csv(self.header, self.state.progress.history))


def parameter_count(state: State) -> int:
    """Numbers that are learned."""
    return sum(p.numel() for p in state.model.parameters())


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
