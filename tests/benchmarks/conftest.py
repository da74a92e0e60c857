"""The smallest effort with which a row can be measured, and images for it."""

import pytest

from mcvae.bench.harness import Effort
from mcvae.bench.records import images


@pytest.fixture(scope="session")
def tiny():
    """One block of one call on next to nothing: whether a row works, never how fast it is."""
    return Effort(1, 0.0, 1, 1, (300, 60, 60), 16, 4, 256, 1, 1)


@pytest.fixture(scope="session")
def digits(tiny):
    """The embedded digits as a prepared data set."""
    with images(None, tiny.records) as (dataset, _):
        yield dataset
