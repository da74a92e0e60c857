"""How a ratio is measured: two things in one process on one pinned core, in turns, block by block.

The ratio of neighbouring blocks is free of what the machine does meanwhile; the row is the median of these ratios.
"""

import gc
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch

from ..training.seeding import settings

Clock = Callable[[], float]


class Effort(NamedTuple):
    """How much is measured.

    blocks, seconds: of a row of short things: blocks a side, and the time of one.
    long_blocks: blocks of a row of long things (epochs, likelihoods), one call each.
    steps: training steps a call. records: train, validation, test. images: of the likelihood. samples: its samples.
    peer_records, peer_epochs, peer_seeds: of the comparisons with pythae.
    """

    blocks: int
    seconds: float
    long_blocks: int
    steps: int
    records: tuple[int, int, int]
    images: int
    samples: int
    peer_records: int
    peer_epochs: int
    peer_seeds: int


FULL = Effort(15, 0.3, 5, 20, (50_000, 10_000, 10_000), 1280, 500, 10_000, 5, 3)
QUICK = Effort(5, 0.1, 2, 5, (5_000, 1_000, 1_000), 256, 100, 2_000, 2, 1)


class Bar(NamedTuple):
    """What is to be reached: at most (``<=``) or at least (``>=``) so much; ``aim`` is what would be better still."""

    relation: str
    value: float
    aim: float | None = None

    def holds(self, value: float) -> bool:
        """Whether a measured value reaches it."""
        return value <= self.value if self.relation == "<=" else value >= self.value


class Contender(NamedTuple):
    """Something to be timed: a call does ``units`` units of work."""

    what: str
    run: Callable[[], object]
    units: int = 1


@dataclass(frozen=True)
class Measurement:
    """One number a block, and where they come from: sides by name, with one number a block each.

    ``unit`` is of the values (``x`` for a ratio), ``side_unit`` of the sides.
    """

    values: Sequence[float]
    unit: str = "x"
    sides: dict[str, list[float]] | None = None
    side_unit: str | None = None

    @property
    def median(self) -> float:
        """The row's number."""
        return statistics.median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        """The quartiles; the extremes of fewer than four blocks."""
        if len(self.values) < 4:
            return min(self.values), max(self.values)
        low, _, high = statistics.quantiles(self.values, n=4, method="inclusive")
        return low, high


def interleave(
    ours: Contender,
    theirs: Contender,
    *,
    blocks: int,
    seconds: float,
    clock: Clock = time.process_time,
    warmup: int = 3,
    invert: bool = False,
) -> Measurement:
    """The time of ``ours`` over that of ``theirs`` (``invert``: theirs over ours), a unit of work each.

    Both are called ``warmup`` times, then in turns of about ``seconds`` a block; who begins alternates. The clock is by
    default the processor's time for this process, which on one core is what passes when nothing else runs there.
    """
    times: dict[str, list[float]] = {ours.what: [], theirs.what: []}
    if len(times) == 1:
        raise ValueError(f"both sides are called {ours.what!r}")
    repetitions = {side.what: _repetitions(side, seconds, warmup, clock) for side in (ours, theirs)}
    gc.collect()
    for block in range(blocks):
        for side in (ours, theirs) if block % 2 == 0 else (theirs, ours):
            count = repetitions[side.what]
            times[side.what].append(timed(side.run, count, clock) / (count * side.units))
    pairs = list(zip(times[ours.what], times[theirs.what], strict=True))
    return Measurement([b / a if invert else a / b for a, b in pairs], "x", times, "s")


def repeat(side: Contender, *, blocks: int, seconds: float, clock: Clock, warmup: int = 3) -> Measurement:
    """The time of one thing, in seconds a unit of work."""
    count = _repetitions(side, seconds, warmup, clock)
    values = [timed(side.run, count, clock) / (count * side.units) for _ in range(blocks)]
    return Measurement(values, "s", {side.what: values}, "s")


def timed(run: Callable[[], object], count: int, clock: Clock) -> float:
    """Seconds that ``count`` calls take, the accelerator's work included."""
    _synchronise()
    start = clock()
    for _ in range(count):
        run()
    _synchronise()
    return clock() - start


def _repetitions(side: Contender, seconds: float, warmup: int, clock: Clock) -> int:
    for _ in range(warmup - 1):
        side.run()
    return max(1, round(seconds / max(timed(side.run, 1, clock), 1e-9)))


def _synchronise() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


@contextmanager
def one_core() -> Iterator[int | None]:
    """Inside, this process computes on one core with one thread; yields the core (None where that cannot be set)."""
    if not hasattr(os, "sched_setaffinity"):
        with settings(threads=1):
            yield None
        return
    before = os.sched_getaffinity(0)
    core = max(before)  # the first one serves most interrupts
    os.sched_setaffinity(0, {core})
    try:
        with settings(threads=1):
            yield core
    finally:
        os.sched_setaffinity(0, before)
