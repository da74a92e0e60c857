"""A study unrolled: from experiments to runs with ids, folders and the data that they need.

Everything that Snakemake asks while it parses is answered here, without torch. Paths are relative to the working
directory and are the grammar of ``results/README.md``.
"""

import itertools
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from . import sources
from .config import Experiment, RunConfig, Study, placeholders
from .datasets import DATASETS
from .errors import UserError
from .files import canonical_json, digest
from .gallery import figures_of_experiment, figures_of_run, pages_of_run
from .options import Evaluation, Training
from .reach import check_reach
from .search import Member, Rung, candidates, survivors
from .signature import Signature, parse
from .toolchain import compiler_warning

# A stage's VERSION is a param of its rule: raised when its numbers change, so that its files are made anew.
VERSIONS = {
    "fetch": 1,
    "prepare": 1,
    "train": 4,
    "classifier": 2,
    "baseline": 1,
    "features": 1,
    "evaluate": 5,
    "search": 1,
    "track": 2,
    "figures": 6,
    "tables": 5,
    "report": 6,
}
MAX_DIM = 4096
MAX_SLUG = 200


@dataclass(frozen=True)
class PlannedData:
    """One data set of a study: its source, and the folders of its raw and prepared files."""

    dataset: str
    source: str
    raw_digest: str
    options: dict[str, Any]

    @property
    def raw(self) -> Path:
        """resources/raw/{dataset}-{digest}"""
        return Path("resources/raw") / f"{self.dataset}-{self.raw_digest}"

    @property
    def hash(self) -> str:
        """8 hex digits of the raw digest and the preparation options: the ``data`` of every run made from it."""
        return digest(canonical_json({"dataset": self.dataset, "raw": self.raw_digest, "options": self.options}))

    @property
    def prepared(self) -> Path:
        """resources/prepared/{dataset}-{hash}"""
        return Path("resources/prepared") / f"{self.dataset}-{self.hash}"

    @property
    def stand_in(self) -> bool:
        """True if the raw files are not the data set itself but something made in its place."""
        return sources.is_stand_in(self.dataset, self.source)

    @property
    def label(self) -> str:
        """ "" for the official files, "standin" for stand-ins, the raw digest for anything else."""
        return sources.label(self.dataset, self.source)

    @property
    def note(self) -> str:
        """What the data really are, for every place that shows them."""
        return sources.source_note(self.dataset, self.source)


@dataclass(frozen=True)
class Run:
    """One training run: its configuration and its id ``{slug}-s{seed}-{8 hex of the canonical configuration}``.

    Names are made once: Snakemake asks for those of thousands of runs, many times each.
    """

    config: RunConfig
    evaluation: Evaluation

    @cached_property
    def canonical(self) -> str:
        """The canonical configuration as JSON text."""
        return canonical_json(self.config.canonical())

    @property
    def slug(self) -> str:
        """The readable part of the id."""
        prefix = "ae-" if self.config.model.kind == "autoencoder" else ""
        return prefix + self.config.signature.slug

    @cached_property
    def id(self) -> str:
        """Name of the run and of its folder."""
        return f"{self.slug}-s{self.config.seed}-{digest(self.canonical)}"

    @cached_property
    def place(self) -> Path:
        """runs/{dataset}/{run}: where the run lies under the folder of results."""
        return Path("runs") / self.config.dataset / self.id

    @cached_property
    def folder(self) -> Path:
        """results/runs/{dataset}/{run}"""
        return Path("results") / self.place

    @property
    def evaluated(self) -> tuple[str, ...]:
        """The files of numbers that its evaluation makes: under its own protocol, and under others."""
        return ("metrics.json", *(f"metrics-{name}.json" for name in self.evaluation.protocols))

    @property
    def figures(self) -> tuple[str, ...]:
        """The kinds of figures that can be drawn of the run."""
        return figures_of_run(self.config)

    @property
    def pages(self) -> tuple[str, ...]:
        """The kinds of interactive pages that can be made of the run."""
        return pages_of_run(self.config)

    @cached_property
    def prepared(self) -> Path:
        """The prepared data of the run."""
        return Path("resources/prepared") / f"{self.config.dataset}-{self.config.data}"


