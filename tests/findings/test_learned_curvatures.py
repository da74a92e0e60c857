"""Learned curvatures: final values over the seeds, by component and sign."""

import numpy as np
import pytest

from mcvae.findings.curvatures import learned_curvatures


def record(latent, seed, *curvatures, status="finished"):
    config = {"latent": latent, "seed": seed, "model": {"kind": "vae", "hidden": [64]}}
    metrics = {f"curvature.{i}": k for i, k in enumerate(curvatures)}
    return {"run": f"{latent}-{seed}", "config": config, "status": status, "cause": None, "metrics": metrics}


def test_each_learned_component_has_its_own_index_and_signs():
    values = {0: (-1.0, 0.0, -0.5, 0.3), 1: (-1.0, 0.0, 0.25, 0.0), 2: (-1.0, 0.0, 1.0, 0.1)}
    found = learned_curvatures([record("h2,e2,2u2:learn", seed, *row) for seed, row in values.items()])
    assert [(c.index, c.component, c.copies, c.start) for c in found] == [(2, "u2", 2, 0.0), (3, "u2", 2, 0.0)]
    assert [(c.negative, c.zero, c.positive) for c in found] == [(1, 0, 2), (0, 1, 2)]
    assert found[0].mean == pytest.approx(0.25) and found[0].sd == pytest.approx(np.std([-0.5, 0.25, 1.0], ddof=1))
    assert (found[1].least, found[1].most) == (0.0, 0.3)


def test_fixed_curvatures_are_not_learned_ones():
    assert learned_curvatures([record("h2,s2", 0, -1.0, 1.0), record("e2", 0, 0.0)]) == []


def test_diverged_and_missing_runs_count_for_nothing():
    rows = [record("s2:k=0.5:learn", 0, 0.4), record("s2:k=0.5:learn", 1, 9.0, status="diverged")]
    (found,) = learned_curvatures([*rows, record("s2:k=0.5:learn", 2, status="missing")])
    assert (found.seeds, found.mean, found.sd, found.start, found.positive) == (1, 0.4, None, 0.5, 1)
    (empty,) = learned_curvatures(rows[1:])
    assert (empty.seeds, empty.mean, empty.least, empty.negative) == (0, None, None, 0)
