"""Enumerated small CHNOF molecules in QM9's own file formats, for runs without any download.

The molecules are real graphs; their properties are cheap stand-ins (see standins.py), not quantum chemistry.
"""

import gzip
import io
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from rdkit import Chem, rdBase

from ..files import write_bytes, write_text
from .graphs import canonical_smiles
from .qm9 import COLUMNS, TABLE, UNCHARACTERIZED
from .standins import standin_properties

# Molecules kept of each number of heavy atoms; 2,400 remain after the uncharacterised ones are dropped.
QUOTAS = {1: 3, 2: 7, 3: 18, 4: 60, 5: 150, 6: 300, 7: 450, 8: 600, 9: 824}
NUMBER_UNCHARACTERIZED = 12
SCAFFOLDS = (
    "C N O CC C=C C#C C#N CO C=O CN C1CC1 C1CO1 C1CN1 C1CCC1 C1COC1 c1cc[nH]c1 c1ccoc1 c1cnc[nH]1 c1cn[nH]c1 c1cocn1 "
    "c1conc1 C1CCCC1 C1CCOC1 c1ccccc1 c1ccncc1 c1ccnnc1 c1cncnc1 C1CCCCC1 C1CCOCC1 C1CC2CC2C1 C1C2CC1C2 C1CCCCCC1 "
    "C1CC2CCC1C2 C12C3C4C1C5C2C3C45 C1CC2CCC1CC2 c1ccc2[nH]ccc2c1 c1ccc2occc2c1"
).split()
# Unstable or strained, which no valence rule sees: chains of heteroatoms, cumulenes, small-ring alkynes, geminal diols.
_REFUSED = tuple(
    Chem.MolFromSmarts(text)
    for text in (
        "[#8]~[#8]",
        "F[#7,#8]",
        "[#7,#8;!a]~[#7,#8;!a]~[#7,#8;!a]",
        "*=*=*",
        "[R]#[R]",
        "[R2;!a]=*",
        "[r3]=[r3]",
        "[a;r3,r4]",
        "a=[C,N]",
        "[CX4]([OX2H])[OX2H,NX3;H1,H2]",
    )
)
_ELEMENTS, _SHARES = ("C", "N", "O", "F"), (0.64, 0.14, 0.18, 0.04)


def _allowed(molecule: Chem.Mol) -> bool:
    hetero = sum(atom.GetSymbol() != "C" for atom in molecule.GetAtoms())
    if hetero > 1 + molecule.GetNumAtoms() // 2 or molecule.GetRingInfo().NumRings() > 1 + molecule.GetNumAtoms() // 4:
        return False
    return not any(molecule.HasSubstructMatch(pattern) for pattern in _REFUSED)


def _editable(smiles: str) -> Chem.RWMol:
    """A kekulised copy whose hydrogens are all implicit, so that a new bond takes one of them away."""
    molecule = Chem.RWMol(Chem.MolFromSmiles(smiles))
    Chem.Kekulize(molecule, clearAromaticFlags=True)
    for atom in molecule.GetAtoms():
        atom.SetNoImplicit(False)
        atom.SetNumExplicitHs(0)
    molecule.UpdatePropertyCache()
    return molecule


def _pick(rng: np.random.Generator, choices: Iterable) -> object | None:
    choices = list(choices)
    return choices[int(rng.integers(len(choices)))] if choices else None


def _add_atom(molecule: Chem.RWMol, rng: np.random.Generator) -> None:
    anchor = _pick(rng, (atom.GetIdx() for atom in molecule.GetAtoms() if atom.GetTotalNumHs()))
    if anchor is not None:
        new = molecule.AddAtom(Chem.Atom(str(rng.choice(_ELEMENTS, p=_SHARES))))
        molecule.AddBond(anchor, new, Chem.BondType.SINGLE)


def _raise_bond(molecule: Chem.RWMol, rng: np.random.Generator) -> None:
    ends = (
        (bond, bond.GetBeginAtom().GetTotalNumHs(), bond.GetEndAtom().GetTotalNumHs()) for bond in molecule.GetBonds()
    )
    bond = _pick(rng, (bond for bond, a, b in ends if a and b and bond.GetBondType() != Chem.BondType.TRIPLE))
    if bond is not None:
        bond.SetBondType(Chem.BondType.DOUBLE if bond.GetBondType() == Chem.BondType.SINGLE else Chem.BondType.TRIPLE)


