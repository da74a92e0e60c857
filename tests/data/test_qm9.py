"""QM9's preparation: tokens, graphs and targets say the same as the table, and bad rows are refused or counted."""

import gzip
import shutil

import numpy as np
import pandas as pd
import pytest
from rdkit import Chem

from mcvae.data import graphs, qm9
from mcvae.data.graphs import encode, encode_parallel
from mcvae.errors import UserError
from mcvae.evaluation.chemistry import decode_tokens
from mcvae.files import sha256_file

BONDS = [None, *(Chem.BondType.names[name.upper()] for name in graphs.BOND_TYPES[1:])]


@pytest.fixture(scope="module")
def whole(molecules_folder, tmp_path_factory):
    """The embedded set, prepared once: (stats, tensors, smiles, table)."""
    folder = tmp_path_factory.mktemp("prepared")
    stats = qm9.prepare(molecules_folder, folder)
    found = {path.stem: np.load(path, allow_pickle=False) for path in folder.glob("*.npy")}
    table = pd.read_csv(molecules_folder / qm9.TABLE).set_index("mol_id")
    return stats, found, (folder / "smiles.txt").read_text().splitlines(), table


@pytest.fixture
def raw(molecules_folder, tmp_path):
    """Every tenth molecule of the embedded set, to be spoilt."""
    folder = shutil.copytree(molecules_folder, tmp_path / "raw")
    table = pd.read_csv(folder / qm9.TABLE, dtype=str)
    write(folder, table.iloc[::10])
    return folder


def write(folder, table):
    table.to_csv(folder / qm9.TABLE, index=False, compression="gzip")


def change(folder, row, column, value):
    """Set one cell of the ``row``-th molecule (line row + 2); return its id."""
    table = pd.read_csv(folder / qm9.TABLE, dtype=str)
    table.loc[row, column] = value
    write(folder, table)
    return table.loc[row, "mol_id"]


def molecule_of(atoms, hydrogens, charges, bonds):
    """Canonical SMILES of a dense graph: the inverse of the encoding."""
    molecule = Chem.RWMol()
    size = int((atoms > 0).sum())
    for i in range(size):
        atom = Chem.Atom(graphs.ATOM_TYPES[atoms[i]])
        atom.SetFormalCharge(int(charges[i]))
        atom.SetNumExplicitHs(int(hydrogens[i]))
        atom.SetNoImplicit(True)
        atom.SetIsAromatic(bool((bonds[i] == 4).any()))
        molecule.AddAtom(atom)
    for i, j in np.argwhere(np.triu(bonds)).tolist():
        molecule.AddBond(i, j, BONDS[bonds[i, j]])
        molecule.GetBondBetweenAtoms(i, j).SetIsAromatic(bool(bonds[i, j] == 4))
    Chem.SanitizeMol(molecule)
    return Chem.CanonSmiles(Chem.MolToSmiles(molecule))


def test_the_uncharacterised_are_dropped_and_counted(whole, molecules_folder):
    stats, found, _, table = whole
    listed = {int(line.split()[0]) for line in (molecules_folder / qm9.UNCHARACTERIZED).read_text().splitlines()[9:-1]}
    assert len(listed) == 12 and not listed & set(found["ids"].tolist())
    counts = {
        "rows": 2412,
        "uncharacterized": 12,
        "failed": 0,
        "molecules": 2400,
        "train": 1920,
        "validation": 240,
        "test": 240,
    }
    assert {name: stats["counts"][name] for name in counts} == counts
    assert stats["failures"] == {} and len(table) == 2412


def test_tokens_decode_to_the_molecule_they_came_from(whole):
    stats, found, smiles, _ = whole
    assert decode_tokens(found["tokens"], stats["vocabulary"]) == smiles


def test_models_know_the_codes_of_the_vocabularys_first_symbols(whole):
    from mcvae.models import inputs

    vocabulary = whole[0]["vocabulary"]
    assert [vocabulary[code] for code in (inputs.PAD, inputs.START, inputs.END)] == [qm9.PAD, qm9.START, qm9.END]


def test_tokens_start_end_and_pad(whole):
    stats, found, _, _ = whole
    tokens = found["tokens"]
    assert stats["vocabulary"][:3] == ["<pad>", "<start>", "<end>"] and stats["vocabulary"][3:] == sorted(
        stats["vocabulary"][3:]
    )
    assert (tokens[:, 0] == 1).all() and ((tokens == 2).sum(1) == 1).all()
    after = np.cumsum(tokens == 2, axis=1) - (tokens == 2) > 0
    assert (after == (tokens == 0)).all()
    assert set(np.unique(tokens)) == set(range(len(stats["vocabulary"])))


