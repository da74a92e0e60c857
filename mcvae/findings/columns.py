"""The metrics of an experiment's tables: how people see each of them, and which way is better."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..datasets import DATASETS

SHOWN_TARGETS = ("gap", "homo", "lumo", "mu")
BUDGETS = (100, 600, 1000)  # labelled records, as in table 2 of Davidson et al. (2018)
LIKELIHOODS = (  # what spaces are judged by, the best first that the tables of a data set have,
    *("test.bits_per_dim_elbo", "test.ll", "test.elbo", "test.reconstruction"),
)
SCORES = ("test.knn_balanced_accuracy", "test.knn_accuracy", "test.exact_reconstruction")  # and what beside it


@dataclass(frozen=True)
class Column:
    """A metric and how people see it: heading, unit, factor to the unit shown, decimals (None: three digits).

    ``better``: +1 if more is better, -1 if less is, 0 if neither. ``shown``: in the table for people; all are in the
    CSV. ``compared``: its paired differences are shown to people; those of all others are in the CSV of differences.
    ``words``: what sentences call it, if not by its heading. ``error``: the metric that is its standard error over test
    records, which also says how many decimals there are.
    """

    metric: str
    heading: str
    unit: str = ""
    decimals: int | None = 2
    factor: float = 1.0
    shown: bool = True
    better: int = 0
    compared: bool = False
    words: str = ""
    error: str = ""

    @property
    def title(self) -> str:
        """Heading with the unit."""
        return f"{self.heading} [{self.unit}]" if self.unit else self.heading

    @property
    def name(self) -> str:
        """What sentences call it."""
        return self.words or self.heading


_BOUND = (
    Column("test.ll", "LL", "nats", better=1, compared=True, words="log-likelihood"),
    Column("test.elbo", "ELBO", "nats", better=1, compared=True),
    Column("test.reconstruction", "RE", "nats", better=1, words="reconstruction"),
    Column("test.kl", "KL", "nats"),
)
_DIAGNOSTICS = (
    Column("test.active_units", "active units", decimals=1, shown=False),
    Column("test.mutual_information", "mutual information", "nats", shown=False),
    Column("test.aggregate_kl", "aggregate KL", "nats", shown=False),
)
_BITS = (
    Column(
        *("test.bits_per_dim_elbo", "bits/dim (ELBO)"),
        decimals=3,
        better=-1,
        compared=True,
        words="bits per dimension of the ELBO",
        error="test.bits_per_dim_elbo_se",
    ),
    Column("test.bits_per_dim", "bits/dim (LL)", decimals=3, better=-1, error="test.bits_per_dim_se"),
    Column("test.bits_per_dim_gain", "bits/dim, LL's gain", decimals=4, shown=False, error="test.bits_per_dim_gain_se"),
)
_FACES = (
    Column(
        "test.mse", "MSE", "1e-3", factor=1000.0, better=-1, compared=True, words="squared error of reconstructions"
    ),
    Column("test.mse_pca", "MSE of PCA", "1e-3", factor=1000.0),
    Column("test.mse_draw", "MSE of draws", "1e-3", factor=1000.0, shown=False, better=-1),
    Column("test.ssim", "SSIM", decimals=3, better=1),
    Column("test.lpips", "LPIPS", decimals=3, better=-1),
    Column(
        *("test.attribute_auroc", "attribute AUROC"),
        decimals=3,
        better=1,
        compared=True,
        error="test.attribute_auroc_se",
    ),
    Column("test.attribute_auroc_pca", "attribute AUROC of PCA", decimals=3),
    Column("test.attribute_balanced_accuracy", "attribute balanced accuracy", decimals=3, shown=False, better=1),
    Column("test.attribute_balanced_accuracy_pca", "the same of PCA", decimals=3, shown=False),
    Column("test.verification_auroc", "verification AUROC", decimals=3, better=1, error="test.verification_auroc_se"),
    Column(
        *("test.verification_auroc_matched", "the same within a sex"),
        decimals=3,
        better=1,
        words="verification AUROC within a sex",
        error="test.verification_auroc_matched_se",
    ),
    Column("test.verification_auroc_pca", "verification AUROC of PCA", decimals=3, shown=False),
    Column("test.verification_auroc_matched_pca", "of PCA within a sex", decimals=3, shown=False),
    Column("test.verification_eer", "verification EER", decimals=3, shown=False, better=-1),
    Column("samples.attribute_frechet", "Fréchet of samples (own classifier)", decimals=1, better=-1),
    Column("test.attribute_frechet_reconstructions", "of reconstructions", decimals=1, better=-1),
    Column("samples.attribute_frechet_data", "Fréchet of data (own classifier)", decimals=1, shown=False),
    Column("samples.fid", "FID", decimals=1, better=-1),
    Column("samples.fid_data", "FID of data", decimals=1),
    Column("samples.fid_n", "samples of FID", decimals=0, shown=False),
    Column("samples.kid", "KID", "1e-3", factor=1000.0, decimals=1, better=-1),
    Column("samples.kid_data", "KID of data", "1e-3", factor=1000.0, decimals=1, shown=False),
)
_MOLECULES = (
    Column("samples.property_frechet", "Fréchet (descriptors)", decimals=2, better=-1),
    Column("samples.property_frechet_data", "Fréchet of data (descriptors)", decimals=2),
    Column("samples.lenient_validity", "lenient validity", "%", decimals=1, factor=100.0, shown=False, better=1),
    Column("samples.lenient_uniqueness", "lenient uniqueness", "%", decimals=1, factor=100.0, shown=False, better=1),
    Column("samples.lenient_novelty", "lenient novelty", "%", decimals=1, factor=100.0, shown=False, better=1),
    Column("test.path_distinct", "molecules on a geodesic", decimals=1, shown=False),
    Column("test.property_slope.gap", "slope of the gap", decimals=3, shown=False),
    Column("optimised.error_decoded", "optimised gap, error", "eV", decimals=2, shown=False, better=-1),
    Column("optimised.error_true", "optimised gap, true error", "eV", decimals=2, shown=False, better=-1),
)


def columns(dataset: str, budgets: Sequence[int] = BUDGETS, protocols: Sequence[str] = ()) -> tuple[Column, ...]:
    """The metrics of a data set's tables, in order.

    Args:
        budgets: numbers of labelled records for which there are accuracies, where records have classes.
        protocols: other treatments of the test data under which the runs were scored.
    """
    return (*_own(dataset, budgets), *(column for protocol in protocols for column in _scored(protocol)))


def _scored(protocol: str) -> tuple[Column, ...]:
    named = {"test.ll": "LL", "test.elbo": "ELBO"}
    return tuple(Column(f"{protocol}.{key}", f"{name} ({protocol})", "nats", better=1) for key, name in named.items())


def _own(dataset: str, budgets: Sequence[int]) -> tuple[Column, ...]:
    if DATASETS[dataset].classes:
        names = {"knn_accuracy": "kNN", "probe_accuracy": "probe"}
        few = [_share(f"test.{key}@{n}", f"{name}@{n}", 1) for key, name in names.items() for n in budgets]
        return (*_BOUND, _share("test.knn_accuracy", "kNN accuracy", 1, compared=True), *few, *_DIAGNOSTICS)
    if dataset == "celeba":
        return (
            *_BITS,
            *(replace(column, compared=False) for column in _BOUND),
            *_FACES,
            _share("test.knn_balanced_accuracy", "kNN balanced accuracy", 1, compared=True),
            _share("test.knn_accuracy", "kNN accuracy", 1),
            _share("test.knn_majority", "majority accuracy"),
            *(replace(column, shown=True) for column in _DIAGNOSTICS[:1]),
            *_DIAGNOSTICS[1:],
        )
    from ..data.qm9 import TARGETS

    order = sorted(TARGETS, key=lambda target: [*SHOWN_TARGETS, target.name].index(target.name))
    return (
        *_BOUND,
        *(_error(target.name, target.unit) for target in order),
        Column("test.standardised_mae", "MAE / sd, all targets", decimals=4, better=-1, compared=True),
        _share("test.exact_reconstruction", "exact reconstruction", 1, compared=True),
        _share("samples.validity", "validity", 1, words="valid samples"),
        _share("samples.within_size", "valid, at most 9 atoms", 1),
        _share("samples.uniqueness", "uniqueness", 1, words="unique samples"),
        _share("samples.novelty", "novelty", 1, words="novel samples"),
        *_MOLECULES,
        *_DIAGNOSTICS,
    )


def _share(metric: str, heading: str, better: int = 0, compared: bool = False, words: str = "") -> Column:
    return Column(metric, heading, "%", decimals=1, factor=100.0, better=better, compared=compared, words=words)


def _error(target: str, unit: str) -> Column:
    shown = target in SHOWN_TARGETS
    return Column(f"test.mae.{target}", f"MAE {target}", unit, None, shown=shown, better=-1, compared=shown)


def judged_by(dataset: str) -> Column:
    """The first of :data:`LIKELIHOODS` in a data set's tables: what its spaces are judged by."""
    known = {column.metric: column for column in columns(dataset)}
    return next(known[metric] for metric in LIKELIHOODS if metric in known)


def with_decimals(column: Column, means: Sequence[float], errors: Sequence[float] = ()) -> Column:
    """As many decimals as standard errors leave: to the first digit of the largest, or the second where that is a one.

    Without any: three digits of the largest mean, for a column without decimals of its own.
    """
    error = max(errors, default=0.0) * column.factor
    if error > 0:
        return replace(column, decimals=min(max(math.ceil(-math.log10(error / 2)), 0), 6))
    if column.decimals is not None:
        return column
    largest = max((abs(value) * column.factor for value in means if not math.isnan(value)), default=0.0)
    decimals = 2 if largest == 0 else 2 - math.floor(math.log10(largest))
    return replace(column, decimals=min(max(decimals, 0), 6))
