"""On which device a run computes: the one that its user names, or a GPU of which its job was given a share."""

import os
from collections.abc import Mapping
from typing import Any

import torch

from ..errors import UserError


def job_device(resources: Mapping[str, Any], devices: int = 1) -> str:
    """``cuda`` for a job with the resource ``gpu`` (whole GPUs) or ``gpu_milli`` (thousandths of one), else ``cpu``.

    A profile sets the resource, and whoever gives the share sets CUDA_VISIBLE_DEVICES: the first GPU that torch sees
    is the job's. A run that several ``devices`` train computes on whole GPUs.

    Raises:
        UserError: a share was given, and torch sees no GPU, or it is less than the devices. A job that waited for a GPU
            never trains beside it.
    """
    share = 1000 * resources.get("gpu", 0) + resources.get("gpu_milli", 0)
    if not share:
        return "cpu"
    problem = cuda_problem()
    if problem is not None:
        raise UserError(f"the job was given {share / 1000:g} GPU, but {problem}; take gpu_milli from its resources")
    if devices > 1 and share < 1000 * devices:
        raise UserError(
            f"training.devices: {devices} GPUs train this run, but its job was given {share / 1000:g} GPU; give it "
            f"gpu_milli: {1000 * devices}, as profiles/gpu does"
        )
    return "cuda"


def check_devices(count: int, device: str | torch.device) -> None:
    """Raise a :class:`UserError` if ``count`` processes cannot train a run together on this kind of device, here."""
    device = torch.device(device)
    if count == 1:
        return
    given = f"training.devices: {count}"
    if device.type not in ("cpu", "cuda") or device.index is not None:
        raise UserError(f"{given} is for all processors or all GPUs, not {str(device)!r}; choose device cpu or cuda")
    library = "NCCL" if device.type == "cuda" else "gloo"
    distributed = torch.distributed
    if not (distributed.is_available() and getattr(distributed, f"is_{library.lower()}_available")()):
        raise UserError(f"{given} needs a torch with {library}, and torch {torch.__version__} is built without it")
    found = torch.cuda.device_count()
    if device.type == "cuda" and count > found:
        raise UserError(f"{given} is more than the {found} of torch's GPUs here{_told()}")


def usable_device(name: str | torch.device) -> torch.device:
    """The device of this name.

    Raises:
        UserError: torch knows no such device, or finds none here.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"device {str(name)!r}: unknown to torch; choose cpu, cuda or cuda:1") from None
    problem = cuda_problem(device.index) if device.type == "cuda" else None
    if problem is not None:
        raise UserError(f"device {str(name)!r}: {problem}; choose cpu")
    return device


def cuda_problem(index: int | None = None) -> str | None:
    """Why torch cannot compute on the GPU of this number (None: the first); None if it can."""
    if not torch.backends.cuda.is_built():
        return f"torch {torch.__version__} is built without CUDA"
    if torch.cuda.is_available() and (index or 0) < torch.cuda.device_count():
        return None
    return f"torch finds {'no GPU' if not index else f'no GPU {index}'} here{_told()}"


def _told() -> str:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "" if visible is None else f" (CUDA_VISIBLE_DEVICES is {visible!r})"
