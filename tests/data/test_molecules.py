"""The enumerated molecules are QM9's own files: distinct, small, stable enough, with properties of plausible size."""

import gzip

import numpy as np
import pandas as pd
import pytest
from rdkit import Chem

from mcvae.data import molecules, qm9
from mcvae.data.standins import standin_properties
from mcvae.files import sha256_file


@pytest.fixture(scope="module")
def table(molecules_folder):
    return pd.read_csv(molecules_folder / qm9.TABLE)


def test_the_same_molecules_are_the_same_bytes(molecules_folder, tmp_path):
    molecules.write_molecules(tmp_path)
    assert {p.name: sha256_file(p) for p in tmp_path.iterdir()} == {
        p.name: sha256_file(p) for p in molecules_folder.iterdir()
    }


def test_the_table_has_exactly_the_columns_of_moleculenet(molecules_folder, table):
    with gzip.open(molecules_folder / qm9.TABLE, "rt") as file:
        assert file.readline().strip().split(",") == qm9.COLUMNS
    assert table["mol_id"].tolist() == [f"gdb_{n}" for n in range(1, 2413)]


def test_molecules_are_distinct_neutral_connected_and_of_at_most_nine_heavy_atoms(table):
    assert table["smiles"].is_unique
    for smiles in table["smiles"]:
        molecule = Chem.MolFromSmiles(smiles)
        assert "." not in smiles and molecule.GetNumAtoms() <= 9
        assert {atom.GetSymbol() for atom in molecule.GetAtoms()} <= {"C", "N", "O", "F"}
        assert not any(atom.GetFormalCharge() or atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms())


@pytest.mark.parametrize(
    "pattern", ["a1aaaaa1", "a1aaaa1", "C#C", "C#N", "C=O", "C=C", "C1CC1", "F", "[R2]", "N", "[OH]"]
)
def test_the_set_is_diverse(table, pattern):
    query = Chem.MolFromSmarts(pattern)
    share = np.mean([Chem.MolFromSmiles(smiles).HasSubstructMatch(query) for smiles in table["smiles"]])
    assert 0.003 < share < 0.9


def test_stand_ins_lie_where_the_official_values_lie(table):
    """Mean and spread within a factor of those of QM9 (Ramakrishnan et al. 2014); the sizes differ, so loosely."""
    official = {
        "mu": 2.7,
        "alpha": 75,
        "homo": -0.24,
        "gap": 0.25,
        "r2": 1190,
        "zpve": 0.149,
        "cv": 31.6,
        "u0_atom": -1751,
    }
    for name, mean in official.items():
        assert 0.6 < table[name].mean() / mean < 1.4, name
        assert table[name].std() > 0.05 * abs(mean), name
    assert (table["gap"] - (table["lumo"] - table["homo"])).abs().max() < 1e-8
    assert table["gap"].min() > 0 and (table["C"] > 0).all() and (table["A"] >= table["C"]).all()


def test_energies_are_ordered_as_thermodynamics_has_it(table):
    assert (table["u0"] < table["u298"]).all() and (table["u298"] < table["h298"]).all()
    assert (table["g298"] < table["h298"]).all()


def test_conjugation_narrows_the_gap():
    gaps = [standin_properties(smiles)["gap"] for smiles in ("CCCCCC", "C=CCCCC", "C=CC=CCC", "C=CC=CC=C")]
    assert gaps == sorted(gaps, reverse=True)


def test_a_property_does_not_depend_on_how_the_smiles_is_written():
    first, second = standin_properties("OCC1=CC=CO1"), standin_properties("c1coc(CO)c1")
    for name in ("alpha", "homo", "lumo", "zpve", "cv", "u0", "u0_atom", "g298"):
        assert first[name] == pytest.approx(second[name], abs=1e-9)
