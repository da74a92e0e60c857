"""What generated molecules are: tokens back to SMILES, and how many of those are valid, distinct and new."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import selfies
from rdkit import Chem, rdBase

from ..data.graphs import MAX_ATOMS, canonical_smiles
from ..data.qm9 import END, PAD, START


def _canonical(smiles: str) -> str | None:
    """Canonical SMILES of a molecule of at least one heavy atom that parses and sanitises, else None."""
    molecule = Chem.MolFromSmiles(smiles)
    return canonical_smiles(molecule) if molecule is not None and molecule.GetNumHeavyAtoms() else None


def decode_tokens(tokens: Any, vocabulary: Sequence[str]) -> list[str | None]:
    """Tokens -> SELFIES -> canonical SMILES, one a row; None where no molecule results.

    Args:
        tokens: integers [N, L], array or tensor. A start token is skipped; what follows the first end is not read.
        vocabulary: ``vocabulary[code]`` is a code's symbol, with ``<pad>``, ``<start>``, ``<end>`` first (stats.json).

    Raises: ValueError for a code outside the vocabulary.
    """
    rows = np.asarray(tokens)
    if rows.ndim != 2:
        raise ValueError(f"tokens of shape {list(rows.shape)}; expected [N, L]")
    if rows.size and not (0 <= rows.min() and rows.max() < len(vocabulary)):
        raise ValueError(f"tokens from {rows.min()} to {rows.max()}; the vocabulary has {len(vocabulary)} symbols")
    decoded = []
    with rdBase.BlockLogs():
        for row in rows.tolist():
            symbols = [vocabulary[code] for code in row]
            symbols = symbols[: symbols.index(END)] if END in symbols else symbols
            string = "".join(symbol for symbol in symbols if symbol not in (START, PAD))
            try:
                decoded.append(_canonical(selfies.decoder(string)))
            except selfies.DecoderError:
                decoded.append(None)
    return decoded


def describe_samples(smiles: Sequence[str | None], training_smiles: Sequence[str]) -> dict[str, float | int | None]:
    """Validity, uniqueness and novelty of sampled molecules by the strict definitions; null where nothing is to count.

    - ``samples.validity``: share of all samples that parse, sanitise, have a heavy atom and are one connected fragment;
    - ``samples.within_size``: share of all samples that are valid and have at most nine heavy atoms, as QM9's have;
    - ``samples.uniqueness``: distinct canonical SMILES among the valid, as a share of the valid;
    - ``samples.novelty``: share of those distinct ones that are not in ``training_smiles``;
    - ``samples.n``, ``samples.n_valid``, ``samples.n_distinct``: the counts behind the shares.

    Args:
        smiles: samples; None or "" stands for no molecule.
        training_smiles: canonical SMILES of the training split only (the first lines of smiles.txt).
    """
    valid: list[str] = []
    within = 0
    with rdBase.BlockLogs():
        for text in smiles:
            canonical = _canonical(text) if text else None
            if canonical is None or "." in canonical:
                continue
            valid.append(canonical)
            within += Chem.MolFromSmiles(canonical).GetNumHeavyAtoms() <= MAX_ATOMS
    distinct = set(valid)
    return {
        "samples.validity": _share(len(valid), len(smiles)),
        "samples.within_size": _share(within, len(smiles)),
        "samples.uniqueness": _share(len(distinct), len(valid)),
        "samples.novelty": _share(len(distinct.difference(training_smiles)), len(distinct)),
        "samples.n": len(smiles),
        "samples.n_valid": len(valid),
        "samples.n_distinct": len(distinct),
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
