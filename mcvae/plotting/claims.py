"""What may be said of an experiment: the verdicts of its table of paired differences and of that of learned curvatures.

Nothing is computed here: a sentence or a mark repeats a verdict of these tables (``{experiment}.differences.csv`` and
``{experiment}.curvatures.csv``), and says so where there is none.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..findings.columns import Column
from ..findings.comparison import EQUAL, NOTHING, SEEDS_OF_A_CLAIM
from ..findings.curvatures import GIVEN, NO_SIGN
from .configurations import number

NAMED = 4  # spaces that a sentence names, of each verdict
Subject = tuple[str, ...]  # what a row is known by: latent, kind, hidden layers, and all else in which rows differ


@dataclass(frozen=True)
class Claim:
    """A row of the table of differences."""

    subject: Subject
    against: str
    metric: str
    seeds: int
    mean: float | None
    low: float | None
    high: float | None
    verdict: str


@dataclass
class Claims:
    """The verdicts of an experiment; ``keys`` are the columns of a :data:`Subject`."""

    keys: Sequence[str]
    differences: list[Claim] = field(default_factory=list)
    curvatures: list[dict[str, str]] = field(default_factory=list)
    varying: tuple[int, ...] = ()

    def subject(self, record: Mapping[str, str]) -> Subject:
        """What a row of any of the tables is known by."""
        return tuple(record.get(key, "") for key in self.keys)

    def name(self, subject: Subject, latent: str) -> str:
        """A row's name with all else in which rows differ."""
        others = [f"{self.keys[i].rpartition('.')[2].replace('_', ' ')} {subject[i]}" for i in self.varying]
        return f"{latent} ({', '.join(others)})" if others else latent

    @property
    def against(self) -> str:
        """What rows are compared with, where that is one space for all; else in general terms."""
        found = set(claim.against for claim in self.differences)
        return found.pop() if len(found) == 1 else "the spaces that they are compared with"

    def mark(self, subject: Subject, metric: str) -> str:
        """``better`` or ``worse``, if that is the verdict of all comparisons of the row in the metric; else nothing."""
        said = {claim.verdict for claim in self.differences if (claim.subject, claim.metric) == (subject, metric)}
        return said.pop() if said in ({"better"}, {"worse"}) else ""

    def of_two(self, first: Subject, second: Subject, metric: str) -> str:
        """What may be said of the difference of two rows."""
        for claim in (claim for claim in self.differences if claim.metric == metric):
            for one, other in ((first, second), (second, first)):
                if claim.subject == one and (claim.against, *one[1:]) == other:
                    return _said(claim)
        return "the two are not compared with each other"

    def sentences(self, column: Column) -> list[str]:
        """How the rows did against what they are compared with first: a sentence, or none without comparisons."""
        found: dict[Subject, Claim] = {}
        for claim in self.differences:
            if claim.metric == column.metric and claim.mean is not None:
                found.setdefault(claim.subject, claim)
        if not found:
            return []
        partners = {claim.against for claim in found.values()}
        groups: dict[str, list[Claim]] = {}
        for claim in found.values():
            groups.setdefault(claim.verdict, []).append(claim)
        order = sorted(groups, key=lambda verdict: verdict in (NOTHING, EQUAL))
        parts = [self._group(verdict, groups[verdict], column, len(partners) > 1) for verdict in order]
        partner = partners.pop() if len(partners) == 1 else "the space that each is compared with"
        few = all(claim.seeds < SEEDS_OF_A_CLAIM for claim in found.values())
        reason = f" (fewer than {SEEDS_OF_A_CLAIM} common seeds)" if few else ""
        return [f"{_capital(column.name)} against {partner}, paired by seed: {'; '.join(parts)}{reason}."]

    def _group(self, verdict: str, claims: Sequence[Claim], column: Column, partners: bool) -> str:
        shown = [self._one(claim, column, partners) for claim in claims[:NAMED]]
        more = [f"{len(claims) - NAMED} more"] if len(claims) > NAMED else []
        return f"{verdict}: {', '.join([*shown, *more])}"

    def _one(self, claim: Claim, column: Column, partner: bool) -> str:
        decimals = 2 if column.decimals is None else column.decimals
        unit = "points" if column.unit == "%" else column.unit
        text = f"{self.name(claim.subject, claim.subject[0])} {number(claim.mean * column.factor, decimals, sign=True)}"
        return f"{text} {unit}{f' against {claim.against}' if partner else ''}"

    def of_curvatures(self) -> list[str]:
        """The signs of learned curvatures that may have either: a sentence, or none."""
        free = [row for row in self.curvatures if row["verdict"] != GIVEN and row["curvature"]]
        if not free:
            return []
        parts = []
        for row in free[:NAMED]:
            name = self.name(self.subject(row), row["latent"])
            place = f" (component {row['component']})" if "," in row["latent"] else ""
            place = f" (no. {row['rank']} of {row['copies']} from below)" if int(row["copies"]) > 1 else place
            k = number(float(row["curvature"]), 3, sign=True)
            span = ""
            if row["low"]:
                span = f" [{number(float(row['low']), 3, sign=True)}, {number(float(row['high']), 3, sign=True)}]"
            few = f", fewer than {SEEDS_OF_A_CLAIM} seeds" * (int(row["seeds"]) < SEEDS_OF_A_CLAIM)
            parts.append(f"{name}{place} K = {k}{span}: {row['verdict']}{few}")
        claimed = sum(not row["verdict"].startswith(NO_SIGN) for row in free)
        if len(free) > NAMED:
            parts.append(f"in all, {claimed} of {len(free)} signs are established")
        return [f"Learned curvature: {'; '.join(parts)}."]


def read_claims(table: Path, names: Sequence[str], records: Sequence[Mapping[str, str]]) -> Claims:
    """The verdicts beside a table ``x.csv``: of ``x.differences.csv`` and ``x.curvatures.csv``, if they are there.

    Args:
        names, records: the columns and rows of the table itself.
    """
    rows = _rows(table.with_suffix(".differences.csv"))
    keys = list(names[: names.index("seeds")]) if "seeds" in names else ["latent"]
    claims = Claims(keys)
    subjects = [claims.subject(record) for record in records]
    claims.varying = tuple(i for i in range(1, len(keys)) if keys[i] != "kind" and len({s[i] for s in subjects}) > 1)
    claims.differences = [
        Claim(
            subject=claims.subject(row),
            against=row["against"],
            metric=row["metric"],
            seeds=int(row["seeds"]),
            **{name: float(row[key]) if row[key] else None for name, key in NUMBERS.items()},
            verdict=row["verdict"],
        )
        for row in rows
    ]
    claims.curvatures = _rows(table.with_suffix(".curvatures.csv"))
    return claims


NUMBERS = {"mean": "difference", "low": "low", "high": "high"}


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _said(claim: Claim) -> str:
    if claim.verdict not in (NOTHING, EQUAL):
        return f"the difference is established, paired over {claim.seeds} seeds"
    few = f" (fewer than {SEEDS_OF_A_CLAIM} common seeds)" if claim.seeds < SEEDS_OF_A_CLAIM else ""
    return f"{claim.verdict} between the two{few}" if claim.verdict == NOTHING else f"the two are {EQUAL}"


def _capital(text: str) -> str:
    """The beginning of a sentence; ``kNN`` is a name."""
    return text if text.startswith("kNN") else text[:1].upper() + text[1:]
