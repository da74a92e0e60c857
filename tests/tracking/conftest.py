"""A small study that was really trained, and a store that shows it."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from mcvae.config import validate_study
from mcvae.grid import Plan, plan
from mcvae.options import Evaluation

STUDY = {
    "study": "small",
    "experiments": {
        "digits": {
            "dataset": "mnist",
            "latents": ["h2,e1", "e2"],
            "kinds": ["vae", "autoencoder"],
            "hidden": [[16]],
            "seeds": 1,
            "training": {"epochs": 2, "batch_size": 128},
        },
    },
}
MOLECULES = {
    "study": "molecules",
    "experiments": {
        "qm9": {
            "dataset": "qm9",
            "latents": ["e4"],
            "hidden": [[8, 16]],
            "seeds": 1,
            "training": {"epochs": 1, "batch_size": 32},
        }
    },
}


@dataclass
class Made:
    """A folder in which a study was trained and evaluated, or a copy of one."""

    root: Path
    plan: Plan

    @property
    def results(self) -> Path:
        return self.root / "results"

    @property
    def experiment(self) -> str:
        return next(iter(self.plan.experiments))

    def folder(self, latent: str, kind: str = "vae") -> Path:
        """The folder of a run."""
        [found] = [
            run for run in self.plan.runs.values() if run.config.latent == latent and run.config.model.kind == kind
        ]
        return self.results / found.place

    def prepared(self) -> Path:
        """The folder of its prepared data."""
        return self.root / next(iter(self.plan.data.values())).prepared

    @contextmanager
    def changed(self, statement: str, *values: object) -> Iterator[None]:
        """Change the store behind MLflow's back, and back again."""
        with (
            closing(sqlite3.connect(self.results / "mlflow.db")) as store,
            closing(sqlite3.connect(":memory:")) as kept,
        ):
            store.backup(kept)
            assert store.execute(statement, values).rowcount > 0
            store.commit()
            try:
                yield
            finally:
                kept.backup(store)


def make(root: Path, study: dict) -> Made:
    from mcvae.data import fetch, prepare
    from mcvae.evaluation import evaluate
    from mcvae.training import fit

    made = Made(root, plan(validate_study(study)))
    for data in made.plan.data.values():
        fetch(data.dataset, data.source, root / data.raw)
        prepare(data.dataset, root / data.raw, root / data.prepared, data.options)
    for run in made.plan.runs.values():
        fit(run.config, root / run.prepared, root / run.folder)
        evaluate(root / run.folder, root / run.prepared, Evaluation(importance_samples=2, images=10, samples=64))
    return made


@pytest.fixture(scope="session")
def _digits(tmp_path_factory) -> Made:
    return make(tmp_path_factory.mktemp("digits"), STUDY)


@pytest.fixture(scope="session")
def molecules(tmp_path_factory) -> Made:
    """A run on molecules, trained once a session."""
    return make(tmp_path_factory.mktemp("molecules"), MOLECULES)


@pytest.fixture(scope="session")
def _store(tmp_path_factory) -> Path:
    from mcvae import tracking

    results = tmp_path_factory.mktemp("store")
    tracking.open_store(results)
    return results / "mlflow.db"


@pytest.fixture
def made(_digits, _store, tmp_path, monkeypatch) -> Made:
    """A copy of the trained study, with a store that shows nothing yet."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(_digits.root, tmp_path / "digits")
    shutil.copy(_store, tmp_path / "digits/results")
    return Made(tmp_path / "digits", _digits.plan)


@pytest.fixture
def shown(made) -> SimpleNamespace:
    """The study in MLflow: ``client``, and ``run(folder)``, ``models(folder)``, ``load(folder)`` of a run's folder."""
    from mcvae import tracking
    from mcvae.tracking.model import logged_models

    client = tracking.open_store(made.results)
    tracking.sync_study(made.plan, made.results)

    def run(folder):
        experiment = client.get_experiment_by_name(made.experiment).experiment_id
        [found] = client.search_runs([experiment], filter_string=f"tags.`mcvae.run` = '{folder.name}'")
        return found

    def models(folder):
        return logged_models(client, run(folder))

    def load(folder):
        import mlflow

        [model] = models(folder)
        return mlflow.pyfunc.load_model(model.artifact_location)

    return SimpleNamespace(client=client, run=run, models=models, load=load)
