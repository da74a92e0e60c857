"""Stand-ins for QM9's computed properties: cheap models of plausible size in the official units.

They let the whole workflow run on molecules without a download. None of them is a result of quantum chemistry.
"""

import numpy as np
from rdkit import Chem
from rdkit.Chem import Crippen, rdDepictor, rdMolDescriptors, rdPartialCharges

_BOHR = 0.529177  # Angstrom
_KCAL = 1 / 627.509  # Hartree
_RT = 0.000944  # Hartree at 298.15 K
# Energies of the free atoms in Hartree (H, C, N, O, F), as QM9's atomref.txt: U(0 K); thermal parts are common to all.
_ATOM_ENERGY = {1: -0.500273, 6: -37.846772, 7: -54.583861, 8: -75.064579, 9: -99.718730}
_ATOM_G298 = {1: -0.510927, 6: -37.861317, 7: -54.598897, 8: -75.079532, 9: -99.733544}
# Textbook mean bond energies in kcal/mol, keyed by the elements in order of number, and bond order.
_BOND_ENERGY = {
    (1, 6, 1): 99, (1, 7, 1): 93, (1, 8, 1): 111, (6, 6, 1): 83, (6, 6, 2): 146, (6, 6, 3): 200,
    (6, 7, 1): 73, (6, 7, 2): 147, (6, 7, 3): 213, (6, 8, 1): 86, (6, 8, 2): 177, (6, 9, 1): 116,
    (7, 7, 1): 39, (7, 7, 2): 100, (7, 8, 1): 48, (7, 8, 2): 145,
}  # fmt: skip
_RING_STRAIN = {3: 27.0, 4: 26.0, 5: 6.0}
# Bond orbitals in Hartree: energy of an electron in a hybrid on the element; lone pairs; half the splitting of a bond.
_LEVEL = {1: -0.16, 6: -0.15, 7: -0.19, 8: -0.23, 9: -0.29}
_LONE_PAIR = {7: -0.265, 8: -0.305, 9: -0.44}
_SPLITTING = {"sigma": 0.23, "pi": 0.135, "pi'": 0.135}
_HOPPING = {frozenset(("pi",)): 0.04, frozenset(("pi", "lone")): 0.025}
_OTHER_HOPPING = 0.009


def _orbitals(molecule: Chem.Mol) -> tuple[np.ndarray, np.ndarray]:
    """Matrices of the occupied (bonding, lone pair) and the empty (antibonding) bond orbitals of a kekulised molecule.

    One pi bond between two atoms and one lone pair an atom take part in conjugation; those orthogonal to them do not.
    """
    kinds, atoms, occupied, empty = [], [], [], []
    for bond in molecule.GetBonds():
        pair = bond.GetBeginAtom().GetAtomicNum(), bond.GetEndAtom().GetAtomicNum()
        middle = (_LEVEL[pair[0]] + _LEVEL[pair[1]]) / 2
        for kind in ("sigma", "pi", "pi'")[: round(bond.GetBondTypeAsDouble())]:
            kinds.append(kind)
            atoms.append({bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()})
            occupied.append(middle - _SPLITTING[kind])
            empty.append(middle + _SPLITTING[kind])
    bonds = len(kinds)
    for atom in molecule.GetAtoms():
        for kind in ("lone", "lone'", "lone'")[: {7: 1, 8: 2, 9: 3}.get(atom.GetAtomicNum(), 0)]:
            kinds.append(kind)
            atoms.append({atom.GetIdx()})
            occupied.append(_LONE_PAIR[atom.GetAtomicNum()])
    full = np.diag(np.array(occupied))
    adjacent = Chem.GetAdjacencyMatrix(molecule)
    for i in range(len(kinds)):
        for j in range(i):
            hopping = _HOPPING.get(frozenset((kinds[i], kinds[j])))
            if hopping and any(adjacent[a, b] for a in atoms[i] for b in atoms[j]):
                full[i, j] = full[j, i] = hopping
            elif atoms[i] & atoms[j]:
                full[i, j] = full[j, i] = _OTHER_HOPPING
    virtual = np.diag(np.array(empty)) - (full - np.diag(occupied))[:bonds, :bonds]
    return full, virtual


def _shape(molecule: Chem.Mol) -> tuple[np.ndarray, np.ndarray]:
    """Positions (Angstrom) of all atoms in RDKit's plane drawing with bonds of 1.4, and their Gasteiger charges."""
    rdDepictor.Compute2DCoords(molecule)
    positions = molecule.GetConformer().GetPositions() * (1.4 / 1.5)
    rdPartialCharges.ComputeGasteigerCharges(molecule)
    charges = np.array([atom.GetDoubleProp("_GasteigerCharge") for atom in molecule.GetAtoms()])
    return positions, np.nan_to_num(charges, nan=0.0, posinf=0.0, neginf=0.0)


