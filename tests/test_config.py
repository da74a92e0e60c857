"""A study is validated with one sentence, unrolled into runs with lasting names, and knows its data."""

import json
from pathlib import Path

import pytest
import yaml

from mcvae import config
from mcvae.config import RunConfig, load_study, validate_study
from mcvae.errors import UserError
from mcvae.files import canonical_json
from mcvae.grid import plan
from mcvae.options import Evaluation
from mcvae.presets import PRESETS

ROOT = Path(__file__).parents[1]


def study(**changes):
    experiment = {"dataset": "mnist", "latents": ["e2"], **changes}
    return {"experiments": {"one": experiment}}


def runs_of(**changes):
    return list(plan(validate_study(study(**changes))).experiments["one-standin"].runs)


def test_every_axis_multiplies_the_grid():
    runs = runs_of(
        latents=["e{d}", "h{d}:k={k}", "s{d}:k={-k}"], d=[2, 5], k=[-1, -0.25], hidden=[[64], [64, 32]], seeds=3
    )
    assert len(runs) == (2 + 4 + 4) * 2 * 3
    assert len({run.id for run in runs}) == len(runs)
    assert {run.config.latent for run in runs} >= {"e2", "h5", "h5:k=-0.25", "s2", "s2:k=0.25"}


def test_equal_latents_are_one_run():
    assert len(runs_of(latents=["e4", "2e2", "e2,e2"])) == 1


def test_an_autoencoder_is_made_of_the_euclidean_latents_only():
    runs = runs_of(latents=["e2", "h2"], kinds=["vae", "autoencoder"])
    assert sorted(run.slug for run in runs) == ["ae-e2", "e2", "h2"]


def test_one_seed_more_keeps_every_other_name():
    two = {run.id for run in runs_of(seeds=2)}
    three = {run.id for run in runs_of(seeds=3)}
    assert two < three and len(three) == 3


def test_experiments_share_equal_runs():
    both = study()
    both["experiments"]["two"] = dict(both["experiments"]["one"], title="another question")
    planned = plan(validate_study(both))
    assert len(planned.runs) == 1 and all(len(e.runs) == 1 for e in planned.experiments.values())


def test_shared_runs_need_one_evaluation():
    both = study()
    both["experiments"]["two"] = dict(both["experiments"]["one"], evaluation={"importance_samples": 7})
    with pytest.raises(UserError, match=r"experiments\.two\.evaluation: differs .* experiments\.one"):
        plan(validate_study(both))


def test_a_run_is_rebuilt_from_its_canonical_configuration():
    for run in runs_of(latents=["h2,s2:learn"], training={"patience": 3, "gradient_clip": 0.5}):
        value = json.loads(run.canonical)
        assert RunConfig.from_canonical(value) == run.config
        assert canonical_json(RunConfig.from_canonical(value).canonical()) == run.canonical


def test_names_of_runs_do_not_change_between_versions():
    # A later default, or an added field with its neutral value, must not rename what users have trained.
    (run,) = runs_of(
        latents=["h2:k=-0.5"], hidden=[[32]], training={"epochs": 3, "batch_size": 16, "learning_rate": 0.01}
    )
    named = RunConfig.model_validate(run.config.model_copy(update={"data": "0123abcd"}).model_dump())
    assert canonical_json(named.canonical()) == (
        '{"data":"0123abcd","dataset":"mnist","latent":"h2:k=-0.5","model":{"decoder_input":"default","hidden":[32],'
        '"kind":"vae","likelihood":"bernoulli","prior_scale":"fixed"},"protocol":"dynamic","seed":0,"training":'
        '{"batch_size":16,"epochs":3,"gradient_clip":null,"kl_warmup":0,"learning_rate":0.01,"patience":null,'
        '"schedule":"constant"}}'
    )


