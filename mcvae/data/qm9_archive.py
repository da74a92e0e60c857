"""From QM9's official archive of xyz files to ``qm9.csv.gz``, the table with MoleculeNet's columns.

The archive is read member by member, never unpacked; every number is copied as text or computed in exact decimals.
"""

import gzip
import os
import re
import tarfile
from collections import Counter
from decimal import Decimal
from pathlib import Path

from tqdm import tqdm

from ..errors import UserError

MOLECULES = 133_885
LARGEST_MEMBER = 1 << 16
KCAL_PER_HARTREE = Decimal("627.509")
NUMBERS = "A B C mu alpha homo lumo gap r2 zpve u0 u298 h298 g298 cv".split()
ENERGIES = ("u0", "u298", "h298", "g298")
COLUMNS = ["mol_id", "smiles", *NUMBERS, *(f"{name}_atom" for name in ENERGIES)]
MEMBER = re.compile(r"(?:\./)?dsgdb9nsd_(\d{6})\.xyz")


def read_atomref(path: str | os.PathLike) -> dict[str, tuple[Decimal, ...]]:
    """``{element: (U0, U, H, G)}`` of the free atoms in Hartree, from atomref.txt."""
    table = {}
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        fields = line.split()
        if len(fields) == 7 and fields[0] in "HCNOF":
            table[fields[0]] = tuple(Decimal(value) for value in fields[2:6])
    if set(table) != set("HCNOF"):
        raise UserError(f"{path}: expected energies of H, C, N, O and F, got {sorted(table)}")
    return table


def molecule_row(text: str, atomref: dict[str, tuple[Decimal, ...]]) -> str:
    """The line of one molecule from the text of its xyz file (Ramakrishnan et al. 2014, table 2).

    Line 1 counts the atoms, line 2 holds the identifier and 15 numbers, one line an atom follows, then the frequencies,
    then two SMILES, the first of them GDB-17's. ``*_atom`` = (energy - sum of the atoms') in kcal/mol.
    """
    lines = text.splitlines()
    atoms = int(lines[0])
    tag, number, *values = lines[1].split()
    if tag != "gdb" or len(values) != len(NUMBERS):
        raise ValueError(f"expected 'gdb', a number and {len(NUMBERS)} values, got {lines[1]!r}")
    elements = Counter(line.split()[0] for line in lines[2 : 2 + atoms])
    smiles = lines[3 + atoms].split()[0]
    numbers = [value + "0" if value.endswith(".") else value for value in values]
    by_name = dict(zip(NUMBERS, numbers, strict=True))
    atomisation = []
    for i, name in enumerate(ENERGIES):
        free = sum(count * atomref[element][i] for element, count in elements.items())
        atomisation.append(format(((Decimal(by_name[name]) - free) * KCAL_PER_HARTREE).normalize(), "f"))
    return ",".join([f"gdb_{number}", smiles, *numbers, *atomisation])


def write_csv(
    archive: str | os.PathLike, atomref: str | os.PathLike, target: Path, molecules: int | None = None
) -> None:
    """Write ``target`` (gzip without name and time) from the tar archive, molecules in the order of their numbers.

    Raises: UserError naming the member when one is foreign, oversized, twice there or unreadable, or when some lack
    (``molecules`` are expected, all 133,885 by default).
    """
    molecules = molecules or MOLECULES
    references = read_atomref(atomref)
    rows: dict[int, str] = {}
    try:
        with tarfile.open(archive, mode="r|bz2") as tar:
            for member in tqdm(tar, total=molecules, unit="file", desc="QM9 xyz", disable=None, leave=False):
                match = MEMBER.fullmatch(member.name)
                if match is None or not member.isreg() or member.size > LARGEST_MEMBER or int(match[1]) in rows:
                    raise UserError(f"{archive}: member {member.name!r} ({member.size:,} bytes) does not belong there")
                try:
                    text = tar.extractfile(member).read().decode("ascii")
                    rows[int(match[1])] = molecule_row(text, references)
                except (ValueError, ArithmeticError, LookupError) as error:
                    raise UserError(f"{archive}: member {member.name!r}: {error}") from None
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(f"{archive}: not a readable tar.bz2 archive ({error})") from None
    if sorted(rows) != list(range(1, molecules + 1)):
        raise UserError(f"{archive}: expected molecules 1 to {molecules:,}, got {len(rows):,} members")
    with open(target, "wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
        packed.write((",".join(COLUMNS) + "\n").encode())
        for number in sorted(rows):
            packed.write((rows[number] + "\n").encode())
