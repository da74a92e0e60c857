"""``mcvae bench``: measure the rows, show the table while it grows, and leave ``bench.json``."""

import logging
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..data import Dataset
from ..errors import UserError
from ..files import write_json
from ..training.compilation import compiler
from ..training.provenance import code_digest, cpu_model, now, versions
from ..training.seeding import settings, stream
from .gpu import RATE
from .harness import FULL, QUICK, Bar, Effort, Measurement, one_core
from .records import images
from .rows import Row, chosen
from .steps import Bench

logger = logging.getLogger("mcvae.bench")

VERSION = 1
DEVICES = {"all": ("cpu", "cuda"), "cpu": ("cpu",), "cuda": ("cuda",)}


class Result(NamedTuple):
    """A row with what was measured of it, or why nothing was."""

    row: Row
    measurement: Measurement | None
    error: str | None
    seconds: float

    @property
    def verdict(self) -> str:
        """pass, miss, error, or nothing where there is no bar."""
        if self.measurement is None:
            return "error"
        if self.row.bar is None:
            return ""
        return "pass" if self.row.bar.holds(self.measurement.median) else "miss"


def bench(
    output: Path,
    show: Callable[[str], None],
    *,
    only: str | None = None,
    quick: bool = False,
    device: str = "all",
    data: Path | None = None,
    effort: Effort | None = None,
) -> int:
    """Measure the rows; ``show`` gets the lines of the table, ``output`` the numbers as JSON after every row.

    Args:
        only: part of a row's name, or a pattern such as ``step/*/eager``.
        quick: little data and few blocks: whether it works, not how fast it is.
        device: ``cpu``, ``cuda``, or ``all`` that is there.
        data: a folder of prepared MNIST.
        effort: another one than ``quick`` says.

    Returns:
        0, or 1 where a row could not be measured. A bar that is missed is a result, not an error.

    Raises:
        UserError: a pattern that matches nothing, a device that is not there, data of another kind.
    """
    effort = effort or (QUICK if quick else FULL)
    rows = chosen(only, devices_here(device))
    results: list[Result] = []
    with images(data, effort.records) as (dataset, note):
        facts = machine()
        show(f"{facts['cpu']}, {facts['cores']} cores, torch {facts['versions']['torch']}, one core pinned, one thread")
        show(f"{note}{'; quick: numbers mean little' if quick else ''}\n")
        rows = [row._replace(what=row.what.format(**numbers(effort, dataset))) for row in rows]
        width = max(len(row.what) for row in rows)
        show(line("what", "bar", "median", "quartiles", "", width))
        for row in rows:
            result = measured(row, Bench(dataset, effort, row.device))
            results.append(result)
            show(shown(result, width))
            document = {
                "version": VERSION, "finished": now(), "machine": facts, "data": note, "effort": effort._asdict(),
                "rows": [described(each) for each in results],
            }  # fmt: skip
            write_json(output, document)
    failed = [result for result in results if result.error is not None]
    show("")
    for result in failed:
        show(f"{result.row.name}: {result.error}")
    show(f"{sum(r.verdict == 'pass' for r in results)} pass, {sum(r.verdict == 'miss' for r in results)} miss, "
         f"{len(failed)} could not be measured; {output}")  # fmt: skip
    return 1 if failed else 0


def numbers(effort: Effort, dataset: Dataset) -> dict[str, Any]:
    """What the texts of the rows say of how much is measured: the effort, no more of a split than there is."""
    train, test = dataset.size("train"), dataset.size("test")
    least = {"images": min(effort.images, test), "peer_records": min(effort.peer_records, train)}
    return effort._asdict() | least | {"train": train}


def measured(row: Row, bench: Bench) -> Result:
    """One row, with noise of its own and no compiled code of the rows before it."""
    start = time.perf_counter()
    try:
        with (
            one_core() if row.device == "cpu" else settings(1),
            stream(0, f"bench/{row.name}", bench.device),
            compiler(row.compiles, bench.device, graphs=row.name.endswith("graph")),
        ):
            measurement, error = row.measure(bench), None
    except Exception as problem:  # whatever keeps one row from being measured must not take the others along
        logger.debug("%s", row.name, exc_info=True)
        first = (str(problem).strip().splitlines() or [""])[0]
        measurement, error = None, f"{type(problem).__name__}: {first}" if first else type(problem).__name__
    return Result(row, measurement, error, time.perf_counter() - start)


def devices_here(device: str) -> tuple[str, ...]:
    """The devices to measure on."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no GPU here")
    return tuple(name for name in DEVICES[device] if name == "cpu" or torch.cuda.is_available())


def machine() -> dict[str, Any]:
    """What the numbers depend on besides the code."""
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "threads": 1,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "platform": platform.platform(),
        "versions": versions(),
        "code_digest": code_digest(),
    }


def described(result: Result) -> dict[str, Any]:
    """A row for bench.json."""
    row, measurement = result.row, result.measurement
    facts: dict[str, Any] = {
        "name": row.name,
        "what": row.what,
        "device": row.device,
        "bar": None if row.bar is None else row.bar._asdict(),
        "verdict": result.verdict or None,
        "error": result.error,
        "seconds": result.seconds,
        "median": None,
    }
    if measurement is not None:
        low, high = measurement.spread
        facts |= {
            "median": measurement.median, "low": low, "high": high, "unit": measurement.unit,
            "blocks": list(measurement.values), "sides": measurement.sides, "side_unit": measurement.side_unit,
        }  # fmt: skip
    return facts


def shown(result: Result, width: int) -> str:
    """A row of the table."""
    row, measurement = result.row, result.measurement
    if measurement is None:
        return line(row.what, bar_text(row.bar), "", "", "ERROR", width)
    spread = " – ".join(f"{value:.3g}" for value in measurement.spread)
    median = f"{measurement.median:.3g} {measurement.unit}"
    verdict = result.verdict
    if measurement.side_unit == RATE:
        model, card = (statistics.median(values) for values in measurement.sides.values())
        verdict = f"{verdict} {model:.3g} of the card's {card:.3g} {RATE}".strip()
    return line(row.what, bar_text(row.bar), median, spread, verdict, width)


def bar_text(bar: Bar | None) -> str:
    """Such as ``<= 2.3 (aim 2)``."""
    if bar is None:
        return ""
    aim = "" if bar.aim is None else f" (aim {bar.aim:g})"
    return f"{bar.relation} {bar.value:g}{aim}"


def line(what: str, bar: str, median: str, spread: str, verdict: str, width: int) -> str:
    """The columns of the table, aligned."""
    return f"{what:{width}}  {bar:15}  {median:>14}  {spread:>15}  {verdict}".rstrip()
