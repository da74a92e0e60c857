"""The report of a study: one self-contained HTML file made from the files under results/, whatever of them is there.

The same files give the same bytes; the template is report.html.j2 with report.css beside it.
"""

import json
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..files import read_json, write_text
from ..findings import ranking, statistics, tables, typeset
from ..grid import Plan, PlannedData, PlannedExperiment, Run
from ..sources import NAMES
from . import style
from .captions import FIGURES, OVERALL, PAGES
from .compact import data_uri
from .folders import RunFolder, read_run
from .headline import Table, format_mean, read_table


@dataclass(frozen=True)
class Figure:
    """A figure in the page: its data URI (None if it was not made), words, and the command that makes it.

    Of a page of its own the URI is its address relative to the report.
    """

    name: str
    path: str
    alt: str
    command: str
    uri: str | None
    colour: str = style.GREY


@dataclass
class RunState:
    """A planned run and what became of it: finished, diverged, unfinished or missing."""

    run: Run
    status: str
    cause: str = ""
    found: RunFolder | None = None
    stale: bool = False

    @property
    def provenance(self) -> Mapping[str, Any]:
        return self.found.provenance if self.found else {}


@dataclass
class Section:
    """An experiment of the report."""

    planned: PlannedExperiment
    title: str
    runs: list[RunState]
    table: Table | None
    table_path: str
    tables: list[typeset.Table] = field(default_factory=list)
    overall: list[tuple[str, str, Figure]] = field(default_factory=list)
    groups: list[tuple[str, str, bool, list[Figure]]] = field(default_factory=list)
    pages: list[tuple[str, str, list[Figure]]] = field(default_factory=list)

    @property
    def figures(self) -> list[Figure]:
        """All of them: of the experiment, then of its runs, then the pages that are linked to."""
        own = [figure for group in self.groups for figure in group[3]]
        return [figure for _, _, figure in self.overall] + own + [page for group in self.pages for page in group[2]]

    def count(self, status: str) -> int:
        return sum(state.status == status for state in self.runs)


def write_report(
    plan: Plan,
    results: Path,
    output: Path,
    *,
    partial: bool = False,
    configfile: str | Path | None = None,
) -> None:
    """Write the report of a study.

    Args:
        plan: the study, unrolled.
        results: the folder with runs/, tables/ and figures/.
        output: the HTML file.
        partial: say in the title that not all was made; what is missing is listed either way.
        configfile: what the commands name; by default config/config.yaml or config/{study}.yaml.
    """
    results = Path(results)
    command = _command(plan, configfile)
    states = {name: _state(run, results) for name, run in plan.runs.items()}
    sections = [
        _section(experiment, states, results, command, plan.data[experiment.spec.dataset], Path(output).parent)
        for experiment in plan.experiments.values()
    ]
    text = _render(
        plan=plan,
        title=plan.study.title or f"Study {plan.study.study}",
        partial=partial,
        sections=sections,
        states=list(states.values()),
        counts={
            s: sum(state.status == s for state in states.values())
            for s in ("finished", "diverged", "unfinished", "missing")
        },
        stale=[state for state in states.values() if state.stale],
        today=_today(),
        data=[(item, _stats(item)) for item in plan.data.values()],
        machines=_machines(list(states.values())),
        digests=_digests(list(states.values())),
        configuration=yaml.safe_dump(
            plan.study.model_dump(mode="json", exclude_unset=True), sort_keys=False, width=100
        ),
        command=command,
        missing_figures=[figure.path for section in sections for figure in section.figures if figure.uri is None],
    )
    write_text(output, text)


def copy_report(report: str | Path, copy: str | Path) -> None:
    """Copy a report of the folder ``reports`` into the folder above it; its links to other files are still right."""
    write_text(copy, Path(report).read_text("utf-8").replace('href="../', 'href="'))


def _render(**values: Any) -> str:
    import jinja2

    here = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(here),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"duration": duration, "megabytes": lambda n: f"{n / 1e6:,.0f} MB", "number": format_mean}
    environment.globals |= {
        "datasets": NAMES,
        "name": style.name,
        "colour": style.colour,
        "css": (here / "report.css").read_text("utf-8"),
    }
    return environment.get_template("report.html.j2").render(**values)


