"""Whether the code that a long-lived process has imported is still what the files say."""

from __future__ import annotations

import os
import site
import sys
import sysconfig
import time
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, ModuleSpec
from types import ModuleType
from typing import Any

FUTURE_SECONDS = 2.0
CLOCK_SECONDS = 0.02  # file systems round the time of a change down by some milliseconds


def _installed() -> tuple[str, ...]:
    """Folders of the standard library and of installed packages, which nobody edits while a workflow runs."""
    paths = sysconfig.get_paths()
    folders = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders |= {*site.getsitepackages(), site.getusersitepackages(), os.path.dirname(os.__file__)}
    return tuple(os.path.realpath(folder) + os.sep for folder in folders)


class Sources:
    """The first-party modules of this process: those outside the installed packages, editable installs among them.

    A file that changed after a job had begun may have been imported before or after the change: it counts as changed.
    """

    def __init__(self, since: float) -> None:
        """Note what has been imported since then, a time of the clock."""
        self._installed = _installed()
        self._known: set[str] = set()
        self._files: dict[str, tuple[int, int] | None] = {}
        self.learn(since)

    def learn(self, since: float) -> None:
        """Take in the modules that were imported since then."""
        new = sys.modules.keys() - self._known
        self._known |= new
        for name in new:
            path = self._source(sys.modules.get(name))
            if path is None or path in self._files:
                continue
            status = _status(path)
            changed = status is None or since - CLOCK_SECONDS <= status[0] / 1e9 <= time.time() + FUTURE_SECONDS
            self._files[path] = None if changed else status

    def changed(self) -> str | None:
        """A file that is not what this process has imported, None if there is no such file."""
        return next((path for path, status in self._files.items() if status is None or _status(path) != status), None)

    def _source(self, module: Any) -> str | None:
        """The file of a first-party module that was found by its name: not what libraries compile at run time."""
        spec = module.__dict__.get("__spec__") if isinstance(module, ModuleType) else None  # no lazy module wakes up
        if not isinstance(spec, ModuleSpec) or not spec.has_location or not isinstance(spec.origin, str):
            return None
        if not spec.origin.endswith((*SOURCE_SUFFIXES, *EXTENSION_SUFFIXES)):
            return None
        path = os.path.realpath(spec.origin)
        return None if path.startswith(self._installed) else path


def _status(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
