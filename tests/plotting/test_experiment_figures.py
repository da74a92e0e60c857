"""Figures of whole experiments: what is drawn where, what is claimed, and what is said of what is not there."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from scipy import stats

from mcvae import plotting
from mcvae.config import validate_study
from mcvae.findings.tables import build
from mcvae.grid import plan
from mcvae.plotting import configurations, pareto, style
from mcvae.plotting.captions import FIGURES, OVERALL, PAGES
from mcvae.plotting.curvature_grid import rows
from mcvae.plotting.differences import compared
from mcvae.plotting.folders import read_run

ROOT = Path(__file__).parents[2]
KINDS = [
    "curvature_grid",
    "curvature_trajectories",
    "likelihood_curve",
    "dimensions",
    "label_budgets",
    "pareto",
    "differences",
]
LATENTS = ["e2", "u2:k=-1.0", "u2", "u2:k=1.0", "u2:learn", "2u1:learn", "s2:vmf"]


@pytest.fixture
def experiment(tmp_path, folders) -> Callable[..., list[Path]]:
    """Runs of an experiment: ``latents`` by ``seeds``, with numbers that depend on both."""

    def make(latents: list[str] = LATENTS, seeds: int = 2, hidden: int = 8, **metrics: Any) -> list[Path]:
        made = []
        for seed in range(seeds):
            for place, latent in enumerate(latents):
                rng = np.random.default_rng([seed, place])
                run = folders.config(latent=latent, seed=seed)
                run["model"]["hidden"], run["training"]["curvature_start"] = [hidden], 2
                ends = rng.normal(0, 0.5, 3).tolist()
                numbers: dict[str, Any] = {
                    "test.ll": -90 + place + rng.normal(0, 0.3), "test.knn_accuracy": 0.9 + 0.01 * rng.random(),
                    "best_epoch": 3, **{f"curvature.{i}": k for i, k in enumerate(ends)}, "test.ll_curve_n": 500,
                    **{f"test.ll@{s}": -90 + place - 5 / s - 0.1 * seed for s in (1, 10, 100)},
                    "test.ll@10_mc_se": 0.1, "parameters": 1000 + 10 * place,
                    **{f"test.{kind}_accuracy@{n}": 0.5 + n / 2000 for kind in ("knn", "probe") for n in (100, 600)},
                }  # fmt: skip
                history = {"epoch": [1, 2, 3, 4]} | {f"curvature.{i}": [0.0, 0.0, k, k] for i, k in enumerate(ends)}
                folder = tmp_path / "runs" / f"{latent.replace(':', '-')}-{hidden}-s{seed}"
                made.append(folders.write_result(folder, run, numbers | metrics, history))
        return made

    return make


@pytest.fixture
def figure(monkeypatch, tmp_path) -> Callable[..., Figure]:
    """Draw a kind of figure, and have what would have been written."""
    kept: list[Figure] = []
    monkeypatch.setattr(style, "save", lambda figure, *_: kept.append(figure))

    def draw(kind: str, runs: list[Path], **options: str) -> Figure:
        getattr(plotting, f"plot_{kind}")(runs, tmp_path / "a.svg", tmp_path / "a.png", **options)
        return kept[-1]

    return draw


def lines(axes: Axes, points: int | None = None, marker: str | None = None) -> list[Any]:
    return [
        line
        for line in axes.lines
        if (points is None or len(line.get_xdata()) == points) and (marker is None or line.get_marker() == marker)
    ]


def floats(values: Any) -> np.ndarray:
    return np.asarray(values, dtype=float)  # errorbar keeps objects


def words(figure: Figure) -> str:
    return " ".join(" ".join(text.get_text() for text in figure.texts).split())


def diverge(folder: Path) -> None:
    (folder / "metrics.json").write_text('{"status": "diverged", "cause": "it did", "epochs": 4, "test.ll": null}')


@pytest.mark.parametrize("kind", KINDS)
def test_equal_runs_give_equal_bytes_whatever_became_of_some(tmp_path, experiment, kind):
    runs = experiment()
    diverge(runs[0])
    diverge(runs[4])
    (runs[8] / "metrics.json").unlink()
    written = []
    for name in ("a", "b"):
        svg, png = tmp_path / f"{name}.svg", tmp_path / f"{name}.png"
        getattr(plotting, f"plot_{kind}")([*runs, tmp_path / "nothing"], svg, png, note="stand-in: something")
        written.append((svg.read_bytes(), png.read_bytes()))
    assert written[0] == written[1]
    assert written[0][1].startswith(b"\x89PNG") and b"<dc:date>" not in written[0][0]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_missing_or_diverged_is_said_in_the_figure(tmp_path, experiment, figure, kind):
    runs = experiment(["e2", "u2:k=-1.0", "u2", "u2:k=1.0", "u2:learn"], seeds=3)
    for folder in (runs[4], runs[9]):
        diverge(folder)
    said = words(figure(kind, [*runs, tmp_path / "nothing"]))
    total = 4 if kind == "curvature_trajectories" else 16
    assert f"2 of {total} runs diverged" in said
    assert f"1 of {total} runs has no result" in said


@pytest.mark.parametrize("kind", KINDS)
def test_an_experiment_without_such_runs_gets_a_sentence(tmp_path, experiment, monkeypatch, kind):
    said = []
    monkeypatch.setattr(style, "say", lambda svg, png, title, sentence, note="": said.append(sentence))
    absent = ["test.ll", "test.knn_accuracy", *(f"test.ll@{s}" for s in (1, 10, 100))]
    absent += [f"test.{kind}_accuracy@{n}" for kind in ("knn", "probe") for n in (100, 600)]
    runs = experiment(["s3:vmf"], **dict.fromkeys(absent))
    for each in (runs, [], [tmp_path / "nothing"]):
        getattr(plotting, f"plot_{kind}")(each, tmp_path / "a.svg", tmp_path / "a.png")
    assert len(said) == 3 and all(sentence.endswith(".") for sentence in said)


def test_a_grid_holds_the_fixed_and_learned_curvatures_of_a_space_and_its_flat_level(experiment):
    runs = experiment([*LATENTS, "e3", "h2", "s2:vmf,e2"], seeds=1)
    (row,) = rows(map(read_run, runs))
    assert set(row.shapes) == {"u2", "2u1", "s2:vmf", "h2"} and set(row.flat) == {"e2"}
    assert list(row.shapes["u2"].fixed) == [-1.0, 0.0, 1.0]
    assert [run.latent for run in row.shapes["u2"].learned] == ["u2:learn"]
    assert not rows(map(read_run, [run for run in runs if "k=1.0" not in run.name]))


def test_networks_that_differ_have_grids_of_their_own_that_say_so(experiment, figure):
    runs = experiment(seeds=1) + experiment(seeds=1, hidden=16)
    titles = [axes.get_title("left") for axes in figure("curvature_grid", runs).axes]
    assert titles == [f"{metric} · {hidden}" for hidden in (8, 16) for metric in ("Log-likelihood", "kNN accuracy")]


def test_a_grid_shows_means_over_seeds_and_a_star_where_the_curvature_ended(experiment, figure):
    runs = experiment(["e2", "u2:k=-1.0", "u2", "u2:k=1.0", "u2:learn"], seeds=4)
    metrics = [read_run(folder).metrics for folder in runs]
    axes = figure("curvature_grid", runs).axes[0]
    (line,) = lines(axes, 3, configurations.MARKS["u"])
    expected = [np.mean([m["test.ll"] for m in metrics[i::5]]) for i in (1, 2, 3)]
    np.testing.assert_allclose(line.get_xdata(), [-1, 0, 1])
    np.testing.assert_allclose(line.get_ydata(), expected)
    (star,) = lines(axes, marker="*")
    learned = [m["curvature.0"] for m in metrics[4::5]]
    np.testing.assert_allclose(floats(star.get_xdata()), [np.mean(learned)])
    np.testing.assert_allclose(floats(star.get_ydata()), [np.mean([m["test.ll"] for m in metrics[4::5]])])
    (bars,) = axes.containers
    np.testing.assert_allclose(np.ptp(floats(bars[2][0].get_segments()[0][:, 0])), 2 * np.std(learned, ddof=1))
    level = np.mean([m["test.ll"] for m in metrics[0::5]])
    assert any(
        np.allclose(floats(line.get_ydata()), level) and to_hex(line.get_color()) == "#0072b2" for line in axes.lines
    )


def test_trajectories_begin_at_the_start_and_mark_what_is_kept(experiment, figure):
    runs = experiment(["u2:learn"], seeds=3)
    axes = figure("curvature_trajectories", runs).axes[0]
    assert all(line.get_xdata()[0] == 0 and line.get_ydata()[0] == 0 for line in lines(axes, 5))
    kept = sorted(float(line.get_ydata()[0]) for line in lines(axes, 1, "o"))
    np.testing.assert_allclose(kept, sorted(read_run(folder).metrics["curvature.0"] for folder in runs))
    assert {float(line.get_xdata()[0]) for line in lines(axes, 1, "o")} == {3.0}
    assert any(list(line.get_ydata()) == [0, 0] for line in axes.lines)  # K = 0
    assert any(list(line.get_xdata()) == [2, 2] for line in axes.lines)  # curvature_start


def test_copies_of_a_component_are_told_apart_by_where_they_end(experiment, figure, folders, tmp_path):
    runs = []
    for seed, ends in enumerate([(-0.5, 0.3, 0.1), (0.4, -0.6, -0.2), (0.0, 0.5, -0.4)]):
        history = {"epoch": [1, 2]} | {f"curvature.{i}": [0, k] for i, k in enumerate(ends)}
        numbers = {f"curvature.{i}": k for i, k in enumerate(ends)}
        runs.append(
            folders.write_result(tmp_path / str(seed), folders.config(latent="3u2:learn", seed=seed), numbers, history)
        )
    drawn = figure("curvature_trajectories", runs)
    legend = [text.get_text() for text in drawn.axes[0].get_legend().get_texts()]
    assert legend == [
        "u2 no. 1: −0.50 ± 0.10, negative in 3 of 3 seeds",
        "u2 no. 2: −0.03 ± 0.15, 1 negative, 1 zero, 1 positive",
        "u2 no. 3: 0.40 ± 0.10, positive in 3 of 3 seeds",
    ]
    assert "numbered by where they end" in words(drawn)


def test_small_curvatures_have_digits_enough(experiment, figure, folders, tmp_path):
    runs = [
        folders.write_result(
            tmp_path / str(seed), folders.config(latent="u2:learn", seed=seed),
            {"curvature.0": k}, {"epoch": [1], "curvature.0": [k]},
        )
        for seed, k in enumerate((-0.0071, -0.0089))
    ]  # fmt: skip
    legend = figure("curvature_trajectories", runs).axes[0].get_legend().get_texts()
    assert [text.get_text() for text in legend] == ["u2: −0.0080 ± 0.0013, negative in 2 of 2 seeds"]


def test_likelihoods_are_shown_below_their_last_value_and_as_they_are(experiment, figure):
    runs = experiment(["e2", "u2"], seeds=3)
    below, absolute = figure("likelihood_curve", runs).axes
    for line in lines(below, 3):
        np.testing.assert_allclose(line.get_xdata(), [1, 10, 100])
        np.testing.assert_allclose(line.get_ydata(), [-4.95, -0.45, 0], atol=1e-9)
    ends = [float(line.get_ydata()[-1]) for line in lines(absolute, 3)]
    np.testing.assert_allclose(ends, [-90.15, -89.15])
    assert below.get_xscale() == absolute.get_xscale() == "log"


def test_a_line_over_dimensions_joins_the_means_of_one_family(experiment, figure):
    runs = experiment(["e2", "e4", "e8", "s2:vmf", "s4:vmf", "2s2:vmf", "h2:k=-0.5"], seeds=2)
    drawn = figure("dimensions", runs)
    likelihood, accuracy = drawn.axes
    (flat,) = lines(likelihood, 3)
    np.testing.assert_allclose(flat.get_xdata(), [2, 4, 8])
    own = [[read_run(run).metrics["test.ll"] for run in (runs[i], runs[i + 7])] for i in range(3)]
    np.testing.assert_allclose(flat.get_ydata(), np.mean(own, axis=1))
    assert len(lines(accuracy, 2)) == 1 and likelihood.get_xscale() == "log"
    assert {text.get_text() for text in drawn.legends[0].get_texts()} == {"e{d}", "s{d}:vmf", "h{d}:k=-0.5"}


def test_accuracies_stand_over_their_numbers_of_labels(experiment, figure):
    drawn = figure("label_budgets", experiment(["e2", "s2:vmf"], seeds=3))
    for axes in drawn.axes:
        assert len(lines(axes, 2)) == 2
        for line in lines(axes, 2):
            np.testing.assert_allclose(line.get_xdata(), [100, 600])
            np.testing.assert_allclose(line.get_ydata(), [55, 80])


def test_the_front_is_what_no_other_beats_in_both_cost_and_likelihood():
    rng = np.random.default_rng(0)
    points = [(*pair, 0.0) for pair in rng.normal(10, 2, (60, 2)).tolist()]
    edge = pareto.front(points)
    beaten = [any(q[0] <= p[0] and q[1] >= p[1] and q != p for q in points) for p in points]
    assert edge == sorted(p for p, lost in zip(points, beaten, strict=True) if not lost)


def test_costs_are_parameters_and_the_wall_time_of_the_provenance(experiment, figure, folders):
    runs = experiment(["e2", "s2:vmf", "h2"], seeds=2)
    for seconds, run in enumerate(runs, start=60):
        (run / "provenance.json").write_text(json.dumps(folders.provenance() | {"wall_seconds": seconds}))
    parameters, times = figure("pareto", runs).axes
    marks = [[float(line.get_xdata()[0]) for line in lines(axes, 1)] for axes in (parameters, times)]
    assert sorted(marks[0]) == [1.0, 1.01, 1.02]
    assert sorted(marks[1]) == [61.5, 62.5, 63.5]


def forest(folders: SimpleNamespace, root: Path, ours: list[float], theirs: list[float]) -> list[Path]:
    return [
        folders.write_result(root / f"{latent}-{seed}", folders.config(latent=latent, seed=seed), {"test.ll": value})
        for latent, values in (("e2", theirs), ("h2", ours))
        for seed, value in enumerate(values)
    ]


def test_an_interval_is_the_paired_t_interval(folders, tmp_path, figure):
    rng = np.random.default_rng(1)
    theirs = rng.normal(-95, 1, 6)
    ours = theirs + rng.normal(0.5, 0.2, 6)
    axes = figure("differences", forest(folders, tmp_path, ours.tolist(), theirs.tolist())).axes[0]
    interval = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    spans = [line.get_xdata() for line in lines(axes, 2) if to_hex(line.get_color()) == style.GEOMETRIES["h"]]
    np.testing.assert_allclose(spans, [[interval.low, interval.high]], rtol=1e-9)
    (dot,) = lines(axes, 1, "s")
    np.testing.assert_allclose(dot.get_xdata(), [np.mean(ours - theirs)])


@pytest.mark.parametrize(
    ("seeds", "shift", "noise", "established"),
    [(5, 2.0, 0.1, True), (4, 2.0, 0.1, False), (5, 0.0, 0.5, False), (1, 2.0, 0.1, False)],
)
def test_colour_is_for_what_five_seeds_establish(folders, tmp_path, figure, seeds, shift, noise, established):
    rng = np.random.default_rng(3)
    theirs = rng.normal(-95, 1, seeds)
    ours = theirs + shift + rng.normal(0, noise, seeds)
    drawn = figure("differences", forest(folders, tmp_path, ours.tolist(), theirs.tolist()))
    (dot,) = lines(drawn.axes[0], 1, "s")
    assert to_hex(dot.get_color()) == (style.GEOMETRIES["h"] if established else style.GREY)
    assert (dot.get_markerfacecolor() == "white") == (seeds == 1)
    said = " ".join(text.get_text() for text in drawn.legends[0].get_texts())
    assert ("established: p < 0.05 after correction for 1 comparison" in said) == established
    assert ("no difference established" in said) == (not established)


def test_the_figure_claims_what_the_table_of_differences_claims(experiment, tmp_path):
    spec = {"dataset": "mnist", "latents": LATENTS, "seeds": 5, "hidden": [[8]]}
    study = plan(validate_study({"study": "x", "experiments": {"a": spec}}))
    runs = [read_run(folder) for folder in experiment(seeds=5, **{"test.knn_accuracy@50": 0.5, "test.elbo": -91.0})]
    records = [
        {"run": run.id, "config": run.config, "status": "finished", "cause": None, "metrics": run.metrics}
        for run in runs
    ]
    (planned,) = study.experiments.values()
    evaluation = planned.spec.evaluation.model_copy(update={"label_budgets": (50,)})
    object.__setattr__(planned, "spec", planned.spec.model_copy(update={"evaluation": evaluation}))
    table = build(planned, records, study.data["mnist"])
    frame = next(section for section in table.sections if section.name == "differences").frame
    found = compared(records)
    assert list(frame["verdict"]) == [d.verdict for d in found]
    assert list(frame["p_holm"]) == [d.adjusted for d in found]


def test_numbers_have_a_true_minus_and_no_negative_zero():
    assert configurations.number(-0.001) == "0.00"
    assert configurations.number(0.0, sign=True) == "0.00"
    assert configurations.number(-1.234, sign=True) == "−1.23"
    assert configurations.number(1.0, 1, sign=True) == "+1.0"


def test_every_kind_of_figure_has_a_function_a_rule_a_script_and_captions():
    evaluation = {"likelihood_curve": [1, 10], "label_budgets": [100, 600]}
    spec = {"dataset": "mnist", "latents": [*LATENTS, "e4", "h2,s2"], "kinds": ["vae", "autoencoder"]}
    spec["evaluation"] = evaluation
    (planned,) = plan(validate_study({"study": "x", "experiments": {"a": spec}})).experiments.values()
    assert set(planned.figures) == set(OVERALL) == {"curves", "comparison", "component_kl", *KINDS}
    text = (ROOT / "workflow/rules/figures.smk").read_text()
    for kind in planned.figures:
        assert callable(getattr(plotting, f"plot_{kind}"))
        assert f"rule plot_{kind}:" in text
        assert f"plot_{kind}(" in (ROOT / f"workflow/scripts/plot_{kind}.py").read_text()


def test_the_workflow_captions_are_those_of_the_report():
    captions = {f"plot_{kind}": words[1] for kind, words in (OVERALL | FIGURES).items()}
    captions |= {f"write_{kind}": words[1] for kind, words in PAGES.items()}
    for name, caption in captions.items():
        assert "Look for" in caption
        assert (ROOT / f"workflow/report/{name}.rst").read_text() == caption + "\n"
