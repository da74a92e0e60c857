"""The notebook of docs is about a run that the default study makes, was executed, and still runs."""

import json
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from mcvae.config import load_study, validate_study
from mcvae.grid import plan
from mcvae.options import Evaluation

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs/latent_spaces.ipynb"
STUDY = {
    "experiments": {
        "digits": {
            "dataset": "mnist",
            "latents": ["h2"],
            "hidden": [[16]],
            "training": {"epochs": 1, "batch_size": 128},
        }
    }
}


@pytest.fixture
def cells():
    """The code cells, in order."""
    return [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]


@pytest.fixture
def run_id(cells):
    """The run that the notebook loads."""
    (found,) = re.findall(r"runs/mnist/([\w.-]+)", "".join(cells[0]["source"]))
    return found


@pytest.fixture
def shown(monkeypatch):
    """What is displayed: IPython is no dependency of the tests."""
    seen: list[object] = []
    package, module = ModuleType("IPython"), ModuleType("IPython.display")
    package.version_info = (9, 0)  # matplotlib asks
    module.SVG = module.Image = lambda data: SimpleNamespace(data=data)
    module.display = seen.append
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return seen


def test_the_run_of_the_notebook_is_made_by_the_default_study(run_id):
    study = plan(load_study(ROOT / "config/config.yaml"))
    assert run_id in study.runs


def test_every_cell_runs(cells, run_id, shown, tmp_path, monkeypatch, capsys):
    from mcvae.data import fetch, prepare
    from mcvae.evaluation import evaluate
    from mcvae.training import fit

    study = plan(validate_study(STUDY))
    ((run,), (data,)) = study.runs.values(), study.data.values()
    folder, prepared = tmp_path / run.folder.parent / run_id, tmp_path / data.prepared
    fetch(data.dataset, data.source, tmp_path / data.raw)
    prepare(data.dataset, tmp_path / data.raw, prepared, data.options)
    fit(run.config, prepared, folder)
    evaluate(folder, prepared, Evaluation(importance_samples=2, images=10))
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path / "docs")
    names = {"__name__": "__main__"}
    for cell in cells:
        exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    said = capsys.readouterr().out
    assert "on the manifold: True" in said and "stand-in" in said
    assert len(shown) == 4 and shown[0].data.startswith("<?xml") and shown[1].data.startswith(b"\x89PNG")


def test_the_notebook_was_executed_and_is_small(cells):
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert all(cell["outputs"] for cell in cells) and {o["output_type"] for o in outputs} <= {"stream", "display_data"}
    assert all(output.get("name") != "stderr" for output in outputs)
    text = NOTEBOOK.read_text()
    assert len(text) < 1_500_000 and not re.search(r"/(home|root|tmp|work|opt)/", text)
