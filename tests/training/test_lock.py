"""A folder has one trainer at a time, a dead one holds nothing, and one that slept does not write beside a new one."""

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mcvae.errors import UserError
from mcvae.training import lock
from mcvae.training.lock import Holder, birth, locked

# The module alone, without its package and torch: these processes are many.
LIGHT = """
import mcvae, sys, types
package = sys.modules["mcvae.training"] = types.ModuleType("mcvae.training")
package.__path__ = [mcvae.__path__[0] + "/training"]
"""
HOLD = """
import sys, time
from mcvae.training import lock
{setup}
with lock.locked(sys.argv[1]) as held:
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
    print("checks", flush=True)
    held.check()
    print("writes", flush=True)
"""
NO_FLOCK = """
import errno, os
def flock(*arguments):
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
lock.fcntl.flock = flock
"""


@pytest.fixture(params=["locks", "notes"])
def kept(request, monkeypatch):
    """By the kernel, or on a file system without locks: what sets a process up for it."""
    if request.param == "locks":
        return ""

    def flock(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    return NO_FLOCK


@pytest.fixture
def hold(tmp_path, kept):
    """Start a process that holds the lock for some seconds, looks, and says that it would write."""
    started = []

    def start(seconds):
        code = LIGHT + HOLD.format(setup=kept)
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), str(seconds)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def test_a_second_trainer_is_refused_with_the_first_ones_process(tmp_path, kept):
    with locked(tmp_path):
        with pytest.raises(UserError, match=f"process {os.getpid()} is training there"):
            with locked(tmp_path):
                pass
    with locked(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_trainer_waits_for_one_that_ends_soon(tmp_path, hold):
    hold(0.3)
    with locked(tmp_path, wait_seconds=60):
        assert (tmp_path / ".lock").read_text().startswith(f"{os.getpid()} {socket.gethostname()} ")


def test_the_lock_of_a_killed_process_is_free(tmp_path, hold):
    process = hold(60)
    with pytest.raises(UserError, match=f"process {process.pid} is training there"):
        with locked(tmp_path):
            pass
    process.kill()
    process.wait()
    assert (tmp_path / ".lock").exists()
    with locked(tmp_path) as ours:
        ours.check()


def test_a_stopped_orphan_keeps_its_folder_until_it_is_killed(tmp_path, hold):
    """Refused for as long as it could wake up and write; let go, it writes, and nobody else did."""
    sleeper = hold(0.5)
    os.kill(sleeper.pid, signal.SIGSTOP)
    with pytest.raises(UserError, match=f"process {sleeper.pid} is training there"):
        with locked(tmp_path, wait_seconds=1.0):
            pass
    os.kill(sleeper.pid, signal.SIGCONT)
    assert sleeper.stdout.read() == "checks\nwrites\n"
    sleeper = hold(60)
    os.kill(sleeper.pid, signal.SIGSTOP)
    os.kill(sleeper.pid, signal.SIGKILL)
    sleeper.wait()
    with locked(tmp_path):
        pass


def test_an_orphan_whose_lock_was_deleted_stops_before_it_writes(tmp_path, hold):
    sleeper = hold(0.5)
    os.kill(sleeper.pid, signal.SIGSTOP)
    (tmp_path / ".lock").unlink()
    with locked(tmp_path) as ours:
        os.kill(sleeper.pid, signal.SIGCONT)
        assert sleeper.stdout.read() == "checks\n"
        assert f"another trainer has taken over, or .lock was deleted; process {sleeper.pid} stops" in (
            sleeper.stderr.read()
        )
        sleeper.wait()
        ours.check()
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_inherits_the_lock_holds_it_when_its_parent_is_dead(tmp_path):
    code = LIGHT + (
        "import subprocess, sys, os, signal\n"
        "from mcvae.training.lock import locked\n"
        "with locked(sys.argv[1]) as lock:\n"
        "    child = subprocess.Popen(['sleep', '60'], pass_fds=[lock.descriptor])\n"
        "    print(child.pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        parent.wait()
        try:
            with pytest.raises(UserError, match="is training there"):
                with locked(tmp_path):
                    pass
        finally:
            os.kill(child, signal.SIGKILL)
    with locked(tmp_path, wait_seconds=10):
        pass


def test_where_locks_are_one_hosts_own_the_newer_trainer_has_the_folder(tmp_path):
    """The older one holds its own host's lock still; it finds another file in the place of its own, and stops."""
    with locked(tmp_path) as older:
        (tmp_path / ".lock").write_text("77 elsewhere 1\n")
        fcntl.flock(older.descriptor, fcntl.LOCK_UN)  # what its host's lock is to this host
        with locked(tmp_path) as newer:
            newer.check()
            assert not older.held()
            with pytest.raises(UserError, match="another trainer has taken over"):
                older.check()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kept", ["notes"], indirect=True)
def test_without_file_locks_another_hosts_trainer_is_believed_alive(kept, tmp_path, caplog):
    (tmp_path / ".lock").write_text("77 elsewhere 1\n")
    with pytest.raises(
        UserError, match=r"process 77 on elsewhere is training there; .* if it is gone, delete .*\.lock"
    ):
        with locked(tmp_path):
            pass
    assert "no file locks here" in caplog.text
    (tmp_path / ".lock").unlink()
    with locked(tmp_path):
        pass


@pytest.mark.parametrize("text", ["", "1", "x y z", "\0" * 40])
def test_a_note_that_says_nothing_is_believed_by_those_without_locks_only(text, tmp_path, monkeypatch):
    (tmp_path / ".lock").write_text(text)
    with locked(tmp_path):
        pass
    (tmp_path / ".lock").write_text(text)
    monkeypatch.setattr(lock, "_file_locks", lambda folder: False)
    with pytest.raises(UserError, match="another process is training there"):
        with locked(tmp_path):
            pass


def test_an_id_that_was_given_to_another_process_is_no_holder():
    pid, host = os.getpid(), socket.gethostname()
    assert not Holder(pid, host, birth(pid)).dead
    assert Holder(pid, host, "554b2ac8/1").dead
    assert not Holder(pid, "elsewhere", "554b2ac8/1").dead
    with subprocess.Popen(["true"]) as process:
        while Path(f"/proc/{process.pid}/stat").exists() and birth(process.pid):
            time.sleep(0.01)  # until it has ended; a zombie does nothing any more
        assert birth(process.pid) == ""
    assert birth(process.pid) == ""


def test_of_many_that_want_a_folder_one_at_a_time_has_it(tmp_path, kept):
    inside, most = [], []

    def train():
        with locked(tmp_path, wait_seconds=60):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.01)
            inside.pop()

    threads = [threading.Thread(target=train) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 6 and list(tmp_path.iterdir()) == []
