"""The one sync, keyed by run id: it is the live view, the retry and the rebuild.

It compares a run's files with what MLflow has and adds what is missing. What contradicts the files (the run was trained
or evaluated anew) is deleted, as MLflow deletes, and made again, so that no curve is ever doubled.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..files import canonical_json, digest
from . import model, record
from .record import RunFiles
from .store import exists, experiment_id, locked, open_store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

    from ..grid import Plan, PlannedData, PlannedExperiment

log = logging.getLogger(__name__)

METRICS_A_BATCH = 1000
ENTITIES_A_BATCH = 100
STATUS = {"finished": "FINISHED", "diverged": "FAILED", "running": "RUNNING", "unfinished": "KILLED"}


def sync_run(
    client: "MlflowClient",
    folder: Path,
    experiments: Sequence[str],
    *,
    live: bool = False,
    data: "PlannedData | None" = None,
) -> str:
    """Make MLflow show what is in a run's folder, once in each experiment.

    Args:
        client: From :func:`open_store`.
        folder: ``results/runs/{dataset}/{run}``, with run.json at least.
        experiments: Names of the experiments that the run belongs to.
        live: The run is being trained now; an unfinished run is then RUNNING, else KILLED.
        data: The data set of the run, for the notes.

    Returns:
        ``created``, ``updated`` or ``unchanged``: the most that happened in any experiment.
    """
    results = folder.parents[2]
    outcomes = ["unchanged"]
    with locked(results):  # read inside the lock: what another process has synced is never newer than these files
        files = record.read(folder)
        weights = model.model_files(files)
        for name in experiments:
            experiment = experiment_id(client, name, results)
            artifacts = files.artifacts(run_figures(results, name, files.id))
            outcomes.append(_sync_run(client, experiment, files, artifacts, weights, live=live, data=data))
    return min(outcomes, key=("created", "updated", "unchanged").index)


def _sync_run(
    client: "MlflowClient",
    experiment: str,
    files: RunFiles,
    artifacts: list[tuple[Path, str]],
    weights: Mapping[str, Path],
    *,
    live: bool,
    data: "PlannedData | None",
) -> str:
    status = files.status or ("running" if live else "unfinished")
    tags = run_tags(files, status, data)
    state = digest(canonical_json([files.state(), tags, record.fingerprint(artifacts), model.model_digest(weights)]))
    run = _find(client, experiment, "mcvae.run", files.id)
    if run is not None and run.data.tags.get("mcvae.state") == state and _is_whole(client, run, status, weights):
        return "unchanged"
    outcome = "updated"
    if run is not None and (reason := _contradiction(client, run, files, status, artifacts)):
        log.info("%s: %s; its MLflow run is made anew", files.id, reason)
        _delete(client, run)
        run = None
    if run is None:
        outcome = "created"
        run = client.create_run(experiment, start_time=files.started(), tags={"mcvae.run": files.id}, run_name=files.id)
    _log_parameters(client, run, files.parameters())
    _log_history(client, run, files)
    _log_final(client, run, files, *(model.sync_model(client, run, files, weights) if weights else (None, False)))
    if status != "running":
        for path, place in artifacts:
            client.log_artifact(run.info.run_id, str(path), place or None)
    _set_tags(client, run, tags)
    _set_status(client, run, STATUS[status], files.ended())
    _set_tags(client, run, {"mcvae.state": state})  # last: a sync that was cut short is done again
    return outcome


def run_tags(files: RunFiles, status: str, data: "PlannedData | None") -> dict[str, str]:
    """The tags of a run's MLflow run."""
    return files.tags() | _data_tags(data) | {"mcvae.status": status}


def _find(client: "MlflowClient", experiment: str, tag: str, value: str) -> "MlflowRun | None":
    # Hosts that share a server but no lock can make a run twice: all keep the same one and delete the others.
    runs = client.search_runs([experiment], filter_string=f"tags.`{tag}` = '{value}'")
    first, *others = sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id)) or [None]
    for run in others:
        _delete(client, run)
    return first


def _delete(client: "MlflowClient", run: "MlflowRun") -> None:
    model.delete_models(client, run)
    client.delete_run(run.info.run_id)


def _contradiction(
    client: "MlflowClient", run: "MlflowRun", files: RunFiles, status: str, artifacts: Sequence[tuple[Path, str]]
) -> str | None:
    """Why the MLflow run cannot be completed from the files, or None."""
    parameters = files.parameters()
    if any(parameters.get(key) != value for key, value in run.data.params.items()):
        return "its configuration differs"
    count, rows, first = (run.data.tags.get("mcvae.history") or "0::").split(":")
    if len(files.rows) >= int(count):
        # Fewer rows than logged, but the same first one: a resumed run on its way back to where it was.
        differs = int(count) and files.prefix(int(count)) != rows
    else:
        differs = files.finished or (files.rows and files.prefix(1) != first)
    if differs:
        return "it was trained anew"
    final = run.data.tags.get("mcvae.final")
    if final is not None and files.finished and final != _digest(files.final()):
        return "it was evaluated anew"
    if status != "running" and _superfluous(client, run, artifacts):
        return "some of its files are gone"
    return None


