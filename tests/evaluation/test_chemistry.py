"""Validity, uniqueness and novelty count what their definitions say; tokens decode to SMILES or to nothing."""

import numpy as np
import pytest
import torch

from mcvae.data.qm9 import tokenize
from mcvae.evaluation.chemistry import decode_tokens, describe_samples

SELFIES = ["[C][C][O]", "[C][=C][C][=C][C][=C][Ring1][=Branch1]", "[N]"]
SMILES = ["CCO", "c1ccccc1", "N"]


@pytest.mark.parametrize("make", [np.asarray, torch.tensor, lambda rows: rows.tolist()])
@pytest.mark.parametrize("start", [0, 1])
def test_decoding_inverts_tokenizing_with_and_without_the_start_token(make, start):
    tokens, vocabulary = tokenize(SELFIES)
    assert decode_tokens(make(tokens[:, start:]), vocabulary) == SMILES


def test_what_follows_the_end_token_is_not_read():
    tokens, vocabulary = tokenize(SELFIES)
    tokens[2, 3:] = tokens[1, 3:]
    assert decode_tokens(tokens, vocabulary) == SMILES


def test_a_sequence_without_atoms_is_no_molecule():
    tokens, vocabulary = tokenize(SELFIES)
    empty = np.zeros_like(tokens)
    ended = empty.copy()
    ended[:, 1] = 2
    assert decode_tokens(np.concatenate([empty, ended]), vocabulary) == [None] * 6


def test_every_random_sequence_decodes_to_a_molecule_or_to_none():
    vocabulary = [
        "<pad>",
        "<start>",
        "<end>",
        *"[C] [=C] [#N] [=O] [F] [Branch1] [Ring1] [=Branch2] [NH1] [O-1]".split(),
    ]
    tokens = np.random.default_rng(0).integers(0, len(vocabulary), (200, 12))
    decoded = decode_tokens(tokens, vocabulary)
    valid = [smiles for smiles in decoded if smiles is not None]
    assert len(valid) > 100 and describe_samples(valid, [])["samples.validity"] == 1


@pytest.mark.parametrize("code", [-1, 99])
def test_a_code_outside_the_vocabulary_is_an_error(code):
    _, vocabulary = tokenize(SELFIES)
    with pytest.raises(ValueError, match=r"the vocabulary has \d+ symbols"):
        decode_tokens(np.array([[1, code]]), vocabulary)


def test_shares_follow_their_definitions():
    samples = ["CCO", "OCC", "CC", "C.C", "C1CC", "", None, "CCCCCCCCCCC", "C(C)(C)(C)(C)C", "c1ccccc1"]
    found = describe_samples(samples, ["CC", "CCC"])
    assert found["samples.n"] == 10
    assert found["samples.validity"] == pytest.approx(0.5)  # CCO twice, CC, undecane, benzene
    assert found["samples.within_size"] == pytest.approx(0.4)
    assert found["samples.uniqueness"] == pytest.approx(4 / 5)
    assert found["samples.novelty"] == pytest.approx(3 / 4)


def test_one_molecule_written_in_two_ways_is_one_molecule():
    found = describe_samples(["C1=CC=CC=C1", "c1ccccc1"], ["c1ccccc1"])
    assert (found["samples.uniqueness"], found["samples.novelty"]) == (0.5, 0.0)


def test_nothing_to_count_is_null_not_zero():
    assert describe_samples([], [])["samples.validity"] is None
    found = describe_samples([None], [])
    assert (found["samples.validity"], found["samples.uniqueness"], found["samples.novelty"]) == (0.0, None, None)
