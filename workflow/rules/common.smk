# The study that the config describes, and the functions that look things up in it by wildcard.
import json
import os

from snakemake.exceptions import WorkflowError

from mcvae.config import read_config, validate_study
from mcvae.datasets import DATASETS
from mcvae.errors import UserError
from mcvae.gallery import compared
from mcvae.grid import VERSIONS, plan, weights_folder
from mcvae.sources import NETWORKS

ORIGIN = os.path.relpath(workflow.configfiles[-1]) if workflow.configfiles else "config"
try:
    for path in workflow.configfiles:
        read_config(path)  # Snakemake's own reading lets a key that is given twice replace the first
    PLAN = plan(validate_study(config, ORIGIN), ORIGIN)
except UserError as error:
    raise WorkflowError(str(error))


onstart:
    # Where `jobs` is given, as profiles/default does for Ray, Snakemake bounds the processes of this machine no more.
    if workflow.local_exec:
        for amounts in (workflow.scheduler.global_resources, workflow.scheduler.resources):
            amounts["_cores"] = workflow.cores


wildcard_constraints:
    dataset="|".join(DATASETS),
    network="|".join(NETWORKS),
    samples=r"\d+",
    digest="[0-9a-f]{8}",
    hash="[0-9a-f]{8}",
    run=r"[a-z0-9][A-Za-z0-9_.-]*-s\d+-[0-9a-f]{8}",
    protocol="[a-z]+",
    experiment="[a-z0-9][a-z0-9-]*",
    study="[a-z0-9][a-z0-9-]*",
    rung=r"\d+",


def planned_run(wildcards):
    if wildcards.run not in PLAN.runs:
        raise WorkflowError(f"run {wildcards.run!r} is not in {ORIGIN}; name another config with --configfile")
    return PLAN.runs[wildcards.run]


def planned_experiment(wildcards):
    if wildcards.experiment not in PLAN.experiments:
        known = ", ".join(PLAN.experiments)
        raise WorkflowError(f"experiment {wildcards.experiment!r} is not in {ORIGIN}; it has {known}")
    return PLAN.experiments[wildcards.experiment]


def version_of(stage):
    return VERSIONS[stage]


def run_files(runs, *names):
    return [str(run.folder / name) for run in runs for name in names]


def evaluated_files(runs):
    return [str(run.folder / name) for run in runs for name in run.evaluated]


# prepare.smk


def raw_sums(wildcards):
    data = PLAN.data.get(wildcards.dataset)
    if data is None or data.hash != wildcards.hash:
        raise WorkflowError(
            f"prepared data {wildcards.dataset}-{wildcards.hash} do not belong to {ORIGIN} and its data.source"
        )
    return str(data.raw / "SHA256SUMS")


def preparation_options(wildcards):
    return json.dumps(PLAN.data[wildcards.dataset].options, sort_keys=True)


# train.smk and evaluate.smk


def prepared_stats(wildcards):
    return str(planned_run(wildcards).prepared / "stats.json")


def run_configuration(wildcards):
    return planned_run(wildcards).canonical


def training_processes(wildcards):
    return planned_run(wildcards).config.training.devices


def training_memory(wildcards):
    return 2000 * training_processes(wildcards)


def attribute_classifier(wildcards):
    run = planned_run(wildcards)
    if not DATASETS[run.config.dataset].attributes:
        return []
    folder = f"resources/classifiers/{run.prepared.name}"
    return [f"{folder}/classifier.json", f"{folder}/model.safetensors"]


def fingerprint_baseline(wildcards):
    run = planned_run(wildcards)
    return f"resources/baselines/{run.prepared.name}/fingerprints.npz" if run.config.dataset == "qm9" else []


def network_sums(*networks):
    return [str(weights_folder(network) / "SHA256SUMS") for network in networks]


def evaluation_networks(wildcards):
    return network_sums(*planned_run(wildcards).evaluation.networks)


def inception_features(wildcards):
    run = planned_run(wildcards)
    samples = run.evaluation.samples
    return f"resources/features/{run.prepared.name}/inception-{samples}.safetensors" if run.evaluation.fid else []


