"""Several processes train a run together: the gradients of one, its bits again, and one end for all."""

import json
import logging
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from mcvae.data import load
from mcvae.errors import UserError
from mcvae.files import canonical_json, read_json
from mcvae.options import Training
from mcvae.toolchain import compiles
from mcvae.training import fit, processes
from mcvae.training.checkpoint import Computation
from mcvae.training.fit import initial_state
from mcvae.training.history import Averages
from mcvae.training.lock import locked
from mcvae.training.loop import train_epoch
from mcvae.training.team import Group

SCIENCE = ("run.json", "model.safetensors", "history.csv", "training.json")


def bits(folder):
    return {name: (folder / name).read_bytes() for name in SCIENCE}


def members():
    """The living processes that this one has started."""
    return [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]


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


def kill_a_member_after(epoch):
    def on_epoch(row):
        if row["epoch"] == epoch:
            members()[-1].kill()

    return on_epoch


def test_a_run_whose_process_was_killed_resumes_with_the_bits_of_one_that_was_not(
    run_config, prepared, whole, tmp_path
):
    config = run_config("h2:learn", devices=2, epochs=6, gradient_clip=5.0, kl_warmup=2)
    with pytest.raises(
        UserError, match=r"process \d+, [12] of 2 .*, was killed by SIGKILL; started again, .* checkpoint"
    ):
        fit(config, prepared, tmp_path, on_epoch=kill_a_member_after(2), checkpoint_seconds=0)
    assert members() == [] and not (tmp_path / ".lock").exists() and not (tmp_path / "model.safetensors").exists()
    assert fit(config, prepared, tmp_path, checkpoint_seconds=0) == "finished"
    assert bits(tmp_path) == bits(whole(config))
    assert read_json(tmp_path / "provenance.json")["resumed"] == 1


def test_two_processes_take_the_steps_of_one(run_config, prepared, tmp_path, caplog):
    """Without noise: an autoencoder of images that are cut; Adam's moments after an epoch are of the gradients."""
    moments, losses = [], []
    for devices in (1, 2):
        config = run_config(kind="autoencoder", protocol="threshold", devices=devices, epochs=1, batch_size=25)
        with caplog.at_level(logging.INFO, logger="mcvae"):
            fit(config, prepared, tmp_path / str(devices), on_epoch=losses.append)
        state = load_file(tmp_path / f"{devices}/.checkpoint/state.safetensors")
        moments.append({name: tensor for name, tensor in state.items() if name.startswith("optimizer.mean")})
    assert moments[0].keys() == moments[1].keys() and len(moments[0]) >= 8
    for name, tensor in moments[0].items():
        torch.testing.assert_close(moments[1][name], tensor, rtol=1e-4, atol=1e-5 * tensor.abs().max().item())
    first, second = ({name: value for name, value in row.items() if value is not None} for row in losses)
    assert second == pytest.approx(first, rel=1e-5)
    assert "on each of 2 x cpu; from the start" in caplog.text and caplog.text.count("finished after 1 epochs") == 2


@pytest.mark.parametrize("size", [2, 3, 7])
@pytest.mark.parametrize("latent", ["h2:learn", "s2"])
def test_the_shares_of_a_gradient_add_up_to_it(size, latent, run_config, prepared, monkeypatch):
    """Cut unevenly, and with shares of nothing: 50 records in batches of 48 leave one of 2."""
    config = run_config(latent, protocol="threshold", kind="vae", batch_size=48)
    dataset = load(prepared)
    monkeypatch.setattr(torch, "randn", torch.zeros)  # nothing is drawn: a share has the noise of its records
    monkeypatch.setattr(torch.Tensor, "normal_", torch.Tensor.zero_)

    def gradients(team):
        state = initial_state(config, dataset.stats, "cpu", team)
        found = []
        monkeypatch.setattr(
            state.optimizer, "step", lambda *a: found.append([p.grad for p in state.optimizer.parameters])
        )
        train_epoch(state, {"images": dataset.split("train")["images"]}, config.training, 0.5, 0.0)
        return found

    alone = gradients(initial_state(config, dataset.stats, "cpu").team)
    monkeypatch.setattr(Group, "_sum", staticmethod(lambda values: None))
    parts = [gradients(Group(rank, size)) for rank in range(size)]
    assert len(alone) == 2
    for batch, expected in enumerate(alone):
        for index, gradient in enumerate(expected):
            shares = [part[batch][index] for part in parts]
            if gradient is None:
                assert all(share is None for share in shares)
            else:
                scale = 1e-5 * max(1e-3, gradient.abs().max().item())
                torch.testing.assert_close(sum(shares), gradient, rtol=1e-4, atol=scale)