def test_the_configuration_holds_no_path_and_no_source():
    for run in runs_of():
        assert "embedded" not in run.canonical and "/" not in run.canonical


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"latnets": ["e2"]}, ["experiments.one.latnets", "unknown key", "latents"]),
        ({"latents": ["q2"]}, ["experiments.one.latents[0]", "unknown geometry 'q'"]),
        ({"latents": []}, ["experiments.one.latents", "at least 1"]),
        ({"latents": "e2"}, ["experiments.one.latents"]),
        ({"latents": ["h10:rn"]}, ["experiments.one.latents[0]", "'h10:rn'", "on h10 choose k >= -0.7901"]),
        ({"latents": ["e{d}"]}, ["experiments.one", "axis 'd' is empty", "no runs"]),
        ({"d": [2]}, ["no latent uses '{d}'"]),
        ({"latents": ["e{x}"]}, ["placeholder '{x}' is unknown"]),
        ({"latents": ["e{d"]}, ["not a template"]),
        ({"seeds": 0}, ["experiments.one.seeds", "at least one seed"]),
        ({"seeds": [1, 1]}, ["experiments.one.seeds", "different"]),
        ({"dataset": "cifar"}, ["experiments.one.dataset", "'cifar'", "'mnist'"]),
        ({"protocol": "standard"}, ["protocol", "'standard'", "dynamic, threshold, mixed, grey, static"]),
        ({"training": {"epochs": "many"}}, ["experiments.one.training.epochs", "'many'"]),
        ({"training": {"batch_size": 5000}}, ["experiments.one.training.batch_size", "5000", "1283"]),
        ({"training": {"epochs": 5, "curvature_start": 5}}, ["training", "curvature_start: 5", "at most 4"]),
        ({"training": {"compile": "fast"}}, ["experiments.one.training.compile", "'fast'", "'auto', 'on' or 'off'"]),
        ({"dataset": "qm9", "training": {"compile": "on"}}, ["training.compile", "recurrent", "auto or off"]),
        ({"preset": "davidson"}, ["experiments.one", "preset: 'davidson'", "davidson2018, skopek2020"]),
        ({"evaluation": {"protocols": ["standard"]}}, ["evaluation.protocols", "'standard'", "dynamic, threshold"]),
        ({"evaluation": {"label_budgets": [100, 100]}}, ["label_budgets", "twice"]),
        ({"dataset": "qm9", "evaluation": {"label_budgets": [9]}}, ["label_budgets", "no classes"]),
        ({"evaluation": {"fid": True}}, ["evaluation.fid", "celeba alone", "mnist"]),
        ({"dataset": "qm9", "evaluation": {"lpips": True}}, ["evaluation.lpips", "celeba alone", "qm9"]),
        ({"training": {"selection": "last", "patience": 3}}, ["patience", "selection 'validation'"]),
        ({"training": {"lr": 1}}, ["experiments.one.training.lr", "unknown key", "learning_rate"]),
        ({"model": {"kind": "vae"}}, ["model.kind", "'kinds'"]),
        ({"model": {"property_weight": 1}}, ["property_weight", "qm9"]),
        (
            {"dataset": "qm9", "protocol": None, "model": {"activation": "tanh"}},
            ["model.activation", "mnist and the con"],
        ),
        ({"kinds": ["autoencoder"], "latents": ["h2"]}, ["no runs", "Euclidean"]),
        ({"latents": ["e{d!x}"], "d": [2]}, ["formats its placeholders"]),
        ({"latents": ["e{d:03}"], "d": [2]}, ["formats its placeholders"]),
        ({"latents": ["e99999999"]}, ["99999999 coordinates", "at most 4096"]),
        ({"latents": [",".join(["h2", "s2"] * 60)]}, ["no file name"]),
        ({"seeds": [2**31]}, ["2147483647"]),
        ({"seeds": True}, ["experiments.one.seeds"]),
        ({"dataset": "qm9", "hidden": [[64]]}, ["experiments.one.hidden[0]", "two widths"]),
        ({"dataset": "celeba", "hidden": [[]]}, ["experiments.one.hidden[0]", "channels"]),
        ({"dataset": "celeba", "hidden": [[8] * 7]}, ["experiments.one.hidden[0]", "1 to 6"]),
        ({"hidden": [64, 32]}, ["experiments.one.hidden[0]", "must be a list"]),
    ],
)
def test_a_mistake_is_one_sentence_with_file_and_key(tmp_path, changes, words):
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(study(**changes)))
    with pytest.raises(UserError) as caught:
        plan(load_study(path), str(path))
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    "text, words",
    [
        (b"a: [", "not valid YAML"),
        (b"- a", "mapping"),
        (b"study: x", "experiments"),
        (b"study: \xff", "not UTF-8"),
        (b"experiments:\n  a: 1\n  a: 2\n", "line 3: .*'a' is given twice"),
        (b"data: download\nexperiments: {}", "data: 'download': must be a mapping"),
        (
            b"study: My Study\nexperiments: {a: {dataset: mnist, latents: [e2]}}",
            "study: 'My Study': must be lower-case",
        ),
    ],
)
def test_a_broken_file_is_one_sentence(tmp_path, text, words):
    path = tmp_path / "bad.yaml"
    path.write_bytes(text)
    with pytest.raises(UserError, match=words) as caught:
        load_study(path)
    assert "\n" not in str(caught.value)


