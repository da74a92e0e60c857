"""From dense graphs back to molecules: what was encoded comes back, and what is no molecule does not."""

import numpy as np
import pandas as pd
import pytest
import torch
from rdkit import Chem

from mcvae.data import qm9
from mcvae.data.graphs import encode, to_smiles
from mcvae.models.graph import TENSORS, codes, pack


def coded(smiles):
    encoded = encode(smiles)
    assert set(encoded["reason"].tolist()) == {""}
    return codes(pack({name: torch.from_numpy(encoded[name]) for name in TENSORS})).numpy()


def test_what_is_encoded_comes_back(molecules_folder):
    smiles = pd.read_csv(molecules_folder / qm9.TABLE)["smiles"][::5].tolist()
    assert to_smiles(coded(smiles)) == [Chem.CanonSmiles(text) for text in smiles]


def test_charges_and_hydrogens_of_aromatic_rings_come_back():
    smiles = "C[NH2+]CC([O-])=O c1cc[nH]c1 Cn1ccnc1 [nH]1nnc(C#N)c1 C[n+]1cc[nH]c1 O=c1[cH-][nH]c2c1C[NH2+]C2".split()
    assert to_smiles(coded(smiles)) == [Chem.CanonSmiles(text) for text in smiles]


@pytest.fixture
def ethanol():
    return coded(["CCO"])


def changed(row, place, value):
    row = row.copy()
    row[0, place] = value
    return to_smiles(row)[0]


def test_a_valence_that_is_exceeded_is_no_molecule(ethanol):
    first_bond, second_bond = 27, 27 + 8  # (0, 1) and (1, 2)
    assert changed(ethanol, first_bond, 2) == "C=CO"
    assert changed(ethanol, second_bond, 3) is None  # an oxygen with three bonds


def test_fragments_and_nothing_are_no_molecule(ethanol):
    assert changed(ethanol, 27, 0) is None
    assert to_smiles(np.zeros_like(ethanol)) == [None]


def test_bonds_to_places_without_an_atom_are_not_read(ethanol):
    assert changed(ethanol, 27 + 7, 3) == "CCO"  # (0, 8)


def test_an_aromatic_bond_outside_a_ring_is_no_molecule(ethanol):
    assert changed(ethanol, 27, 4) is None


def test_codes_of_another_width_are_refused():
    with pytest.raises(ValueError, match="expected"):
        to_smiles(np.zeros((2, 62), int))
