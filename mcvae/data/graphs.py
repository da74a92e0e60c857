"""Molecules as text and graphs: SMILES -> canonical SMILES, SELFIES, and dense graphs of at most nine heavy atoms.

Run as a script on two paths it encodes a file of SMILES: so :func:`encode_parallel` uses several cores, not forking.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import selfies
from rdkit import Chem, rdBase

# No import of mcvae here: as a script, this file must start without torch and without the package.

MAX_ATOMS = 9
ELEMENTS = ("C", "N", "O", "F")
ATOM_TYPES = ("none", *ELEMENTS)
BOND_TYPES = ("none", "single", "double", "triple", "aromatic")
_ATOM_CODE = {Chem.Atom(symbol).GetAtomicNum(): code for code, symbol in enumerate(ATOM_TYPES) if code}
_BOND_CODE = {Chem.BondType.names[name.upper()]: code for code, name in enumerate(BOND_TYPES) if code}
_ENOUGH_FOR_A_PROCESS = 10_000

Encoded = dict[str, np.ndarray]


def canonical_smiles(molecule: Chem.Mol) -> str:
    """RDKit's canonical SMILES without stereo marks, which GDB-17's SMILES do not have."""
    return Chem.MolToSmiles(molecule, isomericSmiles=False)


def parse_smiles(smiles: str) -> Chem.Mol | None:
    """A sanitised molecule, or None where RDKit finds none."""
    with rdBase.BlockLogs():
        return Chem.MolFromSmiles(smiles)


def _why_not(molecule: Chem.Mol | None) -> str:
    """The reason why a molecule has no place in the tensors, or nothing."""
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


def encode(smiles: Sequence[str]) -> Encoded:
    """Encode molecules one by one; row i belongs to ``smiles[i]``.

    Returns ``smiles`` (canonical) and ``selfies``, unicode [N]; ``atoms`` uint8 [N, 9] (0 none, then C, N, O, F as
    1..4), ``hydrogens`` uint8 and ``charges`` int8 [N, 9] on those atoms; ``bonds`` uint8 [N, 9, 9], symmetric (0 none,
    1 single, 2 double, 3 triple, 4 aromatic: not kekulised); ``reason`` unicode [N], empty where the molecule was
    encoded, else why it was not.
    Equal molecules have equal rows, since atoms are numbered in the order of the canonical SMILES.
    """
    count = len(smiles)
    arrays: Encoded = {
        "atoms": np.zeros((count, MAX_ATOMS), np.uint8),
        "hydrogens": np.zeros((count, MAX_ATOMS), np.uint8),
        "charges": np.zeros((count, MAX_ATOMS), np.int8),
        "bonds": np.zeros((count, MAX_ATOMS, MAX_ATOMS), np.uint8),
    }
    canonical, strings, reasons = [""] * count, [""] * count, [""] * count
    with rdBase.BlockLogs():
        for row, text in enumerate(smiles):
            molecule = Chem.MolFromSmiles(text)
            reasons[row] = _why_not(molecule)
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
    return arrays | {"smiles": np.array(canonical), "selfies": np.array(strings), "reason": np.array(reasons)}


def encode_parallel(smiles: Sequence[str], threads: int = 1) -> Encoded:
    """:func:`encode` shared among at most ``threads`` processes; the result does not depend on their number.

    Plain subprocesses that exchange files: a pool would fork a threaded parent, or import its main script again.
    """
    workers = max(1, min(threads, len(smiles) // _ENOUGH_FOR_A_PROCESS))
    if workers == 1:
        return encode(smiles)
    with tempfile.TemporaryDirectory(prefix="mcvae-") as folder:
        started = []
        try:
            for index, part in enumerate(np.array_split(np.arange(len(smiles)), workers)):
                source, target = Path(folder, f"{index}.txt"), Path(folder, f"{index}.npz")
                source.write_text("\n".join(smiles[part[0] : part[-1] + 1]), encoding="utf-8")
                # -P: else this folder would come first on sys.path, where its modules would hide others.
                command = [sys.executable, "-P", __file__, os.fspath(source), os.fspath(target)]
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


if __name__ == "__main__":
    np.savez(sys.argv[2], **encode(Path(sys.argv[1]).read_text(encoding="utf-8").split("\n")))