def test_graphs_hold_the_whole_molecule(whole):
    _, found, smiles, _ = whole
    names = ("atoms", "hydrogens", "charges", "bonds")
    assert [molecule_of(*(found[name][i] for name in names)) for i in range(0, 2400, 7)] == smiles[::7]
    assert (found["bonds"] == found["bonds"].transpose(0, 2, 1)).all()


def test_every_record_has_the_properties_of_its_row(whole):
    _, found, _, table = whole
    rows = table.loc[[f"gdb_{number}" for number in found["ids"]]]
    for index, target in enumerate(qm9.TARGETS):
        np.testing.assert_allclose(
            found["properties"][:, index], rows[target.column] * target.factor, rtol=1e-6, atol=1e-6
        )


def test_a_hartree_and_a_kilocalorie_become_electronvolts():
    factor = {target.name: target.factor for target in qm9.TARGETS}
    assert factor["gap"] == pytest.approx(27.2114, abs=1e-4)
    assert factor["u0"] * 627.509 == pytest.approx(factor["gap"], rel=1e-5)


def test_target_statistics_are_those_of_the_training_split(whole):
    stats, found, _, _ = whole
    names = "mu alpha homo lumo gap r2 zpve u0 u298 h298 g298 cv".split()
    assert [target["name"] for target in stats["targets"]] == names
    train = found["properties"][:1920].astype(np.float64)
    np.testing.assert_allclose([target["mean"] for target in stats["targets"]], train.mean(0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose([target["std"] for target in stats["targets"]], train.std(0), rtol=1e-5)


def test_the_split_is_a_function_of_its_seed_alone(raw, tmp_path):
    first, again, other = (
        qm9.prepare(raw, tmp_path / str(i), {"split_seed": seed}) for i, seed in enumerate((0, 0, 1))
    )
    assert first == again
    assert first["tensors"]["ids"] != other["tensors"]["ids"]


def test_encoding_is_the_same_in_one_process_and_in_several(molecules_folder, monkeypatch):
    smiles = [*pd.read_csv(molecules_folder / qm9.TABLE)["smiles"][::20], "not a molecule", "", "CCO\nC", "C\r"]
    monkeypatch.setattr(graphs, "_ENOUGH_FOR_A_PROCESS", 10)
    one, three = encode(smiles), encode_parallel(smiles, threads=3)
    assert set(one) == set(three)
    assert all((one[name] == three[name]).all() for name in one)


def test_equal_molecules_have_equal_rows():
    rows = encode(["OCC1=CC=CO1", "c1coc(CO)c1", "[CH2](O)c1ccco1"])
    assert all((array == array[:1]).all() for array in rows.values())


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("C1CC", "not a valid SMILES"),
        ("", "not 1 to 9 heavy atoms"),
        ("CCCCCCCCCC", "not 1 to 9 heavy atoms"),
        ("CS", "an element other than H, C, N, O, F"),
        ("C.O", "more than one fragment"),
        ("[CH3]", "a radical"),
        ("CCO ethanol", "white space in the SMILES"),
        ("CCO\tethanol", "white space in the SMILES"),
        (" CCO", "white space in the SMILES"),
        ("CCO\n", "white space in the SMILES"),
        ("CCO |$a;b;c$|", "white space in the SMILES"),
        ("C\u00a0", "white space in the SMILES"),
    ],
)
def test_a_molecule_that_does_not_fit_is_counted_with_its_reason(raw, tmp_path, caplog, smiles, reason):
    name = change(raw, 33, "smiles", smiles)
    stats = qm9.prepare(raw, tmp_path / "prepared")
    assert stats["failures"] == {reason: {"count": 1, "ids": [name]}}
    assert (
        stats["counts"]["molecules"] + stats["counts"]["failed"] + stats["counts"]["uncharacterized"]
        == stats["counts"]["rows"]
    )
    assert "line 35" in caplog.text and reason in caplog.text


@pytest.mark.parametrize("value", ["", "nan", "inf", "abc"])
def test_a_property_that_is_no_number_is_counted(raw, tmp_path, value):
    name = change(raw, 50, "gap", value)
    stats = qm9.prepare(raw, tmp_path / "prepared")
    assert stats["failures"] == {"gap is not a finite number": {"count": 1, "ids": [name]}}


