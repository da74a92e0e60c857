"""The global state of the standard library and of numerical libraries, as a process begins with it."""

from __future__ import annotations

import builtins
import contextlib
import copy
import gc
import locale
import os
import random
import resource
import socket
import sys
import time
import warnings
from collections.abc import Iterator
from typing import Any

LIMITS = sorted({getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")})
SHELL = ("_process_args", "_process_prefix", "_process_suffix")


@contextlib.contextmanager
def keep_state(threads: int) -> Iterator[list[str]]:
    """Put the state back at the end; the list then names what could not be put back."""
    before = dict(builtins.__dict__)
    limits = {number: resource.getrlimit(number) for number in LIMITS}
    language, thresholds = locale.setlocale(locale.LC_ALL), gc.get_threshold()
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    shell = sys.modules.get("snakemake.shell")
    settings = {} if shell is None else {name: copy.copy(getattr(shell.shell, name)) for name in SHELL}
    left: list[str] = []
    try:
        yield left
    finally:
        for name, value in before.items():
            if builtins.__dict__.get(name) is not value:
                setattr(builtins, name, value)
        for number, pair in limits.items():
            if resource.getrlimit(number) != pair:
                try:
                    resource.setrlimit(number, pair)
                except (OSError, ValueError):
                    left.append("a limit of its process is lower than before")
        if cores is not None:
            os.sched_setaffinity(0, cores)
        with contextlib.suppress(locale.Error):
            locale.setlocale(locale.LC_ALL, language)
        time.tzset()
        gc.enable()
        gc.set_threshold(*thresholds)
        socket.setdefaulttimeout(None)
        random.seed()
        _fresh_shell(settings)
        _fresh_libraries(threads)


def _fresh_shell(settings: dict[str, Any]) -> None:
    """Snakemake's own `shell`, which every preamble imports."""
    shell = sys.modules.get("snakemake.shell")
    if shell is not None:
        fresh = settings or {"_process_prefix": None, "_process_suffix": ""}
        for name, value in fresh.items():
            setattr(shell.shell, name, value)


def _fresh_libraries(threads: int) -> None:
    loaded = {name: sys.modules.get(name) for name in ("asyncio", "decimal", "numpy", "torch", "matplotlib")}
    for name, module in loaded.items():
        # One that failed to import half-way has nothing to put back.
        if module is not None and getattr(getattr(module, "__spec__", None), "_initializing", False) is False:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                FRESH[name](module, threads)


def _fresh_asyncio(asyncio: Any, threads: int) -> None:
    asyncio.set_event_loop_policy(None)  # a loop that was run to its end is no loop for the next script


def _fresh_decimal(decimal: Any, threads: int) -> None:
    decimal.setcontext(decimal.DefaultContext.copy())


def _fresh_numpy(numpy: Any, threads: int) -> None:
    if not hasattr(numpy, "random"):
        return
    numpy.random.seed(None)
    numpy.seterr(divide="warn", over="warn", under="ignore", invalid="warn")
    numpy.seterrcall(None)
    numpy.set_printoptions(
        edgeitems=3, infstr="inf", linewidth=75, nanstr="nan", precision=8, suppress=False, threshold=1000,
        formatter=None, sign="-", floatmode="maxprec", legacy=False,
    )  # fmt: skip


def _fresh_matplotlib(matplotlib: Any, threads: int) -> None:
    if not hasattr(matplotlib, "rc_file_defaults"):
        return
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close("all")
        pyplot.ioff()
    matplotlib.rc_file_defaults()
    backend = os.environ.get("MPLBACKEND") or "agg"  # what a process without a screen falls back on
    if pyplot is not None and matplotlib.get_backend().lower() != backend.lower():
        matplotlib.use(backend)


def _fresh_torch(torch: Any, threads: int) -> None:
    if not hasattr(torch, "set_grad_enabled"):
        return
    torch.set_grad_enabled(True)
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)
    torch.set_deterministic_debug_mode(0)  # use_deterministic_algorithms would import the compiler
    torch.autograd.set_detect_anomaly(False)
    torch.set_flush_denormal(False)
    torch.set_printoptions(profile="default")
    for device, dtype in (("cpu", torch.bfloat16), ("cuda", torch.float16)):
        if torch.is_autocast_enabled(device):
            torch.set_autocast_enabled(device, False)
        if torch.get_autocast_dtype(device) != dtype:
            torch.set_autocast_dtype(device, dtype)
    torch.set_autocast_cache_enabled(True)
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    if torch.get_float32_matmul_precision() != "highest":
        torch.set_float32_matmul_precision("highest")
    _fresh_backends(torch.backends)
    torch.seed()  # of the CPU and of every GPU in use, not reproducible, as in a fresh process
    if "torch.distributed" in sys.modules and torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    if "torch._dynamo" in sys.modules:
        sys.modules["torch._dynamo"].reset()  # else it stops compiling after a few variants of a function


def _fresh_backends(backends: Any) -> None:
    backends.cudnn.enabled = backends.cudnn.allow_tf32 = True
    backends.cudnn.benchmark = backends.cudnn.deterministic = False
    if not backends.mkldnn.enabled:
        backends.mkldnn.enabled = True
    cuda = backends.cuda
    for name in ("flash", "mem_efficient", "math", "cudnn"):
        if not getattr(cuda, f"{name}_sdp_enabled")():
            getattr(cuda, f"enable_{name}_sdp")(True)
    for name in ("fp16", "bf16"):
        setattr(cuda.matmul, f"allow_{name}_reduced_precision_reduction", True)


FRESH = {
    "asyncio": _fresh_asyncio,
    "decimal": _fresh_decimal,
    "numpy": _fresh_numpy,
    "torch": _fresh_torch,
    "matplotlib": _fresh_matplotlib,
}
