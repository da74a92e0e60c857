"""A run's MLflow model does what the run does, is logged once, and holds nothing that runs when it is read."""

import shutil

import numpy as np
import pytest
from interrupted import Interrupted
from safetensors.numpy import load_file, save_file

import mcvae
from mcvae.data import load as load_data
from mcvae.errors import UserError

pytest.importorskip("mlflow")

from mcvae import tracking

RUNS = [("h2,e1", "vae"), ("e2", "vae"), ("e2", "autoencoder")]


def images(made):
    return load_data(made.prepared()).split("test")["images"][:7].numpy()


def test_an_mlflow_model_gives_the_bits_of_the_run(made, shown):
    for latent, kind in RUNS:
        compare(made.folder(latent, kind), shown, images(made), kind)


def compare(folder, shown, records, kind):
    run, model = mcvae.load(folder), shown.load(folder)
    points = run.encode(records)
    assert np.array_equal(model.predict({"encode": records}), points.numpy())
    assert np.array_equal(
        model.predict({"encode": records.astype(int)}, params={"seed": 1}), run.encode(records, seed=1)
    )
    decoded = model.predict({"decode": points.numpy()})
    assert decoded.dtype == np.float32 and np.array_equal(decoded, run.decode(points).numpy())
    if kind == "vae":
        assert np.array_equal(model.predict({"sample": 3}), run.sample(3).numpy())
        assert np.array_equal(model.predict({"sample": 3}, params={"seed": 5}), run.sample(3, seed=5).numpy())
    assert len(model.predict(model.input_example)) == (2 if kind == "vae" else 1)


@pytest.mark.full
def test_molecules_go_in_and_come_out_as_smiles(molecules, tmp_path):
    import mlflow

    from mcvae.tracking.model import model_files, save_model
    from mcvae.tracking.record import read

    folder = molecules.folder("e4")
    files = read(folder)
    save_model(tmp_path / "model", files.config, model_files(files))
    run, model = mcvae.load(folder), mlflow.pyfunc.load_model(str(tmp_path / "model"))
    smiles = load_data(molecules.prepared()).smiles[:5]
    points = model.predict({"encode": smiles})
    assert np.array_equal(points, run.encode(smiles).numpy())
    assert model.predict({"decode": points}) == run.decode(run.encode(smiles))


REFUSED = [
    ({}, "give one of encode, decode, sample"),
    ({"encode": np.zeros((1, 28, 28), np.uint8), "sample": 2}, "give one of encode, decode, sample"),
    ({"encode": np.full((1, 28, 28), 256)}, "pixels are 0 to 255"),
    ({"encode": np.zeros((1, 8, 8), np.uint8)}, r"\[B, 28, 28\]"),
    ({"decode": np.zeros((1, 7))}, r"\[\.\.\., 4\]"),
    ({"encode": np.zeros((1, 28), np.uint8)}, "schema"),
    ({"sample": "many"}, "schema"),
]


def test_a_model_refuses_what_the_run_refuses(made, shown):
    from mlflow.exceptions import MlflowException

    model = shown.load(made.folder("h2,e1"))
    for inputs, message in REFUSED:
        with pytest.raises((UserError, MlflowException), match=message):
            model.predict(inputs)


def test_an_autoencoder_samples_nothing(made, shown):
    model = shown.load(made.folder("e2", "autoencoder"))
    assert model.metadata.get_input_schema().input_names() == ["encode", "decode"]
    with pytest.raises(UserError, match="give one of"):
        model.predict({"sample": 2})


def test_a_model_is_code_json_and_safetensors(made, shown, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    folder = made.folder("h2,e1")
    [model] = shown.models(folder)
    place = made.results / "mlartifacts" / made.experiment / "models" / model.model_id / "artifacts"
    names = {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}
    descriptions = {"MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt"}
    examples = {"input_example.json", "serving_input_example.json"}
    run = {f"artifacts/run/{name}" for name in ("model.safetensors", "run.json", "stats.json")}
    assert names == {"model_code.py"} | descriptions | examples | run
    own = (folder / "model.safetensors").stat().st_size
    assert sum((place / name).stat().st_size for name in names) < own + 20_000
    assert "pkl" not in (place / "MLmodel").read_text()
    assert shown.load(folder).predict({"sample": 1}).shape == (1, 28, 28)


def test_a_model_carries_the_configuration_and_the_final_numbers_of_its_run(made, shown):
    folder = made.folder("h2,e1")
    run, [model] = shown.run(folder), shown.models(folder)
    assert model.source_run_id == run.info.run_id and model.params == run.data.params
    assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]
    final = tracking.record.read(folder).final()
    assert {metric.key: metric.value for metric in model.metrics} == final


def test_a_second_sync_logs_no_second_model(made, shown):
    before = [model.model_id for latent, kind in RUNS for model in shown.models(made.folder(latent, kind))]
    assert len(before) == 3
    assert tracking.sync_study(made.plan, made.results)["runs"] == {"unchanged": 3}
    # A figure more is a change of the run, and none of the model.
    figures = made.results / "figures" / made.experiment
    figures.mkdir(parents=True)
    (figures / f"{made.folder('e2').name}.latent.svg").write_text("a figure")
    assert tracking.sync_study(made.plan, made.results)["runs"] == {"unchanged": 2, "updated": 1}
    assert [m.model_id for latent, kind in RUNS for m in shown.models(made.folder(latent, kind))] == before


def test_new_weights_replace_the_model(made, shown):
    folder = made.folder("e2")
    before = shown.load(folder).predict({"sample": 2})
    path = folder / "model.safetensors"
    save_file({name: value + np.float32(0.1) for name, value in load_file(path).items()}, path)
    assert tracking.sync_run(shown.client, folder, [made.experiment]) == "updated"
    after = shown.load(folder).predict({"sample": 2})
    assert not np.array_equal(before, after) and np.array_equal(after, mcvae.load(folder).sample(2).numpy())
    final = tracking.record.read(folder).final()
    assert {metric.key: metric.value for metric in shown.models(folder)[0].metrics} == final
    for key in final:
        assert len(shown.client.get_metric_history(shown.run(folder).info.run_id, key)) == 1


def test_a_model_whose_files_were_deleted_comes_back(made, shown):
    folder = made.folder("e2")
    shutil.rmtree(shown.models(folder)[0].artifact_location)
    assert tracking.sync_run(shown.client, folder, [made.experiment]) == "updated"
    assert shown.load(folder).predict({"sample": 1}).shape == (1, 28, 28)


def test_a_run_without_the_description_of_its_data_is_shown_without_a_model(made, caplog):
    shutil.rmtree(made.prepared())
    client = tracking.open_store(made.results)
    assert tracking.sync_run(client, made.folder("e2"), [made.experiment]) == "created"
    experiment = client.get_experiment_by_name(made.experiment).experiment_id
    assert client.search_logged_models([experiment]) == [] and "stats.json is not there" in caplog.text


@pytest.mark.slow
def test_a_sync_cut_short_anywhere_leaves_one_whole_model_after_the_next(made):
    client = tracking.open_store(made.results)
    folder, interruptions = made.folder("e2"), 0
    while True:
        name = f"cut-{interruptions}"
        try:
            tracking.sync_run(Interrupted(client, interruptions), folder, [name])
            break
        except ConnectionError:
            tracking.sync_run(client, folder, [name])
        [model] = client.search_logged_models([client.get_experiment_by_name(name).experiment_id])
        assert model.status.value == "READY" and len(model.metrics) == len(tracking.record.read(folder).final())
        assert tracking.sync_run(client, folder, [name]) == "unchanged"
        interruptions += 1
    assert interruptions >= 8
