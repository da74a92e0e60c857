"""The table of molecules that were changed on purpose: where descent in the latent leads, and where chance (qm9)."""

from collections.abc import Sequence
from typing import Any

from . import statistics
from .columns import Column
from .context import Context, cell, frame_of
from .statistics import RunRecord
from .typeset import Table

WALKS = {"": "descent", "random.": "random direction"}  # the part of optimised.… that is the walk's
SPLITS = ("train", "validation", "test")
COUNTS = (
    *("n", "valid", "distinct", "new", "same", "known", "nearer"),
    *(f"{name}_{split}" for name in ("known", "nearer") for split in SPLITS),
)
ERRORS = ("target", "error_start", "error_latent", "error_decoded", "error_true", "error_prediction")
SHARES = {
    "validity": ("valid", "n"),
    "uniqueness": ("distinct", "valid"),
    "novelty": ("new", "distinct"),
    "nearer_share": ("nearer", "known"),
}
_OF_RUN = ("n", "target", "error_start")  # which are those of both walks
PERCENT = Column("", "", "%", decimals=1, factor=100.0)
ENERGY = Column("", "", "eV", decimals=2)


def optimised(context: Context) -> Table:
    """One row a configuration and walk: shares and errors are means ± sd over seeds, counts are sums over seeds."""
    rows, people = [], []
    for members in statistics.group(context.records):
        for part, walk in WALKS.items():
            members = [record for record in members if record["status"] == "finished"]
            if not statistics.values(members, f"optimised.{part}nearer"):
                continue
            row, cells = _row(members, part)
            rows.append(context.identity(members[0]) | {"walk": walk} | row)
            people.append((*context.words(members[0]), walk, *cells))
    numbers = [name for each in (*SHARES, *ERRORS) for name in (each, f"{each} sd")]
    wanted = sorted({f"{value:.2f}" for value in statistics.values(context.records, "optimised.target")})
    starts = " or ".join(f"{n:,.0f}" for n in sorted(set(statistics.values(context.records, "optimised.n"))))
    return Table(
        name="optimised",
        title="Towards a wanted gap",
        caption=f"Molecules changed towards a gap of {' or '.join(wanted)} eV, mean ± standard deviation over seeds",
        frame=frame_of(rows, [*context.keys(), "walk", *COUNTS, *numbers]),
        heading=(
            *(*context.several, "walk", "valid [%]", "unique [%]", "novel [%]", "start, true [eV]", "at z [eV]"),
            *("read anew [eV]", "true [eV]", "in the data", "nearer [%]", *SPLITS, "error of reading [eV]"),
        ),
        texts=len(context.several) + 1,
        rows=tuple(people),
        notes=(
            f"Of {starts} test molecules. Descent: of the head's prediction, along geodesics; random direction: as far "
            "from the same starts, which says what any change of a molecule does. Valid: can be read by the encoder, "
            "one molecule of at most nine heavy atoms; unique, as a share of these; novel, as a share of those, not in "
            "the training split and not at the start.",
            "Mean distances from the wanted gap: at the start, of the true gap; at z, of the head's prediction where "
            "the walk ends; read anew, of its prediction for the molecule that is decoded there and encoded again; "
            "true, of the true gap of those in the data. Error of reading: mean distance of the prediction from the "
            "true gap, of those in the validation and test splits.",
            "In the data: decoded molecules other than their start that QM9 has, repeats and seeds added up; nearer: "
            "the share of these whose true gap is nearer to the wanted one than that of their start, and as counts of "
            "the splits that they are in. What is in the training split was known to the model.",
        ),
        aside=True,
    )


def _row(members: Sequence[RunRecord], part: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The numbers of a row for machines, and its cells for people."""
    row: dict[str, Any] = {name: round(sum(_values(members, part, name))) for name in COUNTS}
    numbers = {name: _values(members, part, name) for name in ERRORS}
    for share, (some, whole) in SHARES.items():
        pairs = zip(_values(members, part, some), _values(members, part, whole), strict=True)
        numbers[share] = [a / b for a, b in pairs if b]
    for name, found in numbers.items():
        row |= {name: statistics.mean(found), f"{name} sd": statistics.deviation(found)}

    def shown(name: str, column: Column = ENERGY) -> str:
        return cell(row[name], row[f"{name} sd"], column)

    shares = [shown(name, PERCENT) for name in ("validity", "uniqueness", "novelty")]
    errors = [shown(f"error_{name}") for name in ("start", "latent", "decoded", "true")]
    splits = [f"{row[f'nearer_{split}']} of {row[f'known_{split}']}" for split in SPLITS]
    known = (str(row["known"]), shown("nearer_share", PERCENT))
    return row, (*shares, *errors, *known, *splits, shown("error_prediction"))


def _values(members: Sequence[RunRecord], part: str, name: str) -> list[float]:
    return statistics.values(members, f"optimised.{'' if name in _OF_RUN else part}{name}")
