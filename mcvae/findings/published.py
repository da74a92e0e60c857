"""Published results (published.csv) and where they come from, set beside ours: the same quantity, protocol, latent and
kind of model; what else differs is said. Whether a result was reproduced is not decided here. A figure that was quoted
from memory carries a mark.
"""

import csv
import functools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..datasets import DATASETS
from ..errors import UserError
from ..signature import Signature, parse
from . import settings, statistics
from .comparison import LEVEL
from .settings import has_settings
from .statistics import RunRecord

TABLE = Path(__file__).with_name("published.csv")
MARK = "†"
# The protocols of published.csv that are ours; any other says nothing about the treatment of pixels.
PROTOCOLS = {
    "dynamic": "dynamic",
    "threshold 0.5": "threshold",
    "train dynamic, test threshold 0.5": "mixed",
    "grey": "grey",
    "unspecified": None,  # compared with every protocol
    "": None,
}
CITATIONS = {
    "davidson2018-table1": "T. R. Davidson, L. Falorsi, N. De Cao, T. Kipf, J. M. Tomczak. Hyperspherical Variational "
    "Auto-Encoders. UAI 2018. arXiv:1804.00891, table 1",
    "davidson2018-table2": "T. R. Davidson, L. Falorsi, N. De Cao, T. Kipf, J. M. Tomczak. Hyperspherical Variational "
    "Auto-Encoders. UAI 2018. arXiv:1804.00891, table 2",
    "skopek2020-repository-log": "O. Skopek, O.-E. Ganea, G. Bécigneul. Mixed-curvature Variational Autoencoders. ICLR "
    "2020. arXiv:1911.08411; the figures are from two logs in the authors' repository, github.com/oskopek/mvae",
    "mathieu2019": "E. Mathieu, C. Le Lan, C. J. Maddison, R. Tomioka, Y. W. Teh. Continuous Hierarchical "
    "Representations with Poincaré Variational Auto-Encoders. NeurIPS 2019. arXiv:1901.06033",
    "pythae-reproduction": "C. Chadebec, L. Vincent, S. Allassonnière. Pythae: Unifying Generative Autoencoders in "
    "Python. NeurIPS 2022, Datasets and Benchmarks. arXiv:2206.08309",
    "nagano2019": "Y. Nagano, S. Yamaguchi, Y. Fujita, M. Koyama. A Wrapped Normal Distribution on Hyperbolic Space "
    "for Gradient-Based Learning. ICML 2019. arXiv:1902.02992",
    "cho2022-gmvae": "S. Cho, J. Lee, D. Kim. Hyperbolic VAE via Latent Gaussian Distributions (first: GM-VAE, 2022). "
    "NeurIPS 2023. arXiv:2209.15217",
    "pinchbeck2025": "Pinchbeck. Image Classification and Molecular Property Prediction with Fixed and Mixed Curvature "
    "VAEs. Blog post, 2025; one run each",
    "qm9-generation": "N. De Cao, T. Kipf. MolGAN. 2018. arXiv:1805.11973, and the papers on generation that compare "
    "with it: GraphVAE (arXiv:1802.03480), GT-VAE (arXiv:2104.04345), SPECTRE (arXiv:2204.01613), GDSS "
    "(arXiv:2202.02514), DiGress (arXiv:2209.14734)",
    "qm9-property": "E. Heid et al. Chemprop: A Machine Learning Package for Chemical Property Prediction. J. Chem. "
    "Inf. Model. 64, 2024; J. Burns et al. Descriptor-based Foundation Models for Molecular Property Prediction "
    "(CheMeleon). 2025. arXiv:2506.15792",
    "gomez-bombarelli2018": "R. Gómez-Bombarelli et al. Automatic Chemical Design Using a Data-Driven Continuous "
    "Representation of Molecules. ACS Cent. Sci. 4, 2018. doi:10.1021/acscentsci.7b00572",
    "chemical-accuracy": "Targets as they are commonly quoted after F. A. Faber et al., J. Chem. Theory Comput. 13, "
    "2017. doi:10.1021/acs.jctc.7b00577; neither was the page read again",
    "celeba-fid": "The models of I. Tolstikhin, O. Bousquet, S. Gelly, B. Schölkopf. Wasserstein Auto-Encoders. ICLR "
    "2018. arXiv:1711.01558; no page was named with the figures",
}


