"""What the tests of distributions share."""

import pytest
import torch
from scipy import stats


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def angle_at():
    """The angle to loc, as a function of the distribution and of the value of its angle's distribution function."""

    def angle(distribution, uniform: torch.Tensor) -> torch.Tensor:
        length = torch.from_numpy(stats.chi(distribution.dim).ppf(uniform.numpy()))
        return distribution._angle(length, distribution.concentration.double())

    return angle
