"""A job computes on the GPU that it was given and nowhere else, and an epoch never waits for its device."""

import sys
from pathlib import Path

import pytest
import torch
import yaml
from snakemake.iocontainers import Namedlist
from snakemake.resources import Resource
from torch.utils._python_dispatch import TorchDispatchMode

from mcvae.errors import UserError
from mcvae.files import read_json
from mcvae.training import fit, load_run
from mcvae.training.devices import check_devices, cuda_problem, job_device, usable_device
from mcvae.training.fit import initial_state
from mcvae.training.loop import train_epoch, validate

ROOT = Path(__file__).parents[2]


@pytest.fixture
def pretend(monkeypatch):
    """Let torch see so many GPUs."""

    def to_see(gpus, built=True):
        monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: built)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)

    return to_see


def test_a_job_without_a_share_of_a_gpu_computes_on_the_cpu_even_beside_one(pretend):
    pretend(4)
    for given in ({}, {"mem_mb": 2000}, {"gpu": 0}, {"gpu_milli": 0}):
        assert job_device(Namedlist(fromdict=given)) == "cpu"


@pytest.mark.parametrize("given", [{"gpu": 1}, {"gpu_milli": 250}, {"gpu_milli": 1000, "mem_mb": 2000}])
def test_a_job_with_a_share_computes_on_the_gpu_that_it_sees(given, pretend):
    pretend(1)
    assert job_device(Namedlist(fromdict=given)) == "cuda"


def test_a_job_whose_gpu_torch_does_not_see_is_one_sentence(pretend, monkeypatch):
    pretend(0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(UserError, match=r"given 0\.25 GPU, but torch finds no GPU here \(CUDA_VISIBLE_DEVICES is ''\)"):
        job_device({"gpu_milli": 250})
    pretend(0, built=False)
    with pytest.raises(UserError, match=r"given 1 GPU, but torch .* is built without CUDA; take gpu_milli"):
        job_device({"gpu": 1})


def test_the_gpu_profile_gives_shares_to_the_rules_that_ask_for_their_device(pretend):
    pretend(1)
    profile = yaml.safe_load((ROOT / "profiles/gpu/config.yaml").read_text())["set-resources"]
    scripts = {path.stem for path in (ROOT / "workflow/scripts").glob("*.py") if "job_device" in path.read_text()}
    assert set(profile) == scripts and "train_run" in scripts
    for rule, given in profile.items():
        for devices in (1, 2, 4):
            threads = devices if rule == "train_run" else 1
            asked = Resource.from_cli_expression("gpu_milli", str(given["gpu_milli"]))
            milli = asked.evaluate(
                rulename=rule, threads=threads, wildcards={}, input=[], attempt=1, async_run=None
            ).value
            assert isinstance(milli, int)
            assert job_device({"gpu_milli": milli}, threads) == "cuda"


def test_a_run_of_several_gpus_needs_whole_ones(pretend):
    pretend(4)
    assert job_device({"gpu": 2}, 2) == job_device({"gpu_milli": 3000}, 2) == "cuda" and job_device({}, 2) == "cpu"
    with pytest.raises(UserError, match=r"training\.devices: 2 GPUs .* given 0\.25 GPU; give it gpu_milli: 2000"):
        job_device({"gpu_milli": 250}, 2)


def test_more_devices_than_there_are_gpus_are_one_sentence(pretend, run_config, prepared, tmp_path, monkeypatch):
    pretend(2)
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    check_devices(2, "cuda")
    check_devices(16, "cpu")
    with pytest.raises(
        UserError, match=r"training\.devices: 3 is more than the 2 .* \(CUDA_VISIBLE_DEVICES is '0,3'\)"
    ):
        fit(run_config(devices=3), prepared, tmp_path / "run", device="cuda")
    with pytest.raises(UserError, match=r"all processors or all GPUs, not 'cuda:1'; choose device cpu or cuda"):
        fit(run_config(devices=2), prepared, tmp_path / "run", device="cuda:1")
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: False)
    with pytest.raises(UserError, match=r"needs a torch with NCCL, and torch .* is built without it"):
        fit(run_config(devices=2), prepared, tmp_path / "run", device="cuda")
    assert not (tmp_path / "run").exists()