def test_parameters_that_nothing_depends_on_have_no_gradient_in_a_group_either(monkeypatch):
    """As for one process: Adam leaves them as they are. A process without records knows which they are."""
    monkeypatch.setattr(Group, "_sum", staticmethod(lambda values: None))
    used, idle, group = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(3)), Group(0, 2)
    used.grad = torch.ones(2)
    group.average([used, idle], 1, 4)
    assert used.grad.tolist() == [0.25, 0.25] and idle.grad is None
    used.grad = None
    group.average([used, idle], 0, 1)
    assert used.grad.tolist() == [0.0, 0.0] and idle.grad is None


def test_records_are_shared_out_once_each():
    for count in (0, 1, 5, 12):
        shares = [Group(rank, 4).share(torch.arange(count)) for rank in range(4)]
        assert torch.cat(shares).tolist() == list(range(count))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_processes_draw_from_streams_of_their_own_and_one_alone_from_the_old_one():
    names = {Group(rank, 3).purpose("noise") for rank in range(3)}
    assert len(names) == 3 and "noise" in names


def test_means_are_those_of_all_records(monkeypatch):
    sums = []
    monkeypatch.setattr(Group, "_sum", staticmethod(lambda values: sums.append(values.clone())))
    values = torch.arange(10.0)
    for rank in range(3):
        Group(rank, 3).mean(Group(rank, 3).share(values))
    total, count = sum(sums).tolist()
    assert total / count == values.mean().item()
    monkeypatch.setattr(Group, "_sum", staticmethod(lambda values: None))
    assert Group(1, 3).mean(None) is None and Averages().means(1.0, 0.0, _Silent())["kl"] is None


class _Silent(Group):
    """Somebody else has a record of value 1, of the reconstruction alone."""

    def __init__(self):
        super().__init__(0, 2)
        self.asked = 0

    def mean(self, values):
        self.asked += 1
        return 1.0 if self.asked == 1 else super().mean(values)


def test_one_device_leaves_names_of_runs_alone_and_several_make_another_run(run_config):
    assert "devices" not in run_config().canonical()["training"]
    assert run_config(devices=2).canonical()["training"]["devices"] == 2


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"devices": 0}, "greater than or equal to 1"),
        ({"devices": 65}, "less than or equal to 64"),
        ({"devices": 1.5}, "valid integer"),
        ({"devices": 4, "batch_size": 3}, "devices: 4 share a batch of 3; choose at most as many"),
        ({"devices": 2, "compile": "on"}, "compile: 'on' is for one device"),
    ],
)
def test_numbers_of_devices_that_make_no_sense_are_refused(options, sentence):
    with pytest.raises(ValidationError, match=sentence):
        Training(**options)


def test_a_run_of_several_devices_is_not_compiled(run_config):
    assert compiles(run_config("h2", epochs=10_000), 60_000)
    assert not compiles(run_config("h2", epochs=10_000, devices=2), 60_000)


SPEAK = """
import json, os, sys, time
request = json.loads(sys.stdin.buffer.readline())
rank = request["rank"]
def say(**message): print(json.dumps(message), flush=True)
{}
"""


@pytest.fixture
def together(run_config, tmp_path, monkeypatch):
    """Train with processes that only speak: (script, **arguments) -> status."""

    def train(script, on_epoch=None, devices=2):
        monkeypatch.setattr(processes, "STARTER", SPEAK.format(script))
        config = run_config(devices=devices)
        with locked(tmp_path) as lock:
            return processes.train_together(
                config, tmp_path, tmp_path, Computation(1, False), "cpu", lock, on_epoch, 10.0
            )

    yield train
    assert members() == []


def test_rows_and_log_lines_are_passed_on(together, caplog):
    rows = []
    script = (
        "say(row={'epoch': 1, 'kl': None}); say(log=['mcvae.training', 30, '100% sure']); say(ending='done', text='x')"
    )
    assert together(script, rows.append) == "x"
    assert rows == [{"epoch": 1, "kl": None}] * 2 and caplog.text.count("100% sure") == 2


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("os.kill(os.getpid(), 9) if rank else time.sleep(60)", "2 of 2 .* was killed by SIGKILL"),
        ("sys.exit(3) if rank else time.sleep(60)", "2 of 2 .* ended with exit code 3"),
        # Who is left complains first; the cause is heard of a little later.
        (
            "say(ending='lost', text='heard no more') if not rank else (time.sleep(0.5), os.kill(os.getpid(), 9))",
            "2 of 2 .* was killed by SIGKILL",
        ),
        ("say(ending='lost', text='heard no more'); time.sleep(60)", "1 of 2 .* heard no more"),
        ("say(ending='mistake', text='no such data'); time.sleep(60)", "^no such data$"),
    ],
)
def test_one_end_ends_all_with_its_cause_in_a_sentence(script, sentence, together, monkeypatch):
    monkeypatch.setattr(processes, "GRACE_SECONDS", 3.0)
    with pytest.raises(UserError, match=sentence) as caught:
        together(script)
    assert "\n" not in str(caught.value)


