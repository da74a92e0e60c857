"""How molecules are divided: every one of them once, by the seed alone, scaffolds whole where they have to be."""

import numpy as np
import pandas as pd
import pytest
from rdkit import Chem

from mcvae.data import qm9, qm9_splits
from mcvae.data.graphs import encode
from mcvae.errors import UserError
from mcvae.files import read_json
from mcvae.options import Qm9Options


def divided(name, count, seed, scaffolds=None):
    return qm9_splits.SPLITTERS[name](count, np.random.Generator(np.random.PCG64(seed)), scaffolds)


def texts(count, kinds):
    return np.array([f"scaffold {i}" for i in np.random.default_rng(0).integers(0, kinds, count)])


@pytest.mark.parametrize("name", qm9_splits.SPLITTERS)
def test_every_molecule_is_in_one_split(name, monkeypatch):
    monkeypatch.setattr(qm9_splits, "LITERATURE", (700, 100))
    order, sizes = divided(name, 1003, 0, texts(1003, 200))
    assert sorted(order.tolist()) == list(range(1003)) and sum(sizes) == 1003
    assert sizes[0] == {"literature": 700}.get(name, pytest.approx(802, abs=10))


@pytest.mark.parametrize("name", qm9_splits.SPLITTERS)
def test_a_seed_makes_one_split_and_another_seed_another(name, monkeypatch):
    monkeypatch.setattr(qm9_splits, "LITERATURE", (700, 100))
    first, again, other = (divided(name, 1000, seed, texts(1000, 200))[0] for seed in (3, 3, 4))
    assert (first == again).all() and not (first == other).all()


def test_no_scaffold_is_in_two_splits():
    scaffolds = texts(2000, 300)
    order, (train, validation, _) = divided("scaffold", 2000, 0, scaffolds)
    parts = [
        set(scaffolds[order[a:b]]) for a, b in ((0, train), (train, train + validation), (train + validation, None))
    ]
    assert all(parts) and not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])


def test_a_common_scaffold_is_trained_on():
    scaffolds = np.array(["common"] * 600 + [f"rare {i}" for i in range(400)])
    order, (train, _, _) = divided("scaffold", 1000, 5, scaffolds)
    assert set(range(600)) <= set(order[:train].tolist())


def test_scaffolds_that_leave_a_split_empty_are_refused():
    with pytest.raises(UserError, match=r"\[1000, 0, 0\]|divide 1000 molecules"):
        divided("scaffold", 1000, 0, np.array(["one"] * 1000))


def test_too_few_molecules_for_the_literatures_split_are_refused():
    with pytest.raises(UserError, match="110,000 \\+ 10,000"):
        divided("literature", 120_000, 0)
    assert divided("literature", 130_831, 0)[1] == (110_000, 10_000, 10_831)


def test_a_prepared_scaffold_split_is_one_of_bemis_murcko_scaffolds(molecules_folder, tmp_path):
    stats = qm9.prepare(molecules_folder, tmp_path, {"split": "scaffold", "split_seed": 1})
    assert stats["split"] == "scaffold"
    smiles = (tmp_path / "smiles.txt").read_text().splitlines()
    encoded = encode(smiles, scaffolds=True)["scaffold"]
    splits = read_json(tmp_path / "splits.json")
    parts = {name: set(encoded[slice(*bounds)]) for name, bounds in splits.items()}
    assert not parts["train"] & parts["test"] and not parts["train"] & parts["validation"]
    table = pd.read_csv(molecules_folder / qm9.TABLE).set_index("mol_id")
    ids = np.load(tmp_path / "ids.npy")
    assert [Chem.CanonSmiles(table.loc[f"gdb_{n}", "smiles"]) for n in ids[::97]] == [
        Chem.CanonSmiles(text) for text in smiles[::97]
    ]


@pytest.mark.parametrize(
    ("smiles", "scaffold"), [("CCO", ""), ("Cc1ccccc1", "c1ccccc1"), ("CC1CC1CC1CO1", "C1CC1CC1CO1")]
)
def test_a_scaffold_is_rings_and_what_links_them(smiles, scaffold):
    assert encode([smiles], scaffolds=True)["scaffold"].tolist() == [Chem.CanonSmiles(scaffold) if scaffold else ""]


def test_the_split_that_was_always_there_does_not_rename_prepared_data():
    assert Qm9Options().model_dump(mode="json") == {"split_seed": 0}
    assert Qm9Options(split="scaffold").model_dump(mode="json") == {"split_seed": 0, "split": "scaffold"}
