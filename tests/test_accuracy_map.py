"""The figure of the documentation: what it measures can be measured anew, and it says what it shows."""

import csv
import importlib.util
import math
from pathlib import Path

import pytest
import torch

DOCS = Path(__file__).parents[1] / "docs"
SPEC = importlib.util.spec_from_file_location("accuracy", DOCS / "accuracy.py")


@pytest.fixture(scope="module")
def accuracy():
    pytest.importorskip("matplotlib")
    module = importlib.util.module_from_spec(SPEC)
    SPEC.loader.exec_module(module)
    return module


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_density_is_accurate_where_nothing_is_hard(accuracy, dtype):
    bar = 1e-5 if dtype == "float32" else 1e-11
    for name, (function, letter, _) in accuracy.MAPS.items():
        torch.manual_seed(0)
        assert function(letter, 3, 1.0, getattr(torch, dtype)) < bar, name


def test_a_value_that_is_not_finite_shows_as_infinite(accuracy):
    import numpy as np

    assert accuracy.worst(torch.tensor([1.0, math.nan]), np.array([1.0, 2.0])) == math.inf


def test_the_committed_table_covers_the_map(accuracy):
    with (DOCS / "accuracy.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    cells = {(row["density"], row["dtype"], int(row["dim"]), float(row["size"])) for row in rows}
    assert cells == {
        (name, dtype, dim, float(f"{size:.4g}"))
        for name, (_, _, (_, sizes)) in accuracy.MAPS.items()
        for dtype in accuracy.DTYPES
        for dim in accuracy.DIMS
        for size in sizes
    }
    figure = accuracy.draw(rows)
    assert len(figure.axes) == 2 * len(accuracy.MAPS) + 1
