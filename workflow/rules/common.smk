# The study that the config describes, and the functions that look things up in it by wildcard.
import json
import os

from snakemake.exceptions import WorkflowError

from mcvae.config import read_config, validate_study
from mcvae.errors import UserError
from mcvae.grid import VERSIONS, plan

ORIGIN = os.path.relpath(workflow.configfiles[-1]) if workflow.configfiles else "config"
try:
    for path in workflow.configfiles:
        read_config(path)  # Snakemake's own reading lets a key that is given twice replace the first
    PLAN = plan(validate_study(config, ORIGIN), ORIGIN)
except UserError as error:
    raise WorkflowError(str(error))


wildcard_constraints:
    dataset="mnist|celeba|qm9",
    digest="[0-9a-f]{8}",
    hash="[0-9a-f]{8}",
    run=r"[a-z0-9][A-Za-z0-9_.-]*-s\d+-[0-9a-f]{8}",
    experiment="[a-z0-9][a-z0-9-]*",
    study="[a-z0-9][a-z0-9-]*",


def planned_run(wildcards):
    if wildcards.run not in PLAN.runs:
        raise WorkflowError(f"run {wildcards.run!r} is not in {ORIGIN}; name another config with --configfile")
    return PLAN.runs[wildcards.run]


def planned_experiment(wildcards):
    if wildcards.experiment not in PLAN.experiments:
        known = ", ".join(PLAN.experiments)
        raise WorkflowError(f"experiment {wildcards.experiment!r} is not in {ORIGIN}; it has {known}")
    return PLAN.experiments[wildcards.experiment]


def run_files(runs, *names):
    return [str(run.folder / name) for run in runs for name in names]


def experiment_files(wildcards, *names):
    return run_files(planned_experiment(wildcards).runs, *names)


def prepared_stats(wildcards):
    return str(planned_run(wildcards).prepared / "stats.json")


def shown_runs(experiment):
    # One seed of a configuration is drawn; another is drawn on demand, by naming its file.
    first = min(run.config.seed for run in experiment.runs)
    return [run for run in experiment.runs if run.config.seed == first]


def version_of(stage):
    return VERSIONS[stage]


def experiment_metrics(wildcards):
    return experiment_files(wildcards, "metrics.json")