def _superfluous(client: "MlflowClient", run: "MlflowRun", artifacts: Iterable[tuple[Path, str]]) -> set[str]:
    """Artifacts of files that are no more: MLflow cannot delete them, but for the whole run."""
    return set(list_artifacts(client, run)) - {place_of(*artifact) for artifact in artifacts}


def place_of(path: Path, folder: str) -> str:
    """The path of a file among the artifacts."""
    return f"{folder}/{path.name}" if folder else path.name


def _log_parameters(client: "MlflowClient", run: "MlflowRun", parameters: Mapping[str, str]) -> None:
    from mlflow.entities import Param

    missing = [Param(key, value) for key, value in parameters.items() if key not in run.data.params]
    for start in range(0, len(missing), ENTITIES_A_BATCH):
        client.log_batch(run.info.run_id, params=missing[start : start + ENTITIES_A_BATCH])


def _log_history(client: "MlflowClient", run: "MlflowRun", files: RunFiles) -> None:
    # The metric 'epoch' goes with every row, in the same transaction: its latest value is what MLflow already has.
    logged = run.data.metrics.get("epoch", -1)
    rows = [(epoch, {"epoch": epoch, **values}) for epoch, values in files.rows if epoch > logged]
    if not rows:
        return
    count = len(files.rows)
    _set_tags(client, run, {"mcvae.history": f"{count}:{files.prefix(count)}:{files.prefix(1)}"})
    for metrics in _batches(rows, files):
        client.log_batch(run.info.run_id, metrics=metrics)


def _batches(rows: Iterable[tuple[int, Mapping[str, float]]], files: RunFiles) -> Iterator[list[Any]]:
    """Whole rows only, so that the last epoch that MLflow has is complete."""
    from mlflow.entities import Metric

    batch: list[Metric] = []
    for epoch, values in rows:
        if len(batch) + len(values) > METRICS_A_BATCH:
            yield batch
            batch = []
        batch += [Metric(key, value, files.time_of(epoch), epoch) for key, value in values.items()]
    yield batch


def _log_final(client: "MlflowClient", run: "MlflowRun", files: RunFiles, model_id: str | None, new: bool) -> None:
    """The final numbers, as the model's too; MLflow keeps equal ones of a run once."""
    from mlflow.entities import Metric

    if not files.finished:
        return
    final = files.final()
    _set_tags(client, run, {"mcvae.final": _digest(final)})
    step = int(files.metrics.get("best_epoch") or 0)
    missing = [
        Metric(key, value, files.ended(), step, model_id=model_id)
        for key, value in final.items()
        if new or key not in run.data.metrics
    ]
    if missing:
        client.log_batch(run.info.run_id, metrics=missing)


def _set_tags(client: "MlflowClient", run: "MlflowRun", tags: Mapping[str, str]) -> None:
    from mlflow.entities import RunTag

    new = [RunTag(key, value) for key, value in tags.items() if run.data.tags.get(key) != value]
    if new:
        client.log_batch(run.info.run_id, tags=new)


def _set_status(client: "MlflowClient", run: "MlflowRun", status: str, ended: int) -> None:
    if run.info.status == status:
        return
    if status == "RUNNING":
        client.update_run(run.info.run_id, status=status)
    else:
        client.set_terminated(run.info.run_id, status=status, end_time=ended)


def _data_tags(data: "PlannedData | None") -> dict[str, str]:
    return {} if data is None else {"mcvae.note": data.note, "mcvae.stand_in": str(data.stand_in).lower()}


def _is_whole(client: "MlflowClient", run: "MlflowRun", status: str, weights: Mapping[str, Path] = {}) -> bool:
    """Whether nobody removed the files of a run or its model by hand."""
    if status == "running":
        return True
    models = model.logged_models(client, run) if weights else []
    whole = [each.model_id in model.output_ids(run) and model.is_whole(client, each) for each in models]
    return exists(client, run.info.artifact_uri) and whole == ([True] if weights else [])


def _digest(value: Any) -> str:
    return digest(canonical_json(value))


