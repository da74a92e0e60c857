"""Where raw data come from: the table of official files, mirrors with their SHA256SUMS, the generators' versions.

Names the raw folder of a data set before anything is fetched, so Snakemake parses with it: standard library only.
"""

import csv
import gzip
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .datasets import CONTROLS
from .datasets import DATASETS as FACTS
from .errors import UserError
from .files import canonical_json, digest

DATASETS = tuple(FACTS)
NETWORKS = ("inception", "lpips")  # of others, whose weights the evaluation of faces may ask for
TABLE = Path(__file__).with_name("sources.tsv")
SUMS = "SHA256SUMS"
MANIFEST = "img_align_celeba.MANIFEST.tsv"

# Raised when a generator's files change: the version is the raw digest of embedded data.
DIGITS_VERSION = 1
FACES_VERSION = 1
MOLECULES_VERSION = 1
CONTROLS_VERSION = 2
VERSIONS = {"mnist": DIGITS_VERSION, "celeba": FACES_VERSION, "qm9": MOLECULES_VERSION}
VERSIONS |= dict.fromkeys(CONTROLS, CONTROLS_VERSION)

# Training examples of the generated sets (a test holds them to the generators) and of the official ones.
EMBEDDED_TRAIN = {"mnist": 1283, "celeba": 750, "qm9": 1920} | dict.fromkeys(CONTROLS, 3000)
OFFICIAL_TRAIN = {"mnist": 50_000, "celeba": 162_770, "qm9": 104_664}
CELEBA_IMAGES = 202_599

STAND_INS = {
    "mnist": "stand-in: scikit-learn's bundled 8x8 digits enlarged to 28x28",
    "celeba": "stand-in: procedurally drawn faces",
    "qm9": "stand-in: enumerated small CHNOF molecules with properties estimated from their RDKit graphs",
}
NAMES = {name: facts.name for name, facts in FACTS.items()}
CONTROL_FILES = ("observations.npy", "points.npy", "labels.npy")
HOMEPAGES = {
    "mnist": "https://yann.lecun.com/exdb/mnist/",
    "celeba": "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
    "qm9": "https://doi.org/10.6084/m9.figshare.c.978904",
    "inception": "https://github.com/toshas/torch-fidelity/releases",
    "lpips": "https://github.com/richzhang/PerceptualSimilarity",
}
HEX_LENGTH = {"sha256": 64, "md5": 32, "content": 64}


@dataclass(frozen=True)
class SourceFile:
    """One row of the table: an official file, or one made from official files (``made_from``).

    ``checksums`` are ``(algorithm, hex)``: sha256 or md5 of the file, or ``content``, the SHA-256 of the decompressed
    bytes for a file made here (two builds of zlib compress equal text differently). The first one names the file.
    """

    dataset: str
    file: str
    checksums: tuple[tuple[str, str], ...]
    bytes: int
    made_from: tuple[str, ...]
    urls: tuple[str, ...]
    licence: str

    @property
    def identity(self) -> str:
        """``algorithm:hex`` of the first checksum."""
        if not self.checksums:
            raise UserError(
                f"{self.dataset}/{self.file}: no official checksum is known, so it is never downloaded; "
                f"set data.source to a mirror folder that holds it and lists it in {SUMS}"
            )
        return ":".join(self.checksums[0])


def check_dataset(dataset: str) -> str:
    """Return a known data set's name; another one is a :class:`UserError`."""
    if dataset not in DATASETS:
        raise UserError(f"dataset {dataset!r}: unknown; choose one of {', '.join(DATASETS)}")
    return dataset


def read_table(table: str | os.PathLike = TABLE) -> tuple[SourceFile, ...]:
    """Every row of a source table; ``checksum``, ``made_from`` and ``urls`` are lists separated by spaces."""
    rows = []
    with open(table, encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file, delimiter="\t"), start=2):
            try:
                checksums = tuple(_checksum(item) for item in row["checksum"].split())
                lists = (tuple(row["made_from"].split()), tuple(row["urls"].split()))
                rows.append(
                    SourceFile(row["dataset"], row["file"], checksums, int(row["bytes"]), *lists, row["licence"])
                )
            except (KeyError, ValueError, AttributeError, TypeError) as error:
                raise UserError(f"{table}: line {number}: {error}") from None
    return tuple(rows)


