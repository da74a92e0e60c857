"""``mcvae …``: every stage of the workflow by hand, and what a user asks of an installation.

Heavy imports wait until a command needs them, so that ``--help`` answers at once.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from . import __version__
from .errors import UserError
from .logs import log_to

CONFIG = "config/config.yaml"
RESULTS = Path("results")
LEDGERS = Path("docs/results")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; bad input is one sentence on standard error and exit code 2."""
    arguments = build_parser().parse_args(argv)
    try:
        with log_to(None):
            return arguments.command(arguments) or 0
    except UserError as error:
        print(f"mcvae: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="mcvae", description="Fixed- and mixed-curvature variational autoencoders.")
    parser.add_argument("--version", action="version", version=f"mcvae {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(name, function, summary, *, study=False):
        sub = commands.add_parser(name, help=summary, description=summary)
        sub.set_defaults(command=function)
        if study:
            sub.add_argument("--config", default=CONFIG, help=f"config file of the study (default {CONFIG})")
            sub.add_argument("--data", help="embedded, download or a mirror's folder: replaces data.source")
        return sub

    command("plan", show_plan, "list the runs of a study", study=True)
    command("schema", show_schema, "print the JSON schema of a config file")
    for name, function, summary in (
        ("fetch", fetch_data, "fetch the raw files of a study's data sets, and weights that it asks for"),
        ("prepare", prepare_data, "fetch if need be, and prepare a study's data sets"),
    ):
        sub = command(name, function, summary, study=True)
        sub.add_argument("dataset", nargs="*", help="mnist, celeba, qm9 (default: all that the study needs)")
    for name, function, summary in (
        ("train", train_run, "train the run of a run.json, into its folder"),
        ("evaluate", evaluate_run, "evaluate a trained run: metrics.json and latents.npz"),
    ):
        sub = command(name, function, summary)
        sub.add_argument("run", type=Path, help="a run.json, or the folder that holds it")
        sub.add_argument(
            "--prepared", type=Path, help="folder of the prepared data (default: the run's, under resources/)"
        )
        sub.add_argument("--threads", type=int, default=1, help="torch threads (default 1)")
        sub.add_argument("--device", default="cpu", help="torch device (default cpu)")
    sub.add_argument("--protocol", help="score under this treatment of the test data: metrics-{protocol}.json alone")
    sub.add_argument("--options", default="{}", help='evaluation options as JSON, such as {"importance_samples": 50}')
    sub = command("table", write_tables, "write the tables of a study's experiments from finished runs", study=True)
    sub.add_argument("--ledger", type=Path, help=f"folder of ledgers such as {LEDGERS}, for runs that are not here")
    sub = command("record", record_runs, "add a study's evaluated runs to their experiments' ledgers", study=True)
    sub.add_argument("--ledger", type=Path, default=LEDGERS, help=f"folder of ledgers (default {LEDGERS})")
    command("report", write_report, "write the report of a study from what is there", study=True)
    sub = command("export", export, "write a study as one citable archive (RO-Crate)", study=True)
    sub.add_argument("--output", type=Path, help="the archive (default: results/{study}.crate.zip)")
    sub.add_argument("--licence", help="address of the archive's licence (default: CC BY 4.0)")
    sub.add_argument("--weights", action="store_true", help="put the runs' weights in as well")
    sub.add_argument("--partial", action="store_true", help="even if runs are missing; the archive lists them")
    sub = command("track", track, "copy a study's files into MLflow", study=True)
    how = sub.add_mutually_exclusive_group()
    how.add_argument("--follow", type=int, metavar="PID", help="go on while that process lives")
    how.add_argument("--check", action="store_true", help="copy nothing; exit with 1 where MLflow and the files differ")
    sub = command("bench", run_benchmarks, "measure speed and memory beside peers and limits, on one core")
    sub.add_argument("--only", metavar="PATTERN", help="rows whose name holds or matches this, such as 'step/*/eager'")
    sub.add_argument("--quick", action="store_true", help="little data, few repetitions: does it work?")
    sub.add_argument("--json", type=Path, default=RESULTS / "bench.json", help="file of the numbers")
    sub.add_argument("--device", choices=("all", "cpu", "cuda"), default="all", help="default: all that is there")
    sub.add_argument(
        "--data", type=Path, help="folder of prepared MNIST (default: as `mcvae prepare` left it, or digits)"
    )
    sub = command("ui", open_ui, "serve the MLflow pages on this computer only")
    sub.add_argument("--port", type=int, default=5000, help="port on 127.0.0.1 (default 5000)")
    sub = command("doctor", doctor, "say what this environment has and lacks")
    sub.add_argument("--quiet", action="store_true", help="say only what is missing")
    return parser


def planned(arguments: argparse.Namespace):
    """The plan of the study that the arguments name."""
    from .config import load_study
    from .grid import plan

    return plan(load_study(arguments.config, arguments.data), arguments.config)


def show_plan(arguments: argparse.Namespace) -> None:
    """mcvae plan"""
    study = planned(arguments)
    for data in study.data.values():
        print(f"{data.dataset}: {data.note}\n  {data.raw} -> {data.prepared}")
    for experiment in study.experiments.values():
        print(f"{experiment.name}: {len(experiment.runs)} runs")
        for run in experiment.runs:
            done = "done" if (run.folder / "metrics.json").exists() else "to do"
            print(f"  {done:5} {run.folder}")
    print(f"{len(study.runs)} different runs in all")
    for warning in study.warnings:
        print(f"note: {warning}")


def show_schema(arguments: argparse.Namespace) -> None:
    """mcvae schema"""
    from .config import schema

    print(json.dumps(schema(), indent=1, ensure_ascii=False))


def fetch_data(arguments: argparse.Namespace) -> None:
    """mcvae fetch"""
    from .data import fetch
    from .data.weights import fetch_weights

    for data in chosen_data(arguments):
        fetch(data.dataset, data.source, data.raw)
    study = planned(arguments)
    for network, folder in {} if arguments.dataset else study.weights.items():
        fetch_weights(network, study.study.data.source, folder)


def prepare_data(arguments: argparse.Namespace) -> None:
    """mcvae prepare"""
    from .data import fetch, prepare

    for data in chosen_data(arguments):
        if not (data.raw / "SHA256SUMS").exists():
            fetch(data.dataset, data.source, data.raw)
        if not (data.prepared / "stats.json").exists():
            prepare(data.dataset, data.raw, data.prepared, data.options, threads=os.cpu_count() or 1)


def chosen_data(arguments: argparse.Namespace) -> list:
    """The planned data sets that the arguments name."""
    data = planned(arguments).data
    unknown = [name for name in arguments.dataset if name not in data]
    if unknown:
        raise UserError(f"data set {unknown[0]!r} is not in {arguments.config}; it has {', '.join(data)}")
    return [data[name] for name in arguments.dataset or data]


def located_run(arguments: argparse.Namespace):
    """Configuration, prepared data and folder of the run that the arguments name."""
    from .config import RunConfig
    from .files import read_json

    path = arguments.run / "run.json" if arguments.run.is_dir() else arguments.run
    config = RunConfig.from_canonical(read_json(path), str(path))
    prepared = arguments.prepared or Path("resources/prepared") / f"{config.dataset}-{config.data}"
    if not (prepared / "stats.json").exists():
        raise UserError(f"{prepared}: holds no prepared data (stats.json); run `mcvae prepare`, or give --prepared")
    return config, prepared, path.parent


def train_run(arguments: argparse.Namespace) -> None:
    """mcvae train"""
    from .training import fit

    config, prepared, folder = located_run(arguments)
    fit(config, prepared, folder, threads=arguments.threads, device=arguments.device)


def evaluate_run(arguments: argparse.Namespace) -> None:
    """mcvae evaluate"""
    from pydantic import ValidationError

    from .evaluation import evaluate, score
    from .grid import weights_folder
    from .options import Evaluation

    _, prepared, folder = located_run(arguments)
    try:
        options = Evaluation.model_validate_json(arguments.options)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"--options: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    where = {"threads": arguments.threads, "device": arguments.device}
    if arguments.protocol is None:
        weights = {name: weights_folder(name) for name in options.networks}
        metrics = evaluate(folder, prepared, options, weights=weights, **where)
    else:
        metrics = score(folder, prepared, arguments.protocol, options, **where)
    print(json.dumps(metrics, indent=1))


def write_tables(arguments: argparse.Namespace) -> None:
    """mcvae table"""
    from .findings.ranking import write_ranking
    from .findings.sections import SECTIONS
    from .findings.tables import WRITERS, write_table

    study = planned(arguments)
    for experiment in study.experiments.values():
        stem, ledger = RESULTS / "tables" / experiment.name, ledger_of(experiment, arguments)
        outputs = {kind: Path(f"{stem}.{kind}") for kind in WRITERS}
        outputs |= {kind: Path(f"{stem}.{kind}.csv") for kind in SECTIONS}
        data = study.data[experiment.spec.dataset]
        kept = ledger if arguments.ledger and ledger.exists() else None
        write_table(experiment, RESULTS, outputs, data=data, partial=True, ledger=kept)
        if experiment.rungs:
            write_ranking(experiment, RESULTS, {k: Path(f"{stem}.ranking.{k}") for k in ("csv", "md")}, data=data)
        print(outputs["md"])


def record_runs(arguments: argparse.Namespace) -> None:
    """mcvae record"""
    from .findings.ledger import append_experiment
    from .findings.tables import write_table
    from .revision import current_commit

    study, commit = planned(arguments), current_commit(Path.cwd())
    for experiment in study.experiments.values():
        data, ledger = study.data[experiment.spec.dataset], ledger_of(experiment, arguments)
        if ledger.exists() or any((RESULTS / run.place / "metrics.json").exists() for run in experiment.runs):
            added = append_experiment(ledger, experiment, RESULTS, label=data.label, commit=commit)
            table = ledger.with_name("table.md")
            write_table(experiment, RESULTS, {"md": table}, data=data, partial=True, ledger=ledger)
            print(f"{ledger}: {added} rows are new; {table}: the tables made from all of them")


def ledger_of(experiment, arguments: argparse.Namespace) -> Path:
    """runs.csv of an experiment in the folder of ledgers."""
    return (arguments.ledger or LEDGERS) / experiment.name / "runs.csv"


def write_report(arguments: argparse.Namespace) -> None:
    """mcvae report"""
    from .plotting import write_report as write

    study = planned(arguments)
    missing = [run for run in study.runs.values() if not (run.folder / "metrics.json").exists()]
    suffix = ".partial.html" if missing else ".html"
    output = RESULTS / "reports" / f"{study.name}{suffix}"
    write(study, RESULTS, output, partial=bool(missing), configfile=arguments.config)
    print(output)


def export(arguments: argparse.Namespace) -> None:
    """mcvae export"""
    from .export import export_study
    from .revision import current_commit

    study = planned(arguments)
    output = arguments.output or RESULTS / f"{study.name}.crate.zip"
    chosen = {"weights": arguments.weights, "partial": arguments.partial}
    chosen |= {"licence": arguments.licence} if arguments.licence else {}
    export_study(study, RESULTS, output, configfile=arguments.config, commit=current_commit(Path.cwd()), **chosen)
    print(output)


def track(arguments: argparse.Namespace) -> int:
    """mcvae track"""
    from . import tracking

    study = planned(arguments)
    if arguments.check:
        checked = tracking.check_study(study, RESULTS)
        print(*checked.differences, checked, sep="\n")
        return 1 if checked.differences else 0
    if arguments.follow:
        tracking.follow(study, RESULTS, parent=arguments.follow)
    else:
        print(tracking.sync_study(study, RESULTS))
    return 0


def run_benchmarks(arguments: argparse.Namespace) -> int:
    """mcvae bench"""
    from .bench.run import bench

    return bench(
        arguments.json,
        lambda text: print(text, flush=True),
        only=arguments.only,
        quick=arguments.quick,
        device=arguments.device,
        data=arguments.data,
    )


def open_ui(arguments: argparse.Namespace) -> None:
    """mcvae ui"""
    from . import tracking

    command = tracking.ui_command(RESULTS, arguments.port)
    print(f"mcvae: {tracking.ui_address(arguments.port)} (Ctrl-C ends it)", flush=True)
    os.execv(command[0], command)


def doctor(arguments: argparse.Namespace) -> int:
    """mcvae doctor"""
    from .doctor import examine

    return examine(quiet=arguments.quiet)