@dataclass(frozen=True)
class Figure:
    """A row of published.csv as it stands there; ``std``, ``runs`` and ``dim`` are None where it has none.

    ``latent`` is the source's text: a signature, or the name of another model. ``text`` is the value with the digits
    that the source gives.
    """

    source: str
    dataset: str
    protocol: str
    latent: str
    dim: int | None
    metric: str
    value: float
    std: float | None
    runs: int | None
    status: str
    note: str
    text: str = ""

    @property
    def signature(self) -> Signature | None:
        """The parsed latent; None for a model that is no latent space of ours."""
        try:
            return parse(self.latent)
        except UserError:
            return None

    @property
    def recalled(self) -> bool:
        """Whether the value was quoted from memory."""
        return self.status == "recalled"

    @property
    def sd_recalled(self) -> bool:
        """Whether the spread was, whatever the value."""
        return self.std is not None and (self.recalled or "std recalled" in self.note)

    @property
    def sd(self) -> float | None:
        """The standard deviation over runs; None where ``std`` is something else, such as a confidence interval."""
        return None if "CI" in self.note else self.std

    @property
    def hidden(self) -> str | None:
        """The hidden layers where the note gives them, as in ``128x128``."""
        found = re.search(r"(\d+) hidden layers? of (\d+)", self.note)
        return "x".join([found[2]] * int(found[1])) if found else None

    @property
    def unit_guessed(self) -> bool:
        """Whether the source does not name the unit, which was read from the values."""
        return "units read from the values" in self.note

    @property
    def quantity(self) -> "Quantity":
        """What the figure is in our terms."""
        return quantity(self.metric, self.note)


@dataclass(frozen=True)
class Quantity:
    """A published metric: our key (None: we have no such number), the factor from ours to theirs, their unit.

    ``less``: the key of what is subtracted from it in every run, both of the same test records.
    """

    key: str | None
    heading: str
    factor: float = 1.0
    unit: str = ""
    less: str = ""


_QUANTITIES = {
    "ll": Quantity("test.ll", "LL", unit="nats"),
    "elbo": Quantity("test.elbo", "ELBO", unit="nats"),
    "re": Quantity("test.reconstruction", "RE", unit="nats"),
    "kl": Quantity("test.kl", "KL", unit="nats"),
    "bce": Quantity("test.reconstruction", "-RE", -1.0, "nats"),
    "validity": Quantity("samples.validity", "validity", 100.0, "%"),
    "fid": Quantity(None, "FID"),
    "ll-elbo": Quantity("test.ll", "LL - ELBO", unit="nats", less="test.elbo"),
}


def quantity(metric: str, note: str = "") -> Quantity:
    """What a metric of published.csv is; shares are in percent there, errors in the unit at the head of ``note``."""
    if metric in _QUANTITIES:
        return _QUANTITIES[metric]
    name, _, argument = metric.partition("@")
    if name == "knn_accuracy" and argument:
        return Quantity(f"test.{metric}", f"kNN@{argument}", 100.0, "%")
    name, _, target = metric.partition(":")
    unit = "%" if note.startswith("percent") else re.split(r";| \(", note)[0]
    # Other units than ours (Ha): no key, for nothing is converted here.
    return Quantity(None, f"MAE {target}" if name == "mae" else metric, unit=unit)


