"""Molecules as text and graphs: SMILES -> canonical SMILES, SELFIES, and dense graphs of at most nine heavy atoms.

Run as a script it encodes a file of SMILES: so :func:`encode_parallel` uses several cores without forking.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import selfies
from rdkit import Chem, rdBase
from rdkit.Chem.Scaffolds import MurckoScaffold

# No import of mcvae here: as a script, this file must start without torch and without the package.

MAX_ATOMS = 9
ELEMENTS = ("C", "N", "O", "F")
ATOM_TYPES = ("none", *ELEMENTS)
BOND_TYPES = ("none", "single", "double", "triple", "aromatic")
_ATOM_CODE = {Chem.Atom(symbol).GetAtomicNum(): code for code, symbol in enumerate(ATOM_TYPES) if code}
_BOND_CODE = {Chem.BondType.names[name.upper()]: code for code, name in enumerate(BOND_TYPES) if code}
_BOND_OF_CODE = {code: bond for bond, code in _BOND_CODE.items()}
_ENOUGH_FOR_A_PROCESS = 10_000

Encoded = dict[str, np.ndarray]


def canonical_smiles(molecule: Chem.Mol) -> str:
    """RDKit's canonical SMILES without stereo marks, which GDB-17's SMILES do not have."""
    return Chem.MolToSmiles(molecule, isomericSmiles=False)


def parse_smiles(smiles: str) -> Chem.Mol | None:
    """A sanitised molecule, or None where RDKit finds none."""
    with rdBase.BlockLogs():
        return Chem.MolFromSmiles(smiles)


def _why_not(molecule: Chem.Mol | None, text: str = "") -> str:
    """The reason why a molecule has no place in the tensors, or nothing; ``text`` is what it was read from, if any."""
    if any(character.isspace() for character in text):
        return "white space in the SMILES"  # what follows it RDKit takes for a name
    if molecule is None:
        return "not a valid SMILES"
    atoms = list(molecule.GetAtoms())
    if not all(atom.GetAtomicNum() in _ATOM_CODE for atom in atoms):
        return f"an element other than H, {', '.join(ELEMENTS)}"
    if not 1 <= len(atoms) <= MAX_ATOMS:
        return f"not 1 to {MAX_ATOMS} heavy atoms"
    if len(Chem.GetMolFrags(molecule)) > 1:
        return "more than one fragment"
    if any(atom.GetNumRadicalElectrons() for atom in atoms):
        return "a radical"
    return ""


def _fill(molecule: Chem.Mol, order: list[int], row: int, arrays: Encoded) -> None:
    """Write one molecule's atoms and bonds, numbered in the order of its canonical SMILES."""
    place = {atom: position for position, atom in enumerate(order)}
    for atom in molecule.GetAtoms():
        at = row, place[atom.GetIdx()]
        arrays["atoms"][at] = _ATOM_CODE[atom.GetAtomicNum()]
        arrays["hydrogens"][at] = atom.GetTotalNumHs()
        arrays["charges"][at] = atom.GetFormalCharge()
    for bond in molecule.GetBonds():
        first, second = place[bond.GetBeginAtomIdx()], place[bond.GetEndAtomIdx()]
        arrays["bonds"][row, first, second] = arrays["bonds"][row, second, first] = _BOND_CODE[bond.GetBondType()]


def encode(smiles: Sequence[str], scaffolds: bool = False) -> Encoded:
    """Encode molecules one by one; row i belongs to ``smiles[i]``.

    Returns ``smiles`` (canonical) and ``selfies``, unicode [N]; ``atoms`` uint8 [N, 9] (0 none, then C, N, O, F as
    1..4), ``hydrogens`` uint8 and ``charges`` int8 [N, 9] on those atoms; ``bonds`` uint8 [N, 9, 9], symmetric (0 none,
    1 single, 2 double, 3 triple, 4 aromatic: not kekulised); ``reason`` unicode [N], empty where the molecule was
    encoded, else why it was not; with ``scaffolds`` also ``scaffold`` unicode [N], the canonical SMILES of rings and
    what links them (Bemis & Murcko 1996), empty without rings.
    Equal molecules have equal rows, since atoms are numbered in the order of the canonical SMILES.
    """
    count = len(smiles)
    arrays: Encoded = {
        "atoms": np.zeros((count, MAX_ATOMS), np.uint8),
        "hydrogens": np.zeros((count, MAX_ATOMS), np.uint8),
        "charges": np.zeros((count, MAX_ATOMS), np.int8),
        "bonds": np.zeros((count, MAX_ATOMS, MAX_ATOMS), np.uint8),
    }
    canonical, strings, reasons, cores = [""] * count, [""] * count, [""] * count, [""] * count
    with rdBase.BlockLogs():
        for row, text in enumerate(smiles):
            molecule = Chem.MolFromSmiles(text)
            reasons[row] = _why_not(molecule, text)
            if reasons[row]:
                continue
            canonical[row] = canonical_smiles(molecule)
            try:
                strings[row] = selfies.encoder(canonical[row])
            except selfies.EncoderError:
                reasons[row] = "no SELFIES under the default valence rules"
                continue
            order = [int(index) for index in molecule.GetProp("_smilesAtomOutputOrder").strip("[],").split(",")]
            _fill(molecule, order, row, arrays)
            if scaffolds:
                cores[row] = MurckoScaffold.MurckoScaffoldSmiles(mol=molecule)
    texts = {"smiles": canonical, "selfies": strings, "reason": reasons} | ({"scaffold": cores} if scaffolds else {})
    return arrays | {name: np.array(text) for name, text in texts.items()}


