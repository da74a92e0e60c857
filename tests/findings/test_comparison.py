"""Paired differences: the t test of the textbooks, Holm by hand, and no word more than the seeds allow."""

import itertools

import numpy as np
import pytest
from scipy import stats

from mcvae.errors import UserError
from mcvae.findings import comparison
from mcvae.findings.comparison import NOTHING, differences, flat_twin, holm, paired, partners
from mcvae.signature import parse

HIGHER = {"x": 1}


def record(latent, seed, value, status="finished", hidden=(64,), metric="x"):
    config = {"latent": latent, "seed": seed, "model": {"kind": "vae", "hidden": list(hidden)}}
    metrics = {} if value is None else {metric: value}
    return {"run": f"{latent}-{seed}", "config": config, "status": status, "cause": None, "metrics": metrics}


def records(**values):
    """``e2=[...]``: the values of seeds 0, 1, ... by latent; ``_`` stands for a colon."""
    return [record(name.replace("_", ":"), i, value) for name, row in values.items() for i, value in enumerate(row)]


def normal(seed, n, mean=0.0):
    return list(np.random.default_rng(seed).normal(mean, 1.0, n))


@pytest.mark.parametrize("n", [2, 3, 5, 12])
@pytest.mark.parametrize("shift", [0.0, 1.5, -100.0])
def test_the_paired_comparison_is_that_of_scipy(n, shift):
    first, second = normal(n, n, shift), normal(n + 100, n)
    found, test = paired(first, second), stats.ttest_rel(first, second)
    interval = test.confidence_interval(0.95)
    assert found.p == pytest.approx(test.pvalue, rel=1e-9)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert found.mean == pytest.approx(np.mean(np.subtract(first, second)))
    assert found.sd == pytest.approx(np.std(np.subtract(first, second), ddof=1))


@pytest.mark.parametrize("constant", [-140.0, 3.0])
def test_a_constant_added_to_both_arms_changes_nothing(constant):
    first, second = normal(1, 6), normal(2, 6)
    moved = paired([x + constant for x in first], [x + constant for x in second])
    for name in ("mean", "sd", "low", "high", "p"):
        assert getattr(moved, name) == pytest.approx(getattr(paired(first, second), name), rel=1e-9)


def test_exchanging_the_arms_changes_the_sign_alone():
    first, second = normal(1, 6), normal(2, 6)
    one, other = paired(first, second), paired(second, first)
    assert (one.mean, one.low, one.high) == pytest.approx((-other.mean, -other.high, -other.low))
    assert one.p == pytest.approx(other.p)


def test_the_order_of_the_seeds_changes_nothing():
    rows = records(e2=normal(1, 6), h2=normal(2, 6, 1.0))
    expected = differences(rows, HIGHER)
    for seed in range(5):
        shuffled = [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))]
        (found,) = differences(shuffled, HIGHER)
        assert found.paired.p == pytest.approx(expected[0].paired.p, rel=1e-9)
        assert (found.seeds, found.verdict) == (expected[0].seeds, expected[0].verdict)


def test_one_pair_has_no_interval_and_none_no_difference():
    assert paired([1.0], [3.0]) == comparison.Paired(1, -2.0)
    assert paired([], []) == comparison.Paired(0)


@pytest.mark.parametrize("offset", [0.0, 0.1, -7.0])
def test_differences_that_do_not_vary_have_no_p_and_no_claim(offset):
    values = [-100.3, -101.7, -99.9, -103.1, -100.6, -98.7]
    rows = records(e2=values, h2=[value + offset for value in values])
    (found,) = differences(rows, HIGHER)
    assert found.paired.mean == pytest.approx(offset)
    assert found.paired.p is None and found.paired.low is None and found.adjusted is None and found.family == 0
    assert found.verdict == (comparison.EQUAL if offset == 0 else NOTHING)


def test_holm_is_the_step_down_by_hand():
    # sorted: .005 * 4, .01 * 3, .03 * 2, .04 * 1 -> .02, .03, .06, then not below what was before it
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.4, None, 0.6, 0.7]) == [1.0, None, 1.0, 1.0]
    assert holm([]) == [] and holm([None]) == [None] and holm([0.03]) == [0.03]