def test_an_error_in_a_process_keeps_its_traceback(together):
    with pytest.raises(RuntimeError, match=r"(?s)process 2 of 3 that trained .*Traceback.*ZeroDivisionError"):
        together(
            "time.sleep(60 * (rank != 1)); import traceback\n"
            "try: 1 / 0\nexcept Exception: say(ending='fault', text=traceback.format_exc())",
            devices=3,
        )


def test_an_error_of_the_listener_ends_the_processes(together):
    def on_epoch(row):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        together("say(row={'epoch': 1}); time.sleep(60)", on_epoch)


FIT = """
import json, sys
from mcvae.config import RunConfig
from mcvae.training import fit
fit(RunConfig.from_canonical(json.loads(sys.argv[1])), sys.argv[2], sys.argv[3], checkpoint_seconds=0)
"""


def start(config, prepared, folder):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    argv = [sys.executable, "-c", FIT, json.dumps(config.canonical()), str(prepared), str(folder)]
    return subprocess.Popen(argv, env=environment, stderr=subprocess.DEVNULL)


def wait_for(condition, seconds=120.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.mark.full
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_processes_end_with_their_parent_and_the_run_goes_on_later(number, run_config, prepared, whole, tmp_path):
    config = run_config("h2", devices=2, epochs=120)
    parent = start(config, prepared, tmp_path)
    wait_for((tmp_path / ".checkpoint/state.safetensors").exists)
    children = psutil.Process(parent.pid).children(recursive=True)
    assert len(children) == 2
    os.kill(parent.pid, number)
    parent.wait()
    psutil.wait_procs(children, timeout=10)
    assert not any(child.is_running() for child in children)
    assert not (tmp_path / "model.safetensors").exists(), "it should have been stopped on its way"
    fit(config, prepared, tmp_path, wait_seconds=10)
    assert bits(tmp_path) == bits(whole(config))


@pytest.mark.full
def test_a_stopped_process_holds_the_folder_when_its_parent_is_dead(run_config, prepared, tmp_path):
    """It cannot write while it sleeps, and when it wakes it ends: till then nobody trains beside it."""
    config = run_config("e2", devices=2, epochs=120)
    parent = start(config, prepared, tmp_path)
    wait_for((tmp_path / ".checkpoint/state.safetensors").exists)
    children = psutil.Process(parent.pid).children()
    for child in children:
        child.suspend()
    parent.kill()
    parent.wait()
    try:
        with pytest.raises(UserError, match=f"process {parent.pid} is training there"):
            fit(config, prepared, tmp_path, wait_seconds=1)
    finally:
        for child in children:
            child.resume()
    psutil.wait_procs(children, timeout=10)
    with locked(tmp_path, wait_seconds=10):
        pass


@pytest.mark.full
@pytest.mark.parametrize(
    ("latent", "options"),
    [
        ("h2,s2", {"devices": 3, "batch_size": 7, "schedule": "cosine"}),  # the last batch has one record
        ("e2", {"devices": 2, "model": {"prior_scale": "learned"}, "records": 69}),  # one record validates
        ("6h2:learn", {"devices": 2, "curvature_start": 2, "curvature_learning_rate": 1e-3}),
        ("e2", {"devices": 2, "kind": "autoencoder", "patience": 1, "learning_rate": 0.3}),
        ("s3:vmf", {"devices": 2, "records": 70, "selection": "last"}),
    ],
)
def test_every_kind_of_run_has_the_same_bits_again(latent, options, run_config, prepared, whole, tmp_path):
    config = run_config(latent, **{"epochs": 6} | options)
    try:
        fit(config, prepared, tmp_path, on_epoch=kill_a_member_after(3), checkpoint_seconds=0)
    except UserError as error:
        assert "was killed by SIGKILL" in str(error)
    assert fit(config, prepared, tmp_path, checkpoint_seconds=0) == "finished"
    assert bits(tmp_path) == bits(whole(config))


@pytest.mark.full
def test_a_run_that_diverges_ends_in_all_processes(run_config, prepared, tmp_path):
    config = run_config("e2", devices=2, learning_rate=1e30, epochs=6)
    assert fit(config, prepared, tmp_path) == "diverged"
    assert read_json(tmp_path / "training.json")["cause"].endswith("the run diverged") and members() == []


@pytest.mark.full
def test_noise_does_not_know_how_many_draw_it(run_config, prepared, tmp_path):
    """Epochs of two processes have the statistics of epochs of one: the losses of ten seeds differ by chance alone."""
    losses = {}
    for devices in (1, 2):
        losses[devices] = torch.tensor(
            [
                read_json(
                    self_trained(run_config("e2", seed=seed, devices=devices), prepared, tmp_path) / "training.json"
                )["validation.loss"]
                for seed in range(10)
            ]
        )
    difference = losses[1] - losses[2]
    assert difference.abs().mean() > 0 and difference.mean().abs() < 4 * difference.std() / 10**0.5


def self_trained(config, prepared, tmp_path):
    folder = tmp_path / f"{config.training.devices}-{config.seed}"
    fit(config, prepared, folder)
    return folder