def _checksum(text: str) -> tuple[str, str]:
    algorithm, _, value = text.partition(":")
    if algorithm not in HEX_LENGTH or not re.fullmatch(rf"[0-9a-f]{{{HEX_LENGTH.get(algorithm)}}}", value):
        raise ValueError(f"checksum {text!r}: expected algorithm:hex with one of {', '.join(HEX_LENGTH)}")
    return algorithm, value


def official_files(dataset: str, table: str | os.PathLike = TABLE) -> dict[str, SourceFile]:
    """The table's rows of a data set or a network by file name, ingredients of derived files included."""
    if dataset not in NETWORKS:
        check_dataset(dataset)
    return {row.file: row for row in read_table(table) if row.dataset == dataset}


def required_files(dataset: str, table: str | os.PathLike = TABLE) -> tuple[str, ...]:
    """The files that preparation reads, sorted: every official file but the mere ingredients of derived ones."""
    if dataset in CONTROLS:
        return tuple(sorted(CONTROL_FILES))
    rows = official_files(dataset, table)
    ingredients = {name for row in rows.values() for name in row.made_from}
    return tuple(sorted(set(rows) - ingredients))


def licence(dataset: str) -> str:
    """The licence or terms of the official files, as they are commonly stated."""
    if dataset in CONTROLS:
        return "generated here"
    return next(iter(official_files(dataset).values())).licence


def origin(dataset: str, source: str) -> str:
    """Where a data set comes from under a study's ``source``: controls are always generated."""
    return "embedded" if dataset in CONTROLS else source


def is_stand_in(dataset: str, source: str) -> bool:
    """Whether a source delivers generated stand-ins instead of the real data set."""
    return source == "embedded" and dataset not in CONTROLS


def label(dataset: str, source: str) -> str:
    """What marks data in names: "" for the official files, "standin", or the digest of a mirror's own files.

    Tables, figures and reports carry it, so that those of two sources never overwrite each other.
    """
    if dataset in CONTROLS:
        return ""
    if is_stand_in(dataset, source):
        return "standin"
    return "" if source == "download" or not unofficial_files(dataset, source) else raw_digest(dataset, source)


def is_mirror(source: str) -> bool:
    """Whether a source is a folder, not one of the two words."""
    return source not in ("embedded", "download")


def read_sums(path: Path) -> dict[str, str]:
    """``{name: hex}`` of a SHA256SUMS file as ``sha256sum`` writes it; a bad line is a :class:`UserError`."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; a mirror lists its files there (sha256sum */* > {SUMS})") from None
    except (UnicodeDecodeError, IsADirectoryError, PermissionError) as error:
        raise UserError(f"{path}: not a readable list of checksums ({error})") from None
    sums = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        match = re.fullmatch(r"([0-9a-fA-F]{64}) [ *](.+)", line)
        if match is None:
            raise UserError(f"{path}: line {number}: expected a sha256, two spaces and a name, got {line!r}")
        sums[match[2].removeprefix("./")] = match[1].lower()
    return sums


def mirror_files(dataset: str, folder: str | os.PathLike, table: str | os.PathLike = TABLE) -> dict[str, str]:
    """``{file: sha256}`` of what a mirror delivers: the required files, and CelebA's manifest where it declares one."""
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise UserError(f"{os.fspath(folder)!r}: no such folder; choose embedded, download or a folder with {SUMS}")
    if not (root / check_dataset(dataset)).is_dir():
        raise UserError(f"{root}: this mirror has no folder {dataset!r}")
    sums = read_sums(root / SUMS)
    names = list(required_files(dataset, table))
    if dataset == "celeba" and f"{dataset}/{MANIFEST}" in sums:
        names.append(MANIFEST)
    for name in names:
        if f"{dataset}/{name}" not in sums:
            raise UserError(f"{root / SUMS}: does not list {dataset}/{name}, which the data set needs")
        if not (root / dataset / name).is_file():
            raise UserError(f"{root / dataset / name}: no such file, though {SUMS} lists it")
    return {name: sums[f"{dataset}/{name}"] for name in sorted(names)}


