"""QM9: MoleculeNet's qm9.csv.gz and the list of uncharacterised molecules -> SELFIES tokens, graphs and twelve targets.

What cannot be encoded is counted with its reason and ids in stats.json; nothing is dropped in silence.
"""

import csv
import gzip
import logging
import os
import re
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import UserError
from ..files import sha256_file, write_text
from . import store
from .qm9_splits import SPLITTERS

if TYPE_CHECKING:
    import pandas as pd

TABLE, UNCHARACTERIZED = "qm9.csv.gz", "uncharacterized.txt"
PAD, START, END = "<pad>", "<start>", "<end>"
COLUMNS = (
    "mol_id smiles A B C mu alpha homo lumo gap r2 zpve u0 u298 h298 g298 cv u0_atom u298_atom h298_atom g298_atom"
).split()
_HARTREE = 27.211386245988  # eV, CODATA 2018
_KCAL = 1 / 23.0605478  # eV per kcal/mol

log = logging.getLogger(__name__)


class Target(NamedTuple):
    """A column, the factor to the stored unit, and the range (in the table's unit) of values that are not absurd."""

    name: str
    column: str
    unit: str
    factor: float
    low: float
    high: float


TARGETS = (
    Target("mu", "mu", "D", 1, 0, 50),
    Target("alpha", "alpha", "Bohr^3", 1, 0, 500),
    Target("homo", "homo", "eV", _HARTREE, -2, 1),
    Target("lumo", "lumo", "eV", _HARTREE, -2, 1),
    Target("gap", "gap", "eV", _HARTREE, 0, 2),
    Target("r2", "r2", "Bohr^2", 1, 0, 10_000),
    Target("zpve", "zpve", "eV", _HARTREE, 0, 1),
    Target("u0", "u0_atom", "eV", _KCAL, -5_000, 0),
    Target("u298", "u298_atom", "eV", _KCAL, -5_000, 0),
    Target("h298", "h298_atom", "eV", _KCAL, -5_000, 0),
    Target("g298", "g298_atom", "eV", _KCAL, -5_000, 0),
    Target("cv", "cv", "cal/(mol K)", 1, 0, 200),
)


def _read_table(path: Path) -> "pd.DataFrame":
    """The table with ``number`` (the N of ``gdb_N``) as its first column; columns and ids are checked."""
    import pandas as pd

    if not path.exists():
        raise UserError(f"{path}: no such file")
    try:
        header = _check_rows(path)
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            options = {"keep_default_na": False, "na_values": ["", "nan", "NaN"], "low_memory": False}
            table = pd.read_csv(file, names=header, usecols=COLUMNS, skiprows=1, **options)
    except (EOFError, OSError, zlib.error, UnicodeDecodeError, csv.Error, pd.errors.ParserError) as error:
        raise UserError(f"{path}: not a whole gzip of a csv table ({' '.join(str(error).split())})") from None
    numbers = table["mol_id"].astype(str).str.extract(r"^gdb_([1-9]\d{0,8})$")[0]
    if numbers.isna().any():
        row = int(numbers.isna().to_numpy().argmax())
        raise UserError(f"{path}, line {row + 2}: mol_id {table['mol_id'].iloc[row]!r} is not of the form gdb_N")
    table.insert(0, "number", numbers.astype(np.int32))
    twice = table["number"].duplicated().to_numpy()
    if twice.any():
        row = int(twice.argmax())
        name = table["mol_id"].iloc[row]
        raise UserError(f"{path}, line {row + 2}: {name} is there twice; {int(twice.sum())} ids are duplicates")
    table["line"] = np.arange(2, len(table) + 2)
    return table