def test_holm_keeps_the_order_and_lies_between_p_and_bonferroni():
    numbers = list(np.random.default_rng(0).uniform(0, 0.2, 20))
    adjusted = holm(numbers)
    for p, q in zip(numbers, adjusted, strict=True):
        assert p <= q <= min(1.0, 20 * p)
    for (p, q), (r, s) in itertools.combinations(zip(numbers, adjusted, strict=True), 2):
        assert (p <= r) <= (q <= s) or q == s


@pytest.mark.parametrize(
    ("latent", "expected"),
    [
        ("e5", []),
        ("h5", ["e5"]),
        ("s5:vmf", ["e5:iso", "e5"]),
        ("s5:ps", ["e5:iso", "e5"]),
        ("p5:rn:k=-0.7", ["e5:iso", "e5"]),
        ("h5:iso", ["e5:iso", "e5"]),
        ("e5:iso", ["e5"]),
        ("h2,s2,e2", ["e6"]),
        ("h2,s3:vmf", ["e2,e3:iso", "e5"]),
        ("3s2:vmf", ["3e2:iso", "e6:iso", "e6"]),
        ("s1:vmf", ["e1"]),
        ("3u2:learn", ["e6"]),
    ],
)
def test_a_space_is_compared_with_the_flat_ones_of_its_dimension_the_fairest_first(latent, expected):
    assert partners(parse(latent)) == expected
    assert all(parse(text).dim == parse(latent).dim for text in expected)


@pytest.mark.parametrize("latent", ["h2,s3:vmf", "6h2:learn", "e4", "p3:rn,2d2:iso", "s1:vmf,s2"])
def test_the_flat_twin_is_flat_and_its_own_twin(latent):
    twin = parse(flat_twin(parse(latent)))
    assert {component.letter for component in twin.components} == {"e"}
    assert flat_twin(twin) == str(twin) and twin.dim == parse(latent).dim


def test_the_partner_with_as_many_scales_is_the_fair_one():
    rows = records(e2=normal(1, 5), e2_iso=normal(2, 5), s2_vmf=normal(3, 5), h2=normal(4, 5))
    found = {(d.latent, d.against): d.equal_scales for d in differences(rows, HIGHER)}
    assert found == {
        ("e2:iso", "e2"): False,
        ("s2:vmf", "e2:iso"): True,
        ("s2:vmf", "e2"): False,
        ("h2", "e2"): True,
    }


def test_rows_of_other_networks_are_not_compared():
    rows = [record("e2", seed, 0.0) for seed in range(3)]
    rows += [record("h2", seed, 1.0, hidden=(64, 64)) for seed in range(3)]
    assert differences(rows, HIGHER) == []


def test_runs_are_paired_by_seed_and_what_has_no_pair_is_left_out():
    rows = [record("e2", seed, float(seed)) for seed in (0, 1, 2, 3, 4)]
    rows += [record("h2", seed, 10.0 + seed**2) for seed in (1, 2, 3, 7)]
    rows += [record("h2", 0, 1e9, status="diverged"), record("h2", 4, None)]
    (found,) = differences(rows, HIGHER)
    assert found.seeds == (1, 2, 3) and found.left_out == (0, 4, 7)
    assert found.paired.mean == pytest.approx(np.mean([10 + seed**2 - seed for seed in (1, 2, 3)]))


def test_no_common_seed_is_said_and_a_metric_that_nobody_has_is_not():
    rows = [record("e2", 0, 1.0), record("h2", 1, 2.0)]
    (found,) = differences(rows, {"x": 1, "y": 1})
    assert found.metric == "x" and found.seeds == () and found.paired.mean is None and found.verdict == NOTHING


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_fewer_than_five_seeds_claim_nothing_however_clear(n):
    noise = normal(0, n)
    shifted = [1000 + x + y / 1e3 for x, y in zip(noise, normal(9, n), strict=True)]
    (found,) = differences(records(e2=noise, h2=shifted), HIGHER)
    assert found.verdict == NOTHING


