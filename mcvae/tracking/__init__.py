"""MLflow as the window on the files: the store, the one sync, the live view. Nothing else in mcvae knows MLflow."""

from .check import check_study
from .follow import follow
from .store import open_store, ui_address, ui_command
from .sync import sync_experiment, sync_run, sync_study

__all__ = [
    "check_study",
    "follow",
    "open_store",
    "sync_experiment",
    "sync_run",
    "sync_study",
    "ui_address",
    "ui_command",
]
