"""Files are written whole, and what killed writers left behind goes when the same file is written again."""

import os
import signal
import subprocess
import sys

import pytest

from mcvae.files import atomic, write_text

WRITER = """
import sys
from mcvae.files import atomic
with atomic(sys.argv[1]) as temporary:
    temporary.write_bytes(bytes(1000))
    print("writing", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def writer(tmp_path):
    """A process that is writing ``file`` and does not finish before its input ends."""
    command = [sys.executable, "-c", WRITER, str(tmp_path / "file.npy")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "writing\n"
        yield process
        process.kill()


def temporaries(folder):
    return [path.name for path in folder.iterdir() if ".part" in path.name]


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "file.json"
    with pytest.raises(ZeroDivisionError), atomic(path) as temporary:
        temporary.write_text("half")
        1 / 0  # noqa: B018
    assert list(path.parent.iterdir()) == []
    write_text(path, "whole")
    assert path.read_text() == "whole" and list(path.parent.iterdir()) == [path]


def test_what_a_killed_writer_left_goes_with_the_next_one(tmp_path, writer):
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    assert len(temporaries(tmp_path)) == 1
    write_text(tmp_path / "other.npy", "x")
    assert len(temporaries(tmp_path)) == 1
    write_text(tmp_path / "file.npy", "x")
    assert temporaries(tmp_path) == []


def test_a_writer_that_lives_is_left_alone(tmp_path, writer):
    write_text(tmp_path / "file.npy", "mine")
    with atomic(tmp_path / "file.npy") as mine:
        assert len(temporaries(tmp_path)) == 2
        write_text(tmp_path / "file.npy", "mine, too")
        mine.write_text("mine again")
    writer.stdin.close()
    assert writer.wait() == 0
    assert (tmp_path / "file.npy").read_bytes() == bytes(1000) and temporaries(tmp_path) == []


def test_of_another_machines_writers_nothing_is_known(tmp_path, writer, monkeypatch):
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    monkeypatch.setattr("mcvae.files._place", lambda: "00000000")
    write_text(tmp_path / "file.npy", "x")
    assert len(temporaries(tmp_path)) == 1


def test_the_longest_name_that_a_file_can_have_here_can_be_written(tmp_path):
    path = tmp_path / f"{'x' * 246}.json"
    write_text(path, "whole")
    assert path.read_text() == "whole"
