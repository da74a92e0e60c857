"""``mcvae track --check``: MLflow shows what the files hold, no more and no less, or a sentence for each difference."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from ..files import sha256_file
from . import model, record
from .record import RunFiles
from .store import artifact_digest, has_store, open_store
from .sync import STATUS, experiment_files, list_artifacts, place_of, run_figures, run_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities import Run as MlflowRun

    from ..grid import Plan, PlannedExperiment

Point = tuple[int, float]


@dataclass
class Checked:
    """What was compared, and every difference as a sentence; none means that MLflow equals the files."""

    runs: int = 0
    models: int = 0
    points: int = 0
    files: int = 0
    differences: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        what = f"{self.runs} runs, {self.points} points of curves, {self.models} models, {self.files} files"
        wrong = len(self.differences)
        if not wrong:
            return f"MLflow equals the files: {what}"
        return f"MLflow differs in {wrong} place{'s' if wrong > 1 else ''}: {what} compared"


def check_study(plan: "Plan", results: Path, uri: str | None = None) -> Checked:
    """Compare every finished run of a study, and its experiments' tables and figures, with MLflow. Nothing is changed.

    Parameters, tags, status, every point of every curve, artifacts and models (by SHA-256) have to be equal; a run has
    to be there once in each of its experiments, and a run that MLflow shows has to have files.

    Raises:
        UserError: there is no store, MLflow refuses, or its server does not answer.
    """
    if not has_store(results, uri):
        raise UserError(f"{results}: there is nothing in MLflow yet; `mcvae track` copies it there")
    client = open_store(results, uri)
    from mlflow.exceptions import MlflowException

    checked = Checked()
    try:
        for experiment in plan.experiments.values():
            found = f"{experiment.name}: {{}}".format
            checked.differences += map(found, _experiment(client, plan, experiment, results, checked))
    except MlflowException as error:
        raise UserError(f"MLflow at {client.tracking_uri}: {' '.join(str(error).split())}") from error
    return checked


def _experiment(
    client: "MlflowClient", plan: "Plan", experiment: "PlannedExperiment", results: Path, checked: Checked
) -> Iterator[str]:
    data = plan.data[experiment.spec.dataset]
    shown = _shown(client, experiment.name)
    for run in experiment.runs:
        own = shown.pop(run.id, [])
        if not (results / run.place / "metrics.json").is_file():
            continue
        checked.runs += 1
        files = record.read(results / run.place)
        if len(own) != 1:
            yield f"{run.id}: {len(own)} MLflow runs where there is one run"
            continue
        tags = run_tags(files, str(files.status), data)
        for sentence in _run(client, own[0], files, tags, run_figures(results, experiment.name, run.id), checked):
            yield f"{run.id}: {sentence}"
    summaries = shown.pop("", [])
    for identity in shown:
        if not list((results / "runs").glob(f"*/{identity}/run.json")):
            yield f"{identity}: is shown and has no files"
    files_of_all = experiment_files(results, experiment)
    if len(summaries) != bool(files_of_all):
        yield f"{len(summaries)} summaries of {len(files_of_all)} tables and figures"
    for run in summaries:
        yield from _artifacts(client, run, files_of_all, checked)


def _shown(client: "MlflowClient", experiment: str) -> dict[str, list["MlflowRun"]]:
    """The MLflow runs of an experiment by the ids of the runs; its summaries under ""."""
    known = client.get_experiment_by_name(experiment)
    shown: dict[str, list[MlflowRun]] = {}
    token = "" if known is not None and known.lifecycle_stage == "active" else None
    while token is not None:
        page = client.search_runs([known.experiment_id], page_token=token or None)
        for run in page:
            tags = run.data.tags
            if "mcvae.run" in tags or "mcvae.summary" in tags:
                shown.setdefault(tags.get("mcvae.run", ""), []).append(run)
        token = page.token or None
    return shown


def _run(
    client: "MlflowClient",
    run: "MlflowRun",
    files: RunFiles,
    tags: Mapping[str, str],
    figures: Sequence[tuple[Path, str]],
    checked: Checked,
) -> Iterator[str]:
    if run.info.status != (status := STATUS[str(files.status)]):
        yield f"status {run.info.status} where the files say {status}"
    yield from _values("parameter", run.data.params, files.parameters())
    yield from _values("tag", {key: run.data.tags.get(key) for key in tags}, tags)
    curves = _curves(files)
    for key in sorted(run.data.metrics.keys() | curves):
        points = [(each.step, each.value) for each in client.get_metric_history(run.info.run_id, key)]
        checked.points += len(points)
        if sorted(points) != (expected := curves.get(key, [])):
            yield f"metric {key}: {_difference(sorted(points), expected)}"
    yield from _artifacts(client, run, files.artifacts(figures), checked)
    yield from _models(client, run, files, checked)


def _values(what: str, shown: Mapping[str, str | None], expected: Mapping[str, str]) -> Iterator[str]:
    for key in sorted(shown.keys() | expected):
        if shown.get(key) != expected.get(key):
            yield f"{what} {key}: {shown.get(key)!r} where the files say {expected.get(key)!r}"


def _curves(files: RunFiles) -> dict[str, list[Point]]:
    """What history.csv and metrics.json say, as MLflow shows it: sorted points by the metric's name."""
    curves: dict[str, list[Point]] = {}
    for epoch, values in files.rows:
        for key, value in {"epoch": float(epoch), **values}.items():
            curves.setdefault(key, []).append((epoch, value))
    for key, value in files.final().items():
        curves.setdefault(key, []).append((int(files.metrics.get("best_epoch") or 0), value))
    return {key: sorted(points) for key, points in curves.items()}