def experiment_files(results: Path, experiment: "PlannedExperiment") -> list[tuple[Path, str]]:
    """The tables and figures of an experiment as a whole, and their places among the artifacts."""
    tables = sorted(path for path in (results / "tables").glob(f"{experiment.name}.*") if path.is_file())
    figures = [file for kind in experiment.figures for file in run_figures(results, experiment.name, kind)]
    return [(path, "tables") for path in tables] + figures


def run_figures(results: Path, experiment: str, owner: str) -> list[tuple[Path, str]]:
    """The figures of one run in an experiment, ``{run}.{kind}.{format}``, and their places among the artifacts."""
    # By name and not by exclusion: the folder also keeps figures of runs that the study no longer plans.
    folder = results / "figures" / experiment
    paths = sorted(path for path in folder.glob("*.*") if path.name.startswith(f"{owner}.") and path.is_file())
    return [(path, "figures") for path in paths]


def sync_experiment(
    client: "MlflowClient", experiment: "PlannedExperiment", results: Path, data: "PlannedData | None" = None
) -> str:
    """Give an experiment its description and one summary run with its tables and figures as artifacts.

    Returns:
        ``created``, ``updated``, ``unchanged``, or ``empty`` if there are neither tables nor figures yet.
    """
    name = experiment.name
    with locked(results):
        identity = experiment_id(client, name, results)
        _describe(client, identity, experiment, data)
        files = experiment_files(results, experiment)
        run = _find(client, identity, "mcvae.summary", name)
        if not files:
            return "empty"
        tags = _data_tags(data) | {"mcvae.dataset": experiment.spec.dataset, "mcvae.runs": str(len(experiment.runs))}
        state = _digest([record.fingerprint(files), tags])
        if run is not None and run.data.tags.get("mcvae.state") == state and _is_whole(client, run, "finished"):
            return "unchanged"
        if run is not None and _superfluous(client, run, files):
            _delete(client, run)
            run = None
        outcome = "created" if run is None else "updated"
        run = run or client.create_run(identity, tags={"mcvae.summary": name}, run_name=f"summary: {name}")
        for path, place in files:
            client.log_artifact(run.info.run_id, str(path), place)
        _set_tags(client, run, tags)
        client.set_terminated(run.info.run_id)
        _set_tags(client, run, {"mcvae.state": state})
        return outcome


def _describe(client: "MlflowClient", identity: str, experiment: "PlannedExperiment", data: Any) -> None:
    parts = [experiment.spec.title, experiment.spec.description, f"Data: {data.note}." if data else ""]
    text = "\n\n".join(part for part in parts if part)
    if text and client.get_experiment(identity).tags.get("mlflow.note.content") != text:
        client.set_experiment_tag(identity, "mlflow.note.content", text)


def list_artifacts(client: "MlflowClient", run: "MlflowRun", path: str | None = None) -> Iterator[str]:
    for item in client.list_artifacts(run.info.run_id, path):
        if item.is_dir:
            yield from list_artifacts(client, run, item.path)
        else:
            yield item.path


def memberships(plan: "Plan") -> dict[str, list[str]]:
    """The experiments of each run of a plan."""
    names: dict[str, list[str]] = {identity: [] for identity in plan.runs}
    for name, experiment in plan.experiments.items():
        for run in experiment.runs:
            names[run.id].append(name)
    return names


def sync_study(plan: "Plan", results: Path, uri: str | None = None) -> dict[str, Any]:
    """Make MLflow show all that the files of a study hold; from nothing, this is the rebuild.

    Returns:
        ``{"store", "runs": {outcome: count}, "experiments": {name: outcome}, "missing": [runs without a run.json]}``.

    Raises:
        UserError: MLflow refuses, or its server does not answer.
    """
    client = open_store(results, uri)
    from mlflow.exceptions import MlflowException

    try:
        return _sync_study(client, plan, results)
    except MlflowException as error:
        raise UserError(f"MLflow at {client.tracking_uri}: {' '.join(str(error).split())}") from error


def _sync_study(client: "MlflowClient", plan: "Plan", results: Path) -> dict[str, Any]:
    outcomes: Counter[str] = Counter()
    missing = []
    for identity, names in memberships(plan).items():
        run = plan.runs[identity]
        folder = results / run.place
        if not (folder / "run.json").is_file():
            missing.append(identity)
            continue
        outcomes[sync_run(client, folder, names, data=plan.data[run.config.dataset])] += 1
    experiments = {
        name: sync_experiment(client, experiment, results, plan.data[experiment.spec.dataset])
        for name, experiment in plan.experiments.items()
    }
    done = ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items()))
    log.info("MLflow: %d runs: %s", len(plan.runs), done or "none has files")
    return {"store": client.tracking_uri, "runs": dict(outcomes), "experiments": experiments, "missing": missing}
