"""Every row of the benchmarks: what is compared, the bar, and how it is measured."""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from ..errors import UserError
from . import densities, gpu, likelihood, memory, peers, usual
from .harness import Bar, Measurement, interleave
from .steps import Bench, epoch, products, steps

COMPILED, EAGER = "compiled", "eager"
MODES = (EAGER, COMPILED)
GPU_MODES = (EAGER, COMPILED, "graph")
AMBIENT = (3, 6, 21, 101)
FLAT = ("epoch/e5", "pythae/VAE/epoch")  # epochs that are never compiled


class Row(NamedTuple):
    """``name`` is for ``--only`` and the JSON, ``what`` for the table; no ``bar``: a number to know.

    In braces, ``what`` names numbers of the effort, and ``train``, the training records.
    Names of rows that measure a mode end in it: ``eager``, ``compiled`` or ``graph``.
    """

    name: str
    what: str
    bar: Bar | None
    measure: Callable[[Bench], Measurement]
    device: str = "cpu"

    @property
    def compiles(self) -> bool:
        """Whether something in it is compiled, or is where ``auto`` says so: an epoch of a curved latent."""
        epoch = self.name.endswith("epoch") or self.name.startswith("epoch/")
        return self.name.endswith((COMPILED, "graph")) or (epoch and self.name not in FLAT)


def at_most(value: float, aim: float | None = None) -> Bar:
    """<= value."""
    return Bar("<=", value, aim)


def at_least(value: float) -> Bar:
    """>= value."""
    return Bar(">=", value)


def table() -> list[Row]:
    """All rows, in the order of the table."""
    return [
        *product_rows(), *geometry_rows(), *epoch_rows(), *peer_rows(), *likelihood_rows(), *memory_rows(),
        *density_rows(), *gpu_rows(),
    ]  # fmt: skip


def chosen(pattern: str | None, devices: Sequence[str]) -> list[Row]:
    """The rows for these devices whose name holds the pattern, or matches it as a file name would.

    Raises:
        UserError: no row matches.
    """
    rows = [row for row in table() if row.device in devices]
    found = [row for row in rows if pattern is None or pattern in row.name or fnmatchcase(row.name, pattern)]
    if not found:
        raise UserError(f"--only {pattern}: matches no row; the rows here are {', '.join(row.name for row in rows)}")
    return found


def product_rows() -> list[Row]:
    """A whole step beside its matrix products."""

    def measure(bench: Bench, batch: int, mode: str) -> Measurement:
        ours = steps(bench, "e5", batch=batch, mode=mode)
        return interleave(ours, products(bench, "e5", batch=batch), **bench.short())

    return [
        Row(
            f"step/e5/{batch}/{mode}",
            f"step of e5, batch {batch}, {mode} / its matrix products",
            at_most(2.3, aim=2.0),
            lambda bench, batch=batch, mode=mode: measure(bench, batch, mode),
        )
        for batch in (64, 128)
        for mode in MODES
    ]


def geometry_rows() -> list[Row]:
    """A step of a curved space beside that of a flat one."""

    def row(latent: str, flat: str, mode: str, bar: float) -> Row:
        def measure(bench: Bench) -> Measurement:
            sides = (steps(bench, each, mode=mode) for each in (latent, flat))
            return interleave(*sides, **bench.short())

        return Row(f"step/{latent}/{mode}", f"step of {latent}, {mode} / step of {flat}", at_most(bar), measure)

    alone = {"h5": 1.15, "p5": 1.15, "u5:learn": 1.15, "s5:vmf": 1.25, "s5:ps": 1.25}
    rows = [row(latent, "e5", mode, 1.4 if mode == EAGER else bar) for latent, bar in alone.items() for mode in MODES]
    products_of = {"h2,s2,e2": "e6", "6h2": "e12", "6s2:vmf": "e12"}
    return rows + [row(latent, flat, mode, 1.2) for latent, flat in products_of.items() for mode in MODES]


def epoch_rows() -> list[Row]:
    """The usual loop's epoch beside the trainer's, as it is configured by default."""

    def measure(bench: Bench, latent: str) -> Measurement:
        theirs = usual.epoch(bench, 5, spherical=latent != "e5")
        return interleave(epoch(bench, latent, mode="auto"), theirs, **bench.long(), invert=True)

    return [
        Row(
            f"epoch/{latent}",
            f"usual loop's epoch / epoch of {latent} ({{train:,}} images, batch 128)",
            at_least(bar),
            lambda bench, latent=latent: measure(bench, latent),
        )
        for latent, bar in (("e5", 2.5), ("s5:vmf", 3.5))
    ]