@functools.cache
def figures() -> dict[str, tuple[Figure, ...]]:
    """All published figures by source, in the order of the file."""
    found: dict[str, list[Figure]] = {}
    with open(TABLE, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            numbers: dict[str, Any] = {name: int(row[name]) if row[name] else None for name in ("dim", "runs")}
            numbers |= {"text": row["value"], "value": float(row["value"])}
            numbers |= {"std": float(row["std"]) if row["std"] else None}
            found.setdefault(row["source"], []).append(Figure(**row | numbers))
    return {source: tuple(rows) for source, rows in found.items()}


def select(sources: Sequence[str], dataset: str, where: str) -> tuple[Figure, ...]:
    """The figures of the named sources.

    Raises:
        UserError: an unknown source, or one of another data set; ``where`` names who asks.
    """
    known = figures()
    for source in sources:
        if source not in known:
            raise UserError(f"{where}: published: unknown source {source!r}; choose one of {', '.join(known)}")
        if all(figure.dataset != dataset for figure in known[source]):
            of = DATASETS[known[source][0].dataset].name
            raise UserError(
                f"{where}: published: {source!r} is of {of}, and the experiment of {DATASETS[dataset].name}"
            )
    return tuple(figure for source in sources for figure in known[source] if figure.dataset == dataset)


@dataclass(frozen=True)
class Match:
    """A figure and our runs of the same quantity, both in the figure's unit; without runs ours is None.

    ``difference`` is ours - published, ``sigmas`` = difference / sqrt(sd² + published sd²), with standard deviations
    over runs; None where either is unknown. ``sd`` is over seeds; ``draws``: of an accuracy that is a mean over draws
    of the labels, the root of the mean variance over these draws, for theirs are of single draws. ``differs``: what our
    runs did otherwise than the source; no sigmas are claimed of such runs.
    """

    figure: Figure
    row: RunRecord | None
    seeds: int
    ours: float | None
    sd: float | None
    draws: float | None = None
    differs: tuple[str, ...] = ()

    @property
    def difference(self) -> float | None:
        """Ours minus the published value."""
        return None if self.ours is None else self.ours - self.figure.value

    @property
    def sigmas(self) -> float | None:
        """The difference in standard deviations over runs, of the two together; None of runs that differ."""
        if self.differs or self.difference is None or self.spread is None or self.figure.sd is None:
            return None
        spread = math.hypot(self.spread, self.figure.sd)
        return self.difference / spread if spread > 0 else None

    @property
    def spread(self) -> float | None:
        """Our standard deviation of what theirs is of: sqrt(variance over seeds + mean variance over draws).

        Seeds share their draws of labels, so that the first knows nothing of the second.
        """
        if not of_draws(self.figure):
            return self.sd
        return None if self.sd is None or self.draws is None else math.hypot(self.sd, self.draws)


def of_draws(figure: Figure) -> bool:
    """Whether the figure's standard deviation is over single draws of labelled records."""
    return figure.metric.startswith("knn_accuracy@")


def beside(found: Iterable[Figure], records: Sequence[RunRecord]) -> list[Match]:
    """Each figure with our rows of its latent, protocol, kind of model and (where it gives them) hidden layers; one
    without if none. What else the rows do otherwise is said of each: see :mod:`mcvae.findings.settings`.

    Latents are equal if their canonical texts are; autoencoders and runs that have no such number match nothing. Where
    a source has LL and ELBO of one model, their difference follows them as a figure of its own.
    """
    groups = statistics.group(records)
    matches = []
    for figure in _with_gaps(found):
        meaning = figure.quantity
        rows = [members for members in groups if meaning.key and _is_of(figure, members[0]["config"])]
        made = [_match(figure, members) for members in rows]
        made = [match for match in made if match.ours is not None]
        matches += made or [Match(figure, None, 0, None, None)]
    return matches


def otherwise(found: Iterable[Figure], records: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    """By source the first run of each row that stands beside none of its figures because of its settings alone."""
    apart: dict[str, dict[str, RunRecord]] = {}
    rows = [members[0] for members in statistics.group(records)]
    for figure in found:
        for record in rows:
            if _is_alike(figure, record["config"]) and not has_settings(figure.source, record["config"]):
                apart.setdefault(figure.source, {})[record["run"]] = record
    return {source: list(each.values()) for source, each in apart.items()}


def _is_of(figure: Figure, config: Mapping[str, Any]) -> bool:
    return _is_alike(figure, config) and has_settings(figure.source, config)


def _is_alike(figure: Figure, config: Mapping[str, Any]) -> bool:
    signature, protocol = figure.signature, PROTOCOLS.get(figure.protocol, "unknown")
    return (
        signature is not None
        and config["dataset"] == figure.dataset
        and config["latent"] == str(signature)
        and config["model"]["kind"] == "vae"
        and protocol in (None, config["protocol"])
        and figure.hidden in (None, statistics.hidden(statistics.flatten(config)))
    )


def _with_gaps(found: Iterable[Figure]) -> list[Figure]:
    """The figures, and behind each ELBO that has an LL beside it LL - ELBO: the difference of two means, without sd."""
    figures = list(found)
    likelihoods = {_model(figure): figure for figure in figures if figure.metric == "ll"}
    every = []
    for figure in figures:
        every.append(figure)
        likelihood = likelihoods.get(_model(figure))
        if figure.metric == "elbo" and likelihood is not None:
            value = round(likelihood.value - figure.value, 6)  # of decimals: no digits that neither has
            status = "recalled" if figure.recalled or likelihood.recalled else figure.status
            every.append(replace(figure, metric="ll-elbo", value=value, std=None, status=status, text=str(value)))
    return every


def _model(figure: Figure) -> tuple:
    return figure.source, figure.dataset, figure.protocol, figure.latent, figure.hidden


def _match(figure: Figure, members: list[RunRecord]) -> Match:
    meaning = figure.quantity
    numbers = [value * meaning.factor for value in _numbers(meaning, members)]
    draws = None
    if of_draws(figure):
        deviations = [value * meaning.factor for value in statistics.values(members, f"{meaning.key}_sd")]
        draws = math.sqrt(statistics.mean([sd**2 for sd in deviations])) if deviations else None
    differs = settings.differing(figure.source, figure.hidden, meaning.key or "", members)
    mean, sd = statistics.mean(numbers), statistics.deviation(numbers)
    return Match(figure, members[0], len(numbers), mean, sd, draws, differs)


def _numbers(meaning: Quantity, members: list[RunRecord]) -> list[float]:
    if not meaning.less:
        return statistics.values(members, meaning.key or "")
    found = []
    for record in members:  # the likelihood may be of the first records alone, the bound never is
        first, second = (statistics.values([record], key) for key in (meaning.key or "", meaning.less))
        same = statistics.values([record], "test.ll_n") == statistics.values([record], "test.n")
        found += [a - b for a, b in zip(first, second, strict=False) if same]
    return found


@dataclass(frozen=True)
class PublishedDifference:
    """Two published means: their difference, in our unit, and the half-width of its 95% interval (None: unknown).

    ``differs``: what our runs did otherwise than the source.
    """

    source: str
    value: float
    half: float | None
    recalled: bool
    half_recalled: bool
    differs: tuple[str, ...] = ()


def difference(found: Iterable[Figure], metric: str, row: RunRecord, against: str) -> PublishedDifference | None:
    """What was published of the same comparison: the first source that has ``metric`` of the row and of its partner.

    The interval is Welch's, of two independent means: t(ν) sqrt(s₁²/n₁ + s₂²/n₂), with Satterthwaite's ν.
    """
    config, other = row["config"], {**row["config"], "latent": against}
    of_metric = [figure for figure in found if figure.quantity.key == metric]
    for first in (figure for figure in of_metric if _is_of(figure, config)):
        for second in of_metric:
            alike = (second.source, second.metric, second.hidden) == (first.source, first.metric, first.hidden)
            if alike and _is_of(second, other):
                factor = first.quantity.factor
                half = _welch(first, second)
                return PublishedDifference(
                    source=first.source,
                    value=(first.value - second.value) / factor,
                    half=None if half is None else half / abs(factor),
                    recalled=first.recalled or second.recalled,
                    half_recalled=first.sd_recalled or second.sd_recalled,
                    differs=settings.differing(first.source, first.hidden, metric, [row]),
                )
    return None


def _welch(first: Figure, second: Figure) -> float | None:
    parts = [(f.sd**2 / f.runs, f.runs - 1) for f in (first, second) if f.sd and f.runs and f.runs > 1]
    if len(parts) < 2:
        return None
    from scipy.stats import t

    variance = sum(part for part, _ in parts)
    freedom = variance**2 / sum(part**2 / n for part, n in parts)
    return float(t.ppf(0.5 + LEVEL / 2, freedom)) * math.sqrt(variance)
