"""Memory, which is a property of a process: each is measured in one of its own, as the most that it ever held.

``python -m mcvae.bench.memory import|train|likelihood …`` is such a process; it prints one JSON object.
"""

import json
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError

if TYPE_CHECKING:
    from .harness import Measurement
    from .steps import Bench


def training(bench: "Bench") -> "Measurement":
    """Peak of ``mcvae train`` (e5, eager, two epochs) over that of ``import torch`` with the prepared images."""
    from ..files import write_json
    from .harness import Measurement
    from .steps import configuration

    prepared = str(bench.dataset.folder)
    with tempfile.TemporaryDirectory(prefix="mcvae-bench-") as folder:
        run = Path(folder) / "run.json"
        write_json(run, configuration("e5", epochs=2, compile="off").canonical())
        ours = child("train", str(run), prepared)["peak"]
    theirs = child("import", str(bench.dataset.folder / "images.npy"))["peak"]
    return Measurement([ours / theirs], "x", {"mcvae train": [ours], "import torch and the data": [theirs]}, "bytes")


def likelihood(bench: "Bench", latent: str) -> "Measurement":
    """Most memory during the log-likelihood above what the process with model and images held before it, in MB."""
    from .harness import Measurement

    result = child("likelihood", str(bench.dataset.folder), latent, str(bench.effort.images), str(bench.effort.samples))
    above = (result["peak"] - result["before"]) / 1e6
    return Measurement([above], "MB", {name: [value] for name, value in result.items()}, "bytes")


def child(*arguments: str) -> dict[str, int]:
    """What a process of its own says of its memory."""
    if not Path("/proc/self/status").exists():
        raise UserError("peak memory is read from /proc, which this system lacks")
    command = [sys.executable, "-m", __name__, *arguments]
    path = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path})
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise UserError(f"the process that measures memory ({arguments[0]}) failed: {reason}")
    return json.loads(done.stdout.splitlines()[-1])


def held(name: str) -> int:
    """``VmHWM``, the most that this process ever held, or ``VmRSS``, what it holds now; bytes."""
    # Not ru_maxrss: on Linux a child's begins with what its parent held.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise UserError(f"/proc/self/status has no {name}")


def forget_peak() -> None:
    """Let VmHWM begin again at what is held now."""
    Path("/proc/self/clear_refs").write_text("5")


def _import(images: str) -> dict[str, int]:
    import numpy as np
    import torch

    tensor = torch.from_numpy(np.load(images, allow_pickle=False))
    assert tensor.dtype == torch.uint8
    return {"peak": held("VmHWM")}


def _train(run: str, prepared: str) -> dict[str, int]:
    sys.argv = ["mcvae", "train", run, "--prepared", prepared]
    try:
        runpy.run_module("mcvae", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code:
            raise
    return {"peak": held("VmHWM")}


def _likelihood(prepared: str, latent: str, images: str, samples: str) -> dict[str, int]:
    from .. import data
    from ..evaluation import log_likelihood
    from ..training.fit import initial_state
    from ..training.seeding import settings
    from .steps import configuration

    dataset = data.load(prepared)
    model = initial_state(configuration(latent), dataset.stats, "cpu").model
    batch = {"images": dataset.split("test")["images"][: int(images)].clone()}
    before = held("VmRSS")
    forget_peak()
    with settings(threads=1):
        log_likelihood(model, batch, samples=int(samples))
    return {"before": before, "peak": held("VmHWM")}


CHILDREN = {"import": _import, "train": _train, "likelihood": _likelihood}


def main(arguments: Sequence[str]) -> None:
    """Do what the first argument says, and print what it took."""
    print(json.dumps(CHILDREN[arguments[0]](*arguments[1:])))


if __name__ == "__main__":
    main(sys.argv[1:])
