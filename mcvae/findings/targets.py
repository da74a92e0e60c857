"""The table of targets: errors of the joint head and of what it is compared with, property by property (qm9)."""

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from . import published, statistics
from .columns import Column, with_decimals
from .context import Context, cell, frame_of
from .published import MARK, Figure
from .typeset import Table

if TYPE_CHECKING:
    from ..data.qm9 import Target

# Suffix of test.mae, test.standardised_mae and test.r2, and the heading.
PREDICTORS = {
    "": "joint head",
    "_location": "at location",
    "_baseline": "mean",
    "_morgan": "Morgan ridge",
    "_ridge": "ridge",
    "_knn": "kNN",
    "_mlp": "MLP",
    "_gp": "GP",
}


class Peer(NamedTuple):
    """A published method: its heading, column, and source and name in published.csv."""

    heading: str
    column: str
    source: str
    method: str


PEERS = (
    Peer("ChemProp", "chemprop", "qm9-property", "ChemProp"),
    Peer("CheMeleon", "chemeleon", "qm9-property", "CheMeleon"),
    Peer("Gómez-Bombarelli", "gomez_bombarelli", "gomez-bombarelli2018", "VAE latent + MLP"),
)
ACCURATE = Peer("chemical accuracy", "chemical_accuracy", "chemical-accuracy", "")
GUESSED = "‡"
ACCURACY = Column("accuracy", "x chemical accuracy", decimals=1)
R2 = Column("r2", "R2", decimals=3)
STANDARDISED = Column("standardised", "MAE / sd", decimals=3)
_SAME = {"a0^3": "Bohr^3", "a0^2": "Bohr^2"}


def targets(context: Context) -> Table:
    """One row a configuration and target: mean absolute errors in the target's unit, mean ± sd over seeds.

    A row of people has the joint head's error, also in multiples of chemical accuracy and in standard deviations of the
    training split, its R², then the errors of the others. Published errors stand beside runs of the official data.
    """
    from ..data.qm9 import TARGETS

    rows, people = [], []
    official = not context.data.label
    for members in statistics.group(context.records):
        for target in TARGETS:
            if not statistics.values(members, f"test.r2.{target.name}"):
                continue
            row, cells = _row(members, target, official)
            rows.append(context.identity(members[0]) | row)
            people.append((*context.words(members[0]), target.name, target.unit, *cells))
    errors = [name for end in PREDICTORS for name in _names(end)]
    peers = [peer.column for peer in (*PEERS, ACCURATE)]
    heading = ("target", "unit", "joint head", ACCURACY.heading, STANDARDISED.heading, R2.heading)
    others = tuple(name for end, name in PREDICTORS.items() if end)
    return Table(
        name="targets",
        title="Properties",
        caption="Mean absolute error on the test split in the target's unit, mean ± standard deviation over seeds",
        frame=frame_of(rows, [*context.keys(), "target", "unit", *errors, *peers, "multiple of chemical_accuracy"]),
        heading=(*context.several, *heading, *others, *(peer.heading for peer in (PEERS if official else ()))),
        texts=len(context.several) + 2,
        rows=tuple(people),
        notes=tuple(_notes(context, official)),
        aside=len(people) > 2 * len(TARGETS),
    )


def _names(end: str) -> list[str]:
    kinds = (f"mae{end}", f"standardised_mae{end}", f"r2{end}")
    return [name for kind in kinds for name in (kind, f"{kind} sd")]


