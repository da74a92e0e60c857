"""Growth: names are made once a run, batches and targets cut a study into parts, and the benchmark can be trusted."""

import copy
import importlib.util
import re
import sys

import pytest
from workspace import ROOT, SMALL, Workspace

from mcvae import grid
from mcvae.config import validate_study


@pytest.fixture(scope="module")
def growth():
    spec = importlib.util.spec_from_file_location("growth", ROOT / "tests/benchmarks/growth.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["growth"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["growth"]


def test_the_benchmarks_study_has_as_many_runs_as_it_says(growth):
    for runs in (100, 700):
        assert len(grid.plan(validate_study(growth.study(runs))).runs) == runs
    with pytest.raises(ValueError, match="multiple of 100"):
        growth.study(150)


def test_names_of_a_run_are_made_once_however_often_they_are_asked_for(growth, monkeypatch):
    made = []
    original = grid.canonical_json
    monkeypatch.setattr(grid, "canonical_json", lambda value: made.append(1) or original(value))
    planned = grid.plan(validate_study(growth.study(100)))
    (experiment,) = planned.experiments.values()
    for _ in range(50):
        for run in experiment.runs:
            assert experiment.by_id[run.id] is run and run.folder.name == run.id and run.prepared.name
    assert len(made) < 3 * 100


def test_the_power_of_a_growth_is_found_beside_its_start(growth):
    for start, power in ((5.0, 1.0), (0.0, 2.0), (2.0, 1.5)):
        factor = 50 / 10_000**power
        costs = [growth.Cost("x", n, 0.0, start + factor * n**power, 1.0) for n in (100, 500, 1000, 2000, 10000)]
        found = growth.fit(costs)
        assert found[:2] == pytest.approx((start, power), abs=0.1)
        assert found[2] == pytest.approx(start + factor * 100_000**power, rel=0.1)


def test_a_growth_that_its_start_hides_gets_no_power(growth):
    costs = [growth.Cost("x", n, 0.0, 5.0 + 1e-4 * n, 1.0) for n in (100, 500, 2000)]
    assert growth.fit(costs)[1] is None and growth.fit(costs)[2] == pytest.approx(15.0, rel=0.01)


def test_the_table_has_a_row_a_stage_and_a_column_a_size(growth):
    costs = [growth.Cost(stage, runs, 2.0, 1.0, 50.0) for stage in ("plan", "dry run") for runs in (100, 2000)]
    head, rule, *rows = growth.table(costs).splitlines()
    assert "| 100 | 2,000 |" in head and len(rows) == 2
    assert len({line.count("|") for line in (head, rule, *rows)}) == 1


@pytest.mark.slow
def test_planning_is_measured(growth, tmp_path):
    growth.make_door(tmp_path, 100)
    plan, dry = growth.planning(tmp_path, 100)
    assert (plan.stage, dry.stage) == ("plan", "dry run") and dry.runs == 100
    assert 0 < plan.busy <= plan.seconds + 0.1 and 0 < dry.busy and dry.megabytes > 20
    assert (tmp_path / "workflow/scripts/train_run.py").read_text() == growth.NO_TRAINING
    assert (ROOT / "workflow/scripts/train_run.py").read_text() != growth.NO_TRAINING


@pytest.mark.full
@pytest.mark.ray
def test_a_hundred_runs_without_training_pass_every_stage(growth, tmp_path):
    growth.make_door(tmp_path, 100)
    growth.prepare(tmp_path, 2)
    costs = growth.training(tmp_path, 100, 2) + growth.reading(tmp_path, 100, ("tables", "report"))
    assert [cost.stage for cost in costs] == ["training jobs", "nothing to do", "tables", "report"]
    assert max(cost.megabytes for cost in costs[:2]) < 1000


@pytest.mark.slow
def test_batches_share_out_the_runs_of_a_study(tmp_path):
    study = copy.deepcopy(SMALL)
    study["experiments"]["digits"]["seeds"] = 3
    workspace = Workspace(tmp_path, study)
    seen = []
    for batch in ("1/3", "2/3"):  # the last one asks for the files of those before it
        output = workspace.snakemake("-n", "runs", "--batch", f"runs={batch}")
        found = re.findall(r"^rule train_run:.*?wildcards: dataset=mnist, run=(\S+)$", output, re.M | re.S)
        assert len(found) == 2
        seen += found
    assert len(set(seen)) == 4


@pytest.mark.slow
def test_a_target_makes_one_experiment_alone(tmp_path):
    study = copy.deepcopy(SMALL)
    study["experiments"]["more"] = {**study["experiments"]["digits"], "latents": ["s2"]}
    jobs = Workspace(tmp_path, study).jobs("results/tables/more-standin.csv")
    assert jobs == {"fetch_raw": 1, "prepare_data": 1, "train_run": 1, "evaluate_run": 1, "write_table": 1, "total": 5}
