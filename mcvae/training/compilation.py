"""Whether a run's training step is compiled, and how: decided from the configuration, kept on resume.

Compiled or not changes the last bits of a run. The compiler is imported only where it is used: seconds and 150 MB.
"""

import os
import platform
import shutil
import stat
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType

import torch
from torch import Tensor, nn

from ..config import RunConfig
from ..errors import UserError
from ..files import digest
from ..models import Model, Terms

# Compiling takes 10 to 30 s of a core, 5 s when the cache has it, as for all seeds but the first, and saves 2 to 6 ms a
# step where a latent is curved, 1 ms where it is flat. Part of the science: another number changes the bits of runs.
STEPS = 6000
DATASETS = ("mnist",)  # elsewhere convolutions and recurrences take the time, and no compiler makes them faster
ROUNDING = 0.01  # share of a gradient that may be rounding; mistakes were a hundred times larger
REMEDY = "set training.compile: off (a run of its own: the last bits differ)"

TermsOf = Callable[[Mapping[str, Tensor], float], Terms]


def compiles(config: RunConfig, records: int) -> bool:
    """Whether the run is compiled; ``records`` of training are a property of its data, and so of its configuration.

    Raises:
        UserError: for recurrent networks, of which torch compiles every step of the sequence, for minutes.
    """
    choice = config.training.compile
    if choice == "on" and config.dataset == "qm9":
        raise UserError("training.compile: 'on' is not for the recurrent networks of qm9; choose auto or off")
    if choice != "auto":
        return choice == "on"
    curved = any(component.letter != "e" for component in config.signature.components)
    steps = config.training.epochs * (records // config.training.batch_size)
    return curved and config.dataset in DATASETS and steps >= STEPS


def training_terms(model: Model) -> TermsOf:
    """The function (raw batch, beta) -> terms of a training step, as written."""

    def terms(batch: Mapping[str, Tensor], beta: float) -> Terms:
        return model.terms(model.prepare(batch, train=True), beta)

    return terms


def compiled_terms(model: Model, batch_size: int, device: torch.device) -> TermsOf:
    """The same function for whole batches in compiled code, with the same noise; a smaller last batch goes as written.

    Call, and call the result, inside :func:`compiler`. One graph serves a whole run: the shapes are constants, and beta
    is a tensor. Before its first use its gradients are compared with those of the function as written.

    Raises:
        UserError: on the first call, if torch cannot compile the model, or not to the same gradients.
    """
    plain, checked = training_terms(model), False

    def traced(batch: Mapping[str, Tensor], beta: Tensor) -> Terms:
        terms = model.terms(model.prepare(batch, train=True), beta)
        kl, error = terms.kl, terms.property_error
        # Only the loss is differentiated: of the rest no backward is made.
        return Terms(
            terms.loss,
            None,
            terms.reconstruction.detach(),
            None if kl is None else kl.detach(),
            None if error is None else error.detach(),
        )

    # A code object of its own: dynamo counts the variants of one, and gives up after 8.
    traced = FunctionType(traced.__code__.replace(), traced.__globals__, closure=traced.__closure__)
    function = torch.compile(traced, fullgraph=True, dynamic=False)

    def compiled(batch: Mapping[str, Tensor], beta: float) -> Terms:
        try:
            return function(batch, torch.full((), beta, device=device))
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = next(filter(None, map(str.strip, str(error).splitlines())), type(error).__name__)
            raise UserError(f"torch could not compile the training step ({reason}); {REMEDY}") from error

    def terms(batch: Mapping[str, Tensor], beta: float) -> Terms:
        nonlocal checked
        if len(next(iter(batch.values()))) != batch_size:
            return plain(batch, beta)
        if not checked:
            check_gradients(model, plain, compiled, batch, 1.0)  # a warm-up starts with beta = 0, without the KL
            checked = True
        return compiled(batch, beta)

    return terms


def check_gradients(
    model: nn.Module, plain: TermsOf, compiled: TermsOf, batch: Mapping[str, Tensor], beta: float
) -> None:
    """Refuse compiled code that gives any parameter another gradient, rounding apart, than the code as written.

    Compilers err, and a wrong gradient trains without a word. The random streams are left as they were.

    Raises:
        UserError: naming the parameters.
    """
    names, parameters = zip(*model.named_parameters(), strict=True)
    device, found = parameters[0].device, []
    for function in (plain, compiled):  # as written first: torch caches look-ups in it that its compiler cannot trace
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            found.append(torch.autograd.grad(function(batch, beta).loss, parameters, materialize_grads=True))
    scale = torch.stack([gradient.norm().double() for gradient in found[0]]).norm()
    wrong = [
        name
        for name, a, b in zip(names, *found, strict=True)
        if bool(a.isfinite().all()) and not bool((a - b).norm() <= ROUNDING * a.norm() + ROUNDING**2 * scale)
    ]
    if wrong:
        raise UserError(f"torch compiled the training step to another gradient of {' and of '.join(wrong)}; {REMEDY}")


@contextmanager
def compiler(wanted: bool) -> Iterator[None]:
    """Inside, torch's compiler is ready if it is ``wanted``: it draws eager noise, and its cache is private.

    Raises:
        UserError: there is no C++ compiler, or no private folder for the cache.
    """
    if not wanted:
        yield
        return
    require_compiler()
    with _environment("TORCHINDUCTOR_CACHE_DIR", cache_folder):
        import torch._dynamo
        import torch._inductor.config as inductor

        # One process a slot: no pool of compiling processes beside it. Buffers updated in place gave wrong gradients of
        # learned curvatures (torch 2.15, CPU). What a warm worker has compiled before goes.
        with inductor.patch(fallback_random=True, compile_threads=1, inplace_buffers=False):
            torch._dynamo.reset()
            try:
                yield
            finally:
                torch._dynamo.reset()


def require_compiler() -> None:
    """Raise a :class:`UserError` where torch would fail to compile for the processor."""
    name = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(name) is None:
        raise UserError(f"training.compile: no C++ compiler {name!r} is installed; install g++, or {REMEDY}")
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.exists():
        raise UserError(f"training.compile: {header} is missing; install Python's headers (python3-dev), or {REMEDY}")


def cache_folder() -> str:
    """The folder of compiled code, $XDG_CACHE_HOME/mcvae/inductor/{processor}, made for this user alone.

    What lies there is executed, and torch's own default is a name in /tmp that anybody could have taken. A home on
    several machines has a folder for each kind of processor: the code is made for one.

    Raises:
        UserError: it cannot be made, or others may write to it.
    """
    try:
        root = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "mcvae"
    except RuntimeError:
        raise UserError("training.compile: there is no home folder; set XDG_CACHE_HOME to a folder of yours") from None
    folder = root / "inductor" / digest(f"{torch.__version__} {platform.machine()} {_processor()}")
    try:
        for path in (root, folder.parent, folder):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = path.stat()
            if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise UserError(
                    f"training.compile: others own {path} or may write to it, and compiled code in it would be run; "
                    "make it yours alone (chmod 700), or set XDG_CACHE_HOME"
                )
    except OSError as error:
        raise UserError(
            f"training.compile: {folder} cannot be made ({error.strerror}); set XDG_CACHE_HOME to a folder of yours"
        ) from None
    return str(folder)


def _processor() -> str:
    """What tells instruction sets apart."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.lower().startswith(("flags", "features"))), "")


@contextmanager
def _environment(name: str, value: Callable[[], str]) -> Iterator[None]:
    """The variable set to a value inside, unless it already is."""
    if name in os.environ:
        yield
        return
    os.environ[name] = value()
    try:
        yield
    finally:
        os.environ.pop(name, None)
