"""Joining a running cluster: everything that would hang or fail in Ray's own words is found first and said in one."""

from __future__ import annotations

import os
import platform
import secrets
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from snakemake_interface_common.exceptions import WorkflowError

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 9.0  # with the connection less than 15 s: Ray itself takes 40 to find that nobody answers
SHARED_SECONDS = 10.0  # network file systems remember for seconds that a file was not there
NODE_SECONDS = 600.0  # a node may first have to build the runtime environment
HINT = "give the host:port that `ray start --head` printed, 'auto' on a machine of the cluster, or 'local' to start one"


def reach(given: str) -> str:
    """The host:port of the cluster that `--ray-address` names, known to answer and to fit this process.

    Raises WorkflowError: no such address, nobody or no Ray there, another token, another version of Ray or Python.
    """
    address = _resolve(given)
    host, port = _split(given, address)
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise WorkflowError(f"--ray-address {given}: nothing answers at {address} ({reason}); {HINT}.") from error
    _compare(given, _metadata(given, address))
    return address


def _resolve(given: str) -> str:
    """`auto`: RAY_ADDRESS, else what `ray start` on this machine wrote down; never what a look around finds."""
    if given != "auto":
        return given
    import ray

    found = os.environ.get("RAY_ADDRESS") or ray._private.utils.read_ray_address(None)
    if not found or found in ("auto", "local"):
        raise WorkflowError(
            "--ray-address auto: RAY_ADDRESS is not set and no cluster was started on this machine by `ray start`; "
            "give host:port, or 'local' to start one."
        )
    return found


def _split(given: str, address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if "://" in address or not (host and colon and port.isdecimal() and 0 < int(port) < 65536):
        raise WorkflowError(f"--ray-address {given}: {address!r} is no address of a cluster; {HINT}.")
    return host.strip("[]"), int(port)


def _metadata(given: str, address: str) -> dict[str, Any]:
    """What the head of the cluster says about itself; asked for in a thread, because Ray's client has no timeout."""
    from ray import exceptions
    from ray._common.usage.usage_lib import get_cluster_metadata
    from ray._raylet import GcsClient

    answer = _in_time(lambda: get_cluster_metadata(GcsClient(address=address)), ANSWER_SECONDS)
    if isinstance(answer, dict):
        return answer
    if isinstance(answer, exceptions.AuthenticationError):
        raise WorkflowError(
            f"--ray-address {given}: the cluster does not accept this driver's token (RAY_AUTH_MODE is "
            f"{os.environ['RAY_AUTH_MODE']!r}); set RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token to the "
            "token that the cluster was started with."
        )
    reason = f"no answer in {ANSWER_SECONDS:.0f} s" if answer is None else " ".join(str(answer).split())[:200]
    raise WorkflowError(f"--ray-address {given}: what listens at {address} is no Ray cluster ({reason}); {HINT}.")


def _in_time(function: Callable[[], Any], seconds: float) -> Any:
    """What a function returns or raises, None if it takes too long."""
    box: list[Any] = []

    def run() -> None:
        try:
            box.append(function())
        except Exception as error:  # handed to the caller
            box.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    return box[0] if box else None


def _compare(given: str, metadata: dict[str, Any]) -> None:
    """Refuse other versions: Ray and this plugin send pickled code, which other interpreters may not read."""
    import ray

    for name, here in (("Ray", ray.__version__), ("Python", platform.python_version())):
        there = str(metadata.get(f"{name.lower()}_version"))
        if there != here:
            raise WorkflowError(
                f"--ray-address {given}: the cluster runs {name} {there}, this driver {name} {here}; start the driver "
                "and every node from one environment."
            )


def runtime_environment(path: str | None) -> dict[str, Any] | None:
    """The content of the file of `--ray-runtime-env`.

    Raises WorkflowError if it cannot be read or is no runtime environment.
    """
    if path is None:
        return None
    import yaml
    from ray.runtime_env import RuntimeEnv

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))  # JSON is YAML
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise WorkflowError(f"--ray-runtime-env {path}: {' '.join(str(error).split())}.") from error
    if not isinstance(content, dict):
        raise WorkflowError(f"--ray-runtime-env {path}: it holds {type(content).__name__}, not a mapping of options.")
    unknown = sorted(str(name) for name in content if name not in RuntimeEnv.known_fields)
    if unknown:
        raise WorkflowError(
            f"--ray-runtime-env {path}: unknown option {unknown[0]!r}; choose from "
            f"{', '.join(sorted(name for name in RuntimeEnv.known_fields if not name.startswith('_')))}."
        )
    try:
        RuntimeEnv(**content)
    except (TypeError, ValueError) as error:
        raise WorkflowError(f"--ray-runtime-env {path}: {' '.join(str(error).split())}.") from error
    return content


class SharedFolder:
    """A small file in the working directory that every node must see before it gets a job."""

    def __init__(self, folder: str) -> None:
        """Write it below `folder`."""
        self.token = secrets.token_hex(16)
        self.path = os.path.abspath(os.path.join(folder, f"shared-{self.token[:8]}"))
        os.makedirs(folder, exist_ok=True)
        Path(self.path).write_text(self.token, encoding="utf-8")

    @property
    def probe(self) -> tuple[str, str, str]:
        """What `complaint` needs on a node."""
        return self.path, self.token, platform.python_version()

    def check(self, nodes: list[dict[str, Any]]) -> None:
        """Ask every living node; raise WorkflowError with the name of the first that cannot work here."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        asked = {}
        for node in nodes:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ask = ray.remote(complaint).options(num_cpus=0, max_retries=0, scheduling_strategy=there)
            asked[ask.remote(*self.probe)] = node
        answered, silent = ray.wait(list(asked), num_returns=len(asked), timeout=NODE_SECONDS)
        for answer in [*answered, *silent]:
            try:
                said = ray.get(answer, timeout=0)
            except ray.exceptions.GetTimeoutError:
                said = f"did not answer in {NODE_SECONDS:.0f} s"
            except ray.exceptions.RayError as error:
                if not any(node["Alive"] and node["NodeID"] == asked[answer]["NodeID"] for node in ray.nodes()):
                    continue  # lost in the meantime
                said = f"cannot run this plugin ({' '.join(str(error).split())[-300:]})"
            if said is not None:
                name, address = asked[answer]["NodeManagerHostname"], asked[answer]["NodeManagerAddress"]
                raise WorkflowError(f"Node {name} ({address}) of the Ray cluster {said}.")

    def remove(self) -> None:
        """Delete the file."""
        Path(self.path).unlink(missing_ok=True)


def complaint(path: str, token: str, python: str) -> str | None:
    """Runs on a node: what keeps it from working on the driver's files, None if nothing does."""
    if platform.python_version() != python:
        return f"runs Python {platform.python_version()}, the driver Python {python}: use one environment"
    folder, end = os.path.dirname(path), time.monotonic() + SHARED_SECONDS
    while True:
        try:
            seen = Path(path).read_text(encoding="utf-8") == token
        except OSError:
            seen = False
        if seen or time.monotonic() > end:
            break
        time.sleep(0.2)
    if not seen:
        return (
            f"does not see the files that the driver writes in {folder}: start the workflow in a folder that all nodes "
            "share, mounted at the same path"
        )
    return None if os.access(folder, os.W_OK) else f"cannot write in {folder}"
