"""What an experiment compares with what: the reference of its config, as latents of the grid."""

import pytest

from mcvae.config import load_study, validate_study
from mcvae.errors import UserError
from mcvae.findings.comparison import partners
from mcvae.findings.published import figures
from mcvae.grid import PlannedExperiment, plan


def planned(**experiment) -> PlannedExperiment:
    settings = {"dataset": "sphere", "latents": ["e2", "s2", "h2"], **experiment}
    (made,) = plan(validate_study({"experiments": {"a": settings}})).experiments.values()
    return made


def test_without_a_reference_spaces_are_compared_with_the_euclidean_ones():
    assert planned().references == () and "differences" in planned().figures


def test_a_reference_is_one_of_the_latents_in_canonical_form():
    assert planned(reference="s2:k=1.0").references == ("s2",)
    assert planned(latents=["h2,s2", "2h2"], reference="h2,s2").references == ("h2,s2",)


def test_a_reference_follows_the_axis_of_dimensions():
    made = planned(latents=["e{d}", "s{d}:vmf"], d=[2, 5], reference="s{d}:vmf")
    assert made.references == ("s2:vmf", "s5:vmf") and "differences" in made.figures


def test_a_reference_alone_in_its_dimension_has_no_figure_of_differences():
    assert "differences" not in planned(latents=["e2", "s2", "h3"], reference="h3").figures


def test_a_reference_changes_no_run():
    assert [run.id for run in planned(reference="s2").runs] == [run.id for run in planned().runs]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"reference": "s3"}, "a.reference: 's3' is no latent of the experiment; it has e2, s2, h2"),
        ({"reference": "q2"}, "a.reference: .*unknown geometry 'q'"),
        ({"reference": "s{d}"}, "reference: placeholder '{d}' of 's{d}' means nothing; without an axis d nothing may"),
        (
            {"reference": "s{k}", "latents": ["e{d}"], "d": [2]},
            "placeholder '{k}' of 's{k}'.*only '{d}' may stand in it",
        ),
        ({"reference": "s{d"}, "reference: 's{d' is not a template"),
        ({"reference": 2}, "reference: 2"),
    ],
)
def test_a_reference_that_means_nothing_is_refused_in_a_sentence(changes, words):
    with pytest.raises(UserError, match=words):
        planned(**changes)


def test_a_search_has_no_reference():
    with pytest.raises(UserError, match="reference: a search compares its candidates with the best of them"):
        validate_study({"experiments": {"a": {"dataset": "mnist", "search": {"dim": 4}, "reference": "e4"}}})


def test_every_control_compares_the_matching_space_with_each_other():
    matching = {"plane": "e2", "sphere": "s2", "tree": "h2", "sphere-hyperbolic": "s2,h2"}
    for experiment in plan(load_study("config/controls.yaml"), "config/controls.yaml").experiments.values():
        signatures = dict.fromkeys(run.config.signature for run in experiment.runs)
        expected = matching[experiment.spec.dataset]
        others = [s for s in signatures if str(s) != expected]
        assert others and all(expected in partners(s, experiment.references) for s in others)
        assert len(experiment.spec.seed_list) >= 5


def test_every_learned_prior_scale_has_a_fixed_twin():
    experiments = plan(load_study("config/paper.yaml", "embedded")).experiments.values()
    runs = {run.canonical for experiment in experiments for run in experiment.runs}
    learned = [text for text in runs if '"prior_scale":"learned"' in text]
    assert learned
    for text in learned:
        assert text.replace('"prior_scale":"learned"', '"prior_scale":"fixed"') in runs


def test_the_tree_that_is_decoded_from_tangent_coordinates_is_that_of_the_controls_in_all_else():
    (own,) = [
        e for e in plan(load_study("config/paper.yaml", "embedded")).experiments.values() if e.spec.dataset == "tree"
    ]
    controls = plan(load_study("config/controls.yaml")).experiments.values()
    (other,) = [e for e in controls if e.spec.dataset == "tree"]
    assert [run.canonical.replace("tangent", "gyroplane") for run in own.runs] == [run.canonical for run in other.runs]
    assert own.references == other.references and own.spec.evaluation == other.spec.evaluation


def test_every_figure_of_gmvae_has_runs_of_its_space_and_protocol():
    experiments = plan(load_study("config/paper.yaml", "embedded")).experiments.values()
    (own,) = [each for each in experiments if "cho2022-gmvae" in each.spec.published]
    latents = {run.config.latent for run in own.runs if run.config.protocol == "threshold"}
    assert {str(figure.signature) for figure in figures()["cho2022-gmvae"]} <= latents
