"""Whether a step is compiled follows from the configuration; compiled steps are the eager ones, and resume equally."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mcvae.errors import UserError
from mcvae.files import read_json
from mcvae.models import Terms
from mcvae.training import checkpoint, compilation, fit, load_run
from mcvae.training.compilation import compiler, inductor_options

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


@pytest.fixture(scope="module")
def private_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
        yield


def test_without_a_compiler_one_sentence_says_what_to_do(run_config, prepared, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UserError, match=r"no C\+\+ compiler .* install g\+\+, or set training\.compile: off"):
        fit(run_config(compile="on"), prepared, tmp_path / "run")
    fit(run_config(compile="off", epochs=1), prepared, tmp_path / "other")


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


def test_a_cache_that_the_user_names_is_held_to_the_same(tmp_path, monkeypatch):
    folder = tmp_path / "mine"
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(folder))
    assert compilation.cache_folder() == str(folder) and folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    with pytest.raises(UserError, match=r"others own .*mine or may write to it.* set TORCHINDUCTOR_CACHE_DIR"):
        compilation.cache_folder()
    folder.rmdir()
    folder.write_text("")
    with pytest.raises(UserError, match=r"mine cannot be made .* set TORCHINDUCTOR_CACHE_DIR"):
        compilation.cache_folder()


def test_the_folder_that_torch_chose_is_nobodys_wish(tmp_path, monkeypatch):
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", default_cache_dir())
    assert Path(compilation.cache_folder()).is_relative_to(tmp_path / "mcvae")


def test_the_environment_is_the_callers_again_whatever_the_compiler_sets(monkeypatch, private_cache):
    monkeypatch.setenv("TRITON_CACHE_DIR", "before")
    with compiler(True):
        assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == compilation.cache_folder()
        os.environ["TRITON_CACHE_DIR"] = "torch sets it for a GPU"
    assert os.environ["TRITON_CACHE_DIR"] == "before" and "TORCHINDUCTOR_CACHE_DIR" not in os.environ


@pytest.mark.parametrize("device, graphs, expected", [
    ("cpu", None, False), ("cpu", True, False), ("cuda", None, True), ("cuda:1", None, True), ("cuda", False, False),
])  # fmt: skip
def test_a_step_is_replayed_as_graphs_on_gpus_alone(device, graphs, expected):
    options = inductor_options(torch.device(device), graphs)
    assert options.pop("triton.cudagraphs") is expected
    assert options == {"fallback_random": True, "compile_threads": 1, "inplace_buffers": False}


def test_the_compiler_knows_each_of_its_options_and_forgets_them(private_cache):
    import torch._inductor.config as inductor

    before = inductor.triton.cudagraphs, inductor.fallback_random, inductor.inplace_buffers
    with compiler(True, "cuda"):
        assert (inductor.triton.cudagraphs, inductor.fallback_random, inductor.inplace_buffers) == (True, True, False)
    with compiler(True, "cuda", graphs=False):
        assert not inductor.triton.cudagraphs
    assert before == (inductor.triton.cudagraphs, inductor.fallback_random, inductor.inplace_buffers)


def test_what_an_epoch_collects_outlives_the_memory_of_a_graph():
    memory = torch.tensor([1.0, 2.0], requires_grad=True)
    made = Terms(memory.sum(), None, memory.detach(), memory.detach().unsqueeze(-1), None)
    kept = compilation.kept(made)
    memory.data.fill_(9.0)  # the next replay
    assert kept.reconstruction.tolist() == [1.0, 2.0] and kept.kl.tolist() == [[1.0], [2.0]]
    assert kept.loss is made.loss and kept.elbo is None and kept.property_error is None


@pytest.mark.parametrize("compiled", [True, False])
def test_a_resumed_run_is_computed_as_it_began_whatever_auto_says_now(
    compiled, run_config, prepared, tmp_path, monkeypatch
):
    asked = []

    @contextlib.contextmanager
    def pretended(wanted, device):
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
@pytest.mark.parametrize(
    ("latent", "options"),
    [
        ("h2", {"model": {"prior_scale": "learned"}}),
        pytest.param(
            "h2:learn,e2",
            {"model": {"decoder_input": "gyroplane", "prior_scale": "learned"}},
            marks=pytest.mark.full,
        ),
        pytest.param("u2", {"model": {"decoder_input": "gyroplane"}}, marks=pytest.mark.full),
        pytest.param("s2,p2", {"model": {"decoder_input": "gyroplane"}}, marks=pytest.mark.full),
        pytest.param("s2", {"model": {"principal": True}}, marks=pytest.mark.full),
        pytest.param("e2", {"kind": "autoencoder"}, marks=pytest.mark.full),
        pytest.param("h2", {"protocol": "grey"}, marks=pytest.mark.full),
        pytest.param("e2", {"dataset": "celeba"}, marks=pytest.mark.full),
        pytest.param("h2:learn", {"dataset": "celeba", "gradient_clip": 5.0}, marks=pytest.mark.full),
    ],
)
def test_every_kind_of_model_compiles_to_its_own_gradients(
    latent, options, run_config, prepared, prepared_faces, private_cache, tmp_path
):
    config = run_config(latent, compile="on", epochs=1, **options)
    folder = prepared_faces if config.dataset == "celeba" else prepared
    assert fit(config, folder, tmp_path) == "finished"
    assert read_json(tmp_path / "provenance.json")["compiled"] is True


@pytest.mark.slow
@pytest.mark.full
def test_convolutions_in_bfloat16_compile(private_cache):
    from mcvae import latent
    from mcvae.models import VAE
    from mcvae.models.conv import ConvDecoder, ConvEncoder
    from mcvae.models.inputs import Grey
    from mcvae.models.likelihoods import Gaussian

    torch.manual_seed(0)
    space, shape, low = latent.build("h2"), (3, 8, 8), torch.bfloat16
    encoder = ConvEncoder(shape, (8, 8), space.parameter_dim, precision=low)
    decoder = ConvDecoder(space.decoder_dim, (8, 8), shape, precision=low)
    model = VAE(space, encoder, decoder, Gaussian(3), Grey())
    batch = {"images": torch.randint(0, 256, (16, *shape), dtype=torch.uint8)}
    with compiler(True):
        terms = compilation.compiled_terms(model, 16, torch.device("cpu"))(batch, 1.0)
        terms.loss.backward()
    assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in model.parameters())


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
