"""The baseline that knows no latent space: ridge regression of properties on Morgan fingerprints.

Rogers & Hahn 2010, "Extended-connectivity fingerprints"; computed of the structure, so it is the same for every run.
"""

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator

from ..errors import UserError

if TYPE_CHECKING:
    import scipy.sparse

BITS, RADIUS = 2048, 2  # ECFP4, folded
STRENGTHS = tuple(10.0**power for power in range(-2, 5))  # of the ridge; validation chooses, for each target


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