@pytest.mark.parametrize(
    ("direction", "shift", "word"),
    [(1, 5, "better"), (1, -5, "worse"), (-1, 5, "worse"), (0, 5, "higher"), (0, -5, "lower")],
)
def test_five_seeds_and_a_clear_difference_are_a_claim_in_the_metrics_direction(direction, shift, word):
    (found,) = differences(records(e2=normal(1, 5), h2=normal(2, 5, shift)), {"x": direction})
    assert found.verdict == word and found.adjusted < 0.05


def test_the_family_is_every_comparison_of_one_metric():
    """What else is measured changes no verdict."""
    latents = {name: normal(i, 6, 0.3 * i) for i, name in enumerate(["e2", "e2_iso", "s2_vmf", "h2"])}
    rows = records(**latents)
    for row in rows:
        row["metrics"]["y"] = row["metrics"]["x"] ** 2
    found = differences(rows, {"x": 1, "y": -1})
    assert len(found) == 8 and {d.family for d in found} == {4}
    for metric in ("x", "y"):
        own = [d for d in found if d.metric == metric]
        assert [d.adjusted for d in own] == pytest.approx(holm([d.paired.p for d in own]))
    assert differences(rows, {"x": 1}) == [d for d in found if d.metric == "x"]


def test_a_difference_that_correction_takes_away_is_no_claim():
    rng = np.random.default_rng(3)
    names = ["h2", *(f"h2_k=-{i}" for i in range(2, 12))]
    flat = list(rng.normal(0, 1, 5))
    values = {name: [x + rng.normal(0.9, 0.8) for x in flat] for name in names}
    found = differences(records(e2=flat, **values), HIGHER)
    lost = [d for d in found if d.paired.p < 0.05 <= d.adjusted]
    assert lost and all(d.verdict == NOTHING for d in lost)


def test_under_no_difference_claims_are_as_rare_as_the_level_says():
    claims = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        rows = records(**{name: list(rng.normal(0, 1, 5)) for name in ("e2", "h2", "s2", "d2", "p2")})
        claims += any(d.verdict != NOTHING for d in differences(rows, HIGHER))
    assert claims / 400 < 0.05 + 2.6 * (0.05 * 0.95 / 400) ** 0.5


def test_two_records_of_a_seed_are_refused():
    rows = [record("e2", 0, 1.0), record("h2", 0, 1.0), record("h2", 0, 2.0)]
    with pytest.raises(ValueError, match="two records of seed 0"):
        differences(rows, HIGHER)


@pytest.mark.parametrize(
    ("latent", "references", "expected"),
    [
        ("h2", ["s2"], ["s2"]),
        ("s2", ["s2"], []),
        ("e2", ["s2"], ["s2"]),
        ("h5", ["s2", "s5"], ["s5"]),
        ("2h2", ["h2,s2"], ["h2,s2"]),
        ("h3", ["s2"], []),
    ],
)
def test_references_take_the_place_of_the_euclidean_spaces(latent, references, expected):
    assert partners(parse(latent), references) == expected


def test_the_difference_from_a_reference_is_the_row_minus_the_reference():
    values = {"e2": normal(1, 5), "s2": normal(2, 5), "h2": normal(3, 5), "s2_vmf": normal(4, 5)}
    found = {d.latent: d for d in differences(records(**values), HIGHER, ["s2"])}
    assert set(found) == {"e2", "h2", "s2:vmf"} and {d.against for d in found.values()} == {"s2"}
    for latent, each in found.items():
        expected = stats.ttest_rel(values[latent.replace(":", "_")], values["s2"])
        assert each.paired.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert {latent: d.equal_scales for latent, d in found.items()} == {"e2": True, "h2": True, "s2:vmf": False}
    assert {d.family for d in found.values()} == {3}


def test_a_reference_that_is_flat_gives_the_differences_of_the_default():
    rows = records(e2=normal(1, 5), h2=normal(2, 5), s2=normal(3, 5))
    assert differences(rows, HIGHER, ["e2"]) == differences(rows, HIGHER)


def test_rows_that_were_scored_differently_are_not_compared():
    rows = records(e2=normal(1, 5), h2=normal(2, 5))
    for row in rows:
        row["metrics"]["test.importance_samples"] = 500 if row["run"].startswith("e2") else 100
    with pytest.raises(UserError, match=r"runs h2-0 and e2-0 were scored differently .*samples: 100 and 500"):
        differences(rows, HIGHER)
