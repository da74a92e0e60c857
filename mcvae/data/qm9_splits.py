"""How the molecules of QM9 are divided into train, validation and test, and in what order they lie; all by a seed."""

from collections.abc import Callable

import numpy as np

from ..errors import UserError

LITERATURE = 110_000, 10_000  # molecules to train and to validate; what is left tests

# (the order of the molecules, train's first, then validation's; sizes of train, validation, test)
Split = tuple[np.ndarray, tuple[int, int, int]]


def split_sizes(count: int) -> tuple[int, int, int]:
    """80/10/10 of ``count``: training and validation rounded down, the rest is the test split."""
    train, validation = count * 8 // 10, count // 10
    return train, validation, count - train - validation


def random_split(count: int, generator: np.random.Generator, scaffolds: np.ndarray | None) -> Split:
    """A permutation in 80/10/10."""
    return generator.permutation(count), split_sizes(count)


def literature_split(count: int, generator: np.random.Generator, scaffolds: np.ndarray | None) -> Split:
    """110,000 to train, 10,000 to validate and the rest to test, at random, as in papers since Gilmer et al. (2017).

    Raises:
        UserError: there are not so many.
    """
    train, validation = LITERATURE
    if count <= train + validation:
        raise UserError(
            f"data.qm9.split: 'literature' takes {train:,} + {validation:,} molecules and tests on the rest; "
            f"here are {count:,} in all: choose 'random' or 'scaffold'"
        )
    return generator.permutation(count), (train, validation, count - train - validation)


def scaffold_split(count: int, generator: np.random.Generator, scaffolds: np.ndarray | None) -> Split:
    """80/10/10 as nearly as whole scaffolds allow: molecules with one scaffold are in one split.

    Scaffolds in random order, those with more molecules than half of a tenth first; each goes to the first of train,
    validation and test that it does not overfill (Yang et al. 2019, "Analyzing learned molecular representations",
    section 4.1; chemprop's balanced split). ``scaffolds``: texts [count].

    Raises:
        UserError: a split is left without a molecule.
    """
    assert scaffolds is not None
    names, member, sizes = np.unique(scaffolds, return_inverse=True, return_counts=True)
    shuffled = generator.permutation(len(names))
    large = sizes[shuffled] > count // 20
    wanted, splits = split_sizes(count), np.empty(len(names), int)
    filled = [0, 0, 0]
    for name in np.concatenate([shuffled[large], shuffled[~large]]).tolist():
        chosen = next((i for i in range(2) if filled[i] + sizes[name] <= wanted[i]), 2)
        splits[name] = chosen
        filled[chosen] += int(sizes[name])
    if 0 in filled:
        raise UserError(f"data.qm9.split: scaffolds divide {count} molecules into {filled}; choose 'random'")
    mixed = generator.permutation(count)
    return mixed[np.argsort(splits[member[mixed]], kind="stable")], (filled[0], filled[1], filled[2])


SPLITTERS: dict[str, Callable[[int, np.random.Generator, np.ndarray | None], Split]] = {
    "random": random_split,
    "literature": literature_split,
    "scaffold": scaffold_split,
}
