"""CelebA's annotation texts: attributes, partition, identities, and the manifest of a declared subset.

Every line that is used is checked; an error names the file and the line.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError

ATTRIBUTES = (
    "5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair Blond_Hair "
    "Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup High_Cheekbones Male "
    "Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks "
    "Sideburns Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace "
    "Wearing_Necktie Young"
).split()


@dataclass(frozen=True)
class Declared:
    """What a manifest says of one image, in its line ``number``; None where it has no such column."""

    number: int
    bytes: int | None = None
    sha256: str | None = None
    identity: int | None = None


def lines(path: Path, separator: str | None = None) -> Iterator[tuple[int, list[str]]]:
    """The lines that are not empty: number from 1, and columns (separated by white space where nothing is said)."""
    if not path.exists():
        raise UserError(f"{path}: no such file; CelebA needs its archive and three annotation texts")
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, line.rstrip("\r\n").split(separator)


def read_numbers(path: Path, low: int, high: int) -> dict[str, int]:
    """A text of ``NNNNNN.jpg value`` lines, each value in [low, high]."""
    values: dict[str, int] = {}
    for number, columns in lines(path):
        if len(columns) != 2 or not columns[0].endswith(".jpg"):
            raise UserError(f"{path}, line {number}: {' '.join(columns)[:60]!r} is not of the form 'NNNNNN.jpg value'")
        name, value = columns
        if not value.isdecimal() or len(value) > 10 or not low <= int(value) <= high:
            raise UserError(f"{path}, line {number}: {value!r} is not an integer from {low} to {high}")
        if name in values:
            raise UserError(f"{path}, line {number}: {name} is listed twice")
        values[name] = int(value)
    if not values:
        raise UserError(f"{path}: the file is empty")
    return values


def read_attributes(path: Path, wanted: set[str]) -> tuple[list[str], dict[str, bytes], int]:
    """The 40 attributes' names, 0/1 bytes of the ``wanted`` images, and the number of all, as line 1 must say it."""
    rows_left = lines(path)
    _, first = next(rows_left, (1, []))
    if len(first) != 1 or not first[0].isdecimal():
        raise UserError(f"{path}, line 1: {' '.join(first)[:60]!r} is not the number of rows")
    names = next(rows_left, (2, []))[1]
    absent = [name for name in ATTRIBUTES if name not in names]
    if absent:
        raise UserError(
            f"{path}, line 2: {len(absent)} of CelebA's 40 attributes are missing: {', '.join(absent)[:80]}"
        )
    if len(names) != 40:
        raise UserError(f"{path}, line 2: {len(names)} attribute names; CelebA has 40")
    rows, vectors = 0, {}
    for number, columns in rows_left:
        rows += 1
        if len(columns) != 41:
            raise UserError(f"{path}, line {number}: {len(columns) - 1} attribute values; line 2 names 40")
        if columns[0] in wanted:
            if not set(columns[1:]) <= {"1", "-1"}:
                raise UserError(f"{path}, line {number}: an attribute value is neither 1 nor -1")
            if columns[0] in vectors:
                raise UserError(f"{path}, line {number}: {columns[0]} is listed twice")
            vectors[columns[0]] = bytes(value == "1" for value in columns[1:])
    if rows != int(first[0]):
        raise UserError(f"{path}, line 1: says {first[0]} rows, but {rows} follow")
    missing = len(wanted) - len(vectors)
    if missing:
        example = min(wanted - set(vectors))
        raise UserError(f"{path}: has no attributes for {missing} of {len(wanted)} images, such as {example}")
    return names, vectors, rows


def read_manifest(path: Path, partition: dict[str, int]) -> dict[str, Declared]:
    """The images of a declared subset; each has its place in the official partition, and no other one here.

    The columns ``bytes``, ``sha256`` and ``identity`` may be missing; what they say where they are there is for the
    caller to verify. Others say nothing here.
    """
    rows_left = lines(path, "\t")
    header = next(rows_left, (1, []))[1]
    if "file" not in header:
        raise UserError(f"{path}, line 1: no column 'file'")
    declared: dict[str, Declared] = {}
    for number, columns in rows_left:
        where = f"{path}, line {number}"
        if len(columns) != len(header):
            raise UserError(f"{where}: {len(columns)} columns, line 1 has {len(header)}")
        row = dict(zip(header, columns, strict=True))
        name = row["file"]
        if name not in partition:
            raise UserError(f"{where}: {name} is not in list_eval_partition.txt")
        if row.get("partition", str(partition[name])) != str(partition[name]):
            raise UserError(f"{where}: {name} has not the partition of list_eval_partition.txt")
        if name in declared:
            raise UserError(f"{where}: {name} is listed twice")
        declared[name] = _declared(row, number, where)
    if not declared:
        raise UserError(f"{path}: lists no image")
    return declared


def _declared(row: dict[str, str], number: int, where: str) -> Declared:
    sizes = {}
    for column in ("bytes", "identity"):
        value = row.get(column, "0")
        if not value.isdecimal() or len(value) > 10:
            raise UserError(f"{where}: {column} {value[:40]!r} is not a whole number")
        sizes[column] = int(value) if column in row else None
    sha = row.get("sha256")
    if sha is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha):
        raise UserError(f"{where}: sha256 {sha[:70]!r} is not one of 64 hexadecimal digits")
    return Declared(number, sizes["bytes"], None if sha is None else sha.lower(), sizes["identity"])
