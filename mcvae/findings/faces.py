"""What the numbers of a table of faces rest on: bits, bounds that did not converge, references, and standard errors."""

from collections.abc import Mapping, Sequence
from typing import Any

from . import statistics
from .columns import Column
from .statistics import RunRecord

LEVELS = ("logistic", "logistic-mixture")
SCALES = {"gaussian": "one learned scale for all pixels", "pixel-gaussian": "a learned scale for every pixel"}
UNCONVERGED = 0.5  # share of records whose importance weights have too heavy a tail


def face_notes(records: Sequence[RunRecord], every: Sequence[Column]) -> list[str]:
    """The remarks below a table of faces."""
    found = _bits(records) + _unconverged(records) + _errors(records, every)
    return found + _pca(records) + _verification(records) + _frechet(records)


def _bits(records: Sequence[RunRecord]) -> list[str]:
    config = records[0]["config"]
    likelihood = config["model"].get("likelihood", "gaussian")
    kind = "log-densities of pixel values in [0, 1], not dequantised: they may be positive"
    kind = "log-probabilities of 256 levels a pixel" if likelihood in LEVELS else kind
    found = [
        f"LL, ELBO and RE are {kind}. bits/dim: bits per dimension of 256 levels (a density times 1/255, which sums to "
        "at most 1 over the levels while its scales are no smaller)."
    ]
    counts = statistics.values(records, "parameters")
    size = f", with {max(counts) / 1e6:.1f} million parameters at most" if counts else ""
    scale = SCALES.get(likelihood, "discretised logistics")
    found.append(
        f"These bits are of decoders with {scale}, pixels independent given z, no dequantisation noise{size}: they "
        "compare with each other, and not with those of flows or autoregressive models."
    )
    return found


def _unconverged(records: Sequence[RunRecord]) -> list[str]:
    """The finished runs whose importance sampling collapsed in most records, if there are any."""
    heavy = [r for r in records if max(statistics.values([r], "test.ll_pareto_k_high"), default=0.0) > UNCONVERGED]
    if not heavy:
        return []
    shares = statistics.values(heavy, "test.ll_pareto_k_high")
    finished = {r["config"]["latent"] for r in records if r["status"] == "finished"}
    named = dict.fromkeys(r["config"]["latent"] for r in heavy)
    which = "" if set(named) == finished else f" of {', '.join(named)}"
    ess = statistics.mean(statistics.values(heavy, "test.ll_ess"))
    effective = "" if ess is None else f", {ess:.1f} effective samples in the mean"
    gains = statistics.values(heavy, "test.bits_per_dim_gain")
    ends = dict.fromkeys(f"{end(gains):.4f}" for end in (min, max)) if gains else ()
    gain = f" On the same records it is {' to '.join(ends)} bits below the ELBO's." if gains else ""
    return [
        f"LL and bits/dim (LL){which}: a lower bound, not converged (tails of the importance weights too heavy in "
        f"at least {100 * min(shares):.0f}% of the records{effective}); spaces are compared by the bits of the "
        f"ELBO.{gain}"
    ]


def _errors(records: Sequence[RunRecord], every: Sequence[Column]) -> list[str]:
    """The largest standard error of each column that has one, in the column's unit."""
    parts = []
    for column in every:
        errors = statistics.values(records, column.error) if column.error else []
        if errors:
            unit = f" {column.unit}" if column.unit else ""
            parts.append(f"{column.name} {max(errors) * column.factor:.2g}{unit}")
    gains = statistics.values(records, "test.attribute_auroc_gain_se")
    parts += [f"attribute AUROC less that of PCA {max(gains):.2g}"] if gains else []
    if not parts:
        return []
    return [
        f"Standard errors over test records (verification: over persons), the largest of the runs: {', '.join(parts)}. "
        "All rows are of the same records, so their differences are known better; what another training set or seed "
        "would change is not in them."
    ]


def _pca(records: Sequence[RunRecord]) -> list[str]:
    if not statistics.values(records, "test.mse_pca"):
        return []
    return [
        "PCA: as many principal components of the training pixels as the latent space has dimensions (MSE: pictures "
        "made from them, cut at 0 and 1; attributes: the same probes)."
    ]


def _verification(records: Sequence[RunRecord]) -> list[str]:
    names = ("genuine", "impostors", "auroc_male", "matched")
    known = _first(records, [f"test.verification_{name}" for name in names])
    if known is None:
        return []
    return [
        f"Verification: {known['test.verification_genuine']:,} pairs of one person against "
        f"{known['test.verification_impostors']:,} of two. Pairs of one person nearly always agree in the "
        f"attribute Male: to know that alone has an AUROC of {known['test.verification_auroc_male']:.3f}. Within a "
        f"sex: against the {known['test.verification_matched']:,} pairs of two persons who agree in it."
    ]


def _frechet(records: Sequence[RunRecord]) -> list[str]:
    known = _first(records, ["samples.attribute_frechet_data", "samples.attribute_frechet_data_n"])
    if known is None:
        return []
    sd = known.get("samples.attribute_frechet_data_sd")
    spread = f" ± {sd:.1f} over disjoint draws" if sd is not None else ""
    samples, test = known.get("samples.n"), known.get("test.n")
    drawn = f"{samples:,} decoded draws from the prior" if samples else "decoded draws from the prior"
    auroc = known.get("samples.attribute_classifier_auroc")
    able = f" (mean AUROC of the attributes on the validation split: {auroc:.3f})" if auroc is not None else ""
    return [
        f"Fréchet: of {drawn}, and of the reconstructions of the test split, to the test split"
        f"{f' of {test:,} images' if test else ''}, in the features of this project's own attribute classifier{able}. "
        "It is no FID and compares with none. For reference, no floor: that of "
        f"{known['samples.attribute_frechet_data_n']:,} validation images, whose attributes the classifier never "
        f"learned from, is {known['samples.attribute_frechet_data']:.1f}{spread}; all of these fall with more images."
    ]


def _first(records: Sequence[RunRecord], metrics: Sequence[str]) -> Mapping[str, Any] | None:
    """The numbers of the first finished run that has these, which are the same for every run on the same data."""
    return next((r["metrics"] for r in records if all(statistics.values([r], metric) for metric in metrics)), None)