@dataclass(frozen=True)
class PlannedExperiment:
    """An experiment with its runs in grid order (seed last).

    ``key`` is its name in the config; ``name`` adds the label of its data (such as "-standin") and names its files.
    ``rungs``: of a search, the first and those that follow a decision; theirs are the runs.
    """

    key: str
    name: str
    spec: Experiment
    runs: tuple[Run, ...]
    rungs: tuple[Rung, ...] = ()

    @cached_property
    def by_id(self) -> dict[str, Run]:
        """The runs by their ids."""
        return {run.id: run for run in self.runs}

    @property
    def references(self) -> tuple[str, ...]:
        """The latents that others of equal dimension are compared with; empty: the Euclidean spaces."""
        text = self.spec.reference
        return () if text is None else tuple(dict.fromkeys(str(parse(text.format(d=d))) for d in self.spec.d or (0,)))

    @property
    def figures(self) -> tuple[str, ...]:
        """The kinds of figures that can be drawn of the experiment as a whole."""
        return figures_of_experiment(self.spec, [run.config for run in self.runs], self.references)

    @property
    def shown(self) -> list[Run]:
        """The runs that figures are drawn of: one seed of each configuration; of a search, those of its last rung."""
        first = min(run.config.seed for run in self.runs)
        shown = [run for run in self.runs if run.config.seed == first]
        if not self.rungs:
            return shown
        places = {member.place for rung in self.rungs if rung.last for member in rung.members}
        return [run for run in shown if run.place in places]


@dataclass(frozen=True)
class Plan:
    """A study's experiments by file name, its distinct runs by id, and its data sets by name."""

    study: Study
    experiments: dict[str, PlannedExperiment]
    runs: dict[str, Run]
    data: dict[str, PlannedData]

    @property
    def name(self) -> str:
        """The study's name with the labels of its data: names its report."""
        labels = dict.fromkeys(data.label for data in self.data.values())
        return labelled(self.study.study, "-".join(filter(None, labels)))

    @property
    def weights(self) -> dict[str, Path]:
        """The networks of others that evaluations ask for, and the folders of their weights."""
        asked = dict.fromkeys(name for run in self.runs.values() for name in run.evaluation.networks)
        return {name: weights_folder(name) for name in asked}

    @property
    def warnings(self) -> list[str]:
        """What the study may be run with, but should be known before it is; a sentence each."""
        signatures = dict.fromkeys(r.config.signature for r in self.runs.values() if r.config.model.kind == "vae")
        sentences = [sentence for signature in signatures for sentence in check_reach(signature)]
        sizes = {name: sources.train_size(name, data.source) for name, data in self.data.items()}
        missing = compiler_warning((run.config, sizes[run.config.dataset]) for run in self.runs.values())
        return sentences if missing is None else [*sentences, missing]


def plan(study: Study, origin: str = "config", results: Path = Path("results")) -> Plan:
    """Unroll a study; a search as far as the decisions under ``results`` reach.

    Raises:
        UserError: an illegal latent, an empty grid, a batch larger than the data, a mirror without the data,
            or two experiments that share a run but evaluate it differently; one sentence with ``origin`` and the key.
    """
    datasets = list(dict.fromkeys(e.dataset for e in study.experiments.values()))
    data = {name: plan_data(study, name, origin) for name in datasets}
    experiments: dict[str, PlannedExperiment] = {}
    by_id: dict[str, tuple[str, Run]] = {}
    for key, spec in study.experiments.items():
        where = f"{origin}: experiments.{key}"
        _check_batch(spec, data[spec.dataset], where)
        _check_hidden(spec, data[spec.dataset], where)
        name = labelled(key, data[spec.dataset].label)
        if spec.search is None:
            signatures, rungs = _signatures(spec, where), ()
            _check_reference(spec, signatures, where)
            runs = tuple(dict.fromkeys(_unroll(spec, data[spec.dataset], signatures, spec.training)))
        else:
            runs, rungs = _climb(spec, data[spec.dataset], name, where, results)
        if not runs:
            raise UserError(f"{where}: the grid has no runs; an autoencoder needs a Euclidean latent such as 'e2'")
        for run in runs:
            owner, first = by_id.setdefault(run.id, (key, run))
            if first.evaluation != run.evaluation:
                raise UserError(
                    f"{where}.evaluation: differs from that of experiments.{owner}, with which it shares run {run.id}; "
                    "make them equal"
                )
        experiments[name] = PlannedExperiment(key, name, spec, runs, rungs)
    return Plan(study, experiments, {i: run for i, (_, run) in by_id.items()}, data)


def labelled(name: str, label: str) -> str:
    """A name with the label of its data, if there is one."""
    return f"{name}-{label}" if label else name


def runs(study: Study) -> list[Run]:
    """The distinct runs of a study."""
    return list(plan(study).runs.values())


def plan_data(study: Study, dataset: str, origin: str = "config") -> PlannedData:
    """Source, digest and folders of one data set of a study."""
    options = getattr(study.data, dataset).model_dump(mode="json") if dataset in type(study.data).model_fields else {}
    try:
        raw = sources.raw_digest(dataset, study.data.source)
    except UserError as error:
        raise UserError(f"{origin}: data.source: {error}") from None
    return PlannedData(dataset, sources.origin(dataset, study.data.source), raw, options)


