"""What the numbers of an experiment's table rest on: the remarks below it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..datasets import DATASETS
from ..options import KIND_NAMES
from ..signature import parse
from . import statistics
from .columns import Column
from .comparison import SEEDS_OF_A_CLAIM
from .diagnostics import USE
from .faces import face_notes
from .statistics import RunRecord

if TYPE_CHECKING:
    import pandas as pd

    from ..grid import PlannedData


def notes(
    records: Sequence[RunRecord],
    frame: "pd.DataFrame",
    several: Sequence[str],
    every: Sequence[Column],
    data: "PlannedData",
) -> list[str]:
    """The remarks: data, what all rows share, seeds, protocol, baselines, what is elsewhere, what is not there."""
    found = [f"Data: {data.note}." + (" These numbers say nothing about the real data set." if data.stand_in else "")]
    found += _constants(records, frame, several)
    if frame["seeds"].max() > 1:
        found.append("Standard deviations are over seeds, with n - 1; a single finished seed has none.")
    if frame["seeds"].min() < SEEDS_OF_A_CLAIM:
        found.append(f"Fewer than {SEEDS_OF_A_CLAIM} seeds establish no difference between rows; none is marked.")
    found += _protocol(records)
    found += face_notes(records, every) if records[0]["config"]["dataset"] == "celeba" else []
    found += _densities(records[0]["config"], every)
    found += _single_branch(records)
    found += _baselines(records, every)
    found += _beaten(records, frame, several, every)
    found += _elsewhere(records, every)
    if any(record["config"]["model"]["kind"] == "autoencoder" for record in records):
        found.append("An autoencoder has no ELBO, KL, likelihood or prior samples: these cells are empty.")
    found += _incomplete(records, every)
    found += [f"Diverged: {r['run']} ({r['cause'] or 'cause unknown'})." for r in records if r["status"] == "diverged"]
    missing = [record["run"] for record in records if record["status"] == "missing"]
    if missing:
        found.append(f"Missing (no metrics.json): {', '.join(missing)}.")
    return found


def words(row: Mapping[str, Any], several: Sequence[str]) -> list[str]:
    """What tells a row from the others."""
    return [KIND_NAMES[row[name]] if name == "kind" else str(row[name]) for name in several]


def _constants(records: Sequence[RunRecord], frame: "pd.DataFrame", several: Sequence[str]) -> list[str]:
    """What all rows share and the table therefore does not repeat."""
    config = statistics.flatten(records[0]["config"])
    parts = [] if "kind" in several else [f"model {KIND_NAMES[config['model.kind']]}"]
    parts += [] if "hidden" in several else [f"hidden layers {statistics.hidden(config)}"]
    parts += [] if "training.epochs" in several else [f"at most {config['training.epochs']} epochs"]
    counts = set(frame["parameters"])
    parts += [f"{counts.pop()} parameters"] if len(counts) == 1 and "" not in counts else []
    return [f"All rows: {', '.join(parts)}."] if parts else []


def _protocol(records: Sequence[RunRecord]) -> list[str]:
    """How the estimates were made, as the metrics themselves say."""
    found = []
    samples, count = _said(records, "test.importance_samples"), _said(records, "test.ll_n")
    every = _said(records, "test.n")
    part = bool(count and every and count != every)
    if samples:
        of = f" of the first {count} of {every} test records" if part else f" of {count} test records" if count else ""
        found.append(f"LL: importance-sampled with {samples} samples{of}.")
    if any(record["config"]["model"]["kind"] == "vae" for record in records):
        found.append(
            "ELBO, RE and KL: of the whole test split, with one posterior draw a record "
            f"(the KL of a Euclidean component is exact){'; LL is of fewer records: LL - ELBO means nothing' * part}."
        )
    neighbours, labels = _said(records, "test.knn_neighbours"), _said(records, "test.knn_labels")
    if neighbours and labels:
        found.append(f"kNN: {neighbours} geodesic neighbours among {labels} training records.")
    draws = _said(records, "test.knn_draws")
    if draws:
        found.append(
            f"kNN@n and probe@n: n labelled training records, the mean over {draws} draws of them; the probe is a "
            "logistic regression on coordinates: of e and s the point's own, of others tangent ones at the origin."
        )
    return found


def _densities(config: Mapping[str, Any], every: Sequence[Column]) -> list[str]:
    """What a likelihood is a density of, where it is not a probability of the data."""
    if DATASETS[config["dataset"]].control:
        return [
            "LL, ELBO and RE are log-densities of continuous observations: they may be positive, their zero means "
            "nothing, and only differences between rows of one data set compare."
        ]
    if config["protocol"] == "grey":
        return [
            "The Bernoulli cross-entropy of grey values is not a normalised log-likelihood: LL, ELBO and RE compare "
            "with those of this protocol only."
        ]
    if any(column.metric.startswith("grey.") for column in every):
        return [
            f"LL (grey) and ELBO (grey) are of runs that trained with {config['protocol']} pixels, scored anew on grey "
            "values; their Bernoulli cross-entropy is not a normalised log-likelihood, and compares within the column "
            "only."
        ]
    return []


def _single_branch(records: Sequence[RunRecord]) -> list[str]:
    """The rows whose wrapped normals on spheres leave out the windings."""
    configs = [r["config"] for r in records if r["config"]["model"].get("principal")]
    latents = dict.fromkeys(c["latent"] for c in configs if any(map(statistics.winds, parse(c["latent"]).components)))
    if not latents:
        return []
    return [
        f"Single-branch density on spheres (principal): {', '.join(latents)}. Their wrapped normals are without "
        "windings, of mass below 1: their LL, ELBO and KL compare with results that did the same, and not with "
        "normalised ones."
    ]


def _said(records: Sequence[RunRecord], metric: str) -> str:
    return " or ".join(f"{number:,.0f}" for number in sorted(set(statistics.values(records, metric))))


def _baselines(records: Sequence[RunRecord], every: Sequence[Column]) -> list[str]:
    """The error of always predicting the training mean, which every run reports alike."""
    parts = []
    for column in (column for column in every if column.shown and column.metric.startswith("test.mae.")):
        numbers = statistics.values(records, column.metric.replace("test.mae.", "test.mae_baseline."))
        if numbers:
            parts.append(f"{column.heading.removeprefix('MAE ')} {statistics.mean(numbers):.3g} {column.unit}")
    return [f"Always predicting the training mean has the MAE: {', '.join(parts)}."] if parts else []


def _beaten(
    records: Sequence[RunRecord], frame: "pd.DataFrame", several: Sequence[str], every: Sequence[Column]
) -> list[str]:
    """The rows and targets, also those of the CSV alone, whose mean error is not below the baseline's."""
    found = []
    for row, members in zip(frame.to_dict("records"), statistics.group(records), strict=True):
        names = []
        for column in (column for column in every if column.metric.startswith("test.mae.")):
            name = column.metric.removeprefix("test.mae.")
            error, baseline = (
                statistics.mean(statistics.values(members, f"test.{kind}.{name}")) for kind in ("mae", "mae_baseline")
            )
            if error is not None and baseline is not None and error >= baseline:
                names.append(name)
        if names:
            found.append(f"{', '.join(words(row, several))}: no better than the training mean in {', '.join(names)}.")
    return found


def _elsewhere(records: Sequence[RunRecord], every: Sequence[Column]) -> list[str]:
    """The numbers that only the CSV has; diagnostics have a table of their own."""
    below = {column.metric for column in USE}
    others = [c for c in every if not c.shown and c.metric not in below and statistics.values(records, c.metric)]
    targets = [column.heading.removeprefix("MAE ") for column in others if column.metric.startswith("test.mae.")]
    others = [column.heading for column in others if not column.metric.startswith("test.mae.")]
    found = [f"The errors of the other targets ({', '.join(targets)}) are in the CSV."] if targets else []
    return found + ([f"In the CSV alone: {', '.join(others)}."] if others else [])


def _incomplete(records: Sequence[RunRecord], every: Sequence[Column]) -> list[str]:
    """Rows whose mean is over fewer seeds than the row states."""
    found = []
    for members in statistics.group(records):
        finished = sum(record["status"] == "finished" for record in members)
        for column in every:
            count = len(statistics.values(members, column.metric))
            if 0 < count < finished:
                latent = members[0]["config"]["latent"]
                found.append(f"{latent}: {column.heading} is of {count} of the {finished} finished seeds.")
    return found
