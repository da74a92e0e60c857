"""Published figures beside ours: the file says what it says, and only like is set beside like."""

import csv
import math

import numpy as np
import pytest
from scipy import stats

from mcvae.config import validate_study
from mcvae.errors import UserError
from mcvae.findings import published
from mcvae.findings.published import Figure, beside, figures, otherwise, select
from mcvae.findings.settings import PRESET_OF, UNKNOWN, differing, has_settings
from mcvae.grid import plan
from mcvae.presets import PRESETS

COLUMNS = "source dataset protocol latent dim metric value std runs status note".split()


def figure(**changes):
    row = dict(
        source="davidson2018-table1", dataset="mnist", protocol="dynamic", latent="e5", dim=5, metric="ll",
        value=-110.0, std=0.5, runs=10, status="confirmed", note="",
    )  # fmt: skip
    return Figure(**row | changes)


SCORES = {"importance_samples": 500, "ll_n": 10_000, "n": 10_000, "knn_neighbours": 5, "knn_draws": 20}


def record(
    latent="e5", seed=0, kind="vae", protocol="dynamic", hidden=(256, 128), dataset="mnist", model=None, training=None,
    **metrics,
):  # fmt: skip
    config = {"dataset": dataset, "protocol": protocol, "latent": latent, "seed": seed}
    config["model"] = {"kind": kind, "hidden": list(hidden)} | (model or {})
    config["training"] = PRESETS["davidson2018"]["training"] | (training or {})
    metrics = {name.replace("__", "@"): value for name, value in (SCORES | metrics).items()}
    metrics = {f"test.{name}": value for name, value in metrics.items() if value is not None}
    return {"run": f"{latent}-{seed}", "config": config, "status": "finished", "cause": None, "metrics": metrics}


