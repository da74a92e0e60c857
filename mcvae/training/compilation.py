"""How a run's training step is compiled, for the runs that :mod:`mcvae.toolchain` says are; kept on resume.

Compiled or not changes the last bits of a run. The compiler is imported only where it is used: seconds and 150 MB.
"""

import os
import platform
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..files import digest
from ..models import Model, Terms
from ..toolchain import REMEDY, compiler_problem

# Share of a gradient that may be rounding; mistakes were a hundred times larger. In bfloat16 rounding turns ReLUs over.
ROUNDING = {torch.float32: 0.01, torch.bfloat16: 0.2}
CACHE = "TORCHINDUCTOR_CACHE_DIR"

TermsOf = Callable[[Mapping[str, Tensor], float], Terms]


def inductor_options(device: torch.device, graphs: bool | None = None) -> dict[str, Any]:
    """How torch's compiler is set for a device; ``graphs`` replays a step as CUDA graphs (None: on every GPU).

    What is drawn stays torch's own stream, so that compiled steps can be held to those as written: on a GPU this costs
    a kernel a draw, and in a graph next to nothing. Equal bits are promised on the CPU alone.
    """
    return {
        "fallback_random": True,
        "compile_threads": 1,  # one process a slot: no pool of compiling processes beside it
        "inplace_buffers": False,  # they gave wrong gradients of learned curvatures (torch 2.15, CPU)
        "triton.cudagraphs": device.type == "cuda" and graphs is not False,
    }


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
        if device.type == "cuda":
            torch.compiler.cudagraph_mark_step_begin()  # what the step before has made may be overwritten
        try:
            made = function(batch, torch.full((), beta, device=device))
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = next(filter(None, map(str.strip, str(error).splitlines())), type(error).__name__)
            raise UserError(f"torch could not compile the training step ({reason}); {REMEDY}") from error
        return kept(made) if device.type == "cuda" else made

    def terms(batch: Mapping[str, Tensor], beta: float) -> Terms:
        nonlocal checked
        if len(next(iter(batch.values()))) != batch_size:
            return plain(batch, beta)
        if not checked:
            check_gradients(model, plain, compiled, batch, 1.0)  # a warm-up starts with beta = 0, without the KL
            checked = True
        return compiled(batch, beta)

    return terms


def kept(terms: Terms) -> Terms:
    """Terms that an epoch can collect: a CUDA graph's next replay writes its results where the last ones lie.

    The loss is used at once, and stays what autograd knows.
    """
    others = {name: value for name, value in terms._asdict().items() if name != "loss" and value is not None}
    return terms._replace(**{name: value.clone() for name, value in others.items()})


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
    rounding = max(ROUNDING[getattr(module, "precision", torch.float32)] for module in model.modules())
    for function in (plain, compiled):  # as written first: torch caches look-ups in it that its compiler cannot trace
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            found.append(torch.autograd.grad(function(batch, beta).loss, parameters, materialize_grads=True))
    scale = torch.stack([gradient.norm().double() for gradient in found[0]]).norm()
    wrong = [
        name
        for name, a, b in zip(names, *found, strict=True)
        if bool(a.isfinite().all()) and not bool((a - b).norm() <= rounding * a.norm() + rounding**2 * scale)
    ]
    if wrong:
        raise UserError(f"torch compiled the training step to another gradient of {' and of '.join(wrong)}; {REMEDY}")


@contextmanager
def compiler(wanted: bool, device: str | torch.device = "cpu", graphs: bool | None = None) -> Iterator[None]:
    """Inside, torch's compiler is ready if it is ``wanted``: see :func:`inductor_options`; its cache is private.

    Raises:
        UserError: there is no C++ compiler, or no private folder for the cache.
    """
    if not wanted:
        yield
        return
    require_compiler()
    with _environment(CACHE, cache_folder()), _environment("TRITON_CACHE_DIR"):
        import torch._dynamo
        import torch._inductor.config as inductor

        with inductor.patch(inductor_options(torch.device(device), graphs)):
            torch._dynamo.reset()  # what a warm worker has compiled before goes
            try:
                yield
            finally:
                torch._dynamo.reset()


def require_compiler() -> None:
    """Raise a :class:`UserError` where torch would fail to compile."""
    problem = compiler_problem()
    if problem is not None:
        raise UserError(f"training.compile: {problem}, or {REMEDY}")


def cache_folder() -> str:
    """The folder of compiled code, $XDG_CACHE_HOME/mcvae/inductor/{processor} or what $TORCHINDUCTOR_CACHE_DIR says.

    What lies there is executed, so it must be this user's alone; torch's own default is a name in /tmp that anybody
    could have taken. A home on several machines has a folder for each kind of processor: the code is made for one.

    Raises:
        UserError: it cannot be made, or others own it or may write to it.
    """
    chosen = os.environ.get(CACHE, "")
    # Torch sets the variable, too, as soon as parts of its compiler are imported: to the folder in /tmp.
    if chosen and not chosen.startswith(os.path.join(tempfile.gettempdir(), "torchinductor_")):
        return str(_private(Path(chosen).absolute(), remedy=f"set {CACHE} to another folder"))
    remedy = "set XDG_CACHE_HOME to a folder of yours"
    try:
        root = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "mcvae"
    except RuntimeError:
        raise UserError(f"training.compile: there is no home folder; {remedy}") from None
    folder = root / "inductor" / digest(f"{torch.__version__} {platform.machine()} {_processor()}")
    return str(_private(root, folder.parent, folder, remedy=remedy))


def _private(*folders: Path, remedy: str) -> Path:
    """The last of the folders, each made if need be, and all of them this user's alone."""
    try:
        for path in folders:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = path.stat()
            if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise UserError(
                    f"training.compile: others own {path} or may write to it, and compiled code in it would be run; "
                    f"make it yours alone (chmod 700), or {remedy}"
                )
    except OSError as error:
        raise UserError(f"training.compile: {folders[-1]} cannot be made ({error.strerror}); {remedy}") from None
    return folders[-1]


def _processor() -> str:
    """What tells instruction sets apart."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.lower().startswith(("flags", "features"))), "")


@contextmanager
def _environment(name: str, value: str | None = None) -> Iterator[None]:
    """Inside, the variable has a value, if one is given; afterwards it is as before, whoever set it."""
    before = os.environ.get(name)
    if value is not None:
        os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before
