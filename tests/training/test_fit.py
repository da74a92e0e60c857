"""Training is reproducible to the bit, whatever interrupts it, and ends in order even when the numbers do not."""

import csv
import json
import os
import signal
import subprocess
import sys

import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from mcvae.data import load
from mcvae.errors import UserError
from mcvae.files import canonical_json, read_json, write_json
from mcvae.models import Model
from mcvae.training import checkpoint, fit, load_run, loop

SCIENCE = ("run.json", "model.safetensors", "history.csv", "training.json")


class Killed(Exception):
    pass


def kill_after(epoch):
    def on_epoch(row):
        if row["epoch"] == epoch:
            raise Killed

    return on_epoch


def bits(folder):
    return {name: (folder / name).read_bytes() for name in SCIENCE}


def rows(folder):
    with open(folder / "history.csv") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def whole(prepared, tmp_path_factory):
    """Folder of an uninterrupted run of a configuration, trained once."""
    done = {}

    def make(config):
        key = canonical_json(config.canonical())
        if key not in done:
            done[key] = tmp_path_factory.mktemp("run")
            fit(config, prepared, done[key])
        return done[key]

    return make


@pytest.mark.parametrize("latent", ["e2", "h2,s2"])
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(latent, run_config, prepared, whole, tmp_path):
    torch.manual_seed(99)
    torch.randn(3)
    fit(run_config(latent), prepared, tmp_path)
    assert bits(tmp_path) == bits(whole(run_config(latent)))
    assert bits(tmp_path)["model.safetensors"] != bits(whole(run_config(latent, seed=1)))["model.safetensors"]


@pytest.mark.parametrize("epoch", [1, 3])
@pytest.mark.parametrize(
    ("latent", "options"),
    [
        ("e2", {}),
        ("h2,s2", {"schedule": "cosine", "kl_warmup": 2, "gradient_clip": 5.0}),
        ("h2:learn", {"curvature_start": 2, "curvature_learning_rate": 1e-3, "gradient_clip": 5.0}),
        ("e2", {"kind": "autoencoder"}),
    ],
)
def test_a_run_stopped_and_resumed_has_the_bits_of_one_that_was_not(
    epoch, latent, options, run_config, prepared, whole, tmp_path
):
    config = run_config(latent, **options)
    with pytest.raises(Killed):
        fit(config, prepared, tmp_path, on_epoch=kill_after(epoch), checkpoint_seconds=0)
    assert (tmp_path / ".checkpoint").exists()
    assert fit(config, prepared, tmp_path, checkpoint_seconds=0) == "finished"
    assert bits(tmp_path) == bits(whole(config))
    assert read_json(tmp_path / "provenance.json")["resumed"] == 1


def test_a_finished_run_whose_files_were_deleted_has_them_again_without_training(run_config, prepared, tmp_path):
    epochs = []
    fit(run_config(), prepared, tmp_path, on_epoch=epochs.append)
    before, trained = bits(tmp_path), len(epochs)
    for path in tmp_path.glob("*.*"):
        if path.is_file():
            path.unlink()
    assert fit(run_config(), prepared, tmp_path, on_epoch=epochs.append) == "finished"
    assert bits(tmp_path) == before and len(epochs) == trained > 0


def test_a_run_stopped_before_a_checkpoint_starts_over_with_the_same_bits(run_config, prepared, whole, tmp_path):
    config = run_config()
    with pytest.raises(Killed):
        fit(config, prepared, tmp_path, on_epoch=kill_after(2), checkpoint_seconds=1e9)
    fit(config, prepared, tmp_path)
    assert bits(tmp_path) == bits(whole(config))


