"""Learned curvatures: final values over the seeds, by component and sign."""

import numpy as np
import pytest
from scipy import stats

from mcvae.findings.curvatures import GIVEN, NO_SIGN, learned_curvatures


def record(latent, seed, *curvatures, status="finished"):
    config = {"latent": latent, "seed": seed, "model": {"kind": "vae", "hidden": [64]}}
    metrics = {f"curvature.{i}": k for i, k in enumerate(curvatures)}
    return {"run": f"{latent}-{seed}", "config": config, "status": status, "cause": None, "metrics": metrics}


def test_each_learned_component_has_its_own_index_and_signs():
    values = {0: (-1.0, 0.0, -0.5, 0.3), 1: (-1.0, 0.0, 0.25, 0.0), 2: (-1.0, 0.0, 1.0, 0.1)}
    found = learned_curvatures([record("h2,e2,u2:learn,u3:learn", seed, *row) for seed, row in values.items()])
    assert [(c.index, c.component, c.copies, c.rank) for c in found] == [(2, "u2", 1, 0), (3, "u3", 1, 0)]
    assert [(c.negative, c.zero, c.positive) for c in found] == [(1, 0, 2), (0, 1, 2)]
    assert found[0].mean == pytest.approx(0.25) and found[0].sd == pytest.approx(np.std([-0.5, 0.25, 1.0], ddof=1))
    assert (found[1].least, found[1].most) == (0.0, 0.3)


@pytest.mark.parametrize("latent", ["3u2:learn", "u2:learn,e2,2u2:learn"])
def test_components_that_are_alike_are_sorted_within_each_seed(latent):
    """One ends negative and two positive, in another order every time: the signs are those of the sorted ones."""
    rng = np.random.default_rng(0)
    ends = np.array([-1.0, 0.5, 2.0]) + 0.1 * rng.normal(size=(5, 3))
    rows = []
    for seed, row in enumerate(ends):
        first, *others = rng.permutation(row)
        rows.append(record(latent, seed, first, *([0.0] if "e2" in latent else []), *others))
    found = learned_curvatures(rows)
    assert [(c.copies, c.rank) for c in found] == [(3, 1), (3, 2), (3, 3)]
    assert [c.verdict for c in found] == ["negative", "positive", "positive"]
    assert [c.mean for c in found] == pytest.approx(ends.mean(0)) and found[0].most < 0 < found[1].least


def test_components_that_are_not_alike_keep_their_places():
    found = learned_curvatures([record("u2:learn,u2:k=1.0:learn", seed, 1.0 + seed, -1.0 - seed) for seed in range(5)])
    assert [(c.rank, c.mean) for c in found] == [(0, 3.0), (0, -3.0)]


def test_fixed_curvatures_are_not_learned_ones():
    assert learned_curvatures([record("h2,s2", 0, -1.0, 1.0), record("e2", 0, 0.0)]) == []


def test_diverged_and_missing_runs_count_for_nothing():
    rows = [record("s2:k=0.5:learn", 0, 0.4), record("s2:k=0.5:learn", 1, 9.0, status="diverged")]
    (found,) = learned_curvatures([*rows, record("s2:k=0.5:learn", 2, status="missing")])
    assert (found.seeds, found.mean, found.sd, found.start, found.positive) == (1, 0.4, None, 0.5, 1)
    (empty,) = learned_curvatures(rows[1:])
    assert (empty.seeds, empty.mean, empty.least, empty.negative) == (0, None, None, 0)


def ended(*values, latent="u2:learn"):
    return learned_curvatures([record(latent, seed, k) for seed, k in enumerate(values)])[0]


def test_the_interval_is_that_of_students_t():
    values = np.random.default_rng(0).normal(0.3, 0.5, 7)
    found, test = ended(*values).interval, stats.ttest_1samp(values, 0.0)
    low, high = test.confidence_interval(0.95)
    assert (found.low, found.high, found.p) == pytest.approx((low, high, test.pvalue), rel=1e-9)


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((-1.0, -1.1, -0.9, -1.2, -0.8), "negative"),
        ((1.0, 1.1, 0.9, 1.2, 0.8), "positive"),
        ((-1.0, -1.1, -0.9, -1.2), NO_SIGN),
        ((-1.0, 1.1, -0.9, 1.2, 0.8), NO_SIGN),
        ((-0.02, 0.03, 0.0, 0.01, -0.03), f"{NO_SIGN}; |K| < 0.1"),
        ((0.031, 0.03, 0.032, 0.029, 0.03), "positive; |K| < 0.1"),
        ((0.01, 0.02, 0.0, 0.01), NO_SIGN),
        ((0.0, 0.0, 0.0, 0.0, 0.0), NO_SIGN),
        ((), NO_SIGN),
    ],
)
def test_a_sign_needs_five_seeds_and_an_interval_clear_of_zero(values, verdict):
    rows = [record("u2:learn", 9, status="missing"), *(record("u2:learn", i, k) for i, k in enumerate(values))]
    (found,) = learned_curvatures(rows)
    assert found.verdict == verdict


def test_the_sign_that_the_letter_gives_is_not_tested():
    rows = [record("h2:learn,u2:learn", seed, -1.0 - seed, 0.5 + 0.01 * seed) for seed in range(5)]
    given, free = learned_curvatures(rows)
    assert (given.verdict, given.adjusted, free.verdict, free.family) == (GIVEN, None, "positive", 1)


def test_signs_are_corrected_over_all_that_might_have_either():
    rng = np.random.default_rng(0)
    rows = [record("4u2:learn", seed, *row) for seed, row in enumerate(rng.normal(0.5, 0.5, (6, 4)))]
    found = learned_curvatures(rows)
    smallest = min(found, key=lambda each: each.interval.p)
    assert {each.family for each in found} == {4} and smallest.adjusted == pytest.approx(4 * smallest.interval.p)
    assert all((each.verdict == "positive") == (each.adjusted < 0.05) for each in found)
    assert any(each.interval.p < 0.05 <= each.adjusted for each in found)
