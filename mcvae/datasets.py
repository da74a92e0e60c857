"""What is known of each data set before anything is fetched: names, protocols, likelihood, layers.

A new data set begins with an entry here. No torch: Snakemake parses with this module.
"""

from dataclasses import dataclass
from typing import Literal, get_args

Dataset = Literal["mnist", "celeba", "qm9", "plane", "sphere", "tree", "sphere-hyperbolic"]
Protocol = Literal["dynamic", "threshold", "mixed", "grey", "static", "standard"]
Likelihood = Literal["bernoulli", "gaussian", "categorical", "pixel-gaussian", "logistic", "logistic-mixture"]


@dataclass(frozen=True)
class Facts:
    """A data set's display ``name``, legal ``protocols`` (the first is the default), and its model's defaults.

    ``likelihoods``: those that fit besides the default. ``layers``: least and most hidden layers, None where the size
    of an image bounds them, and what the numbers are. ``control``: hidden points of known geometry, observed through a
    fixed random network; generated, and the generator is the source. ``classes``: whether records have one label each.
    ``attributes``: whether they have several that are there or not.
    """

    name: str
    protocols: tuple[Protocol, ...]
    likelihood: Likelihood
    hidden: tuple[int, ...]
    layers: tuple[int, int | None, str]
    property_weight: float | None = None
    control: bool = False
    classes: bool = False
    likelihoods: tuple[Likelihood, ...] = ()
    attributes: bool = False


_WIDTHS = (0, 16, "widths of at most 16 layers")


def _control(name: str) -> Facts:
    return Facts(name, ("standard",), "gaussian", (64, 64), _WIDTHS, control=True, classes=True)


DATASETS: dict[str, Facts] = {
    "mnist": Facts(
        "MNIST", ("dynamic", "threshold", "mixed", "grey", "static"), "bernoulli", (256, 128), _WIDTHS, classes=True
    ),
    "celeba": Facts(
        "CelebA",
        ("standard",),
        "gaussian",
        (32, 64, 128, 256),
        (1, None, "numbers of channels"),
        likelihoods=("pixel-gaussian", "logistic", "logistic-mixture"),
        attributes=True,
    ),
    "qm9": Facts("QM9", ("standard",), "categorical", (64, 256), (2, 2, "two widths: embedding and GRU state"), 10.0),
    "plane": _control("points of a plane"),
    "sphere": _control("points of a sphere"),
    "tree": _control("a noisy tree"),
    "sphere-hyperbolic": _control("points of a sphere times a hyperbolic plane"),
}
CONTROLS = tuple(name for name, facts in DATASETS.items() if facts.control)

assert tuple(DATASETS) == get_args(Dataset)
