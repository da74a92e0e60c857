"""Which runs train with compiled code, and what a machine lacks for it: known without torch, while a study is planned.

The rule is part of the science: compiled or not changes the last bits of a run.
"""

import os
import shutil
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from .config import RunConfig
from .errors import UserError

# Compiling takes 10 to 30 s of a core, 5 s when the cache has it, as for all seeds but the first, and saves 2 to 6 ms a
# step where a latent is curved, a fraction of one where it is flat. Other numbers would change the bits of runs.
CURVED_STEPS, FLAT_STEPS = 6_000, 60_000
DATASETS = ("mnist",)  # elsewhere convolutions and recurrences take the time, and runs of controls are too short
REMEDY = "set training.compile: off (a run of its own: the last bits differ)"


def compiles(config: RunConfig, records: int) -> bool:
    """Whether the run is compiled; ``records`` of training are a property of its data, and so of its configuration.

    Raises:
        UserError: for recurrent networks, of which torch compiles every step of the sequence, for minutes.
    """
    choice = config.training.compile
    if choice == "on" and config.dataset == "qm9":
        raise UserError("training.compile: 'on' is not for the recurrent networks of qm9; choose auto or off")
    if choice != "auto" or config.training.devices > 1:
        return choice == "on"
    curved = any(component.letter != "e" for component in config.signature.components)
    chosen = config.training.records
    trained = chosen if isinstance(chosen, int) else records
    steps = config.training.epochs * (trained // config.training.batch_size)
    return config.dataset in DATASETS and steps >= (CURVED_STEPS if curved else FLAT_STEPS)


def compiler_problem() -> str | None:
    """What keeps torch from compiling on this machine, and what to install; None if nothing does."""
    name = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(name) is None:
        return f"no C++ compiler {name!r} is installed; install g++"
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.exists():
        return f"{header} is missing; install Python's headers (python3-dev)"
    return None


def compiler_warning(runs: Iterable[tuple[RunConfig, int | None]]) -> str | None:
    """A sentence for whoever plans runs, given with their training records where these are known; None if all is well.

    A warning and no error: the machine that plans need not be the one that trains.
    """
    problem = compiler_problem()
    if problem is None:
        return None
    told = [compiles(config, records) for config, records in runs if records is not None]
    if not any(told):
        return None
    return f"training.compile: {sum(told)} runs train with compiled code, and here {problem}, or {REMEDY}"
