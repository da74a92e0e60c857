"""The headline of a table claims what the table of differences claims, word for word, and nothing else."""

import json
from pathlib import Path

import numpy as np
import pytest

from mcvae.config import validate_study
from mcvae.findings.sections import SECTIONS
from mcvae.findings.tables import write_table
from mcvae.grid import plan
from mcvae.plotting.headline import Table, read_table


def read(root: Path, values: dict[str, list[float]], curvatures: dict[str, list[float]] | None = None, **spec) -> Table:
    """The headline of runs with these log-likelihoods of seeds 0, 1, ... by latent, through the tables' own files."""
    seeds = len(next(iter(values.values())))
    spec = {"dataset": "mnist", "latents": list(values), "seeds": seeds, "hidden": [[8]], **spec}
    made = plan(validate_study({"experiments": {"a": spec}}))
    (experiment,) = made.experiments.values()
    for run in experiment.runs:
        latent, seed = run.config.latent, run.config.seed
        folder = root / run.place
        folder.mkdir(parents=True, exist_ok=True)
        metrics = {"status": "finished", "cause": None, "test.ll": values[latent][seed] + sum(run.config.model.hidden)}
        if latent in (curvatures or {}):
            metrics |= {f"curvature.{i}": float(k) for i, k in enumerate(np.atleast_1d(curvatures[latent][seed]))}
        (folder / "metrics.json").write_text(json.dumps(metrics))
    stem = root / "tables" / experiment.name
    outputs = {kind: Path(f"{stem}.{kind}") for kind in ("csv", "md")}
    outputs |= {kind: Path(f"{stem}.{kind}.csv") for kind in SECTIONS}
    write_table(experiment, root, outputs, data=made.data["mnist"])
    return read_table(outputs["csv"], "mnist")


def normal(seed: int, n: int = 5, mean: float = -95.0, sd: float = 1.0) -> list[float]:
    return np.random.default_rng(seed).normal(mean, sd, n).tolist()


def shifted(values: list[float], by: float, seed: int = 9, sd: float = 0.05) -> list[float]:
    return (np.asarray(values) + by + np.random.default_rng(seed).normal(0, sd, len(values))).tolist()


def marks(table: Table) -> list[str]:
    return [row.cells[0].mark for row in table.rows]


def test_a_paired_difference_within_the_spread_of_the_means_is_a_claim(tmp_path):
    """The means overlap; seed by seed the difference is plain, and so says the table of differences."""
    flat = normal(1, sd=3.0)
    table = read(tmp_path, {"e2": flat, "h2": shifted(flat, 0.5)})
    assert marks(table) == ["", "better"] and table.against == "e2"
    assert "the difference is established, paired over 5 seeds" in table.sentences[0]
    assert table.sentences[1].startswith("Log-likelihood against e2, paired by seed: better: h2 +0.5")


def test_means_far_apart_that_pairs_do_not_establish_are_no_claim(tmp_path):
    """One seed makes the whole difference of the means."""
    flat = normal(1, sd=0.01)
    table = read(tmp_path, {"e2": flat, "h2": [*flat[:4], flat[4] + 500]})
    assert marks(table) == ["", ""] and not table.marked
    assert all("established, paired" not in sentence for sentence in table.sentences)
    assert "no difference established" in table.sentences[0] and "no difference established: h2" in table.sentences[1]


@pytest.mark.parametrize("seeds", [1, 4])
def test_fewer_than_five_seeds_claim_nothing_however_clear(tmp_path, seeds):
    flat = normal(1, seeds)
    table = read(tmp_path, {"e2": flat, "h2": shifted(flat, 50.0)})
    assert not table.marked and "fewer than 5 common seeds" in table.sentences[0]
    assert "no difference established: h2" in table.sentences[1] and "better" not in " ".join(table.sentences)


def test_two_curved_spaces_that_no_table_compares_are_not_compared_in_the_headline(tmp_path):
    flat = normal(1)
    values = {"e2": flat, "h2": shifted(flat, 5.0), "s2": shifted(flat, 9.0, seed=3)}
    assert "s2" in read(tmp_path, values).sentences[0]
    assert "not compared with each other" in read(tmp_path, values).sentences[0]
    table = read(tmp_path, values, reference="s2")
    assert "the difference is established" in table.sentences[0]
    assert marks(table) == ["worse", "worse", ""] and table.against == "s2"
    assert table.sentences[1].startswith("Log-likelihood against s2, paired by seed: worse: e2 −")


