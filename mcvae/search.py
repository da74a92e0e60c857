"""Signatures tried by successive halving: which ones there are, and which of a rung go on to the next.

A rung is a set of ordinary runs. What it decides is a file under ``results/searches``, named by a digest of the very
runs that it rests on: one seed, option or candidate more is another rung, whose decision has to be made anew. The
validation split alone decides. No torch: Snakemake parses with this module.
"""

import itertools
import json
import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from .errors import UserError
from .files import canonical_json, digest, read_json
from .options import Search
from .signature import parse

MOST_CANDIDATES = 500
DECIDES = "validation.loss"  # of the best epoch, in training.json and metrics.json


class Member(NamedTuple):
    """A run of a rung: its latent space, its seed, and its folder under the folder of results."""

    latent: str
    seed: int
    place: Path


@dataclass(frozen=True)
class Rung:
    """Runs of one length, of all candidates that came so far.

    ``number`` counts from 1; ``keep``: the share that goes on; ``last``: no rung follows, there is nothing to decide.
    """

    experiment: str
    number: int
    epochs: int
    keep: float
    members: tuple[Member, ...]
    last: bool = False

    @property
    def candidates(self) -> tuple[str, ...]:
        """Their signatures, in the order of :func:`candidates`."""
        return tuple(dict.fromkeys(member.latent for member in self.members))

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of every candidate."""
        return tuple(dict.fromkeys(member.seed for member in self.members))

    @property
    def digest(self) -> str:
        """8 hex digits of everything that the decision depends on: the runs by name, and the share that goes on."""
        return digest(canonical_json({"keep": self.keep, "runs": [m.place.name for m in self.members]}))

    @property
    def text(self) -> str:
        """All that :func:`decide` needs, as JSON for a job."""
        value = {name: getattr(self, name) for name in ("experiment", "number", "epochs", "keep")}
        return canonical_json(value | {"members": [[m.latent, m.seed, m.place.as_posix()] for m in self.members]})

    @classmethod
    def from_text(cls, text: str) -> "Rung":
        """The inverse of :attr:`text`."""
        value = json.loads(text)
        members = tuple(Member(latent, seed, Path(place)) for latent, seed, place in value["members"])
        return cls(**value | {"members": members})

    @property
    def place(self) -> Path:
        """searches/{experiment}/rung-{number}-{digest}.json: the decision under the folder of results."""
        return Path("searches") / self.experiment / f"rung-{self.number}-{self.digest}.json"


def candidates(search: Search) -> list[str]:
    """The signatures of ``search.dim`` dimensions: all products of factors of one dimension, as canonical texts.

    The dimension of the factors is each divisor of ``dim`` from 2 on (1 only if ``dim`` is 1), the largest first;
    factors are in the order of the letters, and spaces that are equal (``e2,e2`` and ``e4``) occur once.

    Raises:
        UserError: there are more than MOST_CANDIDATES products.
    """
    shapes = [(search.dim // size, size) for size in range(search.dim, 0, -1) if search.dim % size == 0]
    shapes = [(count, size) for count, size in shapes if size > 1 or search.dim == 1]
    products = sum(math.comb(len(search.letters) + count - 1, count) for count, _ in shapes)
    if products > MOST_CANDIDATES:
        raise UserError(
            f"search: {len(search.letters)} letters make {products} products of {search.dim} dimensions, more than "
            f"{MOST_CANDIDATES}; choose fewer letters, or another dim"
        )
    found: dict[str, None] = {}
    for count, size in shapes:
        for factors in itertools.combinations_with_replacement(search.factors(size), count):
            found.setdefault(str(parse(",".join(factors))))
    return list(found)


def decide(rung: Rung, results: Path) -> dict[str, Any]:
    """The decision of a rung as JSON: what its candidates reached, and those that go on.

    A candidate's number is the mean over its seeds of the best epoch's validation loss; one that diverged with any
    seed has none and is out. ``survivors``: ceil(keep * candidates) of the others at most, the best first; equal ones
    in the order of the candidates.

    Raises:
        UserError: a run is not trained, or has no validation loss.
    """
    reached = []
    for latent in rung.candidates:
        losses, diverged = {}, []
        for member in (member for member in rung.members if member.latent == latent):
            path = results / member.place / "training.json"
            training = read_json(path)
            if training["status"] == "diverged":
                diverged.append(member.seed)
                continue
            if training.get(DECIDES) is None:
                raise UserError(f"{path}: has no validation loss to choose by; leave records for validation")
            losses[str(member.seed)] = training[DECIDES]
        mean = None if diverged else statistics.fmean(losses.values())
        reached.append({"latent": latent, DECIDES: mean, "seeds": losses, "diverged": diverged})
    ranked = sorted((each for each in reached if each[DECIDES] is not None), key=lambda each: each[DECIDES])
    # Less than a rounding error above a whole number is that number: 0.07 * 100 is 7.000000000000001.
    kept = math.ceil(rung.keep * len(reached) - 1e-9)
    return {
        "digest": rung.digest,
        "experiment": rung.experiment,
        "rung": rung.number,
        "epochs": rung.epochs,
        "keep": rung.keep,
        "candidates": reached,
        "survivors": [each["latent"] for each in ranked[: max(1, kept)]],
    }


def survivors(rung: Rung, results: Path) -> tuple[str, ...] | None:
    """The candidates that go on, in the order of the candidates; None before that is decided, () if all diverged.

    Raises:
        UserError: the file of the decision is broken, or not one of this rung.
    """
    path = results / rung.place
    if not path.is_file():
        return None
    value = read_json(path)
    own = isinstance(value, dict) and value.get("digest") == rung.digest and isinstance(value.get("survivors"), list)
    if not own or not set(value["survivors"]) <= set(rung.candidates):
        raise UserError(f"{path}: is not the decision that its name says; delete it, and it will be made again")
    return tuple(latent for latent in rung.candidates if latent in value["survivors"])
