"""The table of sampled molecules: how many are valid, unique and new by both definitions, beside papers (qm9)."""

import math
from collections.abc import Sequence
from typing import Any

from . import published, statistics
from .columns import Column
from .context import Context, cell, frame_of
from .statistics import RunRecord
from .typeset import Table

COUNTED = {"": "strictly", "lenient_": "as MolGAN"}  # the part of samples.… that is the definition's
SHARES = ("validity", "uniqueness", "novelty")
PRODUCTS = {"validity*uniqueness": SHARES[:2], "validity*uniqueness*novelty": SHARES}
NUMBERS = (*SHARES, *PRODUCTS)
PERCENT = Column("", "", "%", decimals=1, factor=100.0)
SOURCE = "qm9-generation"


def generation(context: Context) -> Table:
    """Two rows a configuration, one a definition, mean ± sd over seeds; then published models, of the official data."""
    rows, people = [], []
    for members in statistics.group(context.records):
        for part, counted in COUNTED.items():
            found = {name: statistics.values(members, f"samples.{part}{name}") for name in SHARES}
            if not found["validity"]:
                continue
            found |= {name: _products(members, part, factors) for name, factors in PRODUCTS.items()}
            numbers = {name: (statistics.mean(each), statistics.deviation(each)) for name, each in found.items()}
            rows.append(_machine(context.identity(members[0]) | {"counted": counted, "source": "ours"}, numbers))
            people.append((*context.words(members[0]), counted, *_cells(numbers)))
    if rows and not context.data.label:
        for method, known in _published().items():
            numbers = {name: (known.get(name), None) for name in NUMBERS}
            empty = dict.fromkeys(context.keys(), "") | {"latent": method, "counted": "as published", "source": SOURCE}
            rows.append(_machine(empty, numbers))
            words = [method if name == "latent" else "" for name in context.several]
            people.append((*words, "as published", *_cells(numbers)))
    names = [text for name in NUMBERS for text in (name, f"{name} sd")]
    peers = (
        ()
        if context.data.label
        else (f"As published: {published.CITATIONS[SOURCE]}; papers differ in how they count.",)
    )
    return Table(
        name="generation",
        title="Sampled molecules",
        caption="Molecules decoded from the prior, mean ± standard deviation over seeds",
        frame=frame_of(rows, [*context.keys(), "counted", "source", *names]),
        heading=(*context.several, "counted", *(f"{name} [%]" for name in (*SHARES, "V*U", "V*U*N"))),
        texts=len(context.several) + 1,
        rows=tuple(people),
        notes=(
            "Strictly: one connected molecule that parses and sanitises; different ones as a share of the valid; share "
            "of the different ones that are not in the training split. As MolGAN: several fragments are valid too, and "
            "novelty is the share of valid samples, repeats counted, that are not in the training split.",
            "V*U and V*U*N: the products, which nobody gains in by repeating one molecule or by writing nonsense. "
            "SELFIES are valid by construction: that of their decoders tells nothing.",
            *peers,
        ),
        aside=True,
    )


def _published() -> dict[str, dict[str, float]]:
    """By model, its published shares."""
    found: dict[str, dict[str, float]] = {}
    for figure in published.figures()[SOURCE]:
        found.setdefault(figure.latent, {})[figure.metric] = figure.value / 100
    return found


def _products(members: Sequence[RunRecord], part: str, factors: Sequence[str]) -> list[float]:
    """The product of shares, run by run; 0 of a run without a valid sample, which has no other share."""
    found = []
    for record in members:
        if statistics.values([record], f"samples.{part}validity"):
            known = [statistics.values([record], f"samples.{part}{name}") for name in factors]
            found.append(math.prod(share[0] if share else 0.0 for share in known))
    return found


def _machine(row: dict[str, Any], numbers: dict[str, tuple[float | None, float | None]]) -> dict[str, Any]:
    for name, (mean, sd) in numbers.items():
        row |= {name: mean, f"{name} sd": sd}
    return row


def _cells(numbers: dict[str, tuple[float | None, float | None]]) -> list[str]:
    return [cell(*numbers[name], PERCENT) for name in NUMBERS]