def _close_ring(molecule: Chem.RWMol, rng: np.random.Generator) -> None:
    distances = Chem.GetDistanceMatrix(molecule, force=True)  # a cached one knows nothing of the last change
    free = [atom.GetIdx() for atom in molecule.GetAtoms() if atom.GetTotalNumHs()]
    pair = _pick(rng, ((i, j) for i in free for j in free if i < j and 2 <= distances[i, j] <= 5))
    if pair is not None:
        molecule.AddBond(*pair, Chem.BondType.SINGLE)


def _grow(parent: str, size: int, rng: np.random.Generator) -> str | None:
    """One more heavy atom (``size`` in all), then up to two changes of bonds; canonical SMILES, or None for none."""
    molecule = _editable(parent)
    try:
        _add_atom(molecule, rng)
        molecule.UpdatePropertyCache()
        for _ in range(int(rng.choice(3, p=(0.45, 0.4, 0.15)))):
            (_raise_bond, _close_ring)[int(rng.integers(2))](molecule, rng)
            molecule.UpdatePropertyCache()
        # From text again: aromaticity is perceived on the whole molecule, and what text cannot say is not kept.
        molecule = Chem.MolFromSmiles(Chem.MolToSmiles(molecule))
    except (Chem.AtomValenceException, Chem.KekulizeException):
        return None
    if molecule is None or molecule.GetNumAtoms() != size or not _allowed(molecule):
        return None
    return canonical_smiles(molecule)


def enumerate_molecules() -> list[str]:
    """Canonical SMILES of distinct molecules of 1 to 9 heavy atoms, ``QUOTAS`` of each size, in order of size and text.

    Scaffolds first; the others grow from the molecules that are one atom smaller, by a generator of fixed seed.
    """
    rng = np.random.Generator(np.random.PCG64(133885))
    levels: dict[int, list[str]] = {0: []}
    with rdBase.BlockLogs():
        scaffolds = [Chem.MolFromSmiles(text) for text in SCAFFOLDS]
        for size, quota in QUOTAS.items():
            found = dict.fromkeys(canonical_smiles(mol) for mol in scaffolds if mol.GetNumAtoms() == size)
            parents = levels[size - 1]
            for _ in range(100 * quota):
                if len(found) == quota:
                    break
                child = _grow(parents[int(rng.integers(len(parents)))], size, rng)
                if child is not None:
                    found[child] = None
            if len(found) != quota:
                raise RuntimeError(f"found {len(found)} molecules of {size} heavy atoms, not {quota}")
            levels[size] = sorted(found)
    return [smiles for size in QUOTAS for smiles in levels[size]]


def _uncharacterized_text(smiles: list[str]) -> str:
    """The official format: nine header lines, an entry a molecule, one footer line. Evenly spread ids."""
    rule = "=" * 158
    header = [
        "",
        "Stand-in for the official list: these molecules of the enumerated set are dropped so that the same",
        "code path is used; nothing was found to be wrong with them. Given are index, SMILES (thrice), zero.",
        *[""] * 3,
        rule,
        f"#   Index{'GDB17 SMILES':>39}{'SMILES for B3LYP XYZ':>37}{'SMILES for Corina XYZ':>46}{'D_IJ':>20}",
        rule,
    ]
    step = len(smiles) // NUMBER_UNCHARACTERIZED
    chosen = range(step, step * NUMBER_UNCHARACTERIZED + 1, step)
    entries = [f"{n:8d}{smiles[n - 1]:>39}{smiles[n - 1]:>37}{smiles[n - 1]:>46}{0.0:>20.6f}" for n in chosen]
    return "\n".join([*header, *entries, rule]) + "\n"


def write_molecules(folder: str | os.PathLike) -> None:
    """Write qm9.csv.gz with MoleculeNet's columns and uncharacterized.txt into ``folder``.

    2,412 molecules with stand-in properties in the official units; equal bytes at every call (and one RDKit version).
    """
    smiles = enumerate_molecules()
    text = io.StringIO()
    text.write(",".join(COLUMNS) + "\n")
    with rdBase.BlockLogs():
        for number, line in enumerate(smiles, start=1):
            values = standin_properties(line)
            text.write(f"gdb_{number},{line}," + ",".join(f"{values[name]:.9g}" for name in COLUMNS[2:]) + "\n")
    write_bytes(Path(folder) / TABLE, gzip.compress(text.getvalue().encode(), compresslevel=9, mtime=0))
    write_text(Path(folder) / UNCHARACTERIZED, _uncharacterized_text(smiles))