def test_the_file_has_its_columns_and_every_row_a_citation():
    with open(published.TABLE, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == COLUMNS
    assert {row["source"] for row in rows} == set(published.CITATIONS) == set(figures())
    assert {row["status"] for row in rows} == {"confirmed", "recalled"}
    assert sum(map(len, figures().values())) == len(rows)


def test_every_row_is_read_as_it_stands():
    with open(published.TABLE, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row, found in zip(rows, sorted_like(rows), strict=True):
        for name in ("source", "dataset", "protocol", "latent", "metric", "status", "note"):
            assert getattr(found, name) == row[name]
        assert found.text == row["value"]
        for name in ("value", "std", "runs", "dim"):
            number = getattr(found, name)
            assert (number is None) == (row[name] == "") and (number is None or float(row[name]) == number)


def sorted_like(rows):
    taken = {source: iter(found) for source, found in figures().items()}
    return [next(taken[row["source"]]) for row in rows]


def test_the_latents_of_the_vaes_are_signatures_of_their_dimension():
    for found in (f for source in figures().values() for f in source if f.dataset == "mnist"):
        assert found.signature is not None and found.signature.dim == found.dim
        assert found.quantity.key is not None and (
            found.protocol in published.PROTOCOLS or not found.protocol.strip("-") or found.protocol == "unspecified"
        )


def test_other_models_are_no_signatures():
    assert all(found.signature is None for found in figures()["qm9-generation"])


def test_an_unknown_source_and_one_of_another_data_set_are_refused_with_a_sentence():
    with pytest.raises(
        UserError, match=r"experiment 'x': published: unknown source 'dvdson'; choose one of davidson20"
    ):
        select(["dvdson"], "mnist", "experiment 'x'")
    with pytest.raises(UserError, match="'qm9-property' is of QM9, and the experiment of MNIST"):
        select(["qm9-property"], "mnist", "experiment 'x'")
    assert select([], "mnist", "") == ()


def test_sigmas_are_the_difference_over_the_spread_of_both():
    values = [-109.0, -108.5, -110.1]
    (match,) = beside([figure()], [record(seed=i, ll=value) for i, value in enumerate(values)])
    sd = np.std(values, ddof=1)
    assert (match.seeds, match.ours) == (3, pytest.approx(np.mean(values)))
    assert match.difference == pytest.approx(np.mean(values) + 110)
    assert match.sigmas == pytest.approx((np.mean(values) + 110) / np.sqrt(sd**2 + 0.25))


@pytest.mark.parametrize("changes", [{"std": None}, {"note": "95% CI"}])
def test_sigmas_need_both_standard_deviations(changes):
    two = [record(seed=i, ll=-109.0 - i) for i in range(2)]
    (match,) = beside([figure(**changes)], two)
    assert match.sigmas is None and match.difference is not None
    (single,) = beside([figure()], two[:1])
    assert single.sigmas is None and single.difference == 1.0
    (none,) = beside([figure(std=0.0)], [record(seed=i, ll=-109.0) for i in range(2)])
    assert none.sigmas is None


@pytest.mark.parametrize(
    "other",
    [
        {"latent": "e4"},
        {"latent": "e5:iso"},
        {"latent": "s5:vmf"},
        {"protocol": "threshold"},
        {"protocol": "grey"},
        {"protocol": "mixed"},
        {"kind": "autoencoder"},
        {"dataset": "plane"},
    ],
)
def test_another_latent_protocol_or_model_is_never_set_beside(other):
    (match,) = beside([figure()], [record(ll=-109.0, **other)])
    assert match.row is None and match.ours is None and match.difference is None and match.seeds == 0


@pytest.mark.parametrize(
    ("theirs", "ours"), [("h2,h2", "2h2"), ("e2,e3", "e5"), ("s2:k=1.0", "s2"), ("p2:k=-0.1:rn", "p2:rn:k=-0.1")]
)
def test_latents_are_equal_if_the_spaces_are(theirs, ours):
    (match,) = beside([figure(latent=theirs)], [record(ours, ll=-1.0)])
    assert match.ours == -1.0


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        ("dynamic", "dynamic"),
        ("threshold 0.5", "threshold"),
        ("train dynamic, test threshold 0.5", "mixed"),
        ("grey", "grey"),
        ("unspecified", "dynamic"),
        ("unspecified", "grey"),
    ],
)
def test_protocols_match_by_their_meaning(text, ours):
    assert beside([figure(protocol=text)], [record(protocol=ours, ll=-1.0)])[0].ours == -1.0


def test_the_hidden_layers_matter_where_the_note_gives_them():
    rows = [record(hidden=[128] * n, elbo=-float(n)) for n in (1, 2, 3)]
    found = [figure(metric="elbo", note=f"{n} hidden layers of 128") for n in (1, 2, 3)]
    assert [match.ours for match in beside(found, rows)] == [-1.0, -2.0, -3.0]
    assert [match.ours for match in beside([figure(metric="elbo")], rows)] == [-1.0, -2.0, -3.0]


@pytest.mark.parametrize(
    ("metric", "metrics", "value"),
    [
        ("ll", {"ll": -2.0}, -2.0),
        ("elbo", {"elbo": -2.0}, -2.0),
        ("re", {"reconstruction": -2.0}, -2.0),
        ("kl", {"kl": 2.0}, 2.0),
        ("bce", {"reconstruction": -2.0}, 2.0),
        ("knn_accuracy@100", {"knn_accuracy__100": 0.75}, 75.0),
        ("knn_accuracy@600", {"knn_accuracy__100": 0.75}, None),
    ],
)
def test_ours_is_shown_in_their_terms(metric, metrics, value):
    assert beside([figure(metric=metric)], [record(**metrics)])[0].ours == value


def test_numbers_of_diverged_runs_are_not_set_beside():
    rows = [record(ll=-1.0), record(seed=1, ll=-9e9) | {"status": "diverged"}]
    assert beside([figure()], rows)[0].ours == -1.0


def test_recalled_figures_and_recalled_spreads_are_known_as_such():
    assert figure(status="recalled").recalled and figure(status="recalled").sd_recalled
    assert figure(note="std recalled").sd_recalled and not figure(note="std recalled").recalled
    assert not figure().sd_recalled and not figure(std=None, note="std recalled").sd_recalled


