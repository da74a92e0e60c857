"""Faces are judged by the bits of the bound, of which fewer are better: in every figure and in the headline."""

import json

import numpy as np
import pytest

from mcvae import plotting
from mcvae.findings.columns import LIKELIHOODS
from mcvae.plotting import pareto, style
from mcvae.plotting.headline import read_table

BITS = {"e2": 6.4968, "e4": 6.41, "s4:vmf": 6.4, "h4": 6.45}


@pytest.fixture
def figure(monkeypatch, tmp_path, folders):
    """Draw a kind of figure of five seeds of four spaces, whose likelihoods say the opposite of their bits."""
    runs = []
    for seed in range(5):
        for place, (latent, bits) in enumerate(BITS.items()):
            noise = np.random.default_rng([seed, place]).normal(0, 0.001)
            numbers = {"test.bits_per_dim_elbo": bits + noise, "test.ll": bits - noise, "parameters": 100 + place}
            numbers["test.knn_balanced_accuracy"] = 0.6 + noise
            folder = tmp_path / "runs" / f"{latent.replace(':', '-')}-s{seed}"
            run = folders.config("celeba", latent, seed)
            runs.append(folders.write_result(folder, run, numbers, {"epoch": [1, 2]}))
            (runs[-1] / "provenance.json").write_text(json.dumps(folders.provenance()))
    kept = []
    monkeypatch.setattr(style, "save", lambda figure, *_: kept.append(figure))

    def draw(kind):
        getattr(plotting, f"plot_{kind}")(runs, tmp_path / "a.svg", tmp_path / "a.png")
        return kept[-1]

    return draw


def test_differences_are_those_of_bits_and_better_to_the_left(figure):
    main, _ = figure("differences").axes
    assert main.get_title(loc="left") == "Bits per dimension of the ELBO"
    assert main.get_title(loc="right") == "← better" and main.get_xlabel() == "difference, bits"
    drawn = [float(line.get_xdata()[0]) for line in main.lines if len(line.get_xdata()) == 1]
    np.testing.assert_allclose(sorted(drawn), sorted([6.4 - 6.41, 6.45 - 6.41]), atol=0.003)


def test_dimensions_have_bits_above_them(figure):
    (axes,) = figure("dimensions").axes
    assert axes.get_title(loc="left") == "Bits per dimension of the ELBO" and axes.get_ylabel() == "bits"
    flat = next(line for line in axes.lines if len(line.get_xdata()) == 2)
    np.testing.assert_allclose(flat.get_ydata(), [6.4968, 6.41], atol=0.002)


def test_costs_stand_beside_bits_and_the_front_is_the_lower_edge(figure):
    for axes in figure("pareto").axes:
        assert axes.get_ylabel() == "Bits per dimension of the ELBO"
    points = [(*pair, 0.0) for pair in np.random.default_rng(0).normal(10, 2, (60, 2)).tolist()]
    mirrored = [(cost, -value, sd) for cost, value, sd in points]
    assert pareto.front(points, -1) == [(cost, -value, sd) for cost, value, sd in pareto.front(mirrored)]


def test_the_headline_names_the_fewest_bits_with_the_decimals_that_tell_them_apart(tmp_path):
    names = ["test.bits_per_dim_elbo", "test.bits_per_dim_elbo sd", "test.ll", "test.ll sd"]
    header = ",".join([*"latent kind hidden seeds diverged missing".split(), *names])
    rows = ["e64,vae,8,1,0,0,6.4968,,12755.0,", "h64,vae,8,1,0,0,6.4921,,12700.0,"]
    (tmp_path / "t.csv").write_text("\n".join([header, *rows]) + "\n")
    table = read_table(tmp_path / "t.csv", "celeba")
    (sentence,) = table.sentences
    assert sentence.startswith("Lowest mean bits per dimension of the ELBO: h64 with 6.492, then e64 with 6.497; ")
    assert table.chart == "bits per dimension of the ELBO"
    assert LIKELIHOODS[0] == "test.bits_per_dim_elbo"
