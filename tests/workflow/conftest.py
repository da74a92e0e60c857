"""The small study, run once for all tests that only look at it."""

import pytest
from workspace import SMALL, Workspace


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Workspace:
    """The small study, run to its end once on Ray, as the default profile does. Tests copy it before they change it."""
    workspace = Workspace(tmp_path_factory.mktemp("finished"), SMALL)
    workspace.snakemake(executor="ray")
    return workspace
