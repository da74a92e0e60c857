"""The circumstances of a run, apart from its science: how long, how much memory, where, with which versions."""

import datetime
import functools
import hashlib
import os
import platform
import socket
from importlib import metadata
from pathlib import Path

import torch

from .. import __version__
from ..revision import code_commit
from .checkpoint import Computation

PACKAGES = ("numpy", "safetensors", "pydantic")
WINDOWS = (  # show numbers, make none
    "findings", "plotting", "tracking", "bench", "cli.py", "__main__.py", "doctor.py", "logs.py",
    "trained.py", "export.py", "revision.py",
)  # fmt: skip


@functools.cache
def code_digest() -> str:
    """8 hex digits of the SHA-256 over the Python files that make numbers, by name and content."""
    root = Path(__file__).resolve().parent.parent
    total = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        if path.relative_to(root).parts[0] in WINDOWS:
            continue
        total.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()[:8]


def versions() -> dict[str, str]:
    """Versions of Python, mcvae and what the numbers depend on (torch with its build)."""
    found = {"python": platform.python_version(), "mcvae": __version__, "torch": torch.__version__}
    return found | {name: metadata.version(name) for name in PACKAGES}


def now() -> str:
    """The time as ISO 8601 in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def resident_bytes() -> int | None:
    """Memory that the process holds now, in bytes; None where the kernel does not tell."""
    # Not ru_maxrss: that is the process's lifetime maximum, and a warm worker has had other jobs.
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def cpu_model() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [text.split(":", 1)[1].strip() for text in lines if text.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def circumstances(how: Computation, device: str, data_digest: str) -> dict[str, object]:
    """Host, hardware, versions, commit and digests of this process."""
    return {
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if device.startswith("cuda") else None,
        **how._asdict(),
        "device": device,
        "versions": versions(),
        "commit": code_commit(),
        "code_digest": code_digest(),
        "data_digest": data_digest,
    }