def test_a_space_that_beats_one_of_its_two_partners_alone_has_no_mark(tmp_path):
    flat = normal(1)
    values = {"e2": flat, "e2:iso": shifted(flat, -5.0), "s2:vmf": shifted(flat, -2.0, seed=4)}
    table = read(tmp_path, values)
    assert marks(table) == ["", "worse", ""]
    assert "s2:vmf +" in table.sentences[1] and "against e2:iso" in table.sentences[1]


def test_the_correction_of_the_table_is_that_of_the_headline(tmp_path):
    """Each would be a claim alone; after Holm none is, nor does the headline make one."""
    rng = np.random.default_rng(3)
    flat = normal(1, sd=0.1)
    values = {"e2": flat} | {
        name: [x + rng.normal(0.9, 0.8) for x in flat] for name in ("h2", *(f"h2:k=-{i}.0" for i in range(2, 10)))
    }
    table = read(tmp_path, values)
    found = (tmp_path / "tables").glob("*.differences.csv")
    verdicts = [line for line in next(found).read_text().splitlines() if "test.ll" in line]
    assert sum(",better," in line for line in verdicts) == sum(mark == "better" for mark in marks(table))


def test_rows_of_one_latent_are_named_with_what_tells_them_apart(tmp_path):
    flat = normal(1)
    table = read(tmp_path, {"e2": flat, "h2": shifted(flat, 5.0)}, hidden=[[8], [16, 4]])
    assert "h2 (hidden 8) +5.0" in table.sentences[1] and "h2 (hidden 16x4) +5.0" in table.sentences[1]


def test_spaces_of_different_dimensions_are_not_ranked_among_each_other(tmp_path):
    flat = normal(1)
    values = {"e2": flat, "h2": shifted(flat, 5.0), "e6": shifted(flat, 40.0), "s6": shifted(flat, 30.0), "h3": flat}
    first, second, *_ = read(tmp_path, values).sentences
    assert first.startswith("Highest mean log-likelihood in 2 dimensions: h2 with") and "then e2 with" in first
    assert second.startswith("Highest mean log-likelihood in 6 dimensions: e6 with") and "then s6 with" in second
    assert sum("Highest" in sentence for sentence in read(tmp_path, values).sentences) == 2


def test_one_space_a_dimension_is_no_ranking(tmp_path):
    assert not any("Highest" in s for s in read(tmp_path, {"e2": normal(1), "h3": normal(2)}).sentences)


def test_of_several_components_it_is_said_which(tmp_path):
    table = read(tmp_path, {"u2:learn,e2": normal(1)}, {"u2:learn,e2": [-0.5, -0.6, -0.4, -0.5, -0.55]})
    assert "u2:learn,e2 (component 0) K = −0.510" in table.sentences[-1]
    ends = [np.roll([-1.0 - 0.01 * seed, 0.5 + 0.01 * seed], seed) for seed in range(5)]
    (sentence,) = read(tmp_path, {"2u2:learn": normal(1)}, {"2u2:learn": ends}).sentences
    assert "2u2:learn (no. 1 of 2 from below) K = −1.020" in sentence and ": negative" in sentence
    assert "2u2:learn (no. 2 of 2 from below) K = +0.520" in sentence and ": positive" in sentence


def test_a_table_without_a_table_of_differences_claims_nothing(tmp_path):
    flat = normal(1)
    read(tmp_path, {"e2": flat, "h2": shifted(flat, 5.0)})
    (tmp_path / "tables" / "a-standin.differences.csv").unlink()
    table = read_table(tmp_path / "tables" / "a-standin.csv", "mnist")
    assert not table.marked and len(table.sentences) == 1 and "not compared" in table.sentences[0]


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        ([-0.5, -0.6, -0.4, -0.5, -0.55], "K = −0.510 [−0.602, −0.418]: negative."),
        ([-0.5, -0.6, -0.4, -0.5], "no sign established, fewer than 5 seeds."),
        ([0.02, -0.03, 0.01, 0.0, -0.01], "no sign established; |K| < 0.1."),
    ],
)
def test_the_sign_of_a_learned_curvature_is_said_as_its_table_says_it(tmp_path, ends, words):
    table = read(tmp_path, {"u2:learn": normal(1, len(ends))}, {"u2:learn": ends})
    (sentence,) = table.sentences
    assert sentence.startswith("Learned curvature: u2:learn K = ") and sentence.endswith(words)


def test_a_sign_that_the_letter_gives_is_no_finding(tmp_path):
    assert read(tmp_path, {"h2:learn": normal(1)}, {"h2:learn": [-0.5, -0.6, -0.4, -0.5, -0.55]}).sentences == []
