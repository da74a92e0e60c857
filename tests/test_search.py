"""A search tries every signature of its budget, keeps the best by validation, and believes no other search."""

import itertools
import json
import math
from pathlib import Path

import pytest

from mcvae.config import validate_study
from mcvae.errors import UserError
from mcvae.files import write_json
from mcvae.grid import plan
from mcvae.options import Search
from mcvae.search import Rung, candidates, decide, survivors
from mcvae.signature import parse

SEARCH = {"dim": 4, "rungs": [1, 2, 4], "keep": 0.5}


def searched(results, search=None, **changes):
    experiment = {"dataset": "mnist", "search": SEARCH | (search or {}), "seeds": 2, **changes}
    (found,) = plan(validate_study({"experiments": {"find": experiment}}), results=results).experiments.values()
    return found


def train(results, rung, loss, diverged=()):
    """training.json of every run of a rung; ``loss`` of latent and seed, ``diverged`` pairs of them."""
    for latent, seed, place in rung.members:
        bad = (latent, seed) in diverged
        value = {"status": "diverged" if bad else "finished", "validation.loss": None if bad else loss(latent, seed)}
        write_json(results / place / "training.json", value | {"test.ll": 1.0})


def settle(results, rung):
    decision = decide(rung, results)
    write_json(results / rung.place, decision)
    return decision


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 6, 8, 12])
@pytest.mark.parametrize("letters", [("e", "s", "h"), ("u:learn",), ("e", "e:iso", "s:vmf", "h:k=-0.5:learn")])
def test_candidates_fill_the_budget_and_are_canonical_and_unique(dim, letters):
    found = candidates(Search(dim=dim, letters=letters))
    signatures = [parse(text) for text in found]
    assert all(signature.dim == dim for signature in signatures)
    assert [str(signature) for signature in signatures] == found
    assert len(set(signatures)) == len(found)
    assert found == candidates(Search(dim=dim, letters=letters))