def test_a_device_that_is_not_there_is_one_sentence_before_anything_is_written(pretend, run_config, prepared, tmp_path):
    pretend(1)
    assert usable_device("cuda:0").index == 0 and usable_device("cpu").type == "cpu" and cuda_problem() is None
    with pytest.raises(UserError, match=r"device 'cuda:1': torch finds no GPU 1 here"):
        usable_device("cuda:1")
    with pytest.raises(UserError, match="device 'gpu': unknown to torch; choose cpu, cuda or cuda:1"):
        fit(run_config(), prepared, tmp_path / "run", device="gpu")
    pretend(0)
    with pytest.raises(UserError, match="device 'cuda': torch finds no GPU here"):
        fit(run_config(), prepared, tmp_path / "run", device="cuda")
    assert not (tmp_path / "run").exists()


class Crossings(TorchDispatchMode):
    """Counts the tensors that go from one device to another."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        if function in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default):
            source = arguments[-1] if function is torch.ops.aten.copy_.default else arguments[0]
            self.count += source.device != result.device
        return result


COMMON = "e5 s5:vmf h2,s2,e2 u5:learn"
OTHERS = "h5 s5 s5:ps 6h2:learn 6s2:vmf 3u2:learn p5 d5 h3:rn p3:rn s3:rn"


@pytest.mark.parametrize(
    ("latent", "kind"),
    [(latent, "vae") for latent in COMMON.split()]
    + [("e5", "autoencoder")]
    + [pytest.param(latent, "vae", marks=pytest.mark.full) for latent in OTHERS.split()],
)
def test_an_epoch_brings_its_order_to_the_device_and_never_waits_for_it(latent, kind, run_config):
    """On the meta device nothing has a value: whatever asked for one, or chose by one, would raise."""
    config = run_config(latent, kind=kind, gradient_clip=5.0)
    state = initial_state(config, {"tensors": {"images": {"shape": [64, 8, 8]}}}, "meta")
    images = {"images": torch.zeros(70, 8, 8, dtype=torch.uint8, device="meta")}
    with Crossings() as crossings:
        train_epoch(state, images, config.training, 0.5, 1e-3, 1e-3)
        assert crossings.count == 1
        validate(state.model, images)
        assert crossings.count == 1


def test_the_count_sees_what_crosses():
    with Crossings() as crossings:
        torch.zeros(3).to("meta")
        torch.empty(3, device="meta").copy_(torch.zeros(3))
        torch.zeros(3).to(torch.float64)
    assert crossings.count == 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("latent", ["e2", "s5:vmf", "h2:learn,e2"])
def test_on_a_gpu_steps_replayed_as_graphs_are_the_eager_ones(latent, run_config, prepared, tmp_path, monkeypatch):
    """20 steps, five of them on a smaller last batch; nothing kept the compiler from making graphs."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    stats, weights, skipped = read_json(prepared / "stats.json"), {}, []

    def note(row):
        counters = (
            sys.modules["torch._dynamo.utils"].counters["inductor"] if "torch._dynamo.utils" in sys.modules else {}
        )
        skipped.append(counters.get("cudagraph_skips", 0))

    for choice in ("on", "off"):
        config = run_config(latent, compile=choice, epochs=5, kl_warmup=3, gradient_clip=5.0)
        fit(config, prepared, tmp_path / choice, device="cuda", on_epoch=note)
        weights[choice] = load_run(tmp_path / choice, stats)[0].state_dict()
    assert skipped[4] == 0
    for name, tensor in weights["on"].items():
        torch.testing.assert_close(tensor, weights["off"][name], atol=1e-4, rtol=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_a_run_resumes_as_it_began(run_config, prepared, tmp_path):
    def stop(row):
        if row["epoch"] == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fit(run_config("h2"), prepared, tmp_path, device="cuda", on_epoch=stop, checkpoint_seconds=0)
    with pytest.raises(UserError, match="device 'cuda', this one has 'cpu'"):
        fit(run_config("h2"), prepared, tmp_path, device="cpu")
    assert fit(run_config("h2"), prepared, tmp_path, device="cuda") == "finished"
    assert read_json(tmp_path / "provenance.json")["resumed"] == 1
