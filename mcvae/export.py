"""A study as one citable archive: an RO-Crate of its configuration, runs, tables, figures, report and environment.

Data are never in it: their digests and licences are. Pictures that show CelebA's faces stay out as well, because its
agreement forbids to publish them.
"""

import json
import logging
import os
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__, sources
from .errors import UserError
from .files import atomic, sha256_file, write_text

if TYPE_CHECKING:
    from .grid import Plan

SPECIFICATION = "1.1"
LICENCE = "https://spdx.org/licenses/CC-BY-4.0"
RUN_FILES = ("run.json", "training.json", "history.csv", "metrics.json", "provenance.json")
TYPES = {
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".md": "text/markdown",
    ".png": "image/png",
    ".safetensors": "application/octet-stream",
    ".svg": "image/svg+xml",
    ".tex": "application/x-tex",
    ".txt": "text/plain",
    ".yaml": "application/yaml",
}
log = logging.getLogger(__name__)

Entry = tuple[Path, str, str]  # the file, its place in the archive, what it is


def export_study(
    plan: "Plan",
    results: Path,
    output: str | os.PathLike,
    *,
    configfile: str | os.PathLike,
    commit: str | None,
    licence: str = LICENCE,
    weights: bool = False,
    partial: bool = False,
) -> list[str]:
    """Write the RO-Crate 1.1 of a study to ``output``, a zip archive.

    Args:
        results: the folder that everything was made in.
        configfile: the study's own file.
        commit: of the code, where it is known.
        licence: address of the licence of the archive's own tables, figures and numbers.
        weights: whether model.safetensors of every run goes in.
        partial: whether an archive of a study with missing runs may be made; it lists them.

    Returns:
        the places in the archive.

    Raises:
        UserError: a run is not evaluated and ``partial`` is not set; or the package ``rocrate`` is not installed.
    """
    try:
        from rocrate.rocrate import ROCrate
    except ImportError:
        raise UserError("export: the package rocrate is not installed; pip install 'mcvae[export]'") from None
    missing = [identity for identity, run in plan.runs.items() if not (results / run.place / "metrics.json").is_file()]
    if missing and not partial:
        raise UserError(
            f"export: {len(missing)} of {len(plan.runs)} runs of {plan.name} are not evaluated, such as {missing[0]}; "
            "finish the study, or give --partial"
        )
    crate = ROCrate(version=SPECIFICATION)
    with tempfile.TemporaryDirectory(prefix="mcvae-export-") as folder:
        environment = Path(folder) / "environment.txt"
        write_text(environment, _environment())
        entries = [
            (Path(configfile), f"config/{Path(configfile).name}", "the study's configuration"),
            (environment, "environment.txt", "versions of every installed package"),
            *_files(plan, results, weights),
        ]
        for path, place, what in entries:
            crate.add_file(path, place, properties=_described(path, what))
        _state(crate, plan, commit, licence, missing)
        with atomic(output) as temporary:
            crate.write_zip(temporary)
    log.info("%s: %d files, %d of %d runs", output, len(entries), len(plan.runs) - len(missing), len(plan.runs))
    return [place for _, place, _ in entries]


def _files(plan: "Plan", results: Path, weights: bool) -> Iterator[Entry]:
    names = (*RUN_FILES, "model.safetensors") if weights else RUN_FILES
    for identity, run in plan.runs.items():
        folder = results / run.place
        scored = sorted(path.name for path in folder.glob("metrics-*.json"))
        for name in (*names, *scored):
            if (folder / name).is_file():
                yield folder / name, (run.place / name).as_posix(), f"{name} of run {identity}"
    for name, experiment in plan.experiments.items():
        for path in sorted((results / "tables").glob(f"{name}.*")):
            yield path, f"tables/{path.name}", f"table of {name}"
        pictures = sorted((results / "figures" / name).glob("*.*"))
        if shows_faces(plan, experiment.spec.dataset):
            pictures = [path for path in pictures if path.name.split(".")[0] in experiment.figures]
        for path in pictures:
            yield path, f"figures/{name}/{path.name}", f"figure of {name}"
        for path in sorted((results / "searches" / name).glob("rung-*.json")):
            yield path, f"searches/{name}/{path.name}", f"decision of the search {name}"
    report = results / "reports" / f"{plan.name}.html"
    if report.is_file() and not any(shows_faces(plan, dataset) for dataset in plan.data):
        yield report, f"reports/{report.name}", "the report, one page that needs nothing else"


def shows_faces(plan: "Plan", dataset: str) -> bool:
    """Whether pictures of a data set show people of CelebA, who may not be published."""
    return dataset == "celeba" and not plan.data[dataset].stand_in


def _described(path: Path, what: str) -> dict[str, Any]:
    return {
        "name": what,
        "encodingFormat": TYPES.get(path.suffix, "application/octet-stream"),
        "contentSize": str(path.stat().st_size),
        "sha256": sha256_file(path),
    }


def _state(crate: Any, plan: "Plan", commit: str | None, licence: str, missing: list[str]) -> None:
    """What the whole is: the root, the software and the data sets as the specification's contextual entities."""
    from rocrate.model.contextentity import ContextEntity

    software = {"@type": "SoftwareApplication", "name": "mcvae", "version": __version__}
    software |= {"softwareVersion": commit} if commit else {}
    datasets = []
    for name, data in plan.data.items():
        described = {"@type": "Dataset", "name": data.note, "identifier": f"{name}-{data.raw_digest}"}
        if not data.stand_in and name in sources.HOMEPAGES:
            described |= {"license": sources.licence(name), "url": sources.HOMEPAGES[name]}
        datasets.append(crate.add(ContextEntity(crate, f"#data-{name}", properties=described)))
    study = plan.study
    faces = [name for name in plan.data if shows_faces(plan, name)]
    crate.name = study.title or plan.name
    crate.description = " ".join(
        part
        for part in (
            f"The study {plan.name}: {len(plan.runs)} runs of {', '.join(plan.experiments)}.",
            "Pictures of single runs and the report are left out: they show people of CelebA." if faces else "",
            f"Missing runs: {', '.join(missing)}." if missing else "",
        )
        if part
    )
    crate.license = licence
    crate.root_dataset["isBasedOn"] = datasets
    crate.root_dataset["creator"] = crate.add(ContextEntity(crate, "#mcvae", properties=software))


def _environment() -> str:
    packages = {f"{entry.metadata['Name']}=={entry.version}" for entry in metadata.distributions()}
    return "\n".join(sorted(packages, key=str.lower)) + "\n"


def read_crate(archive: str | os.PathLike) -> dict[str, Any]:
    """The metadata of an archive by ``@id``, as the specification lays it down."""
    import zipfile

    with zipfile.ZipFile(archive) as file:
        document = json.loads(file.read("ro-crate-metadata.json"))
    return {entity["@id"]: entity for entity in document["@graph"]}