def duration(seconds: float | None) -> str:
    """``1 h 02 min``, ``3 min 05 s`` or ``4.2 s``; a dash for None."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _today() -> str:
    from ..training.provenance import code_digest

    return code_digest()


def _state(run: Run, results: Path) -> RunState:
    folder = results / run.place
    if not (folder / "run.json").is_file():
        return RunState(run, "missing", "it was not started")
    found = read_run(folder)
    if not (folder / "metrics.json").is_file():
        epochs = len(found.history.get("epoch", []))
        cause = f"it stopped after {epochs} epochs" if epochs else "it was started but has no finished training"
        if found.metrics.get("status") == "finished":
            cause = "it is trained but not evaluated"
        return RunState(run, "unfinished", cause, found)
    status = "diverged" if found.diverged else "finished"
    digest = found.provenance.get("code_digest")
    stale = digest is not None and digest != _today()
    return RunState(run, status, found.metrics.get("cause") or "", found, stale)


def _section(
    experiment: PlannedExperiment,
    states: Mapping[str, RunState],
    results: Path,
    command: str,
    data: PlannedData,
    home: Path,
) -> Section:
    spec = experiment.spec
    table_path = results / "tables" / f"{experiment.name}.csv"
    folder = results / "figures" / experiment.name
    title = spec.title or experiment.key
    section = Section(
        planned=experiment,
        title=title,
        runs=[states[run.id] for run in experiment.runs],
        table=read_table(table_path, spec.dataset) if table_path.is_file() else None,
        table_path=str(table_path),
    )
    records = statistics.experiment_records(experiment, results)
    if any(record["status"] != "missing" for record in records):
        section.tables = [table for table in tables.build(experiment, records, data).sections if table.rows]
    if experiment.rungs:
        section.tables.insert(0, ranking.build(experiment, records, data))
    for kind, (heading, caption) in OVERALL.items():
        if kind in experiment.figures:
            alt = f"{heading}: {title}, {NAMES[spec.dataset]}. {caption}"
            section.overall.append((heading, caption, _figure(folder / f"{kind}.svg", heading, alt, command)))
    for kind, (heading, caption, opened) in FIGURES.items():
        figures = [_run_figure(run, kind, heading, folder, command) for run in experiment.shown if kind in run.figures]
        if figures:
            section.groups.append((heading, caption, opened, figures))
    for kind, (heading, caption) in PAGES.items():
        pages = [_page(run, kind, heading, folder, command, home) for run in experiment.shown if kind in run.pages]
        if pages:
            section.pages.append((heading, caption, pages))
    return section


def _page(run: Run, kind: str, heading: str, folder: Path, command: str, home: Path) -> Figure:
    latent, model = run.config.latent, run.config.model.kind
    path, name = folder / f"{run.id}.{kind}.html", style.name(latent, model)
    uri = Path(os.path.relpath(path, home)).as_posix() if path.is_file() else None
    again = f"{command} {shlex.quote(path.as_posix())}"
    return Figure(name, path.as_posix(), f"{heading}: {name}", again, uri, style.colour(latent, model))


def _run_figure(run: Run, kind: str, heading: str, folder: Path, command: str) -> Figure:
    latent, model = run.config.latent, run.config.model.kind
    name = style.name(latent, model)
    alt = f"{heading}: {name}, seed {run.config.seed}, {NAMES[run.config.dataset]}. {FIGURES[kind][1]}"
    return _figure(folder / f"{run.id}.{kind}.svg", name, alt, command, style.colour(latent, model))


def _figure(path: Path, name: str, alt: str, command: str, colour: str = style.GREY) -> Figure:
    uri = None
    if path.is_file():
        uri = data_uri(path.read_text("utf-8"))
    return Figure(name, path.as_posix(), alt, f"{command} {shlex.quote(path.as_posix())}", uri, colour)


def _command(plan: Plan, configfile: str | Path | None) -> str:
    name = plan.study.study
    path = str(configfile or f"config/{'config' if name == 'default' else name}.yaml")
    command = f"snakemake --configfile={shlex.quote(path)}"  # without "=", it would take the figure for another one
    try:
        said = (yaml.safe_load(Path(path).read_text("utf-8")).get("data") or {}).get("source", "embedded")
    except (OSError, yaml.YAMLError, AttributeError):
        said = None
    if plan.study.data.source != said and (said is not None or plan.study.data.source != "embedded"):
        command += " --config " + shlex.quote("data=" + json.dumps({"source": plan.study.data.source})) + " --"
    return command


def _stats(data: PlannedData) -> dict[str, Any]:
    path = data.prepared / "stats.json"
    return read_json(path) if path.is_file() else {}


def _machines(states: list[RunState]) -> list[tuple[str, str, int, float]]:
    """Where the runs were made: machine, versions, number of runs, seconds."""
    found: dict[tuple[str, str], list[float]] = {}
    for state in states:
        facts = state.provenance
        if facts:
            versions = ", ".join(f"{name} {version}" for name, version in facts.get("versions", {}).items())
            versions += f"; commit {facts['commit']}" if facts.get("commit") else ""
            platform = re.sub("-with-.*", "", facts.get("platform", "?"))
            hardware = [facts.get("cpu"), f"{facts['cores']} cores" if facts.get("cores") else None, facts.get("gpu")]
            known = "".join(f", {part}" for part in hardware if part)
            machine = f"{facts.get('host', '?')} ({facts.get('device', '?')}{known}, {platform})"
            found.setdefault((machine, versions), []).append(float(facts.get("wall_seconds") or 0))
    return [(machine, versions, len(times), sum(times)) for (machine, versions), times in sorted(found.items())]


def _digests(states: list[RunState]) -> dict[str, list[str]]:
    """By data set, digests of the prepared files that its runs have read."""
    found: dict[str, set[str]] = {}
    for state in states:
        if state.provenance.get("data_digest"):
            found.setdefault(state.run.config.dataset, set()).add(state.provenance["data_digest"])
    return {name: sorted(each) for name, each in found.items()}
