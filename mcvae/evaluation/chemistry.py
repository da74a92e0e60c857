"""What generated molecules are: tokens back to SMILES, and how many of those are valid, distinct and new."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import selfies
from rdkit import Chem, rdBase

from ..data.graphs import MAX_ATOMS, canonical_smiles, to_smiles
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


def molecules_of(codes: Any, vocabulary: Sequence[str], graphs: bool = False) -> list[str | None]:
    """What a decoder made, as canonical SMILES, one a row; None where no molecule results.

    Several fragments count as a molecule here: what is strictly valid is for :func:`describe_samples` to say.

    Args:
        codes: integers [N, L], of tokens (:func:`decode_tokens`), or of ``graphs`` in one shot
            (:func:`mcvae.data.graphs.to_smiles`).
    """
    return to_smiles(np.asarray(codes), strict=False) if graphs else decode_tokens(codes, vocabulary)


def describe_samples(smiles: Sequence[str | None], training_smiles: Sequence[str]) -> dict[str, float | int | None]:
    """Validity, uniqueness and novelty of sampled molecules by both definitions in use; null where nothing is to count.

    Strict:

    - ``samples.validity``: share of all samples that parse, sanitise, have a heavy atom and are one connected fragment;
    - ``samples.within_size``: share of all samples that are valid and have at most nine heavy atoms, as QM9's have;
    - ``samples.uniqueness``: distinct canonical SMILES among the valid, as a share of the valid;
    - ``samples.novelty``: share of those distinct ones that are not in ``training_smiles``;
    - ``samples.n``, ``samples.n_valid``, ``samples.n_distinct``: the counts behind the shares.

    Lenient, as MolGAN counts (De Cao & Kipf 2018): ``samples.lenient_validity``, several fragments are valid too;
    ``samples.lenient_uniqueness``, distinct ones as a share of those; ``samples.lenient_novelty``, the share of these
    valid samples, repeats counted, that are not in ``training_smiles`` (MolGAN: in all of the data).

    Args:
        smiles: samples; None or "" stands for no molecule.
        training_smiles: canonical SMILES of the training split only (the first lines of smiles.txt).
    """
    with rdBase.BlockLogs():
        found = [_canonical(text) if text else None for text in smiles]
    lenient = [text for text in found if text is not None]
    valid = [text for text in lenient if "." not in text]
    sizes = {text: Chem.MolFromSmiles(text).GetNumHeavyAtoms() for text in set(valid)}
    distinct, known = set(valid), set(training_smiles)
    return {
        "samples.validity": _share(len(valid), len(smiles)),
        "samples.within_size": _share(sum(sizes[text] <= MAX_ATOMS for text in valid), len(smiles)),
        "samples.uniqueness": _share(len(distinct), len(valid)),
        "samples.novelty": _share(len(distinct - known), len(distinct)),
        "samples.lenient_validity": _share(len(lenient), len(smiles)),
        "samples.lenient_uniqueness": _share(len(set(lenient)), len(lenient)),
        "samples.lenient_novelty": _share(sum(text not in known for text in lenient), len(lenient)),
        "samples.n": len(smiles),
        "samples.n_valid": len(valid),
        "samples.n_distinct": len(distinct),
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