def _row(
    members: list[statistics.RunRecord], target: "Target", official: bool
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The numbers of a row for machines, and its cells for people."""
    row: dict[str, Any] = {"target": target.name, "unit": target.unit}
    for end in PREDICTORS:
        for kind in ("mae", "standardised_mae", "r2"):
            numbers = statistics.values(members, f"test.{kind}{end}.{target.name}")
            row |= {f"{kind}{end}": statistics.mean(numbers), f"{kind}{end} sd": statistics.deviation(numbers)}
    row |= {peer.column: published_error(peer, target) if official else None for peer in PEERS}
    accuracy = published_error(ACCURATE, target)
    row |= {"chemical_accuracy": accuracy, "multiple of chemical_accuracy": None}
    multiple = Column("", "", factor=1 / accuracy, decimals=1) if accuracy else None
    if accuracy and row["mae"] is not None:
        row["multiple of chemical_accuracy"] = row["mae"] / accuracy
    column = with_decimals(Column("", "", decimals=None), [row["mae"]])

    def shown(key: str, like: Column = column) -> str:
        return cell(row[key], row.get(f"{key} sd"), like)

    cells = [shown("mae"), shown("mae", multiple) if multiple else ""]
    cells += [shown("standardised_mae", STANDARDISED), shown("r2", R2)]
    cells += [shown(f"mae{end}") for end in PREDICTORS if end]
    return row, (*cells, *((published_cell(peer, target) for peer in PEERS) if official else ()))


def published_error(peer: Peer, target: "Target") -> float | None:
    """The published error of a method in our unit, or None.

    A figure in the unit of the original table (Hartree, kcal/mol) is converted by the factor of the target's column.
    """
    figure = _figure(peer, target)
    return None if figure is None else figure.value * _factor(figure, target)


def published_cell(peer: Peer, target: "Target") -> str:
    """The same for people, with as many significant digits as the source has, and what is to be known of it."""
    figure = _figure(peer, target)
    if figure is None:
        return ""
    marks = MARK * figure.recalled + GUESSED * figure.unit_guessed
    factor = _factor(figure, target)
    if factor == 1:
        return figure.text + marks
    value, digits = figure.value * factor, len(figure.text.replace(".", "").lstrip("-0"))
    return f"{value:.{max(digits - 1 - math.floor(math.log10(abs(value))), 0)}f}{marks}"


def _figure(peer: Peer, target: "Target") -> Figure | None:
    names = (f"mae:{target.name}", f"mae:{target.column}")
    found = (f for f in published.figures()[peer.source] if f.latent == peer.method and f.metric in names)
    return next(found, None)


def _factor(figure: Figure, target: "Target") -> float:
    unit = figure.quantity.unit
    return 1.0 if _SAME.get(unit, unit) == target.unit else target.factor


def _notes(context: Context, official: bool) -> list[str]:
    labels = statistics.values(context.records, "test.probe_labels")
    known = " or ".join(f"{number:,.0f}" for number in sorted(set(labels)))
    found = [
        "Joint head: trained with the decoder on draws from the posterior, and the mean of its predictions at such "
        "draws; at location: the same head at the posterior's location, near which no draw of a curved space of many "
        "dimensions lies. Mean: always predicting that of the training split. Morgan ridge: ridge regression on Morgan "
        "fingerprints of the whole training split. Ridge, kNN (geodesic; of the first test records), MLP, GP: probes "
        f"of the frozen latent space, of {known} labelled training records (GP: of the first 2,000 of these); what is "
        "chosen, validation records choose.",
        f"Multiples of chemical accuracy: as it is commonly quoted{MARK} (from memory). MAE / sd: in standard "
        "deviations of the training split. R2: of the test split.",
    ]
    if official:
        graphs, latent = PEERS[:2], PEERS[2]
        found.append(
            f"{' and '.join(peer.heading for peer in graphs)}: published ({published.CITATIONS[graphs[0].source]}), "
            "without geometries, on another random split 80/10/10; with the digits of the source, Hartree and kcal/mol "
            f"converted to eV. {GUESSED}: the source does not name the unit of these atomisation energies; kcal/mol "
            f"was read from the values. {latent.heading}{MARK}: of a network on the latent space of a VAE, quoted from "
            f"memory ({published.CITATIONS[latent.source]})."
        )
    return found