def raw_digest(dataset: str, source: str, table: str | os.PathLike = TABLE) -> str:
    """The 8 hexadecimal digits that name ``resources/raw/{dataset}-{digest}``.

    Over the sorted ``(file, checksum)`` pairs of the files that preparation reads, so that a complete mirror of the
    official files shares its folder, and all made from it, with the download. Embedded: the generator's version.
    """
    if origin(check_dataset(dataset), source) == "embedded":
        return digest(canonical_json(["embedded", dataset, VERSIONS[dataset]]))
    if source == "download":
        rows = official_files(dataset, table)
        for row in rows.values():
            row.identity  # noqa: B018 - refuses a row without a checksum before anything starts
        pairs = [[name, rows[name].identity] for name in required_files(dataset, table)]
    else:
        pairs = [[name, f"sha256:{value}"] for name, value in mirror_files(dataset, source, table).items()]
    return digest(canonical_json(sorted(pairs)))


def weights_digest(network: str, table: str | os.PathLike = TABLE) -> str:
    """The 8 hexadecimal digits that name ``resources/weights/{network}-{digest}``: of the official checksums alone.

    Wherever weights come from, no others than the official ones are used.
    """
    rows = official_files(network, table)
    return digest(canonical_json(sorted([name, row.identity] for name, row in rows.items())))


def unofficial_files(dataset: str, source: str, table: str | os.PathLike = TABLE) -> list[str]:
    """The names in a mirror whose checksums are not the official ones."""
    official = official_files(dataset, table)
    files = mirror_files(dataset, source, table)
    return [name for name in files if name not in official or official[name].identity != f"sha256:{files[name]}"]


def read_manifest(path: str | os.PathLike) -> dict[int, int]:
    """Images a partition (0 train, 1 validation, 2 test) that the manifest of a CelebA subset declares."""
    with open(path, encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t")
        if not {"file", "partition"} <= set(reader.fieldnames or ()):
            raise UserError(f"{path}: a manifest has the columns 'file' and 'partition', got {reader.fieldnames}")
        counts = dict.fromkeys((0, 1, 2), 0)
        for row in reader:
            if row["partition"] not in ("0", "1", "2"):
                raise UserError(f"{path}: line {reader.line_num}: partition {row['partition']!r} is not 0, 1 or 2")
            counts[int(row["partition"])] += 1
    return counts


def train_size(dataset: str, source: str) -> int | None:
    """Training examples as far as they are known before anything is fetched, else ``None``."""
    if origin(check_dataset(dataset), source) == "embedded":
        return EMBEDDED_TRAIN[dataset]
    if source == "download":
        return OFFICIAL_TRAIN[dataset]
    folder = Path(source).expanduser() / dataset
    if MANIFEST in mirror_files(dataset, source):
        return read_manifest(folder / MANIFEST)[0]
    if not unofficial_files(dataset, source):
        return OFFICIAL_TRAIN[dataset]
    return _count_digits(folder / "train-images-idx3-ubyte.gz") if dataset == "mnist" else None


def _count_digits(path: Path) -> int | None:
    """5/6 of the images that an IDX header announces; preparation reports a broken file."""
    try:
        with gzip.open(path) as file:
            header = file.read(8)
    except (OSError, EOFError):
        return None
    return int.from_bytes(header[4:]) * 5 // 6 if len(header) == 8 else None


def describe(dataset: str, source: str, table: str | os.PathLike = TABLE) -> dict[str, Any]:
    """``{"source_note", "stand_in", "subset"}``: what tables and reports say about the data.

    Depends on the files alone, not on the way they came: a full mirror and the download give the same.
    """
    name = NAMES[check_dataset(dataset)]
    facts: Mapping[str, Any] = {"source_note": f"{name} (official files)", "stand_in": False, "subset": None}
    if dataset in CONTROLS:
        return {**facts, "source_note": f"{name}, seen through a fixed random network (generated)"}
    if source == "embedded":
        return {**facts, "source_note": STAND_INS[dataset], "stand_in": True}
    if source == "download":
        return dict(facts)
    if MANIFEST in mirror_files(dataset, source, table):
        count = sum(read_manifest(Path(source).expanduser() / dataset / MANIFEST).values())
        note = f"CelebA subset of {count:,} images (declared by the mirror's manifest)"
        return {**facts, "source_note": note, "subset": f"{count:,} of {CELEBA_IMAGES:,} images"}
    others = unofficial_files(dataset, source, table)
    if others:
        return {**facts, "source_note": f"{name} (a mirror's files; not the official ones: {', '.join(others)})"}
    return dict(facts)


def source_note(dataset: str, source: str) -> str:
    """One phrase for reports: ``MNIST (official files)``, ``stand-in: …`` or what subset it is."""
    return describe(dataset, source)["source_note"]
