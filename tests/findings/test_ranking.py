"""A ranking orders by validation, claims what its seeds establish, and says how far the search got."""

import csv
import itertools
import statistics

import numpy as np
import pytest
from scipy import stats

from mcvae.config import validate_study
from mcvae.errors import UserError
from mcvae.files import write_json
from mcvae.findings.ranking import rank, write_ranking
from mcvae.findings.statistics import experiment_records
from mcvae.grid import plan
from mcvae.search import decide

NOTHING = "no difference established"


class Hunt:
    """A search whose runs have the numbers that a function of rung, latent and seed gives them."""

    def __init__(self, results, loss, seeds=5, dataset="mnist", **search):
        self.results, self.loss = results, loss
        search = {"dim": 4, "rungs": [2, 6], "keep": 0.5} | search
        experiment = {"dataset": dataset, "search": search, "seeds": seeds}
        self.study = validate_study({"experiments": {"find": experiment}})
        self.dataset = dataset

    def plan(self):
        return plan(self.study, results=self.results)

    @property
    def experiment(self):
        return self.plan().experiments["find-standin"]

    def climb(self, rungs, diverged=(), missing=()):
        """Train, evaluate and decide that many rungs; ``diverged`` and ``missing``: (rung, latent, seed)."""
        for number in range(1, rungs + 1):
            rung = self.experiment.rungs[-1]
            for latent, seed, place in rung.members:
                bad = (number, latent, seed) in diverged
                loss = None if bad else self.loss(number, latent, seed)
                value = {"status": "diverged" if bad else "finished", "cause": "it blew up" if bad else None}
                value |= {"validation.loss": loss, "validation.elbo": None if bad else -loss}
                value |= {"test.ll": None if bad else -loss - 7}
                write_json(self.results / place / "training.json", value)
                if (number, latent, seed) not in missing:
                    write_json(self.results / place / "metrics.json", value)
            if not rung.last:
                write_json(self.results / rung.place, decide(rung, self.results))
        return self

    def ranked(self):
        return rank(self.experiment, experiment_records(self.experiment, self.results))

    def write(self):
        paths = {kind: self.results / f"ranking.{kind}" for kind in ("csv", "md")}
        write_ranking(self.experiment, self.results, paths, data=self.plan().data[self.dataset])
        return list(csv.DictReader(paths["csv"].read_text().splitlines())), paths["md"].read_text()


def noisy(gap, spread=0.1, common=3.0):
    """Losses with an order of the latents, noise of each run, and larger noise that the runs of a seed share."""

    def loss(number, latent, seed):
        of_seed = np.random.default_rng(seed).normal(0, common)
        own = np.random.default_rng([seed, number, *latent.encode()]).normal(0, spread)
        order = {"h4": 0, "2h2": 1, "s4": 2, "s2,h2": 3}.get(latent, 5)
        return float(100 - 10 * number + gap * order + of_seed + own)

    return loss


def test_candidates_are_ordered_by_rung_then_by_mean_validation_loss(tmp_path):
    hunt = Hunt(tmp_path, noisy(1.0)).climb(2)
    found = hunt.ranked()
    assert [each.latent for each in found[:4]] == ["h4", "2h2", "s4", "s2,h2"]
    assert [each.rung for each in found] == [2] * 4 + [1] * 4
    assert [each.rank for each in found] == list(range(1, 9))
    for _, group in itertools.groupby(found, key=lambda each: each.rung):
        means = [statistics.fmean(each.values("validation.loss")) for each in group]
        assert means == sorted(means)
    assert all(each.finding == "out after rung 1" for each in found[4:])


def test_a_clear_difference_of_five_seeds_is_established_and_pairs_by_seed(tmp_path):
    found = Hunt(tmp_path, noisy(1.0)).climb(2).ranked()
    assert found[0].finding == "leader" and found[0].paired is None
    assert [each.finding for each in found[1:4]] == ["worse"] * 3
    leader = found[0].values("validation.loss")
    for each in found[1:4]:
        ours = each.values("validation.loss")
        oracle = stats.ttest_rel(ours, leader)
        interval = oracle.confidence_interval(0.95)
        assert each.paired.p == pytest.approx(oracle.pvalue)
        assert (each.paired.low, each.paired.high) == pytest.approx((interval.low, interval.high))
        assert each.paired.high - each.paired.low < 1 < statistics.stdev(ours), "pairs take away what seeds share"


def test_p_values_are_corrected_over_all_pairs_of_the_last_rung(tmp_path):
    found = Hunt(tmp_path, noisy(0.15, spread=0.3)).climb(2).ranked()[:4]
    p = {}
    for a, b in itertools.combinations(range(4), 2):
        p[a, b] = stats.ttest_rel(found[a].values("validation.loss"), found[b].values("validation.loss")).pvalue
    largest, expected = 0.0, {}
    for place, pair in enumerate(sorted(p, key=p.get)):
        largest = expected[pair] = max(largest, min(1.0, (6 - place) * p[pair]))
    assert [each.adjusted for each in found[1:]] == pytest.approx([expected[0, b] for b in (1, 2, 3)])
    assert {each.family for each in found[1:]} == {6}
    for each in found[1:]:
        assert (each.finding == "worse") == (each.adjusted < 0.05)


def test_equal_spaces_are_almost_never_told_apart(tmp_path):
    """All candidates are the same: over many searches at most 5% may claim anything, whoever leads."""
    claims, searches = 0, 200
    hunt = Hunt(tmp_path, None, rungs=[2], letters=["e", "s", "h"], dim=2)
    experiment = hunt.experiment
    for index in range(searches):
        draw = np.random.default_rng(index).normal(size=len(experiment.runs))
        records = [
            {
                "run": run.id,
                "config": {"latent": run.config.latent, "seed": run.config.seed},
                "status": "finished",
                "cause": None,
                "metrics": {"validation.loss": float(value)},
            }
            for run, value in zip(experiment.runs, draw, strict=True)
        ]
        claims += any(each.finding == "worse" for each in rank(experiment, records))
    assert claims <= stats.binom.ppf(0.999, searches, 0.05)


