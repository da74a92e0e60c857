"""Whether a step is compiled follows from the configuration; compiled steps are the eager ones, and resume equally."""

import contextlib
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import torch

from mcvae.config import RunConfig
from mcvae.errors import UserError
from mcvae.files import read_json
from mcvae.models import Terms
from mcvae.training import checkpoint, compilation, fit, load_run
from mcvae.training.compilation import STEPS, compiler, compiles

fit_module = sys.modules["mcvae.training.fit"]
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


def long(run_config, latent="h2", steps=STEPS, **options):
    """A configuration of so many steps on 160 records."""
    return run_config(latent, epochs=steps // 10, batch_size=16, **options)


def test_long_runs_of_curved_spaces_are_compiled_and_no_others(run_config):
    assert compiles(long(run_config), 160)
    assert not compiles(long(run_config, steps=STEPS - 10), 160)
    assert not compiles(long(run_config, "e2"), 160)
    assert compiles(long(run_config, "h2,e2"), 160)


def test_on_and_off_need_no_length(run_config):
    assert compiles(run_config(compile="on"), 50)
    assert not compiles(long(run_config, compile="off"), 160)


def test_only_networks_that_gain_are_compiled(run_config):
    def other(dataset, **options):
        value = long(run_config, **options).model_dump() | {"dataset": dataset, "protocol": "standard"}
        return RunConfig.model_validate(value)

    assert not compiles(other("celeba"), 160) and not compiles(other("qm9"), 160)
    assert compiles(other("celeba", compile="on"), 160)
    with pytest.raises(UserError, match="recurrent networks"):
        compiles(other("qm9", compile="on"), 160)


def test_without_a_compiler_one_sentence_says_what_to_do(run_config, prepared, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UserError, match=r"no C\+\+ compiler .* install g\+\+, or set training\.compile: off"):
        fit(run_config(compile="on"), prepared, tmp_path / "run")
    fit(run_config(compile="off", epochs=1), prepared, tmp_path / "other")


def test_without_pythons_headers_one_sentence_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", sys.executable)  # any program that there is
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(UserError, match=r"Python\.h is missing; .*python3-dev"):
        compilation.require_compiler()


def test_the_cache_of_compiled_code_is_private(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = Path(compilation.cache_folder())
    assert folder.is_relative_to(tmp_path / "mcvae") and folder == Path(compilation.cache_folder())
    made = [folder, *folder.parents][: len(folder.relative_to(tmp_path).parts)]
    assert [path.stat().st_mode & 0o777 for path in made] == [0o700] * 3
    folder.chmod(0o770)
    with pytest.raises(UserError, match=r"others own .* or may write to it"):
        compilation.cache_folder()


def test_a_cache_that_cannot_be_made_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"cannot be made .* set XDG_CACHE_HOME"):
        compilation.cache_folder()


@pytest.mark.parametrize("compiled", [True, False])
def test_a_resumed_run_is_computed_as_it_began_whatever_auto_says_now(
    compiled, run_config, prepared, tmp_path, monkeypatch
):
    asked = []

    @contextlib.contextmanager
    def pretended(wanted):
        asked.append(wanted)
        yield

    monkeypatch.setattr(fit_module, "compiler", pretended)
    monkeypatch.setattr(fit_module, "compiled_terms", lambda model, *rest: compilation.training_terms(model))
    monkeypatch.setattr(fit_module, "compiles", lambda *given: compiled)
    with pytest.raises(Killed):
        fit(run_config(), prepared, tmp_path, on_epoch=kill_after(1), checkpoint_seconds=0)
    assert checkpoint.saved_computation(checkpoint.path_of(tmp_path)) == (1, compiled)
    monkeypatch.setattr(fit_module, "compiles", lambda *given: not compiled)
    fit(run_config(), prepared, tmp_path)
    assert asked == [compiled] * 2
    assert read_json(tmp_path / "provenance.json")["compiled"] is compiled


@pytest.fixture(scope="module")
def private_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
        yield


@pytest.mark.slow
def test_compiled_steps_are_the_eager_ones(run_config, prepared, private_cache, tmp_path):
    """20 steps, five of them on a smaller last batch, while beta grows: one graph, the same noise, the same weights."""
    folders = {}
    for choice in ("on", "off"):
        config = run_config("h2:learn,e2", compile=choice, epochs=5, kl_warmup=4, gradient_clip=5.0)
        fit(config, prepared, tmp_path / choice)
        assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ
        folders[choice] = tmp_path / choice
    stats = read_json(prepared / "stats.json")
    on, off = (load_run(folders[choice], stats)[0].state_dict() for choice in ("on", "off"))
    for name, tensor in on.items():
        torch.testing.assert_close(tensor, off[name], atol=1e-5, rtol=1e-5)
    rows = [(folders[choice] / "history.csv").read_text().splitlines()[-1].split(",") for choice in ("on", "off")]
    assert [float(cell) for cell in rows[0]] == pytest.approx([float(cell) for cell in rows[1]], rel=1e-5)


def test_wrong_gradients_are_refused_and_rounding_is_not():
    class Line(torch.nn.Linear):
        def answer(self, factor):
            def terms(batch, beta):
                noise = torch.rand(4, 3)
                return Terms(beta * (self(noise).sum() + (factor - 1) * self.bias.sum()), None, noise, None, None)

            return terms

    torch.manual_seed(2)
    model = Line(3, 2)
    before = torch.get_rng_state()
    compilation.check_gradients(model, model.answer(1.0), model.answer(1 + 1e-5), {}, 1.0)
    with pytest.raises(UserError, match="another gradient of bias; set"):
        compilation.check_gradients(model, model.answer(1.0), model.answer(1.5), {}, 1.0)
    assert torch.equal(before, torch.get_rng_state())
    assert model.bias.grad is None


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.parametrize(
    "latent",
    "e5 h5 s5 h5:learn s5:learn p5 p5:learn d5 u5 u5:learn s5:vmf s5:ps h3:rn 6h2 6s2:vmf h2,s2,e2 3u2:learn".split(),
)
def test_every_space_compiles_to_its_own_gradients(latent, run_config, prepared, private_cache, tmp_path):
    """A wrong gradient would end the run."""
    assert fit(run_config(latent, compile="on", epochs=1), prepared, tmp_path) == "finished"


@pytest.mark.slow
def test_one_graph_serves_a_whole_run(run_config, prepared, private_cache, tmp_path):
    graphs = []

    def count(row):
        graphs.append(sys.modules["torch._dynamo.utils"].counters["stats"]["unique_graphs"])

    fit(run_config("h2", compile="on", epochs=4, kl_warmup=2), prepared, tmp_path, on_epoch=count)
    assert graphs == [graphs[0]] * 4


@pytest.mark.slow
def test_a_compiled_run_stopped_and_resumed_by_another_process_has_the_bits_of_one_that_was_not(
    run_config, prepared, private_cache, tmp_path
):
    config = run_config("h2", compile="on", kl_warmup=2)
    fit(config, prepared, tmp_path / "whole")
    with pytest.raises(Killed):
        fit(config, prepared, tmp_path / "resumed", on_epoch=kill_after(2), checkpoint_seconds=0)
    code = (
        "import sys; from mcvae.training import fit, read_config; from pathlib import Path\n"
        "fit(read_config(sys.argv[2]), sys.argv[1], Path(sys.argv[2]))"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    argv = [sys.executable, "-c", code, str(prepared), str(tmp_path / "resumed")]
    assert subprocess.run(argv, env=env, capture_output=True).returncode == 0
    assert read_json(tmp_path / "resumed/provenance.json")["resumed"] == 1
    assert bits(tmp_path / "resumed") == bits(tmp_path / "whole")


@pytest.mark.slow
def test_what_torch_cannot_compile_is_one_sentence(private_cache):
    class Undecided(torch.nn.Linear):
        def prepare(self, batch, train):
            return self(batch["x"]).sum()

        def terms(self, x, beta):
            return Terms(x if x > 0 else -x, None, x, None, None)  # a branch that depends on the data

    with compiler(True):
        terms = compilation.compiled_terms(Undecided(3, 2), 4, torch.device("cpu"))
        with pytest.raises(UserError, match="could not compile the training step") as caught:
            terms({"x": torch.ones(4, 3)}, 1.0)
    assert "\n" not in str(caught.value)
