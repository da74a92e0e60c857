"""Every row can be measured, the file says what was, and what cannot be measured is an error that names it."""

import contextlib
import json
import math

import pytest
import torch

from mcvae.bench import gpu, run
from mcvae.bench.harness import Bar, Measurement
from mcvae.bench.rows import Row, chosen, table
from mcvae.bench.steps import Bench
from mcvae.cli import main
from mcvae.errors import UserError

ROWS = {row.name: row for row in table()}
CPU = [row for row in ROWS.values() if row.device == "cpu"]


# Compiling takes half a minute a row: one of each kind, the others differ from these in the latent space alone.
COMPILED = (
    "step/e5/64/compiled",
    "step/h2,s2,e2/compiled",
    "vmf/6/gaussian/compiled",
    "vmf/6/usual/compiled",
    "density/6h2/compiled",
    "epoch/s5:vmf",
    "pythae/SVAE/epoch",
)


def heavy(row):
    """Rows that compile or train in processes of their own are for the whole grid."""
    whole = row.compiles or row.name.startswith("memory")
    return pytest.param(row, id=row.name, marks=[pytest.mark.full, pytest.mark.slow] if whole else [])


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A folder for compiled code."""
    return str(tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("row", [heavy(row) for row in CPU if not row.compiles or row.name in COMPILED])
def test_a_row_is_built_and_measured(row, digits, tiny, monkeypatch, cache):
    if row.name.startswith("pythae"):
        pytest.importorskip("pythae")
    monkeypatch.setenv("XDG_CACHE_HOME", cache)
    result = run.measured(row, Bench(digits, tiny))
    assert result.error is None
    assert all(math.isfinite(value) for value in result.measurement.values)
    assert result.measurement.unit == "nats" or result.measurement.median > 0
    assert all(len(values) >= 1 for values in result.measurement.sides.values())


@pytest.mark.parametrize("name", [name for name in ROWS if name.startswith("gpu/") and name.endswith("/eager")])
def test_a_gpu_row_is_built_and_measured_on_the_cpu_too(name, digits, tiny, monkeypatch):
    monkeypatch.setattr(gpu, "CARD", 32)
    monkeypatch.setattr(gpu, "FACES", 128)
    monkeypatch.setattr(gpu, "CHANNELS", (4, 4))
    result = run.measured(ROWS[name]._replace(device="cpu"), Bench(digits, tiny))
    assert result.error is None and result.measurement.median > 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", [name for name in ROWS if name.startswith("gpu/")])
def test_a_gpu_row_is_built_and_measured(name, digits, tiny, monkeypatch):
    monkeypatch.setattr(gpu, "FACES", 256)
    result = run.measured(ROWS[name], Bench(digits, tiny, "cuda"))
    assert result.error is None and result.measurement.median > 0


def test_rows_have_names_and_texts_of_their_own():
    assert len(ROWS) == len(table()) == len({row.what for row in ROWS.values()})
    assert all(row.compiles == (mode != "eager") for row in CPU for mode in [row.name.rsplit("/")[-1]] if mode in (
        "eager", "compiled"
    ))  # fmt: skip


def test_the_texts_say_how_much_is_measured(digits, tiny):
    numbers = run.numbers(tiny._replace(images=10**6, peer_records=200), digits)
    texts = {name: row.what.format(**numbers) for name, row in ROWS.items()}
    assert texts["epoch/e5"] == "usual loop's epoch / epoch of e5 (300 images, batch 128)"
    assert texts["pythae/VAE/elbo"] == "test ELBO of e5 - pythae VAE's after 1 such epochs, 1 seeds"
    assert texts["pythae/VAE/epoch"].endswith("(200 images, batch 128)")
    assert texts["likelihood/e5/time"].startswith("4-sample log-likelihood of e5 (60 images)")


@pytest.mark.parametrize("name, asked", [("gpu/step/e5/graph", True), ("gpu/step/e5/compiled", False)])
def test_a_row_of_graphs_is_compiled_as_the_trainer_does_on_a_gpu_and_one_of_compiled_code_without_them(
    name, asked, digits, tiny, monkeypatch
):
    given = []

    @contextlib.contextmanager
    def pretended(wanted, device, graphs):
        given.append((wanted, device, graphs))
        yield

    monkeypatch.setattr(run, "compiler", pretended)
    measure = lambda bench: Measurement([1.0])  # noqa: E731
    run.measured(ROWS[name]._replace(measure=measure, device="cpu"), Bench(digits, tiny))
    assert given == [(True, "cpu", asked)]


def test_a_row_of_rates_shows_the_models_beside_the_cards():
    sides = {gpu.RATE: [2.0, 3.0, 4.0], f"the card's {gpu.RATE}": [60.0]}
    result = run.Result(ROWS["gpu/step/e5/graph"], Measurement([0.5, 0.4, 0.3], "ms", sides, gpu.RATE), None, 1.0)
    assert run.shown(result, 60).endswith("0.4 ms        0.3 – 0.5  3 of the card's 60 TFLOP/s")


def test_the_file_holds_every_row_with_its_numbers(tmp_path, tiny):
    lines, output = [], tmp_path / "results" / "bench.json"
    assert run.bench(output, lines.append, only="density/6h2/eager", device="cpu", effort=tiny) == 0
    document = json.loads(output.read_text())
    assert document["version"] == run.VERSION and document["effort"] == json.loads(json.dumps(tiny._asdict()))
    assert document["machine"]["threads"] == 1 and document["machine"]["versions"]["torch"] == torch.__version__
    assert "digits" in document["data"]
    (row,) = document["rows"]
    assert row["name"] == "density/6h2/eager" and row["verdict"] in ("pass", "miss") and row["error"] is None
    assert row["bar"] == {"relation": "<=", "value": 1.5, "aim": None} and row["unit"] == "x"
    assert row["low"] <= row["median"] <= row["high"] and len(row["blocks"]) == tiny.blocks
    assert len(row["sides"]) == 2 and row["side_unit"] == "s"
    (shown,) = [line for line in lines if line.startswith("draw, KL, backward of 6h2")]
    assert "<= 1.5" in shown and shown.endswith(row["verdict"])


def rows_of(*values):
    """One row a value: measured if it is a number, raised if it is an exception."""

    def measure(value):
        if isinstance(value, Exception):
            raise value
        return Measurement([value], "x", {}, "s")

    return [Row(f"row/{i}", f"row {i}", Bar("<=", 1.0), lambda _, v=v: measure(v)) for i, v in enumerate(values)]


def test_a_row_that_cannot_be_measured_fails_loudly_and_alone(tmp_path, tiny, monkeypatch):
    broken = UserError("latent 'q2': not built yet")
    monkeypatch.setattr("mcvae.bench.rows.table", lambda: rows_of(0.5, broken, 2.0))
    lines = []
    assert run.bench(tmp_path / "bench.json", lines.append, device="cpu", effort=tiny) == 1
    rows = json.loads((tmp_path / "bench.json").read_text())["rows"]
    assert [row["verdict"] for row in rows] == ["pass", "error", "miss"]
    assert rows[1]["error"] == "UserError: latent 'q2': not built yet" and rows[1]["median"] is None
    assert any(line.endswith("ERROR") for line in lines)
    assert "row/1: UserError: latent 'q2': not built yet" in lines
    assert lines[-1].startswith("1 pass, 1 miss, 1 could not be measured")


def test_a_missed_bar_is_a_result_and_no_error(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr("mcvae.bench.rows.table", lambda: rows_of(2.0))
    assert run.bench(tmp_path / "bench.json", lambda line: None, device="cpu", effort=tiny) == 0


def test_rows_are_chosen_by_a_part_of_their_name_or_a_pattern():
    names = [row.name for row in chosen("step/*/eager", ("cpu",))]
    assert "step/e5/64/eager" in names and "step/h2,s2,e2/eager" in names
    assert all(name.startswith("step/") and name.endswith("/eager") for name in names)
    assert {row.name for row in chosen("likelihood", ("cpu",))} == {"likelihood/e5/time", "likelihood/e5/memory"}
    assert {row.device for row in chosen(None, ("cpu",))} == {"cpu"}


def test_what_is_not_there_is_one_sentence(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", "--only", "q2"]) == 2
    assert "--only q2: matches no row; the rows here are step/e5/64/eager, " in capsys.readouterr().err
    assert main(["bench", "--data", "nowhere", "--only", "density"]) == 2
    assert "nowhere: not a prepared data set" in capsys.readouterr().err
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["bench", "--device", "cuda"]) == 2
    assert "torch finds no GPU here" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()