def _difference(shown: Sequence[Point], expected: Sequence[Point]) -> str:
    if len(shown) != len(expected):
        return f"{len(shown)} points where the files have {len(expected)}"
    (step, value), (place, other) = next(pair for pair in zip(shown, expected, strict=True) if pair[0] != pair[1])
    return f"{value!r} at {step} where the files say {other!r} at {place}"


def _artifacts(
    client: "MlflowClient", run: "MlflowRun", files: Sequence[tuple[Path, str]], checked: Checked
) -> Iterator[str]:
    expected = {place_of(*file): file[0] for file in files}
    shown = set(list_artifacts(client, run))
    for place in sorted(shown ^ expected.keys()):
        yield f"artifact {place}: {'has no file' if place in shown else 'is not in MLflow'}"
    for place in sorted(shown & expected.keys()):
        checked.files += 1
        if artifact_digest(client, f"{run.info.artifact_uri}/{place}") != sha256_file(expected[place]):
            yield f"artifact {place}: is another than {expected[place]}"


def _models(client: "MlflowClient", run: "MlflowRun", files: RunFiles, checked: Checked) -> Iterator[str]:
    paths = model.model_files(files)
    models = model.logged_models(client, run)
    if len(models) != bool(paths):
        yield f"{len(models)} models where there {'is one' if paths else 'is none'}"
        return
    for each in models:
        checked.models += 1
        yield from _model(client, run, each, paths)


def _model(client: "MlflowClient", run: "MlflowRun", logged: "LoggedModel", paths: Mapping[str, Path]) -> Iterator[str]:
    name = f"model {logged.model_id}"
    if not model.is_whole(client, logged):
        yield f"{name}: is not whole"
        return
    if logged.model_id not in model.output_ids(run):
        yield f"{name}: is not an output of its run"
    if logged.tags.get(model.TAG) != model.model_digest(paths):
        yield f"{name}: was made from other files, or by another version of mcvae"
    for key, path in paths.items():
        copy = artifact_digest(client, f"{logged.artifact_location}/artifacts/run/{key}")
        if copy != sha256_file(path):
            yield f"{name}: {key} {'is missing' if copy is None else f'is another than {path}'}"
