"""Molecules that a user brings as SMILES, as the tensors that a model of QM9 reads."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UserError

if TYPE_CHECKING:
    from torch import Tensor


def tensors_of(smiles: Sequence[str], stats: Mapping[str, Any]) -> dict[str, "Tensor"]:
    """SMILES -> tokens, graphs and properties as :func:`mcvae.data.qm9.prepare` writes them, one row a molecule.

    Nothing is known of their properties: the training split's means take their place. ``stats`` is stats.json.

    Raises:
        UserError: a SMILES that has no place in the tensors, a symbol that the training data lack, or one that is
            longer than all of theirs; with its text and its place in the list.
    """
    import torch

    from .graphs import encode
    from .qm9 import tokenize

    encoded = encode(smiles)
    for place, (text, reason) in enumerate(zip(smiles, encoded["reason"], strict=True)):
        if reason:
            raise UserError(f"molecule {place}, {text!r}: {reason}")
    own, symbols = tokenize(encoded.pop("selfies").tolist())
    code = {symbol: index for index, symbol in enumerate(stats["vocabulary"])}
    longest = stats["tensors"]["tokens"]["shape"][1]
    tokens = np.zeros((len(smiles), longest), np.uint8)
    for place, row in enumerate(own):
        words = [symbols[index] for index in row if index]
        unknown = [word for word in words if word not in code]
        if unknown:
            raise UserError(f"molecule {place}, {smiles[place]!r}: {unknown[0]} is in no molecule of the data")
        if len(words) > longest:
            raise UserError(
                f"molecule {place}, {smiles[place]!r}: {len(words)} tokens; the data's longest has {longest}"
            )
        tokens[place, : len(words)] = [code[word] for word in words]
    means = np.array([target["mean"] for target in stats["targets"]], np.float32)
    graphs = {name: encoded[name] for name in ("atoms", "hydrogens", "charges", "bonds")}
    arrays = {"tokens": tokens, "properties": np.tile(means, (len(smiles), 1)), **graphs}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