def test_a_missing_mirror_is_one_sentence(tmp_path):
    value = {**study(), "data": {"source": str(tmp_path / "nowhere")}}
    with pytest.raises(UserError, match=r"data\.source: .*nowhere.*no such folder"):
        plan(validate_study(value))


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "config").glob("*.yaml")))
def test_the_shipped_studies_are_valid(name):
    planned = plan(load_study(ROOT / "config" / name))
    assert planned.runs


def test_the_schema_is_the_one_that_the_classes_give():
    committed = json.loads((ROOT / "workflow/schemas/config.schema.json").read_text())
    assert committed == config.schema(), "run: mcvae schema > workflow/schemas/config.schema.json"


@pytest.mark.parametrize("preset", PRESETS)
def test_every_value_of_a_preset_is_in_the_run_s_configuration(preset):
    planned = plan(validate_study({"experiments": {"one": {"preset": preset, "dataset": "mnist", "latents": ["e2"]}}}))
    (run,) = planned.runs.values()
    written, values = run.config.canonical(), PRESETS[preset]
    assert written["protocol"] == values["protocol"]
    assert [written["model"]["hidden"]] == values["hidden"]
    for part in ("model", "training"):
        defaults = {"principal": False, "selection": "validation"}
        assert {key: written[part].get(key, defaults.get(key)) for key in values.get(part, {})} == values.get(part, {})
    assert run.evaluation.model_dump(include=set(values["evaluation"])) == {
        key: tuple(value) if isinstance(value, list) else value for key, value in values["evaluation"].items()
    }


def test_what_an_experiment_says_goes_over_its_preset_key_by_key():
    changes = {"preset": "davidson2018", "training": {"epochs": 7}, "protocol": "grey", "hidden": [[8]]}
    (run,) = plan(validate_study(study(**changes) | {"data": {"source": "embedded"}})).runs.values()
    assert (run.config.protocol, run.config.model.hidden) == ("grey", (8,))
    assert run.config.training.epochs == 7 and run.config.training.kl_warmup == 100


def test_options_added_later_do_not_rename_runs(tmp_path):
    plain, named = (
        next(iter(plan(validate_study(study(training=training))).runs))
        for training in ({}, {"selection": "validation", "records": None})
    )
    assert plain == named


@pytest.mark.parametrize("likelihood", ["", "gaussian", "pixel-gaussian", "logistic", "logistic-mixture"])
def test_faces_choose_among_likelihoods_and_networks(likelihood):
    model = {"likelihood": likelihood, "network": "wae"}
    (run,) = runs_of(dataset="celeba", model=model)
    assert run.config.model.likelihood == (likelihood or "gaussian") and run.config.model.network == "wae"


def test_what_faces_have_is_not_for_digits():
    with pytest.raises(UserError, match=r"model\.likelihood: 'logistic' does not fit mnist; use 'bernoulli'"):
        runs_of(model={"likelihood": "logistic"})
    with pytest.raises(UserError, match=r"model\.network: 'residual' is an option of celeba"):
        runs_of(model={"network": "residual"})


def test_options_of_faces_that_are_as_before_rename_no_run():
    plain = {"network": "plain", "concentration": "softplus", "likelihood": "gaussian"}
    assert runs_of(dataset="celeba")[0].id == runs_of(dataset="celeba", model=plain)[0].id
    assert runs_of(dataset="celeba")[0].id != runs_of(dataset="celeba", model={"concentration": "exponential"})[0].id


def test_the_usual_activation_renames_no_run():
    assert runs_of()[0].id == runs_of(model={"activation": "relu"})[0].id != runs_of(model={"activation": "tanh"})[0].id


def test_evaluations_without_networks_of_others_say_nothing_of_them():
    dumped = Evaluation().model_dump(mode="json")
    assert not {"fid", "lpips"} & set(dumped) and Evaluation.model_validate(dumped) == Evaluation()
    asked = Evaluation(fid=True)
    assert asked.model_dump()["fid"] is True and "lpips" not in asked.model_dump() and asked.networks == ("inception",)
    assert Evaluation.model_validate_json(asked.model_dump_json()) == asked != Evaluation()