def peer_rows() -> list[Row]:
    """Pythae beside us: the time of an epoch, and what is reached after equal epochs."""
    rows = []
    for name, latent in peers.PEERS.items():
        rows += [
            Row(
                f"pythae/{name}/epoch",
                f"pythae {name}'s epoch / epoch of {latent} ({{peer_records:,}} images, batch 128)",
                at_least(2.0),
                lambda bench, name=name: peers.speed(bench, name),
            ),
            Row(
                f"pythae/{name}/elbo",
                f"test ELBO of {latent} - pythae {name}'s after {{peer_epochs}} such epochs, {{peer_seeds}} seeds",
                at_least(0.0),
                lambda bench, name=name: peers.bounds(bench, name),
            ),
        ]
    return rows


def likelihood_rows() -> list[Row]:
    """The importance-sampled log-likelihood."""
    return [
        Row(
            "likelihood/e5/time",
            "{samples}-sample log-likelihood of e5 ({images:,} images) / its decoder products",
            at_most(1.5),
            lambda bench: likelihood.time(bench, "e5"),
        ),
        Row(
            "likelihood/e5/memory",
            "{samples}-sample log-likelihood of e5 ({images:,} images): peak memory above the model",
            at_most(300.0),
            lambda bench: memory.likelihood(bench, "e5"),
        ),
    ]


def memory_rows() -> list[Row]:
    """What a training process holds."""
    return [
        Row(
            "memory/train",
            "peak memory of mcvae train / import torch and the data",
            at_most(1.3),
            memory.training,
        )
    ]


def density_rows() -> list[Row]:
    """Draw, KL and backward without a network: von Mises-Fisher beside a Gaussian and the usual one, 6h2 beside h2."""
    rows = []
    for ambient in AMBIENT:
        for mode, over_gaussian, under_usual in ((EAGER, 10.0, 4.0), (COMPILED, 4.0, 8.0)):
            rows += [
                Row(
                    f"vmf/{ambient}/gaussian/{mode}",
                    f"vMF in R^{ambient}, {mode} / Gaussian of dimension {ambient - 1}, {mode}",
                    at_most(over_gaussian),
                    lambda bench, ambient=ambient, mode=mode: interleave(
                        densities.von_mises_fisher(ambient, mode),
                        densities.gaussian(ambient - 1, mode),
                        **bench.short(),
                    ),
                ),
                Row(
                    f"vmf/{ambient}/usual/{mode}",
                    f"rejection and scipy's vMF in R^{ambient} / ours, {mode}",
                    at_least(under_usual),
                    lambda bench, ambient=ambient, mode=mode: interleave(
                        densities.von_mises_fisher(ambient, mode),
                        densities.usual_von_mises_fisher(ambient),
                        **bench.short(),
                        invert=True,
                    ),
                ),
            ]
    return rows + [
        Row(
            f"density/6h2/{mode}",
            f"draw, KL, backward of 6h2, {mode} / h2",
            at_most(1.5),
            lambda bench, mode=mode: interleave(
                densities.space("6h2", mode), densities.space("h2", mode), **bench.short()
            ),
        )
        for mode in MODES
    ]


def gpu_rows() -> list[Row]:
    """Where there is a GPU."""
    rows = []
    for mode in GPU_MODES:
        for latent in ("e5", "s5:vmf", "h2,s2,e2"):
            rows += [
                Row(
                    f"gpu/step/{latent}/{mode}",
                    f"GPU: step of {latent}, batch 128, {mode}",
                    None,
                    lambda bench, latent=latent, mode=mode: gpu.step_time(bench, latent, mode),
                    "cuda",
                ),
                Row(
                    f"gpu/epoch/{latent}/{mode}",
                    f"GPU: epoch of {latent}, {mode}",
                    at_most(0.15) if mode == "graph" else None,  # an aim of the path that is meant for a GPU
                    lambda bench, latent=latent, mode=mode: gpu.epoch_time(bench, latent, mode),
                    "cuda",
                ),
            ]
        rows += [
            Row(
                f"gpu/ratio/{latent}/{mode}",
                f"GPU: step of {latent}, {mode} / step of {flat}",
                at_most(1.1) if mode == "graph" else None,
                lambda bench, latent=latent, flat=flat, mode=mode: gpu.step_ratio(bench, latent, flat, mode),
                "cuda",
            )
            for latent, flat in (("s5:vmf", "e5"), ("h2,s2,e2", "e6"))
        ]
        rows.append(
            Row(
                f"gpu/celeba/{mode}",
                f"GPU: CelebA-like 64x64 training, e64, {mode}",
                None,
                lambda bench, mode=mode: gpu.face_rate(bench, "e64", mode),
                "cuda",
            )
        )
    return rows
