"""Paired differences, seed by seed: each latent space against the Euclidean ones of equal dimension, or a reference.

Runs of one seed share the stream of their initialisation and the order of the data. Whether a difference within a seed
therefore varies less than the runs do is a matter of the experiment: often it does not, and the interval is as wide as
unpaired runs would make it. Nothing is claimed on fewer than five common seeds, or before Holm's correction.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..files import canonical_json
from ..signature import Component, Signature, parse
from .statistics import RunRecord, check_scored_alike, group

LEVEL = 0.95
ALPHA = 0.05
SEEDS_OF_A_CLAIM = 5
ONE_SCALE = ("vmf", "ps", "rn")  # families with one scale or concentration for all dimensions
NOTHING = "no difference established"
EQUAL = "equal in every seed"
ROUNDING = 1e-14  # of the values: differences that vary by less do not vary


@dataclass(frozen=True)
class Paired:
    """Differences a - b of ``n`` pairs: mean, standard deviation (n - 1), 95% interval, two-sided p; None: unknown."""

    n: int
    mean: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None


@dataclass(frozen=True)
class Difference:
    """One metric of one row minus that of its partner: a Euclidean space, or the experiment's reference.

    ``equal_scales``: the partner has the row's number of scales, so that they differ in their geometry alone.
    ``left_out``: seeds of either that have no pair, because a run is missing, diverged, or has no such number.
    ``adjusted``: p after Holm's correction over the metric's ``family`` comparisons. ``verdict``: what may be said.
    """

    latent: str
    against: str
    equal_scales: bool
    row: RunRecord
    metric: str
    seeds: tuple[int, ...]
    left_out: tuple[int, ...]
    paired: Paired
    better: int
    adjusted: float | None = None
    family: int = 0
    verdict: str = NOTHING


def paired(first: Sequence[float], second: Sequence[float]) -> Paired:
    """Student's paired comparison: mean of d = first - second, mean ± t(n - 1) sd / sqrt(n), p of mean sqrt(n) / sd.

    One pair has neither deviation nor interval. Differences that are equal up to rounding have no p and no interval:
    a t test of nothing that varies would be certain of anything.
    """
    values = [a - b for a, b in zip(first, second, strict=True)]
    n = len(values)
    if n < 2:
        return Paired(n, values[0] if values else None)
    mean, sd = statistics.fmean(values), statistics.stdev(values)
    if sd <= ROUNDING * max(map(abs, (*first, *second))):
        return Paired(n, mean, sd)
    from scipy.stats import t

    error = sd / math.sqrt(n)
    half = float(t.ppf(0.5 + LEVEL / 2, n - 1)) * error
    return Paired(n, mean, sd, mean - half, mean + half, float(2 * t.sf(abs(mean) / error, n - 1)))


def holm(numbers: Sequence[float | None]) -> list[float | None]:
    """Holm's (1979) step-down adjustment of p values; None stays None and is no member of the family.

    Of m sorted values the i-th (from 1) becomes max over j <= i of min(1, (m - j + 1) p_j).
    """
    adjusted: list[float | None] = [None] * len(numbers)
    order = sorted((p, index) for index, p in enumerate(numbers) if p is not None)
    largest = 0.0
    for rank, (p, index) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p))
        adjusted[index] = largest
    return adjusted


def has_one_scale(component: Component) -> bool:
    """Whether all dimensions of a component share a scale."""
    return component.dim == 1 or component.iso or component.family in ONE_SCALE


def flat_twin(signature: Signature) -> str:
    """The same space without curvature: ``h2,s3:vmf`` -> ``e2,e3:iso``. It has as many scales as the space itself."""
    parts = [f"{c.count}e{c.dim}{':iso' if has_one_scale(c) else ''}" for c in signature.components]
    return str(parse(",".join(parts)))


def partners(signature: Signature, references: Sequence[str] = ()) -> list[str]:
    """What to compare with: the references of equal dimension, if there are references; else the Euclidean spaces, the
    fairest first: the flat twin, ``e{d}:iso`` for one scale, ``e{d}``.
    """
    if references:
        return [text for text in references if text != str(signature) and parse(text).dim == signature.dim]
    plain = f"e{signature.dim}"
    candidates = [flat_twin(signature)]
    if all(map(has_one_scale, signature.components)):
        candidates.append(str(parse(f"{plain}:iso")))
    own = str(signature)
    return [] if own == plain else [text for text in dict.fromkeys([*candidates, plain]) if text != own]


def differences(
    records: Iterable[RunRecord], better: Mapping[str, int], references: Sequence[str] = ()
) -> list[Difference]:
    """All comparisons of an experiment, metric by metric, rows in grid order.

    Rows are compared if all but the latent is equal: data, protocol, model, hidden layers, training. Each metric is a
    question of its own: the family of Holm's correction is its comparisons that have a p value, over rows and partners,
    and a metric that is measured too changes no verdict.

    Args:
        better: the metrics to compare, and which way is better: +1, -1, or 0 for neither.
        references: canonical latents to compare the others with, in place of the Euclidean spaces.

    Raises:
        UserError: two rows that are to be compared were scored differently.
    """
    groups = group(records)
    places = {(_rest(members[0]), members[0]["config"]["latent"]): members for members in groups}
    pairs = []
    for members in groups:
        signature = parse(members[0]["config"]["latent"])
        found = [places.get((_rest(members[0]), text)) for text in partners(signature, references)]
        pairs += [(members, other, flat_twin(signature)) for other in found if other is not None]
    for members, other, _ in pairs:
        check_scored_alike([*members, *other])
    result = []
    for metric, direction in better.items():
        made = [_difference(members, other, twin, metric, direction) for members, other, twin in pairs]
        made = [difference for difference in made if difference is not None]
        adjusted = holm([difference.paired.p for difference in made])
        family = sum(p is not None for p in adjusted)
        result += [
            replace(d, adjusted=p, family=family, verdict=verdict(d.paired, p, d.better))
            for d, p in zip(made, adjusted, strict=True)
        ]
    return result


def verdict(found: Paired, adjusted: float | None, better: int) -> str:
    """What may be said: ``better`` or ``worse`` (``higher`` or ``lower`` of a metric that is neither), or nothing.

    A claim needs five common seeds and an adjusted p below 0.05.
    """
    if found.n < SEEDS_OF_A_CLAIM:
        return NOTHING
    if found.mean == 0 and found.sd == 0:
        return EQUAL
    if adjusted is None or adjusted >= ALPHA:
        return NOTHING
    if better == 0:
        return "higher" if found.mean > 0 else "lower"
    return "better" if found.mean * better > 0 else "worse"


def _difference(
    members: Sequence[RunRecord], other: Sequence[RunRecord], twin: str, metric: str, better: int
) -> Difference | None:
    ours, theirs = _by_seed(members, metric), _by_seed(other, metric)
    if not ours and not theirs:
        return None
    common = sorted(ours.keys() & theirs.keys())
    planned = {record["config"]["seed"] for record in (*members, *other)}
    against = other[0]["config"]["latent"]
    return Difference(
        latent=members[0]["config"]["latent"],
        against=against,
        equal_scales=flat_twin(parse(against)) == twin,
        row=members[0],
        metric=metric,
        seeds=tuple(common),
        left_out=tuple(sorted(planned.difference(common))),
        paired=paired([ours[seed] for seed in common], [theirs[seed] for seed in common]),
        better=better,
    )


def _by_seed(members: Iterable[RunRecord], metric: str) -> dict[int, float]:
    found: dict[int, float] = {}
    for record in members:
        value = record["metrics"].get(metric)
        if record["status"] == "finished" and value is not None:
            seed = record["config"]["seed"]
            if seed in found:
                raise ValueError(f"run {record['run']}: two records of seed {seed}; pairs need one each")
            found[seed] = float(value)
    return found


def _rest(record: RunRecord) -> str:
    return canonical_json({key: value for key, value in record["config"].items() if key not in ("latent", "seed")})