def encode_parallel(smiles: list[str], threads: int = 1, scaffolds: bool = False) -> Encoded:
    """:func:`encode` shared among at most ``threads`` processes; the result does not depend on their number.

    Plain subprocesses that exchange files: a pool would fork a threaded parent, or import its main script again.
    """
    workers = max(1, min(threads, len(smiles) // _ENOUGH_FOR_A_PROCESS))
    if workers == 1:
        return encode(smiles, scaffolds)
    with tempfile.TemporaryDirectory(prefix="mcvae-") as folder:
        started = []
        try:
            for index, part in enumerate(np.array_split(np.arange(len(smiles)), workers)):
                source, target = Path(folder, f"{index}.json"), Path(folder, f"{index}.npz")
                source.write_text(json.dumps(smiles[part[0] : part[-1] + 1]), encoding="utf-8")
                # -P: else this folder would come first on sys.path, where its modules would hide others.
                command = [sys.executable, "-P", __file__, os.fspath(source), os.fspath(target)]
                command += ["scaffolds"] if scaffolds else []
                started.append((subprocess.Popen(command, stdin=subprocess.DEVNULL), target))
            parts = []
            for process, target in started:
                if process.wait() != 0:
                    raise RuntimeError(f"encoding molecules: a worker ended with exit code {process.returncode}")
                with np.load(target, allow_pickle=False) as part:
                    parts.append({name: part[name] for name in part.files})
        finally:
            for process, _ in started:
                if process.poll() is None:
                    process.kill()
                process.wait()
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def to_smiles(codes: np.ndarray, strict: bool = True) -> list[str | None]:
    """Canonical SMILES of graphs as a one-shot decoder makes them, codes int [N, 9 + 9 + 9 + 36]; None for no molecule.

    Atoms, hydrogens, charges + 1, and the bonds above the diagonal, row by row; what is said of places without an atom
    is not read. Strict: valences hold, aromatic rings have a Kekulé form, no radical, and one connected fragment of at
    least one atom. Hydrogens are implied; what is said of them counts in aromatic rings alone, of nitrogen and charged
    atoms, where they are not. Without ``strict`` several fragments are a molecule too (as in MolGAN's validity).
    """
    rows = np.asarray(codes)
    pairs = np.triu_indices(MAX_ATOMS, 1)
    if rows.ndim != 2 or rows.shape[1] != 3 * MAX_ATOMS + len(pairs[0]):
        raise ValueError(f"codes of shape {list(rows.shape)}; expected [N, {3 * MAX_ATOMS + len(pairs[0])}]")
    upper = list(zip(*(ends.tolist() for ends in pairs), strict=True))
    with rdBase.BlockLogs():
        return [_molecule_of(row, upper, strict) for row in rows.tolist()]


def _molecule_of(row: list[int], upper: list[tuple[int, int]], strict: bool) -> str | None:
    bonds = [(i, j, code) for (i, j), code in zip(upper, row[3 * MAX_ATOMS :], strict=True) if code > 0]
    bonds = [(i, j, code) for i, j, code in bonds if row[i] > 0 and row[j] > 0]
    aromatic = {end for i, j, code in bonds if BOND_TYPES[code] == "aromatic" for end in (i, j)}
    molecule, place = Chem.RWMol(), {}
    for i, code in enumerate(row[:MAX_ATOMS]):
        if code > 0:
            atom = Chem.Atom(ATOM_TYPES[code])
            atom.SetFormalCharge(row[2 * MAX_ATOMS + i] - 1)
            if i in aromatic:
                atom.SetIsAromatic(True)
                if ATOM_TYPES[code] == "N" or atom.GetFormalCharge():  # [nH] and [cH-]: not to be told otherwise
                    atom.SetNumExplicitHs(max(0, row[MAX_ATOMS + i]))
            place[i] = molecule.AddAtom(atom)
    for i, j, code in bonds:
        molecule.AddBond(place[i], place[j], _BOND_OF_CODE[code])
        molecule.GetBondBetweenAtoms(place[i], place[j]).SetIsAromatic(BOND_TYPES[code] == "aromatic")
    try:
        Chem.SanitizeMol(molecule)
        again = Chem.MolFromSmiles(canonical_smiles(molecule))  # as any reader of the text would have it
    except (Chem.MolSanitizeException, ValueError, RuntimeError):
        return None
    if again is None or not again.GetNumHeavyAtoms() or (strict and _why_not(again)):
        return None
    return canonical_smiles(again)


if __name__ == "__main__":
    np.savez(sys.argv[2], **encode(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), len(sys.argv) > 3))
