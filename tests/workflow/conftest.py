"""The small study, run once for all tests that only look at it."""

import signal

import pytest
from workspace import SMALL, Workspace

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts background processes that way, and all that these start would ignore the Ctrl-C of the tests.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Workspace:
    """The small study, run to its end once on Ray, as the default profile does. Tests copy it before they change it."""
    workspace = Workspace(tmp_path_factory.mktemp("finished"), SMALL)
    workspace.snakemake(executor="ray")
    return workspace