def weights_folder(network: str) -> Path:
    """resources/weights/{network}-{digest}"""
    return Path("resources/weights") / f"{network}-{sources.weights_digest(network)}"


def check_size(signature: Signature) -> None:
    """Raise a :class:`UserError` for a space that no machine can hold, or whose name no file can have."""
    if signature.ambient_dim > MAX_DIM:
        raise UserError(f"latent '{signature}': has {signature.ambient_dim} coordinates; choose at most {MAX_DIM}")
    if len(signature.slug) > MAX_SLUG:
        raise UserError(
            f"latent {str(signature)[:40]!r}…: its name of {len(signature.slug)} letters is no file name; "
            f"choose one of at most {MAX_SLUG}"
        )


def _check_batch(spec: Experiment, data: PlannedData, where: str) -> None:
    size = sources.train_size(data.dataset, data.source)
    if size is not None and spec.training.batch_size > size:
        raise UserError(
            f"{where}.training.batch_size: {spec.training.batch_size} is more than the {size} training records of "
            f"{data.dataset} ({data.note}); choose at most {size}"
        )


def _check_hidden(spec: Experiment, data: PlannedData, where: str) -> None:
    least, most, words = DATASETS[spec.dataset].layers
    if most is None:
        size = data.options["size"]
        most = size.bit_length() - 1
        words = f"{least} to {most} {words} (each layer halves images of {size} pixels)"
    for index, hidden in enumerate(spec.hidden):
        if not least <= len(hidden) <= most:
            raise UserError(f"{where}.hidden[{index}]: {list(hidden)}; {spec.dataset} takes {words}")


def _check_reference(spec: Experiment, signatures: list[Signature], where: str) -> None:
    for d in (spec.d or (0,)) if spec.reference is not None else ():
        try:
            reference = parse(spec.reference.format(d=d))
        except UserError as error:
            raise UserError(f"{where}.reference: {error}") from None
        if reference not in signatures:
            own = ", ".join(map(str, signatures))
            raise UserError(f"{where}.reference: {str(reference)!r} is no latent of the experiment; it has {own}")


def _climb(
    spec: Experiment, data: PlannedData, name: str, where: str, results: Path
) -> tuple[tuple[Run, ...], tuple[Rung, ...]]:
    """The runs of a search, rung by rung, and its rungs: the first, and each that follows a decision."""
    assert spec.search is not None
    try:
        signatures = [parse(text) for text in candidates(spec.search)]
        for signature in signatures:
            check_size(signature)
            check_reach(signature)
    except UserError as error:
        raise UserError(f"{where}.search: {error}") from None
    found: list[Run] = []
    rungs: list[Rung] = []
    for number, epochs in enumerate(spec.search.rungs, 1):
        new = _unroll(spec, data, signatures, spec.training.model_copy(update={"epochs": epochs}))
        members = tuple(Member(run.config.latent, run.config.seed, run.place) for run in new)
        found += new
        last = number == len(spec.search.rungs)
        rungs.append(Rung(name, number, epochs, spec.search.keep, members, last))
        left = None if last else survivors(rungs[-1], results)
        if not left:
            break
        signatures = [parse(text) for text in left]
    return tuple(found), tuple(rungs)


def _unroll(spec: Experiment, data: PlannedData, signatures: list[Signature], training: Training) -> list[Run]:
    result = []
    facts = DATASETS[spec.dataset]
    hidden_axis = spec.hidden or (facts.hidden,)
    axes = itertools.product(signatures, hidden_axis, spec.kinds, spec.seed_list)
    for signature, hidden, kind, seed in axes:
        if kind == "autoencoder" and str(signature) != f"e{signature.dim}":
            continue
        weight = spec.model.property_weight
        update = {
            "kind": kind,
            "hidden": hidden,
            "likelihood": spec.model.likelihood or facts.likelihood,
            "property_weight": facts.property_weight if weight is None else weight,
        }
        config = RunConfig(
            dataset=spec.dataset,
            data=data.hash,
            protocol=spec.protocol or facts.protocols[0],
            latent=str(signature),
            model=spec.model.model_copy(update=update),
            training=training,
            seed=seed,
        )
        result.append(Run(config, spec.evaluation))
    return result


def _signatures(spec: Experiment, where: str) -> list[Signature]:
    found: dict[Signature, None] = {}
    for index, template in enumerate(spec.latents):
        names = placeholders(template)
        d_axis = spec.d if "d" in names else (0,)
        k_axis = spec.k if names & {"k", "-k"} else (0.0,)
        for d, k in itertools.product(d_axis, k_axis):
            try:
                signature = parse(template.format(**{"d": d, "k": k, "-k": -k}))
                check_size(signature)
                check_reach(signature)
            except UserError as error:
                raise UserError(f"{where}.latents[{index}]: {error}") from None
            found.setdefault(signature)
    return list(found)
