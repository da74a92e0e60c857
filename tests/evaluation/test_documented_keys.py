"""results/README.md and the files agree: what is written is documented, and what is documented is written."""

import csv
import re
import shutil
from pathlib import Path

import pytest

from mcvae.evaluation import evaluate
from mcvae.evaluation.inception import INCEPTION_KEYS
from mcvae.evaluation.perceptual import LPIPS_KEY
from mcvae.options import Evaluation

README = Path(__file__).parents[2] / "results" / "README.md"
OPTIONS = Evaluation(importance_samples=4, knn_labels=20, samples=64, likelihood_curve=(1, 2), diagnostics=20)
NETWORKED = {*INCEPTION_KEYS, LPIPS_KEY}  # of weights that are not here: tests/evaluation/test_perceptual.py has others
BUDGETS = {"label_budgets": (5, 10), "label_draws": 2}
RUNS = {"mnist": "h2,2s2,e3", "celeba": "e4", "qm9": "h2,e2", "surface": "s2:vmf"}


def documented(heading):
    """A pattern for each name in the first column of the table under a heading; {braces} stand for any word."""
    section = README.read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    cells = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `")]
    names = [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
    assert names
    return {name: re.compile(re.sub(r"\\\{\w+\\\}", r"\\w+", re.escape(name))) for name in names}


@pytest.fixture(scope="module")
def written(trained, tmp_path_factory):
    """The keys of metrics.json and the columns of history.csv of runs of each data set and of a single surface."""
    found = {}
    for dataset, latent in RUNS.items():
        prepared, folder = trained("mnist" if dataset == "surface" else dataset, latent)
        folder = shutil.copytree(folder, tmp_path_factory.mktemp(dataset) / "run")
        options = OPTIONS.model_copy(update=BUDGETS if dataset == "mnist" else {})
        with open(folder / "history.csv", newline="") as file:
            columns = next(csv.reader(file))
        found[dataset] = {"metrics.json": set(evaluate(folder, prepared, options)), "history.csv": set(columns)}
    return found


@pytest.mark.parametrize("dataset", RUNS)
def test_every_key_of_the_metrics_is_documented(dataset, written):
    patterns = documented("Keys of metrics.json").values()
    keys = written[dataset]["metrics.json"] | (NETWORKED if dataset == "celeba" else set())
    assert {key for key in keys if not any(pattern.fullmatch(key) for pattern in patterns)} == set()


@pytest.mark.parametrize("dataset", RUNS)
def test_every_column_of_the_history_is_documented(dataset, written):
    patterns = list(documented("Columns of history.csv").values())
    columns = written[dataset]["history.csv"]
    assert {name for name in columns if not any(pattern.fullmatch(name) for pattern in patterns)} == set()


@pytest.mark.parametrize(
    ("heading", "file"), [("Keys of metrics.json", "metrics.json"), ("Columns of history.csv", "history.csv")]
)
def test_every_documented_name_is_written_by_some_run(heading, file, written):
    names = NETWORKED.union(*(files[file] for files in written.values()))
    unknown = {
        name for name, pattern in documented(heading).items() if not any(pattern.fullmatch(key) for key in names)
    }
    assert unknown == set()