def _rotational_constants(positions: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """h / (8 pi^2 I) in GHz about the principal axes, largest first; 505.379 GHz amu Angstrom^2 is the constant."""
    centred = positions - masses @ positions / masses.sum()
    covariance = (centred * masses[:, None]).T @ centred
    moments = np.linalg.eigvalsh(np.trace(covariance) * np.eye(3) - covariance)
    return 505.379 / np.maximum(moments, 0.5)


def _atomization(molecule: Chem.Mol, aromatic_rings: list[int]) -> float:
    """Minus the sum of mean bond energies, with ring strain and an aromatic stabilisation; kcal/mol."""
    energy = 0.0
    for bond in molecule.GetBonds():
        pair = sorted((bond.GetBeginAtom().GetAtomicNum(), bond.GetEndAtom().GetAtomicNum()))
        energy -= _BOND_ENERGY[(*pair, round(bond.GetBondTypeAsDouble()))]
    strain = sum(_RING_STRAIN.get(len(ring), 0.0) for ring in molecule.GetRingInfo().AtomRings())
    return energy + strain - sum(33.0 if size == 6 else 20.0 for size in aromatic_rings)


def standin_properties(smiles: str) -> dict[str, float]:
    """QM9's columns A to g298_atom for one neutral CHNOF molecule, in the official units.

    All are stand-ins:
    - A, B, C (GHz): rotational constants of the plane drawing with all hydrogens;
    - mu (Debye): Gasteiger charges on that drawing;
    - alpha (Bohr^3): Crippen's molar refractivity, 2.675 Bohr^3 per cm^3/mol (Lorentz-Lorenz);
    - homo, lumo, gap (Hartree): extreme eigenvalues of a Hückel-type matrix of bond orbitals and lone pairs;
    - r2 (Bohr^2): atomic number times squared distance from the centre of charge in the drawing, plus 2.2 an electron;
    - zpve (Hartree), cv (cal/(mol K)): increments for bonds, rings and rotors;
    - u0_atom (kcal/mol): mean bond energies, ring strain, aromaticity and a part of zpve;
    - u298, h298, g298 add thermal increments; the totals (Hartree) add the free atoms' energies.
    """
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    rings = molecule.GetRingInfo()
    aromatic = [
        len(ring) for ring in rings.AtomRings() if all(molecule.GetAtomWithIdx(index).GetIsAromatic() for index in ring)
    ]
    refractivity = Crippen.MolMR(molecule)
    positions, charges = _shape(molecule)
    Chem.Kekulize(molecule, clearAromaticFlags=True)
    numbers = np.array([atom.GetAtomicNum() for atom in molecule.GetAtoms()])
    masses = np.array([atom.GetMass() for atom in molecule.GetAtoms()])
    heavy, hydrogens = int((numbers > 1).sum()), int((numbers == 1).sum())
    skeleton = molecule.GetNumBonds() - hydrogens
    rotors = rdMolDescriptors.CalcNumRotatableBonds(molecule)
    occupied, virtual = _orbitals(molecule)
    homo, lumo = float(np.linalg.eigvalsh(occupied)[-1]), float(np.linalg.eigvalsh(virtual)[0])
    centre = numbers @ positions / numbers.sum()
    spread = numbers @ ((positions - centre) ** 2).sum(1) / _BOHR**2
    zpve = 0.0108 * hydrogens + 0.0046 * skeleton + 0.0006 * rings.NumRings()
    cv = 5.96 + 2.75 * (heavy - 1) + 0.25 * hydrogens + 0.7 * rotors - 1.4 * rings.NumRings()
    u0_atom = _atomization(molecule, aromatic) + zpve / _KCAL * 0.1
    thermal = 3 * _RT + 0.00055 * (heavy - 1) + 0.0003 * rotors
    entropy = 44.0 + 4.6 * heavy + 1.2 * rotors - 2.0 * rings.NumRings()  # cal/(mol K)
    free = {
        "u0": sum(_ATOM_ENERGY[n] for n in numbers.tolist()),
        "g298": sum(_ATOM_G298[n] for n in numbers.tolist()),
    }
    free["u298"] = free["u0"] + 1.5 * _RT * len(numbers)
    free["h298"] = free["u0"] + 2.5 * _RT * len(numbers)
    total = {"u0": free["u0"] + u0_atom * _KCAL}
    total["u298"] = total["u0"] + thermal
    total["h298"] = total["u298"] + _RT
    total["g298"] = total["h298"] - 298.15 * entropy / 1000 * _KCAL
    values = dict(zip("ABC", _rotational_constants(positions, masses).tolist(), strict=True))
    return (
        values
        | {"mu": float(np.linalg.norm(charges @ positions)) * 4.80320, "alpha": 2.675 * refractivity}
        | {"homo": homo, "lumo": lumo, "gap": lumo - homo, "r2": float(spread) + 2.2 * float(numbers.sum())}
        | {"zpve": zpve, "cv": cv, **total}
        | {f"{name}_atom": (total[name] - free[name]) / _KCAL for name in total}
    )
