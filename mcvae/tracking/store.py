"""Where MLflow keeps its pages: ``results/mlflow.db`` and ``results/mlartifacts``, or a server that the user names.

The store holds nothing that the files under ``results`` do not: delete it, and a sync makes it again.
"""

import fcntl
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from ..files import sha256_file

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

DATABASE = "mlflow.db"
ARTIFACTS = "mlartifacts"
LOCK = ".mlflow.lock"
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # the sync itself is the retry; MLflow's seven take minutes
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_UV_AUTO_DETECT": "false",  # a lock file of the working directory is no business of a model's
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # the server's queue for language-model judges: four more processes
}
QUIET = {"PYTHONWARNINGS": "ignore"}  # of the server's own dependencies, in its own process


@contextmanager
def locked(results: Path) -> Iterator[None]:
    """Hold the lock of the store of ``results``; other processes and threads wait. It goes when its holder dies."""
    results.mkdir(parents=True, exist_ok=True)
    with open(results / LOCK, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def has_store(results: Path, uri: str | None = None) -> bool:
    """Whether the store is a server, or was made already."""
    return bool(uri or os.environ.get("MLFLOW_TRACKING_URI")) or (results / DATABASE).exists()


def open_store(results: Path, uri: str | None = None) -> "MlflowClient":
    """A client of the store of ``results``; the store is made on the first call, once, whoever races for it.

    Args:
        results: The folder of results.
        uri: Address of an MLflow server to use instead; default: the environment's ``MLFLOW_TRACKING_URI``, if set.

    Raises:
        UserError: ``uri`` is no server's address, or the database belongs to another version of MLflow.
    """
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or None
    if uri is not None and not uri.startswith(("http://", "https://")):
        raise UserError(
            f"tracking URI {uri!r}: give a server's address such as 'http://127.0.0.1:5000', "
            f"or none (and no MLFLOW_TRACKING_URI) for {results / DATABASE}"
        )
    client_class = _client_class()
    if uri is not None:
        return client_class(tracking_uri=uri)
    database = results.resolve() / DATABASE
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    with locked(results):
        try:
            if not database.exists():
                _create(client_class, database)
            client = client_class(tracking_uri=f"sqlite:///{database}")
            client.search_experiments(max_results=1)  # connects now, inside the lock
        except (MlflowException, SQLAlchemyError) as error:
            raise UserError(
                f"{database}: MLflow cannot use this store ({str(error).splitlines()[0]}); "
                "delete the file, and the next sync makes it again from the results"
            ) from error
    return client


def _client_class() -> "type[MlflowClient]":
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    return MlflowClient


def _create(client_class: "type[MlflowClient]", database: Path) -> None:
    # Fifty migrations take seconds: made under another name, a store that was killed half-way is never taken for one.
    temporary = database.with_name(f".{DATABASE}.part")
    temporary.unlink(missing_ok=True)
    client = client_class(tracking_uri=f"sqlite:///{temporary}")
    client.delete_experiment("0")  # MLflow's own empty "Default"
    os.replace(temporary, database)


def is_local(client: "MlflowClient") -> bool:
    """Whether the store is ``results/mlflow.db`` rather than a server."""
    return client.tracking_uri.startswith("sqlite:")


def artifact_digest(client: "MlflowClient", uri: str) -> str | None:
    """The SHA-256 of an artifact; None if it is not there."""
    if is_local(client):
        path = Path(uri.removeprefix("file://"))
        return sha256_file(path) if path.is_file() else None
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory(prefix="mcvae-artifact-") as folder:
        try:
            return sha256_file(download_artifacts(uri, dst_path=folder, tracking_uri=client.tracking_uri))
        except MlflowException:
            return None


def exists(client: "MlflowClient", uri: str) -> bool:
    """Whether a folder of artifacts was not removed by hand; a server is believed."""
    return not is_local(client) or Path(uri.removeprefix("file://")).is_dir()


def experiment_id(client: "MlflowClient", name: str, results: Path) -> str:
    """Find, restore or create an MLflow experiment. Call it under the lock.

    MLflow stores absolute artifact locations. If ``results`` was moved, an experiment that still points to the old
    place is put aside (renamed and deleted, as MLflow deletes: it can be restored) and made anew; the sync fills it.
    """
    location = str(results.resolve() / ARTIFACTS / name) if is_local(client) else None
    found = client.get_experiment_by_name(name)
    if found is not None and location is not None and found.artifact_location != location:
        log.warning(
            "MLflow's experiment %r lies in %s: results were moved, it is made anew", name, found.artifact_location
        )
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        client.rename_experiment(found.experiment_id, f"{name} (moved, {time.strftime('%Y-%m-%d %H:%M:%S')})")
        client.delete_experiment(found.experiment_id)
        found = None
    if found is None:
        # MLflow asks for the kind of an experiment that has none, and guesses.
        kind = {"mlflow.experimentKind": "custom_model_development"}
        return client.create_experiment(name, artifact_location=location, tags=kind)
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return found.experiment_id


def ui_command(results: Path, port: int = 5000) -> list[str]:
    """The argument vector of a server of MLflow's pages, on this computer only; ``argv[0]`` is an absolute path.

    Raises:
        UserError: there is no store yet.
    """
    database = results.resolve() / DATABASE
    if not database.exists():
        raise UserError(f"{results / DATABASE}: no such file; the first run of a study makes it")
    artifacts = str(results.resolve() / ARTIFACTS)
    server = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{database}"]
    places = ["--default-artifact-root", artifacts, "--artifacts-destination", artifacts]
    environment = [f"{name}={value}" for name, value in (ENVIRONMENT | QUIET).items()]
    return ["/usr/bin/env", *environment, *server, *places, *_network(port), "--uvicorn-opts", "--log-level=warning"]


def ui_address(port: int = 5000) -> str:
    """Where the pages are: on the experiments, in MLflow's view for training rather than that for language models."""
    return f"http://127.0.0.1:{port}/#/experiments?workflowType=machine_learning"


def _network(port: int) -> list[str]:
    # Host validation stays on: without it a web page could reach the store through a rebound name.
    return ["--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--allowed-hosts", "127.0.0.1:*,localhost:*"]