def test_an_absurd_property_is_counted(raw, tmp_path):
    name = change(raw, 50, "homo", "-250.0")
    failures = qm9.prepare(raw, tmp_path / "prepared")["failures"]
    assert failures == {"homo is not between -2 and 1": {"count": 1, "ids": [name]}}


def refused(raw, prepared, *parts):
    with pytest.raises(UserError) as caught:
        qm9.prepare(raw, prepared)
    assert all(part in str(caught.value) for part in parts), str(caught.value)
    assert not prepared.exists()


def test_a_missing_column_is_named(raw, tmp_path):
    write(raw, pd.read_csv(raw / qm9.TABLE, dtype=str).drop(columns=["gap", "u0_atom"]))
    refused(raw, tmp_path / "prepared", "line 1", "no column gap, u0_atom")


def test_a_column_that_is_there_twice_is_named(raw, tmp_path):
    table = pd.read_csv(raw / qm9.TABLE, dtype=str)
    write(raw, table.set_axis(["gap" if name == "A" else name for name in table], axis=1).assign(A="1"))
    refused(raw, tmp_path / "prepared", "line 1", "the column gap is there twice")


def test_a_row_of_more_fields_than_columns_is_refused_with_the_line(raw, tmp_path):
    lines = gzip.decompress((raw / qm9.TABLE).read_bytes()).decode().splitlines()
    lines[40] += ",0.25"
    (raw / qm9.TABLE).write_bytes(gzip.compress("\n".join(lines).encode()))
    refused(raw, tmp_path / "prepared", "line 41", "22 fields; the header has 21")


def test_duplicate_ids_are_refused_with_the_line(raw, tmp_path):
    change(raw, 70, "mol_id", "gdb_1")
    refused(raw, tmp_path / "prepared", "line 72", "gdb_1 is there twice")


def test_a_foreign_id_is_refused_with_the_line(raw, tmp_path):
    change(raw, 70, "mol_id", "molecule 5")
    refused(raw, tmp_path / "prepared", "line 72", "'molecule 5'")


def test_a_truncated_gzip_is_refused(raw, tmp_path):
    data = (raw / qm9.TABLE).read_bytes()
    (raw / qm9.TABLE).write_bytes(data[: len(data) // 2])
    refused(raw, tmp_path / "prepared", qm9.TABLE, "not a whole gzip")


@pytest.mark.parametrize("content", [b"<html>404</html>", b"", gzip.compress(b"")])
def test_what_is_no_table_is_refused(raw, tmp_path, content):
    (raw / qm9.TABLE).write_bytes(content)
    refused(raw, tmp_path / "prepared", qm9.TABLE)


def test_a_list_of_another_format_is_refused(raw, tmp_path):
    path = raw / qm9.UNCHARACTERIZED
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:12], "something else", *lines[13:]]))
    refused(raw, tmp_path / "prepared", "uncharacterized.txt, line 13", "something else")
    path.write_text("<html>\n" * 30)
    refused(raw, tmp_path / "prepared", "uncharacterized.txt", "30 lines")
    path.unlink()
    refused(raw, tmp_path / "prepared", "uncharacterized.txt", "no such file")


def test_several_bad_rows_are_each_counted_once_and_the_others_are_whole(raw, tmp_path):
    ids = {change(raw, row, column, value) for row, column, value in (
        (3, "smiles", "C1CC"), (4, "smiles", "CCCCCCCCCC"), (5, "smiles", "CS"), (6, "gap", "nan"), (7, "mu", "-3"),
    )}  # fmt: skip
    change(raw, 3, "gap", "nan")  # two reasons against one row: the first that is looked for stands
    stats = qm9.prepare(raw, tmp_path / "prepared")
    assert {name for failure in stats["failures"].values() for name in failure["ids"]} == ids
    assert sum(failure["count"] for failure in stats["failures"].values()) == stats["counts"]["failed"] == 5
    assert not {f"gdb_{number}" for number in np.load(tmp_path / "prepared" / "ids.npy")} & ids


def test_smiles_are_listed_with_their_checksum(raw, tmp_path):
    stats = qm9.prepare(raw, tmp_path / "prepared")
    assert stats["texts"] == {"smiles.txt": sha256_file(tmp_path / "prepared" / "smiles.txt")}


@pytest.mark.parametrize("options", [{"split_seed": -1}, {"split_seed": "0"}, {"seed": 0}, {"split": "best"}])
def test_options_are_checked(raw, tmp_path, options):
    with pytest.raises(UserError, match="the options are split, one of random, literature, scaffold, and split_seed"):
        qm9.prepare(raw, tmp_path / "prepared", options)
