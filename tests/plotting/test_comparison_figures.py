"""Models side by side: which are chosen, in which order, and with which numbers."""

import json

import numpy as np
import pytest
from matplotlib.figure import Figure

from mcvae import plotting
from mcvae.config import validate_study
from mcvae.gallery import compared
from mcvae.grid import plan
from mcvae.plotting import style
from mcvae.plotting.folders import read_run
from mcvae.plotting.grids import rgb

MODELS = [("e2", "vae"), ("s2:vmf", "vae"), ("e2", "autoencoder")]


def unrolled(**spec):
    (planned,) = plan(
        validate_study({"study": "x", "experiments": {"a": {"dataset": "mnist"} | spec}})
    ).experiments.values()
    return planned


@pytest.fixture
def runs(tmp_path, folders):
    """Folders of runs of these models, with log-likelihoods that differ by seed."""

    def make(models=MODELS, seeds=1, **status):
        made = []
        for seed in range(seeds):
            for place, (latent, kind) in enumerate(models):
                run = folders.config("mnist", latent, seed, kind)
                folder = tmp_path / f"{place}-s{seed}"
                made.append(
                    folders.write_run(folder, run, records=40, epochs=1, status=status.get(f"s{seed}", "finished"))
                )
                metrics = json.loads((folder / "metrics.json").read_text())
                known = kind == "vae" and metrics["test.ll"] is not None
                metrics |= {"test.ll": -90.0 - place - 2 * seed if known else None, "test.kl": 5.25 if known else None}
                (folder / "metrics.json").write_text(json.dumps(metrics))
        return made

    return make


@pytest.fixture
def texts(monkeypatch, tmp_path):
    """Draw, and have all words of the figure, column by column."""
    kept: list[Figure] = []
    monkeypatch.setattr(style, "save", lambda figure, *_: kept.append(figure))

    def draw(folders):
        plotting.plot_comparison(folders, tmp_path / "a.svg", tmp_path / "a.png")
        words = [text for axes in kept[-1].axes for text in axes.texts] + kept[-1].texts
        return kept[-1], [" ".join(text.get_text().split()) for text in words]

    return draw


def test_the_autoencoder_comes_first_and_has_neither_likelihood_nor_draws(runs, texts):
    _, words = texts(runs())
    headings = [word for word in words if " · e2" in word or " · s2:vmf" in word]
    assert headings == ["Autoencoder · e2", "VAE · e2", "VAE · s2:vmf"]
    assert words.count("An autoencoder has no prior to draw from.") == 1
    assert words.count("–") == 4 - 1 + 2  # its LL and KL, and reconstruction, which no run of these has
    assert {"−90.00", "−91.00", "5.25", "91.0"} <= set(words)


def test_numbers_are_means_over_seeds_with_their_deviation(runs, texts):
    _, words = texts(runs(seeds=3))
    values = -90.0 - 2 * np.arange(3)
    assert f"{values.mean():.2f} ± {values.std(ddof=1):.2f}".replace("-", "−") in words
    assert any("means over 3 seeds ± one standard deviation" in word for word in words)


def test_a_model_whose_first_seed_diverged_is_shown_by_the_next_and_says_which(runs, texts):
    _, words = texts(runs(seeds=2, s0="diverged"))
    assert "VAE · e2 · seed 1" in words and any("3 of 6 runs diverged" in word for word in words)
    assert "−92.00" in words


def test_models_that_all_diverged_are_sentences(runs, texts):
    figure, words = texts(runs(s0="diverged"))
    assert sum("This run diverged after 1 epoch" in word for word in words) == 3
    assert not any(axes.images for axes in figure.axes)


def test_columns_show_reconstructions_of_the_same_records(runs, texts):
    folders = runs()
    figure, _ = texts(folders)
    pictures = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    shown = [picture for picture in pictures if picture.shape[0] == 2 * 28 + 2]
    assert len(shown) == 3 and len(pictures) == 5
    for picture, folder in zip(shown, [folders[2], *folders[:2]], strict=True):
        arrays = read_run(folder).arrays()
        for top, name in ((0, "inputs"), (30, "reconstructions")):
            for left, record in ((0, 0), (30, 3), (150, 15)):
                np.testing.assert_array_equal(picture[top:, left:][:28, :28], rgb(arrays[name][record]))


def test_more_models_than_there_is_room_for_are_counted(runs, texts):
    models = [
        ("e2", "autoencoder"),
        *((latent, "vae") for latent in ("e2", "s2", "h2", "p2", "d2", "u2", "s2:vmf", "s2:ps")),
    ]
    figure, words = texts(runs(models))
    assert any("the first 8 of 9 models" in word for word in words)
    assert sum(word.startswith("VAE ·") for word in words) == 7
    width, height = figure.get_size_inches()
    assert width < 10 and height < 20


def test_equal_runs_give_equal_bytes(runs, tmp_path):
    folders = runs()
    made = []
    for name in "ab":
        plotting.plot_comparison(folders, tmp_path / f"{name}.svg", tmp_path / f"{name}.png", note="stand-in: digits")
        made.append((tmp_path / f"{name}.svg").read_bytes() + (tmp_path / f"{name}.png").read_bytes())
    assert made[0] == made[1]


def test_runs_of_one_dimension_and_one_network_are_compared():
    spec = {
        "latents": ["h6", "e6", "s2", "e2", "h2"],
        "hidden": [[8], [16]],
        "kinds": ["vae", "autoencoder"],
        "seeds": 2,
    }
    planned = unrolled(**spec)
    found = [planned.runs[place].config for place in compared([run.config for run in planned.runs])]
    assert {config.model.hidden for config in found} == {(8,)} and {config.seed for config in found} == {0, 1}
    assert {(config.latent, config.model.kind) for config in found} == {
        ("s2", "vae"), ("e2", "vae"), ("h2", "vae"), ("e2", "autoencoder")
    }  # fmt: skip
    assert "comparison" in planned.figures


@pytest.mark.parametrize(
    "spec",
    [
        {"latents": ["e2", "s2"]},
        {"latents": ["e2"], "kinds": ["autoencoder"]},
        {"latents": ["e2", "s2"], "kinds": ["vae", "autoencoder"], "dataset": "sphere"},
        {"latents": ["e2", "s2"], "kinds": ["vae", "autoencoder"], "dataset": "qm9"},
    ],
)
def test_without_an_autoencoder_of_images_and_a_vae_there_is_no_comparison(spec):
    planned = unrolled(**spec)
    assert compared([run.config for run in planned.runs]) == [] and "comparison" not in planned.figures
