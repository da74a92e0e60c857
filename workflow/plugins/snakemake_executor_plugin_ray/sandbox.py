"""What a job may change in its process, put back afterwards: the next job finds what a fresh process would have."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any

from .libraries import keep_state

# What Snakemake's shell() sets for a rule's threads.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "GOTO_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)  # fmt: skip
TMP_VARIABLES = ("TMPDIR", "TMP", "TEMPDIR", "TEMP")
SYS_ATTRIBUTES = ("argv", "path", "excepthook", "displayhook", "unraisablehook")
LIBRARY = os.path.realpath(sys.prefix)


@contextlib.contextmanager
def captured(path: str) -> Iterator[None]:
    """Send standard output and error, also those of child processes, to the file; standard input is empty."""
    streams = sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__
    for stream in streams[1:3]:
        stream.flush()
    saved = [os.dup(number) for number in (0, 1, 2)]
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666)
    null = os.open(os.devnull, os.O_RDONLY)
    try:
        for number, target in ((0, null), (1, log), (2, log)):
            os.dup2(target, number)
        sys.stdin = sys.__stdin__ = open(0, closefd=False)
        sys.stdout = sys.__stdout__ = open(1, "w", buffering=1, closefd=False)
        sys.stderr = sys.__stderr__ = open(2, "w", buffering=1, closefd=False, errors="backslashreplace")
        yield
    finally:
        for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
            with contextlib.suppress(ValueError, OSError, AttributeError):  # a script may have closed or replaced it
                stream.flush()
        sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__ = streams
        for number, copy in enumerate(saved):
            os.dup2(copy, number)
            os.close(copy)
        os.close(log)
        os.close(null)


@contextlib.contextmanager
def sandbox(request: dict, script: str, path: list[str], threads: int) -> Iterator[list[str]]:
    """Working folder, environment, path and arguments of one script; afterwards everything as it was before.

    Afterwards, the list that it gives names what could not be put back: then no other job should run here.
    """
    folders = {request["folder"]}
    with contextlib.ExitStack() as stack:
        left = stack.enter_context(keep_state(threads))
        stack.callback(_forget_modules, set(sys.modules), folders, path)
        stack.callback(sys.modules.__setitem__, "__main__", sys.modules["__main__"])
        for keep in (_keep_process, _keep_signals, _keep_logging, _keep_multiprocessing):
            stack.enter_context(keep())
        stack.enter_context(warnings.catch_warnings())
        stack.callback(lambda: folders.update(entry for entry in sys.path if isinstance(entry, str)))
        os.chdir(request["cwd"])
        os.environ.update(request["env"])
        if request["tmpdir"]:
            os.environ.update(dict.fromkeys(TMP_VARIABLES, str(request["tmpdir"])))
        tempfile.tempdir = None
        sys.argv = [script]
        sys.path = [os.path.dirname(script), *path]
        yield left


@contextlib.contextmanager
def _keep_process() -> Iterator[None]:
    """Working folder, environment, umask, recursion limit and the lists and hooks of `sys`."""
    cwd, environ, limit = os.getcwd(), dict(os.environ), sys.getrecursionlimit()
    umask = os.umask(0)
    os.umask(umask)
    attributes = {name: getattr(sys, name) for name in SYS_ATTRIBUTES}
    copies = {name: list(value) for name, value in attributes.items() if isinstance(value, list)}
    try:
        yield
    finally:
        os.chdir(cwd)
        os.umask(umask)
        os.environ.clear()
        os.environ.update(environ)
        for name, value in attributes.items():
            if name in copies:
                value[:] = copies[name]
            setattr(sys, name, value)
        # Import hooks of libraries stay with their modules.
        sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "__main__"]
        sys.setrecursionlimit(limit)
        sys.settrace(None)
        sys.setprofile(None)
        tempfile.tempdir = None


@contextlib.contextmanager
def _keep_signals() -> Iterator[None]:
    """Python's default handlers during the job, this process's own before and after it; no timer left running."""
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    handlers = {number: handler for number, handler in handlers.items() if handler is not None}
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in handlers.items():
            if number not in (signal.SIGKILL, signal.SIGSTOP) and signal.getsignal(number) is not handler:
                signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _logger_state(logger: logging.Logger) -> tuple:
    return logger.level, logger.propagate, logger.disabled, list(logger.handlers), list(logger.filters)


@contextlib.contextmanager
def _keep_logging() -> Iterator[None]:
    """Levels, handlers and filters of all loggers; a handler that the job added is closed."""
    manager = logging.root.manager
    disabled = manager.disable
    before = {name: _logger_state(logger) for name, logger in _loggers().items()}
    try:
        yield
    finally:
        logging.captureWarnings(False)
        logging.disable(disabled)
        for name, logger in _loggers().items():
            if name not in before and _of_library(name):
                continue  # set up when the library was imported, which happens only once
            level, propagate, off, handlers, filters = before.get(name, (logging.NOTSET, True, False, [], []))
            for handler in [handler for handler in logger.handlers if handler not in handlers]:
                logger.removeHandler(handler)
                handler.close()
            logger.handlers[:], logger.filters[:] = handlers, filters
            logger.propagate, logger.disabled = propagate, off
            if logger.level != level:
                logger.setLevel(level)


def _of_library(name: str) -> bool:
    module = sys.modules.get(name.partition(".")[0])
    origin = _origin(module) if module is not None else None
    return origin is not None and _inside(origin, LIBRARY)


def _loggers() -> dict[str, logging.Logger]:
    known = logging.root.manager.loggerDict.items()
    return {"": logging.root} | {name: item for name, item in known if isinstance(item, logging.Logger)}


@contextlib.contextmanager
def _keep_multiprocessing() -> Iterator[None]:
    """The start method, which a process may choose only once."""
    from multiprocessing import context

    chosen = context._default_context._actual_context
    try:
        yield
    finally:
        context._default_context._actual_context = chosen


def _forget_modules(before: set[str], folders: set[str], path: list[str]) -> None:
    """Drop modules from the script's own folder and from those that it put on the path: others may have their names."""
    always = set(map(os.path.realpath, path))  # importable from everywhere: no matter which script imported it
    own = set(map(os.path.realpath, folders)) - always
    for name in set(sys.modules) - before:
        origin = _origin(sys.modules[name])
        if origin is None or _inside(origin, LIBRARY):
            continue
        nearest = max((folder for folder in own | always if _inside(origin, folder)), key=len, default=None)
        if nearest in own:
            del sys.modules[name]


def _origin(module: Any) -> str | None:
    location = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", None) or ()), None)
    return os.path.realpath(location) if isinstance(location, str) else None


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
