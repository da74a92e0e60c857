"""Randomness with a name: each stream is derived from the run's seed and its purpose; the caller's is left alone."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def derived_seed(seed: int, purpose: str) -> int:
    """A 63-bit seed for one purpose of a run; different purposes are unrelated."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:8]) >> 1


def generator(seed: int, purpose: str) -> torch.Generator:
    """A CPU generator of its own."""
    return torch.Generator().manual_seed(derived_seed(seed, purpose))


@contextmanager
def stream(seed: int, purpose: str, device: str | torch.device = "cpu") -> Iterator[None]:
    """Inside, torch's default streams (CPU and ``device``) start from the purpose's seed; then they are as before."""
    device = torch.device(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.random.default_generator.manual_seed(derived_seed(seed, purpose))
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(derived_seed(seed, purpose))
        yield


def stream_state(device: torch.device) -> dict[str, Tensor]:
    """The state of torch's default streams, as byte tensors."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_stream(state: dict[str, Tensor], device: torch.device) -> None:
    """Set torch's default streams to what :func:`stream_state` returned."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)


@contextmanager
def settings(threads: int) -> Iterator[None]:
    """Torch's global switches at known values inside, the caller's after: a warm process trains as a fresh one does."""
    # torch.use_deterministic_algorithms would set the same flag, and import the compiler: seconds and 150 MB.
    before = (
        torch.get_num_threads(),
        torch.get_default_dtype(),
        torch.get_float32_matmul_precision(),
        torch.get_deterministic_debug_mode(),
        torch.backends.cudnn.deterministic,
        torch.backends.cudnn.benchmark,
    )
    try:
        torch.set_num_threads(threads)
        torch.set_default_dtype(torch.float32)
        torch.set_float32_matmul_precision("highest")
        torch.set_deterministic_debug_mode(0)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
        with torch.enable_grad():
            yield
    finally:
        torch.set_num_threads(before[0])
        torch.set_default_dtype(before[1])
        torch.set_float32_matmul_precision(before[2])
        torch.set_deterministic_debug_mode(before[3])
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before[4:]