def test_a_run_killed_by_the_system_resumes_with_the_same_bits(run_config, prepared, whole, tmp_path):
    config = run_config("h2,s2")
    code = (
        "import json, os, signal, sys; from mcvae.config import RunConfig; from mcvae.training import fit\n"
        "def stop(row):\n"
        "    assert 'torch._dynamo' not in sys.modules, 'the compiler costs seconds and 150 MB: nobody asked for it'\n"
        "    row['epoch'] == 2 and os.kill(os.getpid(), signal.SIGKILL)\n"
        "config = RunConfig.from_canonical(json.loads(sys.argv[1]))\n"
        "fit(config, sys.argv[2], sys.argv[3], on_epoch=stop, checkpoint_seconds=0)"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    argv = [sys.executable, "-c", code, json.dumps(config.canonical()), str(prepared), str(tmp_path)]
    assert subprocess.run(argv, env=env).returncode == -signal.SIGKILL
    assert not (tmp_path / "model.safetensors").exists()
    fit(config, prepared, tmp_path)
    assert bits(tmp_path) == bits(whole(config))


def test_a_resumed_run_keeps_its_threads(run_config, prepared, tmp_path):
    with pytest.raises(Killed):
        fit(run_config(), prepared, tmp_path, threads=2, on_epoch=kill_after(1), checkpoint_seconds=0)
    fit(run_config(), prepared, tmp_path, threads=1)
    assert read_json(tmp_path / "provenance.json")["threads"] == 2


def test_the_callers_randomness_and_settings_are_left_alone(run_config, prepared, tmp_path):
    torch.manual_seed(5)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    with torch.no_grad():
        fit(run_config(epochs=1), prepared, tmp_path, threads=2)
        assert not torch.is_grad_enabled()
    assert torch.equal(before, torch.get_rng_state())
    assert torch.get_num_threads() == threads


def test_validation_has_noise_of_its_own(run_config, prepared, whole, tmp_path, monkeypatch):
    """Drawing more in validation changes no weight: selection cannot touch training."""
    honest = loop.validate

    def noisy(model, tensors):
        torch.randn(17)
        return honest(model, tensors)

    config = run_config(epochs=3)
    whole(config)
    monkeypatch.setattr(loop, "validate", noisy)
    fit(config, prepared, tmp_path)
    theirs, ours = rows(whole(config)), rows(tmp_path)
    assert [row["train.loss"] for row in theirs] == [row["train.loss"] for row in ours]
    assert [row["validation.loss"] for row in theirs] != [row["validation.loss"] for row in ours]


def test_the_history_is_what_the_model_computes(run_config, prepared, whole):
    table = rows(whole(run_config()))
    assert [row["epoch"] for row in table] == ["1", "2", "3", "4"]
    for row in table:
        value = {name: float(text) for name, text in row.items()}
        for split in ("train", "validation"):
            elbo = value[f"{split}.reconstruction"] - value[f"{split}.kl"]
            assert value[f"{split}.elbo"] == pytest.approx(elbo)
            assert value[f"{split}.loss"] == pytest.approx(-elbo)
    assert float(table[-1]["train.loss"]) < float(table[0]["train.loss"])


def test_the_kl_is_weighed_in_training_and_full_in_validation(run_config, prepared, tmp_path):
    fit(run_config(epochs=2, kl_warmup=4), prepared, tmp_path)
    second = {name: float(text) for name, text in rows(tmp_path)[1].items()}
    assert second["beta"] == 0.25
    assert second["train.loss"] == pytest.approx(-second["train.reconstruction"] + 0.25 * second["train.kl"])
    assert second["validation.loss"] == pytest.approx(-second["validation.elbo"])


def test_a_curvature_is_fixed_until_its_start_and_then_moves_at_its_own_rate(run_config, prepared, tmp_path):
    fit(run_config("h2:learn", curvature_start=2), prepared, tmp_path / "same")
    fit(run_config("h2:learn", curvature_start=2, curvature_learning_rate=3e-5), prepared, tmp_path / "slow")
    same, slow = ([float(row["curvature.0"]) for row in rows(tmp_path / name)] for name in ("same", "slow"))
    assert same[:2] == slow[:2] == [-1.0, -1.0]
    assert 0 < abs(slow[3] + 1) < abs(same[3] + 1) / 30


def test_the_rate_of_all_named_for_curvatures_changes_no_bit(run_config, prepared, whole, tmp_path):
    fit(run_config("h2:learn", curvature_learning_rate=3e-3), prepared, tmp_path)
    other = whole(run_config("h2:learn"))
    for name in ("model.safetensors", "history.csv", "training.json"):
        assert (tmp_path / name).read_bytes() == (other / name).read_bytes()


def test_patience_waits_for_the_curvatures(run_config, prepared, tmp_path):
    config = run_config("h2:learn", epochs=40, learning_rate=0.5, patience=1, curvature_start=30)
    fit(config, prepared, tmp_path)
    assert read_json(tmp_path / "training.json")["epochs"] > 30


def test_an_autoencoder_has_empty_cells_for_its_elbo_and_kl(run_config, prepared, whole):
    for row in rows(whole(run_config(kind="autoencoder"))):
        assert row["train.elbo"] == row["validation.elbo"] == row["train.kl"] == row["validation.kl"] == ""
        assert float(row["train.loss"]) == -float(row["train.reconstruction"])


def test_the_weights_kept_are_those_of_the_best_epoch(run_config, prepared, tmp_path):
    config = run_config(epochs=12, learning_rate=0.05, protocol="threshold", kind="autoencoder")
    fit(config, prepared, tmp_path)
    ending, table = read_json(tmp_path / "training.json"), rows(tmp_path)
    losses = [float(row["validation.loss"]) for row in table]
    assert ending["best_epoch"] == losses.index(min(losses)) + 1
    assert ending["validation.loss"] == min(losses)
    dataset = load(prepared)
    model, _ = load_run(tmp_path, dataset.stats)
    with torch.no_grad():
        loss = model.terms(model.prepare(dataset.split("validation"))).loss.item()
    assert loss == pytest.approx(min(losses), rel=1e-5)


def test_patience_ends_a_run_that_gets_no_better(run_config, prepared, tmp_path):
    assert fit(run_config(epochs=200, learning_rate=0.5, patience=2), prepared, tmp_path) == "finished"
    ending = read_json(tmp_path / "training.json")
    assert ending["epochs"] == ending["best_epoch"] + 2 < 200


@pytest.mark.parametrize("at", [0, 2])
def test_a_diverged_run_is_a_finished_job_with_its_last_finite_weights(
    at, run_config, prepared, tmp_path, monkeypatch, caplog
):
    honest, calls = Model.penalised, []

    def explode(self, objective, error):
        calls.append(torch.is_grad_enabled())
        steps = sum(calls)  # 4 training steps an epoch
        return honest(self, objective, error) * (torch.inf if steps > 4 * at else 1.0)

    monkeypatch.setattr(Model, "penalised", explode)
    assert fit(run_config(), prepared, tmp_path) == "diverged"
    assert f"epoch {at + 1}: " in caplog.text and '"latent":"e2"' in caplog.text  # one line: the cause, and of what
    ending = read_json(tmp_path / "training.json")
    assert ending["status"] == "diverged" and ending["cause"].startswith(f"epoch {at + 1}: ")
    assert ending["epochs"] == len(rows(tmp_path)) == at
    weights = safetensors.torch.load_file(tmp_path / "model.safetensors")
    assert all(weight.isfinite().all() for weight in weights.values())


def test_a_folder_in_use_is_refused(run_config, prepared, tmp_path):
    def again(row):
        fit(run_config(), prepared, tmp_path)

    with pytest.raises(UserError, match=f"process {os.getpid()} is training there"):
        fit(run_config(), prepared, tmp_path, on_epoch=again)


def test_a_trainer_that_lost_its_folder_writes_no_more(run_config, prepared, tmp_path):
    """As one that slept while somebody deleted its lock, or while another host's trainer took over."""
    seen = []

    def lose(row):
        (tmp_path / ".lock").unlink(missing_ok=True)
        seen.append({path.name: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()})

    with pytest.raises(UserError, match="another trainer has taken over"):
        fit(run_config(), prepared, tmp_path, on_epoch=lose, checkpoint_seconds=0)
    after = {path.name: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert len(seen) == 1 and after == seen[0] and "model.safetensors" not in after


def test_what_an_earlier_training_left_does_not_look_finished(run_config, prepared, tmp_path):
    fit(run_config(), prepared, tmp_path)
    checkpoint.remove(checkpoint.path_of(tmp_path))  # as evaluation does
    with pytest.raises(Killed):
        fit(run_config(), prepared, tmp_path, on_epoch=kill_after(1))
    assert not (tmp_path / "training.json").exists() and not (tmp_path / "model.safetensors").exists()
    assert len(rows(tmp_path)) == 1


def test_a_trained_model_comes_back_as_it_was(run_config, prepared, whole):
    folder = whole(run_config("h2,s2"))
    torch.manual_seed(4)
    before = torch.get_rng_state()
    model, config = load_run(folder, load(prepared).stats)
    assert torch.equal(before, torch.get_rng_state())
    assert config == run_config("h2,s2")
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items())


def test_the_folder_of_another_run_is_refused(run_config, prepared, tmp_path):
    write_json(tmp_path / "run.json", run_config(seed=1).canonical())
    with pytest.raises(UserError, match="another run"):
        fit(run_config(), prepared, tmp_path)


def test_a_foreign_checkpoint_is_refused(run_config, prepared, tmp_path):
    for folder, seed in ((tmp_path / "a", 0), (tmp_path / "b", 1)):
        with pytest.raises(Killed):
            fit(run_config(seed=seed), prepared, folder, on_epoch=kill_after(1), checkpoint_seconds=0)
    os.replace(tmp_path / "a/.checkpoint/state.safetensors", tmp_path / "b/.checkpoint/state.safetensors")
    with pytest.raises(UserError, match=r"belongs to another run .* delete"):
        fit(run_config(seed=1), prepared, tmp_path / "b")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\x80\x04\x95pickle" * 20])
def test_a_broken_checkpoint_is_refused_in_one_sentence(content, run_config, prepared, tmp_path):
    (tmp_path / ".checkpoint").mkdir()
    (tmp_path / ".checkpoint/state.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="not a checkpoint of this version of mcvae"):
        fit(run_config(), prepared, tmp_path)


@pytest.mark.parametrize("part", ["computation", "identity", "progress"])
@pytest.mark.parametrize("change", ["absent", "null", "more"])
def test_a_checkpoint_of_another_version_is_refused_in_one_sentence(part, change, run_config, prepared, tmp_path):
    """A run is never resumed in another way than it began, for want of a word about it."""
    with pytest.raises(Killed):
        fit(run_config(), prepared, tmp_path, threads=2, on_epoch=kill_after(1), checkpoint_seconds=0)
    path = tmp_path / ".checkpoint/state.safetensors"
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["state"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    if change == "more":
        header[part]["later"] = 1
    else:
        header |= {part: None}
        header = header if change == "null" else {key: value for key, value in header.items() if key != part}
    save_file(tensors, path, {"state": json.dumps(header)})
    if (part, change) == ("identity", "more"):
        fit(run_config(), prepared, tmp_path)  # what this version does not ask for is no contradiction
        return
    with pytest.raises(UserError, match="not a checkpoint of this version of mcvae") as caught:
        fit(run_config(), prepared, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["order", "model.encoder.layers.0.weight", "best.encoder.layers.0.weight"])
def test_a_checkpoint_that_lacks_a_tensor_is_refused_in_one_sentence(name, run_config, prepared, tmp_path):
    with pytest.raises(Killed):
        fit(run_config(), prepared, tmp_path, on_epoch=kill_after(1), checkpoint_seconds=0)
    path = tmp_path / ".checkpoint/state.safetensors"
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys() if key != name}
        assert len(tensors) < len(list(file.keys()))
    save_file(tensors, path, metadata)
    with pytest.raises(UserError, match="not a checkpoint of this version of mcvae"):
        fit(run_config(), prepared, tmp_path)


def test_a_mistake_harms_no_finished_run(run_config, prepared, tmp_path):
    fit(run_config(), prepared, tmp_path)
    before = bits(tmp_path)
    with pytest.raises(UserError, match="not a prepared data set"):
        fit(run_config(), tmp_path / "elsewhere", tmp_path)
    assert bits(tmp_path) == before


def test_data_that_do_not_fit_are_one_sentence(run_config, prepared, tmp_path):
    with pytest.raises(UserError, match="51 is more than the 50 training records"):
        fit(run_config(batch_size=51), prepared, tmp_path)


def test_weights_that_do_not_fit_are_one_sentence(run_config, prepared, whole, tmp_path):
    write_json(tmp_path / "run.json", run_config("e3").canonical())
    with pytest.raises(UserError, match="train the run first"):
        load_run(tmp_path, load(prepared).stats)
    (tmp_path / "model.safetensors").write_bytes(bits(whole(run_config()))["model.safetensors"])
    with pytest.raises(UserError, match="not the weights of this run"):
        load_run(tmp_path, load(prepared).stats)


def test_provenance_tells_the_circumstances_and_nothing_of_them_is_science(run_config, prepared, whole):
    folder = whole(run_config())
    where = read_json(folder / "provenance.json")
    assert where["wall_seconds"] > 0 and where["threads"] == 1 and where["resumed"] == 0
    assert where["peak_memory_bytes"] is None or where["peak_memory_bytes"] > 1e7
    assert len(where["code_digest"]) == 8 and where["versions"]["torch"] == torch.__version__
    assert set(where).isdisjoint(read_json(folder / "training.json"))
