"""The model of a finished run as an MLflow model from code: weights as safetensors, nothing is pickled.

It belongs to the run's MLflow run, one in each experiment, and is made anew when its files or its code change.
"""

import logging
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..files import canonical_json, digest, read_json, sha256_file
from ..signature import parse
from .record import RunFiles, clean
from .store import exists

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities import Run as MlflowRun
    from mlflow.models import ModelSignature

log = logging.getLogger(__name__)

CODE = Path(__file__).with_name("model_code.py")
TAG = "mcvae.model"


def model_files(files: RunFiles) -> dict[str, Path]:
    """What ``mcvae.load`` reads of a finished run, by name; empty if its weights or stats.json are not kept here."""
    found = {name: files.folder / name for name in ("run.json", "model.safetensors")}
    if files.status != "finished" or not found["model.safetensors"].is_file():
        return {}
    # As mcvae.load looks for them: beside the results, or where the stages are run.
    stats = Path("resources/prepared") / f"{files.config['dataset']}-{files.config['data']}" / "stats.json"
    for place in (files.folder.resolve().parents[3], Path()):
        if (place / stats).is_file():
            return found | {"stats.json": place / stats}
    log.warning("%s: no model in MLflow: %s is not there", files.id, stats)
    return {}


def model_digest(paths: Mapping[str, Path]) -> str | None:
    """8 hex digits of all that an MLflow model is made from; None for no files."""
    if not paths:
        return None
    return digest(canonical_json([__version__, sha256_file(CODE), {n: sha256_file(p) for n, p in paths.items()}]))


def logged_models(client: "MlflowClient", run: "MlflowRun") -> list["LoggedModel"]:
    """The MLflow models that a run made and that were not deleted."""
    return list(
        client.search_logged_models([run.info.experiment_id], filter_string=f"source_run_id = '{run.info.run_id}'")
    )


def delete_models(client: "MlflowClient", run: "MlflowRun") -> None:
    """Delete the models of a run, as MLflow deletes."""
    for model in logged_models(client, run):
        client.delete_logged_model(model.model_id)


def sync_model(
    client: "MlflowClient", run: "MlflowRun", files: RunFiles, paths: Mapping[str, Path]
) -> tuple[str, bool]:
    """Give an MLflow run the model that its files make, once; others of its are deleted.

    Returns:
        The model's id and whether it is new.
    """
    wanted = model_digest(paths)
    kept = None
    for model in logged_models(client, run):
        if kept is None and is_whole(client, model) and model.tags.get(TAG) == wanted:
            kept = model
        else:
            client.delete_logged_model(model.model_id)
    identity, new = (_log(client, run, files, paths, str(wanted)), True) if kept is None else (kept.model_id, False)
    if identity not in output_ids(run):
        from mlflow.entities import LoggedModelOutput

        client.log_outputs(run.info.run_id, [LoggedModelOutput(identity, step=0)])
    return identity, new


def is_whole(client: "MlflowClient", model: "LoggedModel") -> bool:
    """Whether all of a model was logged, and its files were not removed since."""
    return model.status.value == "READY" and exists(client, model.artifact_location)


def output_ids(run: "MlflowRun") -> set[str]:
    """The models that an MLflow run shows as its own."""
    return {output.model_id for output in run.outputs.model_outputs} if run.outputs else set()


def _log(client: "MlflowClient", run: "MlflowRun", files: RunFiles, paths: Mapping[str, Path], wanted: str) -> str:
    model = client.create_logged_model(
        run.info.experiment_id,
        name=clean(files.id).replace(".", "_"),  # MLflow allows no dot here
        source_run_id=run.info.run_id,
        tags={TAG: wanted},
        params=files.parameters(),
        model_type="autoencoder" if files.config["model"]["kind"] == "autoencoder" else "VAE",
    )
    with tempfile.TemporaryDirectory(prefix="mcvae-model-") as folder:
        path = Path(folder) / "model"
        save_model(path, files.config, paths, model)
        client.log_model_artifacts(model.model_id, str(path))
    client.finalize_logged_model(model.model_id, "READY")
    return model.model_id


def save_model(
    path: Path, config: Mapping[str, Any], paths: Mapping[str, Path], model: "LoggedModel | None" = None
) -> None:
    """Write a folder in MLflow's own format: MLmodel, the code, and the run's files under ``artifacts/run``."""
    stats = read_json(paths["stats.json"])
    autoencoder = config["model"]["kind"] == "autoencoder"
    example = {"decode": [[0.0] * parse(config["latent"]).ambient_dim]} if autoencoder else {"sample": 2}
    packages = "mcvae[chem]" if "vocabulary" in stats else "mcvae"
    with tempfile.TemporaryDirectory(prefix="mcvae-model-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's import warns of its own type hints
        from mlflow import pyfunc
        from mlflow.models import Model

        run = Path(folder) / "run"
        run.mkdir()
        for name, source in paths.items():
            shutil.copyfile(source, run / name)
        ids = {} if model is None else {"model_id": model.model_id, "model_uuid": model.model_id}
        place = {} if model is None else {"artifact_path": model.artifact_location, "run_id": model.source_run_id}
        pyfunc.save_model(
            path,
            python_model=str(CODE),
            artifacts={"run": str(run)},
            signature=signature_of(config, stats),
            input_example=example,
            # Given, or MLflow starts a process that loads the model to find out.
            pip_requirements=[f"{packages}=={__version__}"],
            model_config={"device": "cpu"},
            mlflow_model=Model(**ids, **place),
        )


def signature_of(config: Mapping[str, Any], stats: Mapping[str, Any]) -> "ModelSignature":
    """The inputs and parameters of a run's model; each call gives one of the inputs."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import Array

    if "vocabulary" in stats:
        records = Array(DataType.string)
    else:
        entry = next(iter(stats["tensors"].values()))
        records = DataType.long if entry["dtype"] == "uint8" else DataType.double
        for _ in entry["shape"]:
            records = Array(records)
    inputs = {"encode": records, "decode": Array(Array(DataType.double))}
    if config["model"]["kind"] != "autoencoder":
        inputs["sample"] = DataType.long
    return ModelSignature(
        inputs=Schema([ColSpec(kind, name, required=False) for name, kind in inputs.items()]),
        params=ParamSchema([ParamSpec("seed", DataType.long, 0)]),
    )