@pytest.mark.parametrize("dim", [2, 3, 4, 6, 8])
def test_candidates_are_all_products_of_factors_of_one_dimension(dim):
    expected = set()
    for size in (size for size in range(2, dim + 1) if dim % size == 0):
        for counts in itertools.product(range(dim // size + 1), repeat=3):
            if sum(counts) == dim // size:
                flat, sphere, hyperbolic = counts
                parts = [f"e{flat * size}"] if flat else []
                parts += [f"{sphere}s{size}"] if sphere else []
                parts += [f"{hyperbolic}h{size}"] if hyperbolic else []
                expected.add(str(parse(",".join(parts))))
    assert set(candidates(Search(dim=dim))) == expected


def test_candidates_of_two_dimensions_are_the_letters():
    assert candidates(Search(dim=2, letters=("e", "s:vmf", "u:learn"))) == ["e2", "s2:vmf", "u2:learn"]


def test_too_many_candidates_are_refused_before_they_are_made():
    with pytest.raises(UserError, match=r"search: 3 letters make \d+ products of 4096 dimensions, more than 500"):
        candidates(Search(dim=4096))


@pytest.mark.parametrize(
    "search, changes, words",
    [
        ({}, {"latents": ["e2"]}, ["latents: a search makes its own"]),
        ({}, {"d": [2]}, ["d: a search makes its own"]),
        ({}, {"hidden": [[8], [9]]}, ["hidden", "one list"]),
        ({}, {"kinds": ["vae", "autoencoder"]}, ["kinds"]),
        ({}, {"training": {"epochs": 3}}, ["training.epochs: the rungs"]),
        ({}, {"training": {"selection": "last"}}, ["training.selection"]),
        ({"rungs": [4, 8]}, {"training": {"kl_warmup": 4}}, ["training.kl_warmup: 4", "4 epochs", "at most 3"]),
        ({"rungs": [4, 8]}, {"training": {"curvature_start": 9}}, ["training.curvature_start: 9", "at most 3"]),
        ({"rungs": [4, 4]}, {}, ["search.rungs", "[4, 4]", "more epochs"]),
        ({"rungs": []}, {}, ["search.rungs"]),
        ({"keep": 1}, {}, ["search.keep"]),
        ({"keep": 0}, {}, ["search.keep"]),
        ({"dim": 0}, {}, ["search.dim"]),
        ({"letters": ["s2"]}, {}, ["search.letters", "'s2'", "'s:vmf'"]),
        ({"letters": ["e,s"]}, {}, ["search.letters", "'e,s'"]),
        ({"letters": ["h:vmf"]}, {}, ["search.letters", "'vmf' is not defined on 'h'"]),
        ({"letters": ["s", "s:wn"]}, {}, ["search.letters", "twice"]),
        ({"letters": ["h:rn"], "dim": 11}, {}, ["experiments.find.search: latent 'h11:rn'", "too far out"]),
        ({"dim": 4096}, {}, ["experiments.find.search: search: 3 letters"]),
        ({"budget": 3}, {}, ["search.budget", "unknown key", "dim, letters, rungs, keep"]),
    ],
)
def test_a_mistake_in_a_search_is_one_sentence(tmp_path, search, changes, words):
    with pytest.raises(UserError) as caught:
        searched(tmp_path, search, **changes)
    message = str(caught.value)
    assert "\n" not in message and all(word in message for word in words), message


def test_an_experiment_needs_latents_or_a_search():
    with pytest.raises(UserError, match=r"experiments\.a: latents: give at least 1 signature, or a 'search'"):
        validate_study({"experiments": {"a": {"dataset": "mnist"}}})


def test_rungs_take_the_place_of_the_epochs_of_a_preset(tmp_path):
    changes = {"preset": "davidson2018", "training": {"kl_warmup": 0}}
    assert {run.config.training.epochs for run in searched(tmp_path, **changes).runs} == {1}
    with pytest.raises(UserError, match=r"training\.kl_warmup: 100"):
        searched(tmp_path, preset="davidson2018")
    with pytest.raises(UserError, match=r"training\.epochs"):
        searched(tmp_path, preset="davidson2018", training={"epochs": 500, "kl_warmup": 0})


def test_the_first_rung_is_every_candidate_with_every_seed(tmp_path):
    experiment = searched(tmp_path)
    assert [run.config.latent for run in experiment.runs[::2]] == candidates(Search(**SEARCH))
    assert {run.config.training.epochs for run in experiment.runs} == {1}
    assert len(experiment.rungs) == 1 and experiment.shown == []


def test_the_best_by_mean_validation_loss_go_on(tmp_path):
    (rung,) = searched(tmp_path).rungs
    order = {latent: index for index, latent in enumerate(reversed(rung.candidates))}
    train(tmp_path, rung, lambda latent, seed: 100 + order[latent] + (50 if seed else -50))
    decision = settle(tmp_path, rung)
    kept = math.ceil(0.5 * len(rung.candidates))
    assert decision["survivors"] == list(reversed(rung.candidates))[:kept]
    experiment = searched(tmp_path)
    assert [len(each.candidates) for each in experiment.rungs] == [len(rung.candidates), kept]
    assert experiment.rungs[1].candidates == rung.candidates[-kept:], "in the order of the candidates"
    assert experiment.runs[: len(rung.members)] == searched(tmp_path / "nowhere").runs
    assert {run.config.training.epochs for run in experiment.runs[len(rung.members) :]} == {2}


def test_figures_of_single_runs_are_those_of_the_last_rung(tmp_path):
    for _ in range(2):
        rung = searched(tmp_path).rungs[-1]
        train(tmp_path, rung, lambda latent, seed: len(latent))
        settle(tmp_path, rung)
    experiment = searched(tmp_path)
    assert experiment.rungs[-1].last and experiment.rungs[-1].number == 3
    assert [run.config.latent for run in experiment.shown] == list(experiment.rungs[-1].candidates)
    assert {run.config.training.epochs for run in experiment.shown} == {4}


def test_a_candidate_that_diverged_with_any_seed_is_out_and_said(tmp_path):
    (rung,) = searched(tmp_path).rungs
    train(tmp_path, rung, lambda latent, seed: 0.0 if latent == "s4" else 1.0, diverged=[("s4", 1)])
    decision = settle(tmp_path, rung)
    assert "s4" not in decision["survivors"]
    (said,) = (each for each in decision["candidates"] if each["latent"] == "s4")
    assert said == {"latent": "s4", "validation.loss": None, "seeds": {"0": 0.0}, "diverged": [1]}


def test_a_search_ends_where_all_diverge(tmp_path):
    (rung,) = searched(tmp_path).rungs
    train(tmp_path, rung, None, diverged=[(member.latent, member.seed) for member in rung.members])
    assert settle(tmp_path, rung)["survivors"] == []
    assert searched(tmp_path).rungs == (rung,)


@pytest.mark.parametrize("keep, kept", [(0.01, 1), (1 / 3, 3), (0.5, 4), (0.99, 8)])
def test_a_share_goes_on_rounded_up_and_at_least_one(tmp_path, keep, kept):
    (rung,) = searched(tmp_path, {"keep": keep, "letters": ["e", "s", "h"]}).rungs
    assert len(rung.candidates) == 8  # e4 s4 h4; e2,s2 e2,h2 2s2 s2,h2 2h2
    train(tmp_path, rung, lambda latent, seed: 1.0)
    assert settle(tmp_path, rung)["survivors"] == list(rung.candidates[:kept]), "equal ones in their own order"


@pytest.mark.parametrize(
    "search, changes",
    [
        ({}, {"seeds": 3}),
        ({"letters": ["e", "s"]}, {}),
        ({"keep": 0.25}, {}),
        ({"rungs": [2, 4]}, {}),
        ({}, {"training": {"batch_size": 64}}),
        ({}, {"hidden": [[7]]}),
        ({}, {"protocol": "threshold"}),
    ],
)
def test_a_decision_of_another_search_is_not_used(tmp_path, search, changes):
    (rung,) = searched(tmp_path).rungs
    train(tmp_path, rung, lambda latent, seed: 1.0)
    settle(tmp_path, rung)
    assert len(searched(tmp_path).rungs) == 2
    assert len(searched(tmp_path, search, **changes).rungs) == 1


def test_a_seed_more_needs_its_runs_first_and_a_seed_less_finds_the_old_decision(tmp_path):
    (rung,) = searched(tmp_path).rungs
    train(tmp_path, rung, lambda latent, seed: 1.0)
    settle(tmp_path, rung)
    more = searched(tmp_path, seeds=3)
    assert {run.config.training.epochs for run in more.runs} == {1}
    with pytest.raises(UserError, match=r"training\.json: no such file"):
        decide(more.rungs[0], tmp_path)
    assert len(searched(tmp_path).rungs) == 2


def test_later_rungs_may_change_without_a_new_decision(tmp_path):
    (rung,) = searched(tmp_path).rungs
    train(tmp_path, rung, lambda latent, seed: 1.0)
    settle(tmp_path, rung)
    assert [each.epochs for each in searched(tmp_path, {"rungs": [1, 7]}).rungs] == [1, 7]


@pytest.mark.parametrize("change", [{"digest": "00000000"}, {"survivors": ["e99"]}, {"survivors": None}])
def test_a_file_that_is_not_the_decision_of_its_name_is_refused(tmp_path, change):
    (rung,) = searched(tmp_path).rungs
    train(tmp_path, rung, lambda latent, seed: 1.0)
    write_json(tmp_path / rung.place, decide(rung, tmp_path) | change)
    with pytest.raises(UserError, match=f"{rung.place.name}: is not the decision that its name says"):
        survivors(rung, tmp_path)


def test_a_run_without_validation_cannot_be_chosen_by(tmp_path):
    (rung,) = searched(tmp_path).rungs
    train(tmp_path, rung, lambda latent, seed: None)
    with pytest.raises(UserError, match="has no validation loss"):
        decide(rung, tmp_path)


def test_a_rung_comes_back_from_its_text_and_equal_inputs_make_equal_bytes(tmp_path):
    (rung,) = searched(tmp_path).rungs
    again = Rung.from_text(rung.text)
    assert again == rung and again.digest == rung.digest
    train(tmp_path, rung, lambda latent, seed: len(latent) + seed / 3)
    settle(tmp_path, rung)
    first = (tmp_path / rung.place).read_bytes()
    settle(tmp_path, again)
    assert (tmp_path / rung.place).read_bytes() == first


def test_the_test_split_is_not_looked_at(tmp_path):
    (rung,) = searched(tmp_path).rungs
    train(tmp_path, rung, lambda latent, seed: len(latent))
    before = decide(rung, tmp_path)
    for member in rung.members:
        path = Path(tmp_path / member.place / "training.json")
        write_json(path, json.loads(path.read_text()) | {"test.ll": -float(len(member.latent)), "test.elbo": -1.0})
    assert decide(rung, tmp_path) == before


def test_a_search_and_a_grid_share_equal_runs(tmp_path):
    search = {"dataset": "mnist", "search": {"dim": 2, "rungs": [5]}}
    grid = {"dataset": "mnist", "latents": ["h2"], "training": {"epochs": 5}}
    made = plan(validate_study({"experiments": {"find": search, "one": grid}}), results=tmp_path)
    assert len(made.runs) == 3