def exact(mean, sd, n):
    """A sample with exactly this mean and standard deviation."""
    sample = np.random.default_rng(n).normal(size=n)
    return mean + sd * (sample - sample.mean()) / sample.std(ddof=1)


@pytest.mark.parametrize(("first", "second"), [((0.3, 10), (0.2, 10)), ((0.1, 3), (0.9, 20))])
def test_the_interval_of_a_published_difference_is_welchs(first, second):
    found = [
        figure(latent="s5:vmf", value=-108.0, std=first[0], runs=first[1]),
        figure(latent="e5", value=-110.0, std=second[0], runs=second[1]),
    ]
    theirs = published.difference(found, "test.ll", record("s5:vmf"), "e5")
    test = stats.ttest_ind(exact(-108.0, *first), exact(-110.0, *second), equal_var=False).confidence_interval(0.95)
    assert theirs.value == pytest.approx(2.0)
    assert (2 - theirs.half, 2 + theirs.half) == pytest.approx((test.low, test.high), rel=1e-9)


def test_a_published_difference_is_in_our_unit_and_of_one_source():
    found = [
        figure(latent="s5:vmf", metric="knn_accuracy@100", value=80.0, std=2.0),
        figure(latent="e5", metric="knn_accuracy@100", value=70.0, std=2.0, status="recalled"),
        figure(latent="e5", metric="ll"),
        figure(latent="s5:vmf", metric="ll", source="b"),
    ]
    theirs = published.difference(found, "test.knn_accuracy@100", record("s5:vmf"), "e5")
    assert theirs.value == pytest.approx(0.1) and theirs.recalled and theirs.half_recalled
    assert 0.01 < theirs.half < 0.02
    assert published.difference(found, "test.ll", record("s5:vmf"), "e5") is None
    assert published.difference(found, "test.knn_accuracy@100", record("s5:vmf", protocol="grey"), "e5") is None
    alone = [figure(latent="s5:vmf", runs=None), figure(latent="e5")]
    assert published.difference(alone, "test.ll", record("s5:vmf"), "e5").half is None


def test_units_of_other_models_stand_in_their_notes():
    units = {found.metric: found.quantity.unit for found in figures()["qm9-property"]}
    assert units["mae:homo"] == "Ha" and units["mae:cv"] == "cal/(mol K)"
    assert all(not math.isnan(found.value) for source in figures().values() for found in source)


def test_the_spread_of_an_accuracy_over_single_draws_counts_seeds_and_draws():
    """What a program would find that scored every seed once, with a draw of labels of its own."""
    rng = np.random.default_rng(0)
    seeds, draws, between, within = 400, 50, 1.5, 2.0
    rows, single = [], []
    for seed in range(seeds):
        accuracies = 80 + between * rng.normal() + within * rng.normal(size=draws)
        numbers = {"knn_accuracy__100": accuracies.mean() / 100, "knn_accuracy__100_sd": accuracies.std(ddof=1) / 100}
        rows.append(record(seed=seed, **numbers))
        single.append(accuracies[0])
    (match,) = beside([figure(metric="knn_accuracy@100", value=79.0, std=1.0)], rows)
    assert match.spread == pytest.approx(np.hypot(between, within), rel=0.1)
    assert match.spread == pytest.approx(np.std(single, ddof=1), rel=0.1) and match.sd < 0.8 * match.spread
    assert match.sigmas == pytest.approx(match.difference / np.hypot(match.spread, 1.0))


@pytest.mark.parametrize("draws", [{}, {"knn_accuracy__100_sd": None}])
def test_sigmas_of_an_accuracy_need_the_spread_over_draws(draws):
    rows = [record(seed=i, knn_accuracy__100=0.8 + 0.01 * i, **draws) for i in range(3)]
    (match,) = beside([figure(metric="knn_accuracy@100", value=79.0, std=1.0)], rows)
    assert match.difference is not None and match.spread is None and match.sigmas is None