@pytest.mark.parametrize("seeds", [1, 2, 4])
def test_fewer_than_five_seeds_establish_nothing(tmp_path, seeds):
    hunt = Hunt(tmp_path, noisy(50.0), seeds=seeds).climb(2)
    found = hunt.ranked()
    assert {each.finding for each in found[1:4]} == {NOTHING}
    assert (found[1].paired.low is None) == (seeds == 1)
    rows, text = hunt.write()
    assert "at least 5 establish a difference" in text
    assert (rows[1]["low"] == "") == (seeds == 1) and float(rows[1]["difference"]) > 0


def test_a_search_that_goes_on_has_no_ranks_and_says_how_far_it_got(tmp_path):
    hunt = Hunt(tmp_path, noisy(1.0), rungs=[2, 6, 9])
    hunt.climb(1)
    (decision,) = (tmp_path / "searches/find-standin").iterdir()
    decision.rename(tmp_path / "later")
    rows, text = hunt.write()
    assert all(row["rank"] == "" and row["difference"] == "" and row["finding"] == "" for row in rows)
    assert "a search that goes on" in text and "rung 1 of 3 is trained" in text
    assert all(row["test.ll"] == "" for row in rows), "the test split is reported for the last rung alone"
    (tmp_path / "later").rename(decision)
    rows, text = hunt.write()
    assert "Not finished: 20 of the 20 runs of rung 2 of 3 are missing" in text
    assert [row["finding"] for row in rows].count("out after rung 1") == 4
    assert [row["finding"] for row in rows].count("missing (seeds 0, 1, 2, 3, 4)") == 4


def test_the_last_rung_must_be_complete(tmp_path):
    hunt = Hunt(tmp_path, noisy(1.0)).climb(2, missing=[(2, "s4", 3)])
    rows, text = hunt.write()
    assert all(row["rank"] == "" for row in rows) and "1 of the 20 runs of rung 2 of 2 are missing" in text
    assert [row["finding"] for row in rows if row["latent"] == "s4"] == ["missing (seed 3)"]


def test_a_candidate_that_diverged_has_no_rank_and_is_named(tmp_path):
    hunt = Hunt(tmp_path, noisy(1.0)).climb(2, diverged=[(1, "e4", 0), (2, "h4", 1), (2, "h4", 4)])
    rows, text = hunt.write()
    assert [row["latent"] for row in rows[-2:]] == ["e4", "h4"] and [row["rank"] for row in rows[-2:]] == ["", ""]
    assert rows[-1]["finding"] == "diverged (seeds 1, 4)" and rows[-1]["seeds"] == "3"
    assert rows[0]["latent"] == "2h2" and rows[0]["finding"] == "leader"
    assert "Diverged: h4-s1-" in text and "it blew up" in text


def test_a_search_in_which_all_diverge_ends_without_a_ranking(tmp_path):
    hunt = Hunt(tmp_path, noisy(1.0), seeds=1, dim=2)
    hunt.climb(1, diverged=[(1, latent, 0) for latent in ("e2", "s2", "h2")])
    rows, text = hunt.write()
    assert {row["rank"] for row in rows} == {""} and "Every candidate diverged in rung 1 of 2" in text


def test_the_test_split_is_reported_for_the_last_rung_and_changes_no_order(tmp_path):
    hunt = Hunt(tmp_path, noisy(1.0)).climb(2)
    before = [each.latent for each in hunt.ranked()]
    for member in hunt.experiment.rungs[-1].members:
        path = tmp_path / member.place / "metrics.json"
        loss = hunt.loss(2, member.latent, member.seed)
        write_json(path, {"status": "finished", "validation.loss": loss, "test.ll": loss})
    assert [each.latent for each in hunt.ranked()] == before
    rows, text = hunt.write()
    assert [row["test.ll"] != "" for row in rows] == [True] * 4 + [False] * 4
    assert "chooses nothing" in text


def test_the_csv_has_the_means_and_deviations_of_the_runs(tmp_path):
    hunt = Hunt(tmp_path, noisy(1.0)).climb(2)
    rows, _ = hunt.write()
    for row in rows:
        losses = [hunt.loss(int(row["rung"]), row["latent"], seed) for seed in range(5)]
        assert float(row["validation.loss"]) == pytest.approx(np.mean(losses))
        assert float(row["validation.loss sd"]) == pytest.approx(np.std(losses, ddof=1))
        assert float(row["validation.elbo"]) == pytest.approx(-np.mean(losses))


def test_equal_results_make_equal_bytes(tmp_path):
    hunt = Hunt(tmp_path, noisy(1.0)).climb(2)
    hunt.write()
    first = [(tmp_path / f"ranking.{kind}").read_bytes() for kind in ("csv", "md")]
    hunt.write()
    assert [(tmp_path / f"ranking.{kind}").read_bytes() for kind in ("csv", "md")] == first


def test_a_molecule_s_loss_is_shown_beside_the_bound(tmp_path):
    _, text = Hunt(tmp_path, noisy(1.0), dataset="qm9", dim=2, seeds=1).climb(2).write()
    assert "validation loss" in text and "validation ELBO" in text


def test_a_grid_has_no_ranking(tmp_path):
    study = validate_study({"experiments": {"one": {"dataset": "mnist", "latents": ["e2"]}}})
    (experiment,) = plan(study).experiments.values()
    with pytest.raises(UserError, match="is no search"):
        rank(experiment, experiment_records(experiment, tmp_path))