def _check_rows(path: Path) -> list[str]:
    """The header, which has every column once, of a table without a row that is wider: pandas would cut it off."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        missing = [column for column in COLUMNS if column not in header]
        if missing:
            expected = f"MoleculeNet's columns are {','.join(COLUMNS)}"
            raise UserError(f"{path}, line 1: no column {', '.join(missing)}; {expected}")
        twice = sorted({column for column in header if header.count(column) > 1})
        if twice:
            raise UserError(f"{path}, line 1: the column {', '.join(twice)} is there twice")
        for row in rows:
            if len(row) > len(header):
                raise UserError(f"{path}, line {rows.line_num}: {len(row)} fields; the header has {len(header)}")
    return header


def _read_uncharacterized(path: Path) -> list[int]:
    """The indices in the official list: nine header lines, one line a molecule, one footer line."""
    if not path.exists():
        raise UserError(f"{path}: no such file; without the list, molecules of uncertain structure would stay in")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    if len(lines) < 10 or not lines[8].startswith("=====") or not lines[-1].startswith("====="):
        raise UserError(f"{path}: {len(lines)} lines that are not nine of header, entries and one of footer")
    indices = []
    for number, line in enumerate(lines[9:-1], start=10):
        match = re.fullmatch(r"\s*(\d+)\s+\S+\s+\S+\s+\S+\s+[\d.]+\s*", line)
        if match is None:
            raise UserError(f"{path}, line {number}: {line[:60]!r} is not 'index, three SMILES, distance'")
        indices.append(int(match[1]))
    return indices


def _targets(table: "pd.DataFrame") -> tuple[np.ndarray, np.ndarray]:
    """Values float64 [N, 12] in the stored units, and the reason against each row (an empty text for none)."""
    import pandas as pd

    values, reasons = np.empty((len(table), len(TARGETS))), np.full(len(table), "", dtype=object)
    for index, target in enumerate(TARGETS):
        column = pd.to_numeric(table[target.column], errors="coerce").to_numpy(np.float64)
        finite = np.isfinite(column)
        reasons[~finite & (reasons == "")] = f"{target.column} is not a finite number"
        absurd = finite & ((column < target.low) | (column > target.high))
        reasons[absurd & (reasons == "")] = f"{target.column} is not between {target.low} and {target.high}"
        values[:, index] = column * target.factor
    return values, reasons


def tokenize(strings: list[str]) -> tuple[np.ndarray, list[str]]:
    """SELFIES -> tokens uint8 [N, L] and the vocabulary, with start and end, padded to the longest.

    Codes 0, 1, 2 are pad, start, end; the symbols of the data follow, sorted: ``vocabulary[code]`` is a code's text.
    """
    import selfies

    split = [list(selfies.split_selfies(string)) for string in strings]
    vocabulary = [PAD, START, END, *sorted(set().union(*split))]
    if len(vocabulary) > 256:
        raise UserError(f"qm9: {len(vocabulary)} different SELFIES symbols; at most 256 fit into a byte")
    code = {symbol: index for index, symbol in enumerate(vocabulary)}
    tokens = np.zeros((len(split), max(map(len, split)) + 2), np.uint8)
    for row, symbols in zip(tokens, split, strict=True):
        row[: len(symbols) + 2] = [1, *(code[symbol] for symbol in symbols), 2]
    return tokens, vocabulary


def _count_failures(path: Path, table: "pd.DataFrame", reasons: np.ndarray) -> dict[str, dict[str, Any]]:
    """``{reason: {"count", "ids"}}``, with a warning a reason that names the first lines."""
    failures = {}
    for reason in sorted(set(reasons) - {""}):
        rows = table[reasons == reason]
        failures[str(reason)] = {"count": len(rows), "ids": rows["mol_id"].tolist()}
        lines = ", ".join(map(str, rows["line"].head(5)))
        dots = " ..." if len(rows) > 5 else ""
        log.warning("%s: %d molecules left out: %s (line %s%s)", path, len(rows), reason, lines, dots)
    return failures


def _options(given: dict[str, Any]) -> tuple[str, int]:
    """The split's name and seed."""
    options = {"split": "random", "split_seed": 0, **given}
    split, seed = options.pop("split"), options.pop("split_seed")
    if options or split not in SPLITTERS or type(seed) is not int or seed < 0:
        raise UserError(
            f"data.qm9: the options are split, one of {', '.join(SPLITTERS)}, and split_seed, an integer from 0; "
            f"got {split!r}, {seed!r} {sorted(options)}"
        )
    return split, seed