def test_the_spread_of_all_other_metrics_is_over_seeds():
    (match,) = beside([figure()], [record(seed=i, ll=-109.0 - i, ll_sd=5.0) for i in range(3)])
    assert match.draws is None and match.spread == match.sd == 1.0


@pytest.mark.parametrize(
    ("source", "latent", "model", "same"),
    [
        ("davidson2018-table1", "e5", {}, True),
        ("davidson2018-table1", "e5", {"decoder_input": "tangent"}, True),  # a plane's coordinates are its tangent's
        ("davidson2018-table1", "e5", {"decoder_input": "gyroplane"}, False),
        ("davidson2018-table1", "s5:vmf", {"decoder_input": "ambient"}, True),
        ("davidson2018-table1", "s5:vmf", {"decoder_input": "tangent"}, False),
        ("davidson2018-table1", "s5:vmf", {"principal": True}, True),  # it has no windings to leave out
        ("davidson2018-table1", "e5", {"prior_scale": "learned"}, False),
        ("skopek2020-repository-log", "h6", {"decoder_input": "ambient", "principal": True}, True),
        ("skopek2020-repository-log", "h6", {"decoder_input": "ambient"}, True),
        ("skopek2020-repository-log", "s6", {"decoder_input": "ambient"}, False),
        ("skopek2020-repository-log", "h6", {"principal": True}, False),
        ("nagano2019", "h5", {}, False),
        ("nagano2019", "h5", {"decoder_input": "ambient"}, True),
        ("mathieu2019", "p5:rn", {"decoder_input": "gyroplane"}, True),
        ("mathieu2019", "e5", {}, False),
        ("pinchbeck2025", "h5", {"decoder_input": "gyroplane", "principal": True}, True),
        ("pinchbeck2025", "h5", {"prior_scale": "learned"}, False),
    ],
)
def test_settings_are_compared_where_they_matter(source, latent, model, same):
    assert has_settings(source, record(latent, model=model)["config"]) == same


def test_a_run_of_other_settings_is_left_out_and_known_to_be():
    source = "davidson2018-table1"
    theirs = [figure(source=source), figure(source=source, latent="s5:vmf")]
    rows = [record(ll=-1.0, model={"prior_scale": "learned"}), record("s5:vmf", ll=-2.0)]
    assert [match.ours for match in beside(theirs, rows)] == [None, -2.0]
    assert otherwise(theirs, rows) == {source: [rows[0]]}
    assert otherwise(theirs, rows[1:]) == {}
    assert published.difference(theirs, "test.ll", rows[1], "e5") is not None
    assert published.difference(theirs, "test.ll", record("s5:vmf", model={"prior_scale": "learned"}), "e5") is None


def test_the_presets_are_the_settings_of_their_sources():
    for source, preset in PRESET_OF.items():
        assert preset in PRESETS and source in figures()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ()),
        ({"hidden": (16,)}, ("hidden layers 16, not 256x128",)),
        ({"training": {"epochs": 60, "batch_size": 128}}, ("60 of 500 epochs", "batch 128, not 64")),
        ({"training": {"epochs": 600}}, ("600 epochs, not 500",)),
        ({"training": {"kl_warmup": 20, "patience": None}}, ("warm-up 20, not 100", "patience none, not 50")),
        ({"training": {"learning_rate": 5e-4}}, ("learning rate 0.0005, not 0.001",)),
        ({"training": {"gradient_clip": 20.0, "schedule": "cosine"}},
         ("schedule cosine, not constant", "gradient clip 20, not none")),
        ({"training": {"records": "all", "selection": "last"}},
         ("last weights, not best weights of the validation split", "trained on all images, not the training split")),
        ({"training": {"curvature_start": 5}}, ()),  # nothing is learned
        ({"model": {"activation": "tanh"}}, ("activation tanh, not relu",)),
        ({"model": {"concentration": "exponential"}}, ()),
        ({"model": {"concentration": "exponential"}, "latent": "s5:vmf"}, ("concentration exponential, not softplus",)),
        ({"importance_samples": 100, "ll_n": 1000}, ("100 of 500 importance samples", "1,000 of 10,000 test records")),
        ({"importance_samples": 5000}, ("5,000 importance samples, not 500",)),
        ({"ll_n": None}, ("unknown number of test records",)),
    ],
)  # fmt: skip
def test_what_a_run_does_otherwise_than_the_protocol_is_said_and_ends_the_sigmas(changes, words):
    rows = [record(ll=-109.0 - i, seed=i, **changes) for i in range(3)]
    assert differing("davidson2018-table1", None, "test.ll", rows) == words
    (match,) = beside([figure(latent=rows[0]["config"]["latent"])], rows)
    assert match.differs == words and match.difference == 0.0
    assert (match.sigmas is None) == bool(words)


