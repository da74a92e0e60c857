"""How far sampled molecules are from real ones in simple properties: RDKit's descriptors, computed of the structure.

No model of ours has a part in it, so that numbers of all runs compare.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from rdkit import Chem
from rdkit.Chem import QED, Crippen, Descriptors, rdMolDescriptors

from ..errors import UserError
from .frechet import frechet_distance, moments

DESCRIPTORS: dict[str, Callable[[Chem.Mol], float]] = {
    "logp": Crippen.MolLogP,
    "qed": QED.qed,
    "weight": Descriptors.MolWt,
    "rings": rdMolDescriptors.CalcNumRings,
    "polar_surface": rdMolDescriptors.CalcTPSA,
    "tetrahedral": rdMolDescriptors.CalcFractionCSP3,
    "rotatable": rdMolDescriptors.CalcNumRotatableBonds,
    "donors": rdMolDescriptors.CalcNumHBD,
    "acceptors": rdMolDescriptors.CalcNumHBA,
    "aromatic": rdMolDescriptors.CalcNumAromaticRings,
}
SIMPLE = ("logp", "qed", "weight", "rings")  # whose distributions are compared one by one
DISTANCE_KEYS = (
    "samples.property_frechet",
    "samples.property_frechet_data",
    *(f"samples.wasserstein.{name}" for name in SIMPLE),
    *(f"samples.wasserstein_data.{name}" for name in SIMPLE),
)


def descriptors(smiles: Sequence[str]) -> np.ndarray:
    """:data:`DESCRIPTORS` of molecules, float64 [N, 10], each molecule computed once; weight in Da, surface in Å²."""
    known: dict[str, list[float]] = {}
    for text in smiles:
        if text not in known:
            molecule = Chem.MolFromSmiles(text)
            known[text] = [float(function(molecule)) for function in DESCRIPTORS.values()]
    return np.array([known[text] for text in smiles], np.float64).reshape(-1, len(DESCRIPTORS))


def sample_distances(
    samples: Sequence[str], test: Sequence[str], train: Sequence[str]
) -> dict[str, float | int | None]:
    """Distances of sampled molecules' descriptors from the test molecules'; None for fewer than two molecules.

    ``samples.property_frechet``: Fréchet distance of the ten descriptors, each divided by its standard deviation in
    ``test``; ``samples.wasserstein.{name}``: ∫ |F - G| of the distribution functions of one of them, in its unit. With
    ``_data`` the same of training molecules: what perfect samples have, the finite sets included.

    Args:
        samples: valid ones, repeats among them. test, train: real ones, as many as are to be compared with.

    Raises:
        UserError: SciPy is not installed.
    """
    try:
        from scipy.stats import wasserstein_distance
    except ImportError as error:
        raise UserError(f"distances of distributions need SciPy (pip install 'mcvae[data]'): {error}") from None
    found: dict[str, float | int | None] = dict.fromkeys(DISTANCE_KEYS)
    reference = descriptors(test)
    if len(reference) < 2:
        return found
    scale = reference.std(0)
    scale[scale == 0] = 1.0
    goal = moments([torch.from_numpy(reference / scale)])
    for end, molecules in (("", samples), ("_data", train)):
        values = descriptors(molecules)
        if len(values) < 2:
            continue
        found[f"samples.property_frechet{end}"] = frechet_distance(moments([torch.from_numpy(values / scale)]), goal)
        for name in SIMPLE:
            index = list(DESCRIPTORS).index(name)
            distance = wasserstein_distance(values[:, index], reference[:, index])
            found[f"samples.wasserstein{end}.{name}"] = float(distance)
    return found