def prepare(
    raw: str | os.PathLike, prepared: str | os.PathLike, options: dict[str, Any] | None = None, threads: int = 1
) -> dict[str, Any]:
    """Prepare the QM9 files of ``raw`` into ``prepared`` and return stats.json's content.

    ``options``: ``split``, one of ``SPLITTERS``, and ``split_seed``, which makes the split and the records' order.
    Writes tokens uint8 [N, L] (0 pad, 1 start, 2 end), the graphs of :func:`mcvae.data.graphs.encode` (atoms,
    hydrogens, charges, bonds; 4 = aromatic), properties float32 [N, 12] in the units of ``TARGETS`` (u0 to g298 are
    atomisation energies; not standardised), ids int32 [N] (the N of gdb_N) and smiles.txt. The statistics in
    ``targets`` are those of the training split. Raises :class:`UserError` for missing, broken or inconsistent files.
    """
    from . import graphs

    raw, prepared = Path(raw), Path(prepared)
    split, seed = _options(options or {})
    table = _read_table(raw / TABLE)
    rows = len(table)
    uncharacterized = table["number"].isin(_read_uncharacterized(raw / UNCHARACTERIZED)).to_numpy()
    table = table[~uncharacterized].reset_index(drop=True)
    values, reasons = _targets(table)
    texts = table["smiles"].fillna("").astype(str).tolist()
    encoded = graphs.encode_parallel(texts, threads, scaffolds=split == "scaffold")
    reasons = np.where(reasons == "", encoded.pop("reason"), reasons)
    failures = _count_failures(raw / TABLE, table, reasons)
    kept = np.flatnonzero(reasons == "")
    if len(kept) < 10:
        raise UserError(f"{raw / TABLE}: {len(kept)} usable molecules of {rows}; at least 10 are needed for a split")
    scaffolds = encoded["scaffold"][kept] if "scaffold" in encoded else None
    order, (train, validation, test) = SPLITTERS[split](
        len(kept), np.random.Generator(np.random.PCG64(seed)), scaffolds
    )
    order = kept[order]
    tokens, vocabulary = tokenize(encoded["selfies"][order].tolist())
    properties, smiles = values[order], encoded["smiles"][order].tolist()
    mean, deviation = properties[:train].mean(0), properties[:train].std(0)
    if not deviation.all():
        constant = TARGETS[int(np.argmin(deviation))].column
        raise UserError(f"{raw / TABLE}: {constant} is the same for all training molecules")
    prepared.mkdir(parents=True, exist_ok=True)
    arrays = {"tokens": tokens, "properties": properties.astype(np.float32)}
    arrays["ids"] = table["number"].to_numpy(np.int32)[order]
    arrays |= {name: encoded[name][order] for name in ("atoms", "hydrogens", "charges", "bonds")}
    tensors = {name: store.save_tensor(prepared, name, array) for name, array in arrays.items()}
    write_text(prepared / "smiles.txt", "\n".join(smiles) + "\n")
    store.write_splits(prepared, train, validation, test)
    counts = {
        "rows": rows, "uncharacterized": int(uncharacterized.sum()), "failed": int((reasons != "").sum()),
        "molecules": len(kept), "train": train, "validation": validation, "test": test,
        "distinct_smiles": len(set(smiles)),
    }  # fmt: skip
    targets = [
        {"name": target.name, "unit": target.unit, "mean": float(m), "std": float(s)}
        for target, m, s in zip(TARGETS, mean, deviation, strict=True)
    ]
    return store.write_stats(
        prepared, raw, "qm9", tensors, counts, split=split, split_seed=seed, targets=targets, vocabulary=vocabulary,
        atom_types=list(graphs.ATOM_TYPES), bond_types=list(graphs.BOND_TYPES),
        texts={"smiles.txt": sha256_file(prepared / "smiles.txt")}, failures=failures,
    )  # fmt: skip
