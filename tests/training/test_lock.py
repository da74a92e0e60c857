"""A folder has one trainer at a time, and a dead one holds nothing."""

import os
import subprocess
import sys

import pytest

from mcvae.errors import UserError
from mcvae.training.lock import locked


def test_a_second_trainer_is_refused_with_the_first_ones_process(tmp_path):
    with locked(tmp_path):
        with pytest.raises(UserError, match=f"process {os.getpid()} is training there"):
            with locked(tmp_path):
                pass
    with locked(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


HOLD = """
import sys, time
from mcvae.training.lock import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(0.5)
"""


def test_a_trainer_waits_for_one_that_ends_soon(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with locked(tmp_path, wait_seconds=60):
            assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    code = (
        "import fcntl, os, signal, sys; file = open(sys.argv[1], 'w'); file.write('1'); file.flush();"
        "fcntl.flock(file, fcntl.LOCK_EX); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / ".lock")]).returncode == -9
    assert (tmp_path / ".lock").exists()
    with locked(tmp_path):
        pass
