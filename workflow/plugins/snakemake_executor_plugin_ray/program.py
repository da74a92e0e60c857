"""A script's text as the program of a process: run as `__main__`, and ended as an interpreter ends."""

from __future__ import annotations

import atexit
import builtins
import concurrent.futures
import contextlib
import functools
import gc
import os
import sys
import threading
import traceback
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any


def execute(path: str, source: str) -> tuple[str | None, str | None]:
    """Run a script's text to the end of its process, but for the process.

    Returns:
        The cause of its failure, None without one (the traceback is on standard error); and what it leaves that
        no next script should meet, None for nothing.
    """
    process, main = os.getpid(), types.ModuleType("__main__")
    main.__dict__.update(__file__=path, __builtins__=builtins, __cached__=None)
    sys.modules["__main__"] = main
    threads, children = set(threading.enumerate()), set(_children())
    gc.freeze()  # so that the collection at the end looks only at what the script has made
    try:
        with _own_atexit() as pending:
            code, cause = _run(path, source, main)
            try:
                _end(main, pending, threads, children)
            finally:
                if os.getpid() != process:  # a fork of the script's: it must not go on as a worker
                    _leave(code)
    finally:
        gc.unfreeze()
    left = [thread.name for thread in set(threading.enumerate()) - threads if thread.daemon and _of_script(thread)]
    return cause, f"its thread {left[0]} still runs" if left else None


def say(text: str) -> None:
    """Text on standard error; if the script has closed or replaced that, on the one that the job began with."""
    try:
        sys.stderr.write(text)
    except Exception:
        sys.__stderr__.write(text)


def _run(path: str, source: str, main: types.ModuleType) -> tuple[int, str | None]:
    """Exit code and cause of a failure."""
    try:
        exec(compile(source, path, "exec", dont_inherit=True), main.__dict__)
    except SystemExit as end:
        if end.code is not None and not isinstance(end.code, int):
            say(f"{end.code}\n")
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        return code, f"the script ended with exit code {code:d}." if code else None
    except BaseException as error:
        say("".join(traceback.format_exception(type(error), error, error.__traceback__.tb_next)))
        return 1, "".join(traceback.format_exception_only(error)).strip()
    return 0, None


def _end(main: types.ModuleType, pending: list[Callable], threads: set[threading.Thread], children: set[Any]) -> None:
    """What the end of an interpreter does, in its order: threads, `atexit`, child processes, open files."""
    gc.collect()  # pools that functions have forgotten end their threads
    for value in list(main.__dict__.values()):
        if isinstance(value, concurrent.futures.Executor):
            value.shutdown(wait=True)
    for thread in set(threading.enumerate()) - threads:
        # The threads of a pool that a library keeps wait for its next call, here as long as the worker lives.
        if not thread.daemon and not _of_pool(thread):
            thread.join()
    while pending:
        try:
            pending.pop()()
        except BaseException as error:  # as the interpreter does: said, and no failure
            say("".join(traceback.format_exception(type(error), error, error.__traceback__)))
    main.__dict__.clear()
    gc.collect()  # functions and classes hold their globals in a cycle, and these the files that are not flushed yet
    for child in set(_children()) - children:
        if child.daemon:
            child.terminate()
        if child.daemon or not _of_pool(child):
            child.join()


def _leave(code: int) -> None:
    """End this process now."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code & 255)


def _children() -> list[Any]:
    """Processes of `multiprocessing` that this one has started."""
    module = sys.modules.get("multiprocessing.process")
    found = module.active_children() if module is not None else []
    return [child for child in found if child._parent_pid == os.getpid()]


def _of_pool(member: Any) -> bool:
    """Whether a thread or process belongs to a pool of `concurrent.futures` that is still in use."""
    pools = sys.modules.get("concurrent.futures.process")
    if pools is not None:
        managers = [thread for thread in threading.enumerate() if isinstance(thread, pools._ExecutorManagerThread)]
        if member in managers or any(member in (thread.processes or {}).values() for thread in managers):
            return True
    reference = next(iter(getattr(member, "_args", None) or ()), None)
    return isinstance(reference, weakref.ref) and isinstance(reference(), concurrent.futures.Executor)


def _of_script(thread: threading.Thread) -> bool:
    """Whether a thread runs what the script itself defines."""
    does = getattr(thread, "_target", None) or getattr(thread, "function", None) or type(thread)
    return getattr(does, "__module__", None) == "__main__"


@contextlib.contextmanager
def _own_atexit() -> Iterator[list[Callable]]:
    """Collect what the script itself registers with `atexit`; what libraries register waits for the process's end."""
    register, unregister, pending = atexit.register, atexit.unregister, []

    @functools.wraps(register)
    def collect(function, *args, **kwargs):
        if getattr(function, "__module__", None) != "__main__":
            return register(function, *args, **kwargs)
        pending.append(functools.partial(function, *args, **kwargs))
        return function

    @functools.wraps(unregister)
    def forget(function):
        pending[:] = [call for call in pending if call.func != function]
        unregister(function)

    atexit.register, atexit.unregister = collect, forget
    try:
        yield pending
    finally:
        atexit.register, atexit.unregister = register, unregister
