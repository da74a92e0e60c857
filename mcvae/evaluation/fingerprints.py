"""The baseline that knows no latent space: ridge regression of properties on Morgan fingerprints.

Rogers & Hahn 2010, "Extended-connectivity fingerprints"; computed of the structure, so it is the same for every run of
the same data: one file for all of them.
"""

import logging
import os
import zipfile
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator

from .. import data
from ..errors import UserError
from ..files import atomic, canonical_json, digest

if TYPE_CHECKING:
    import scipy.sparse

logger = logging.getLogger("mcvae.evaluation")

BITS, RADIUS = 2048, 2  # ECFP4, folded
STRENGTHS = tuple(10.0**power for power in range(-2, 5))  # of the ridge; validation chooses, for each target


def write_baseline(prepared: str | os.PathLike, path: str | os.PathLike) -> None:
    """Write :func:`baseline` of the ``prepared`` data, and what it was computed from, as one npz file.

    Raises:
        UserError: data without properties, or SciPy is not installed.
    """
    dataset = data.load(prepared)
    if "properties" not in dataset.tensors:
        raise UserError(f"{dataset.folder}: {dataset.name} has no properties to be predicted")
    predicted = baseline(dataset)
    with atomic(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, predicted=predicted, computed_from=np.array(computed_from(dataset)))


def read_baseline(path: str | os.PathLike, dataset: data.Dataset) -> np.ndarray:
    """What :func:`write_baseline` wrote of the same data.

    Raises:
        UserError: the file is not there, is broken, or is of other data or settings.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            predicted, own = arrays["predicted"], str(arrays["computed_from"])
    except (OSError, KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: no predictions of the fingerprint baseline ({str(error)[:200]})") from None
    if own != computed_from(dataset):
        raise UserError(f"{path}: is not the fingerprint baseline of the data in {dataset.folder}")
    return predicted


def computed_from(dataset: data.Dataset) -> str:
    """8 hex digits of all that the baseline depends on: molecules, properties, splits and settings."""
    molecules = digest("\n".join(dataset.smiles))
    facts = [molecules, dataset.stats["tensors"]["properties"], dataset.splits, dataset.stats["targets"]]
    return digest(canonical_json([*facts, BITS, RADIUS, STRENGTHS]))


def baseline(dataset: data.Dataset) -> np.ndarray:
    """:func:`morgan_ridge` of the test split from the whole training split: float64 [N, T], in standard deviations of
    the training split."""
    targets = dataset.stats["targets"]
    mean, std = (np.array([target[key] for target in targets]) for key in ("mean", "std"))
    splits = {name: slice(*bounds) for name, bounds in dataset.splits.items()}
    smiles = {name: dataset.smiles[part] for name, part in splits.items()}
    properties = np.asarray(dataset.tensors["properties"], np.float64)
    known = {name: (properties[part] - mean) / std for name, part in splits.items()}
    logger.info("ridge regression on fingerprints of %d training molecules", len(smiles["train"]))
    return morgan_ridge(smiles["train"], known["train"], smiles["validation"], known["validation"], smiles["test"])


def fingerprints(smiles: Sequence[str]) -> "scipy.sparse.csr_array":
    """Counts of circular substructures up to radius 2, folded to 2,048 columns: sparse float64 [N, 2048]."""
    from scipy.sparse import csr_array

    generator = rdFingerprintGenerator.GetMorganGenerator(radius=RADIUS, fpSize=BITS)
    columns, values, ends = array("q"), array("d"), array("q", [0])  # lists of numbers would take ten times the memory
    for text in smiles:
        counts = generator.GetCountFingerprint(Chem.MolFromSmiles(text)).GetNonzeroElements()
        columns.extend(counts.keys())
        values.extend(counts.values())
        ends.append(len(columns))
    return csr_array((np.array(values), np.array(columns), np.array(ends)), (len(ends) - 1, BITS))


def morgan_ridge(
    train: Sequence[str], known: np.ndarray, validation: Sequence[str], checked: np.ndarray, test: Sequence[str]
) -> np.ndarray:
    """Predictions float64 [N, T] for the SMILES of ``test``: ŷ = ȳ + (x - x̄)·w, w the minimum of |y - ŷ|² + λ|w|².

    λ is the one of :data:`STRENGTHS` with the least mean absolute error on the validation records, for each target.

    Args:
        known: [n, T], properties of ``train``. checked: those of ``validation``.

    Raises:
        UserError: SciPy or threadpoolctl is not installed.
    """
    try:
        from scipy.linalg import cho_factor, cho_solve
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise UserError(f"the fingerprint baseline needs SciPy (pip install 'mcvae[data]'): {error}") from None
    x, asked, queries = (fingerprints(smiles) for smiles in (train, validation, test))
    centre, mean = x.mean(0), known.mean(0)
    with threadpool_limits(1, user_api="blas"):  # the order of sums, and so the bits, would depend on the threads
        gram = (x.T @ x).toarray() - len(known) * np.outer(centre, centre)
        moment = x.T @ (known - mean)
        best = np.full(known.shape[1], np.inf)
        predicted = np.empty((len(test), known.shape[1]))
        for strength in STRENGTHS:
            weights = cho_solve(cho_factor(gram + strength * np.eye(BITS)), moment)
            offset = mean - centre @ weights
            errors = np.abs(asked @ weights + offset - checked).mean(0)
            better = errors < best
            predicted[:, better] = (queries @ weights + offset)[:, better]
            best = np.minimum(best, errors)
    return predicted