def test_how_a_likelihood_was_scored_says_nothing_of_a_bound_or_of_neighbours():
    rows = [
        record(seed=i, elbo=-112.0 - i, knn_accuracy__100=0.8 + 0.01 * i, knn_accuracy__100_sd=0.02, ll_n=500)
        for i in range(3)
    ]
    bound, accuracy = beside([figure(metric="elbo"), figure(metric="knn_accuracy@100", value=79.0)], rows)
    assert bound.sigmas is not None and accuracy.sigmas is not None
    rows = [record(knn_accuracy__100=0.8, knn_neighbours=10, knn_draws=3)]
    assert differing("davidson2018-table2", None, "test.knn_accuracy@100", rows) == (
        "10 neighbours, not 5",
        "3 of 20 draws of labels",
    )


def test_the_settings_of_a_source_without_a_preset_are_not_known():
    rows = [record("s10:vmf", seed=i, ll=-93.0 - i) for i in range(3)]
    (match,) = beside([figure(source="pythae-reproduction", latent="s10:vmf")], rows)
    assert match.differs == (UNKNOWN,) and match.difference is not None and match.sigmas is None


@pytest.mark.parametrize("source", PRESET_OF)
def test_a_run_of_the_preset_differs_in_nothing(source):
    preset = PRESET_OF[source]
    latents = {"davidson2018": "s5:vmf", "skopek2020": "e2,h2,s2", "nagano2019": "h5", "mathieu2019": "p5:rn:k=-0.7"}
    spec = {"dataset": "mnist", "preset": preset, "latents": [latents[preset]]}
    (run,) = plan(validate_study({"experiments": {"a": spec}})).runs.values()
    samples = PRESETS[preset]["evaluation"]["importance_samples"]
    row = record(ll=-90.0, importance_samples=samples) | {"config": run.config.canonical()}
    assert has_settings(source, row["config"]) and differing(source, None, "test.ll", [row]) == ()


def test_the_gap_of_likelihood_and_bound_is_of_the_same_records_in_every_run():
    theirs = [figure(value=-110.21), figure(metric="elbo", value=-112.98), figure(latent="s5:vmf", value=-108.43)]
    rows = [record(seed=i, ll=-108.0 - i, elbo=-112.0 - 2 * i) for i in range(3)]
    first, second, gap, other = beside(theirs, rows)
    assert (gap.figure.metric, gap.figure.value, gap.figure.std) == ("ll-elbo", pytest.approx(2.77), None)
    assert gap.ours == pytest.approx(first.ours - second.ours) and gap.sd == pytest.approx(1.0) and gap.sigmas is None
    assert other.row is None and len(beside(theirs[:1], rows)) == 1
    part = beside(theirs, [record(ll=-108.0, elbo=-112.0, ll_n=500)])
    assert part[2].figure.metric == "ll-elbo" and part[2].ours is None


def test_a_published_difference_says_what_these_runs_did_otherwise():
    found = [figure(latent="s5:vmf"), figure(latent="e5")]
    theirs = published.difference(found, "test.ll", record("s5:vmf", ll=-1.0, training={"epochs": 60}), "e5")
    assert theirs.differs == ("60 of 500 epochs",)
    assert published.difference(found, "test.ll", record("s5:vmf", ll=-1.0), "e5").differs == ()