def evaluation_options(wildcards):
    return json.dumps(planned_run(wildcards).evaluation.model_dump(mode="json"), sort_keys=True)


# figures.smk and tables.smk


def run_of_experiment(wildcards):
    run = planned_experiment(wildcards).by_id.get(wildcards.run)
    if run is None:
        raise WorkflowError(f"run {wildcards.run!r} is not in experiment {wildcards.experiment!r} of {ORIGIN}")
    return run


def plotted_run(wildcards):
    return run_files([run_of_experiment(wildcards)], "run.json", "metrics.json", "latents.npz")


def plotted_weights(wildcards):
    run = run_of_experiment(wildcards)
    return [*run_files([run], "model.safetensors"), str(run.prepared / "stats.json")]


def data_note(wildcards):
    return PLAN.data[planned_experiment(wildcards).spec.dataset].note


def experiment_histories(wildcards):
    return run_files(planned_experiment(wildcards).runs, "history.csv", "metrics.json")


def experiment_metrics(wildcards):
    return evaluated_files(planned_experiment(wildcards).runs)


def compared_runs(wildcards):
    runs = planned_experiment(wildcards).runs
    places = compared([run.config for run in runs])
    return run_files([runs[place] for place in places], "run.json", "metrics.json", "latents.npz")


def experiment_costs(wildcards):
    runs = planned_experiment(wildcards).runs
    return evaluated_files(runs) + run_files(runs, "provenance.json")


def experiment_references(wildcards):
    return list(planned_experiment(wildcards).references)


def experiment_spec(wildcards):
    return planned_experiment(wildcards).spec.model_dump_json()


# search.smk


def decisions():
    return [
        f"results/{rung.place}"
        for experiment in PLAN.experiments.values()
        for rung in experiment.rungs
        if not rung.last
    ]


def planned_rung(wildcards):
    for rung in planned_experiment(wildcards).rungs:
        if (str(rung.number), rung.digest) == (wildcards.rung, wildcards.digest):
            return rung
    raise WorkflowError(
        f"rung {wildcards.rung} with the digest {wildcards.digest} is not one of experiment "
        f"{wildcards.experiment!r} of {ORIGIN}, or the rung before it is not decided"
    )


def rung_trainings(wildcards):
    return [f"results/{member.place}/training.json" for member in planned_rung(wildcards).members]


def rung_text(wildcards):
    return planned_rung(wildcards).text


def search_metrics(wildcards):
    if not planned_experiment(wildcards).rungs:
        raise WorkflowError(f"experiment {wildcards.experiment!r} of {ORIGIN} is no search: it has no ranking")
    return experiment_metrics(wildcards)


# report.smk


def report_metrics(wildcards):
    return evaluated_files(PLAN.runs.values()) + run_files(PLAN.runs.values(), "provenance.json")


def report_tables(wildcards):
    return [f"results/tables/{name}.{suffix}" for name in PLAN.experiments for suffix in ("csv", "md", "tex")] + [
        f"results/tables/{experiment.name}.ranking.{suffix}"
        for experiment in PLAN.experiments.values()
        if experiment.rungs
        for suffix in ("csv", "md")
    ]


def report_figures(wildcards):
    # Of one seed of a configuration; another is drawn on demand, by naming its file.
    return (
        [
            f"results/figures/{experiment.name}/{kind}.svg"
            for experiment in PLAN.experiments.values()
            for kind in experiment.figures
        ]
        + [
            f"results/figures/{experiment.name}/{run.id}.{kind}.svg"
            for experiment in PLAN.experiments.values()
            for run in experiment.shown
            for kind in run.figures
        ]
        + [
            f"results/figures/{experiment.name}/{run.id}.{kind}.html"
            for experiment in PLAN.experiments.values()
            for run in experiment.shown
            for kind in run.pages
        ]
    )


def study_text(wildcards):
    return PLAN.study.model_dump_json(exclude={"data"})
