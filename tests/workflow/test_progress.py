"""The `grid` logger plugin: counts, time to go, the watched file, and errors that are always shown."""

import fcntl
import io
import logging
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

PLUGINS = Path(__file__).parents[2] / "workflow" / "plugins"
sys.path.insert(0, str(PLUGINS))

LogEvent = pytest.importorskip("snakemake_interface_logger_plugins.common").LogEvent
from snakemake_logger_plugin_grid import LogHandler, LogHandlerSettings  # noqa: E402
from snakemake_logger_plugin_grid.progress import Progress, clock, shortened  # noqa: E402
from snakemake_logger_plugin_grid.screen import Screen  # noqa: E402

ENVIRONMENT = os.environ | {"PYTHONPATH": f"{PLUGINS}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}

SNAKEFILE = """
rule all:
    input: "good_1.txt", "good_2.txt", "bad_x.txt"
rule good:
    output: "good_{n}.txt"
    shell: "echo {wildcards.n} > {output}"
rule bad:
    output: "bad_{n}.txt"
    log: "bad_{n}.log"
    shell: "echo the reason > {log}; exit 1"
"""


def record(event=None, level=logging.INFO, message=None, **attributes):
    made = logging.LogRecord("snakemake", level, "", 0, message, None, None)
    made.__dict__.update(attributes, event=event)
    return made


def submitted(jobid, rule="train", local=False, **wildcards):
    return record(LogEvent.JOB_INFO, jobid=jobid, rule_name=rule, wildcards=wildcards, local=local)


def snakemake(folder, *arguments):
    command = [sys.executable, "-m", "snakemake", "--nocolor", "-j", "1", "--scheduler", "greedy", *arguments]
    return subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)


def test_done_running_failed_and_waiting_jobs_add_up_to_the_total():
    progress = Progress({"train": 4, "table": 1, "total": 5})
    progress.update(submitted(1, run="a"))
    progress.update(record(running=[1]))
    for jobid, run in ((2, "b"), (3, "c"), (4, "d")):
        progress.update(submitted(jobid, run=run))
    assert [job.label for job in progress.running()] == ["a"], "jobs in the executor's queue do not run"
    progress.update(record(running=[2]))
    progress.update(record(LogEvent.JOB_FINISHED, job_id=1))
    progress.update(record(LogEvent.JOB_ERROR, jobid=2))
    progress.update(record(running=[3]))
    assert progress.counts() == "1/5 jobs done, 1 running, 2 to go, 1 failed"
    progress.update(submitted(2, run="b"))
    assert progress.counts() == "1/5 jobs done, 1 running, 3 to go", "a job that is tried again has not failed"


def test_time_to_go_is_the_remaining_work_of_each_rule_over_the_jobs_at_work(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("snakemake_logger_plugin_grid.progress.time.monotonic", lambda: now[0])
    progress = Progress({"train": 5, "table": 2, "total": 7})
    assert progress.remaining_seconds() is None
    progress.update(submitted(1))
    progress.update(submitted(2))
    now[0] = 10.0
    progress.update(record(LogEvent.JOB_FINISHED, job_id=1))
    progress.update(record(LogEvent.JOB_FINISHED, job_id=2))
    progress.update(submitted(3))
    progress.update(submitted(4))
    # 3 train and 2 table jobs of 10 s, two at a time.
    assert progress.remaining_seconds() == pytest.approx(25.0)
    now[0] = 14.0
    assert progress.remaining_seconds() == pytest.approx(21.0)


def test_the_total_is_that_of_the_planned_jobs_and_grows_with_checkpoints():
    progress = Progress({"train": 2, "total": 2})
    progress.update(record(LogEvent.PROGRESS, done=1, total=50))  # the graph, of which --until leaves 48 jobs out
    assert progress.total == 2
    progress.update(record(LogEvent.PROGRESS, done=2, total=53))
    assert progress.total == 5


def test_the_headline_says_what_fits():
    progress = Progress({"train": 12000, "total": 12000})
    progress.update(submitted(1))
    progress.update(record(LogEvent.JOB_FINISHED, job_id=1))
    for width in (200, 60, 40, 30, 12):
        assert len(progress.headline(width)) <= width and progress.headline(width).startswith("1/12000")
    assert progress.headline(200) == progress.headline() and "elapsed" in progress.headline()


def test_a_shortened_text_keeps_its_ends():
    for length in range(12):
        assert len(shortened("abcdefghij", length)) == min(length, 10)
    assert shortened("mnist e2-s0-0123abcd", 12) == "mnist..3abcd"


def test_an_event_costs_as_much_with_twenty_thousand_jobs_as_with_two():
    def seconds(jobs):
        progress = Progress({"train": jobs, "total": jobs})
        records = [r for i in range(jobs) for r in (submitted(i), record(LogEvent.JOB_FINISHED, job_id=i))]
        start = time.process_time()
        for each in records:
            progress.update(each)
        progress.headline(), progress.rule_lines()
        return (time.process_time() - start) / jobs

    few = min(seconds(200) for _ in range(5))
    assert seconds(20000) < 5 * few


def test_clock_reads_minutes_and_hours():
    assert [clock(seconds) for seconds in (7, 750, 11045)] == ["0:07", "12:30", "3:04:05"]


def test_the_last_complete_line_of_a_watched_file_is_shown_for_its_job(tmp_path, monkeypatch):
    folder = tmp_path / "runs" / "mnist" / "e2-s0"
    folder.mkdir(parents=True)
    (folder / "history.csv").write_text("epoch,loss,validation.elbo\n1,5,-100.25\n2,4,-98.123456\n3,")
    settings = LogHandlerSettings(watch=str(tmp_path / "runs/*/{run}/history.csv"), seconds=0.0)
    handler = make_handler(monkeypatch, settings)
    handler.emit(record(LogEvent.RUN_INFO, stats={"train": 2, "total": 2}, message="Job stats"))
    handler.emit(submitted(1, run="e2-s0"))
    handler.emit(submitted(2, run="none"))
    handler.emit(record(LogEvent.JOB_FINISHED, job_id=2))
    handler.close()
    assert "e2-s0 epoch 2, validation.elbo -98.123" in handler.stream.getvalue()
    assert "1/2 jobs done" in handler.stream.getvalue().splitlines()[-1]


def make_handler(monkeypatch, settings, stream=None, nocolor=True):
    monkeypatch.setattr(sys, "stderr", stream or io.StringIO())
    common = SimpleNamespace(
        printshellcmds=False, nocolor=nocolor, quiet=None, debug_dag=False, verbose=False, show_failed_logs=False,
        stdout=False, dryrun=False,
    )  # fmt: skip
    return LogHandler(common, settings)


def test_warnings_and_plain_messages_pass_and_job_blocks_do_not(monkeypatch):
    handler = make_handler(monkeypatch, LogHandlerSettings())
    handler.emit(record(message="Building DAG of jobs..."))
    handler.emit(record(message="Select jobs to execute..."))
    handler.emit(submitted(1))
    handler.emit(record(level=logging.WARNING, message="mind the gap"))
    handler.close()
    assert handler.stream.getvalue().splitlines() == ["Building DAG of jobs...", "mind the gap"]


def test_a_failed_job_is_shown_with_its_wildcards_and_the_end_of_its_log(tmp_path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    done = snakemake(tmp_path, "--logger", "grid", "--keep-going", "--quiet", "progress")
    assert done.returncode != 0
    assert "Error in rule bad" in done.stderr
    done = snakemake(tmp_path, "--logger", "grid", "--keep-going")
    assert "2 jobs: 1 bad, 1 all" in done.stderr
    assert "wildcards: x\n    last lines of bad_x.log:\n        the reason" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("0/2 jobs done, 0 running, 1 to go, 1 failed")


def test_dry_runs_and_graphs_are_what_they_are_without_the_plugin(tmp_path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    dry = snakemake(tmp_path, "-n", "--logger", "grid")
    assert "rule good:" in dry.stderr + dry.stdout and "This was a dry-run" in dry.stderr + dry.stdout
    graph = snakemake(tmp_path, "--rulegraph", "--logger", "grid")
    assert graph.stdout.startswith("digraph") and sorted(graph.stdout) == sorted(
        snakemake(tmp_path, "--rulegraph").stdout
    )


class Terminal:
    """A pseudo-terminal of some size, and what a user sees on it: the lines that are above and those on the screen."""

    def __init__(self, columns, rows=24):
        self.master, slave = pty.openpty()
        self.stream = os.fdopen(slave, "w", encoding="utf-8")
        self.resize(columns, rows)

    def resize(self, columns, rows=24):
        self.columns = columns
        fcntl.ioctl(self.stream.fileno(), termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def raw(self):
        self.stream.flush()
        os.set_blocking(self.master, False)
        parts = []
        while True:
            try:
                parts.append(os.read(self.master, 65536))
            except BlockingIOError:
                return b"".join(parts).decode()

    def close(self):
        self.stream.close()
        os.close(self.master)


def shown(text, columns):
    """The lines that are left of a stream with `cursor up` and `erase below`; long ones are wrapped as they come."""
    lines = [""]
    for up, piece in re.findall(r"\x1b\[(\d+)A\x1b\[J|((?:(?!\x1b\[\d+A).)+)", text, re.S):
        if up:
            assert int(up) < len(lines), "the cursor leaves the screen"
            del lines[-int(up) - 1 :]
            lines.append("")
        for character in piece.replace("\r", ""):
            if character == "\n":
                lines.append("")
            else:
                if len(lines[-1]) == columns:
                    lines.append("")
                lines[-1] += character
    return lines


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    made = Terminal(40)
    yield made
    made.close()


def start_on(terminal, monkeypatch, settings, jobs, seconds=0.05):
    """A handler that draws on the terminal often, with so many running jobs."""
    monkeypatch.setattr("snakemake_logger_plugin_grid.handler.REDRAW_SECONDS", seconds)
    handler = make_handler(monkeypatch, settings, stream=terminal.stream)
    handler.emit(record(LogEvent.RUN_INFO, stats={"train": jobs, "total": jobs}, message="Job stats"))
    for jobid in range(jobs):
        handler.emit(submitted(jobid, dataset="mnist-standin", run=f"h2-s{jobid}-0123abcd"))
    return handler


def test_a_narrow_terminal_shows_epoch_and_elbo_and_no_line_too_long(terminal, monkeypatch, tmp_path):
    folder = tmp_path / "h2-s0-0123abcd"
    folder.mkdir()
    settings = LogHandlerSettings(watch=str(tmp_path / "{run}/history.csv"))
    handler = start_on(terminal, monkeypatch, settings, 3)
    (folder / "history.csv").write_text("epoch,validation.elbo\n17,-98.123456\n")
    time.sleep(0.3)
    text = terminal.raw()
    handler.close()
    block = shown(text, 40)[-6:]
    assert all(len(line) < 40 for line in block) and "0/3 done, 3 run" in block[0]
    assert re.fullmatch(r"  mnist.*\.\..*abcd  epoch 17, elbo -98\.123", block[2])
    assert [line for line in shown(text + terminal.raw(), 40) if line][-2].startswith("0/3 jobs done")


def test_redrawing_leaves_nothing_behind_and_messages_stay_above(terminal, monkeypatch):
    handler = start_on(terminal, monkeypatch, LogHandlerSettings(), 4)
    time.sleep(0.2)
    handler.emit(record(level=logging.WARNING, message="mind the gap"))
    time.sleep(0.2)
    handler.close()
    lines = [line for line in shown(terminal.raw(), 40) if line]
    gap = next(i for i, line in enumerate(lines) if "mind the gap" in line)
    assert len(lines) - gap == 1 + 2, "more than the message and the summary, which takes two rows"


def test_a_terminal_that_becomes_narrower_or_wider_is_cleaned_of_what_was_drawn(terminal):
    screen, seen = Screen(terminal.stream), ""
    for columns in (40, 10, 27, 80, 13):
        before = shown(seen + terminal.raw(), terminal.columns) if seen else [""]
        terminal.resize(columns)
        # The terminal wraps what is there anew.
        seen = "\n".join(before)
        screen.draw(["x" * 100, "short", "y" * 25])
        seen += terminal.raw()
        block = [line for line in shown(seen, columns) if line]
        assert block == ["x" * min(100, columns - 1), "short", "y" * min(25, columns - 1)]


def test_a_terminal_with_few_rows_gets_no_more_lines_than_it_has(terminal, monkeypatch):
    terminal.resize(60, 6)
    handler = start_on(terminal, monkeypatch, LogHandlerSettings(), 50)
    time.sleep(0.3)
    ups = [int(up) for up in re.findall(r"\x1b\[(\d+)A", terminal.raw())]
    handler.close()
    assert ups and max(ups) < 6


@pytest.mark.parametrize("colours", [True, False])
def test_no_color_means_no_colour(terminal, monkeypatch, colours):
    monkeypatch.setenv("NO_COLOR", "" if colours else "1")
    handler = make_handler(monkeypatch, LogHandlerSettings(), stream=terminal.stream, nocolor=False)
    handler.emit(record(level=logging.WARNING, message="mind the gap"))
    handler.close()
    assert ("\x1b[" in terminal.raw()) == colours


def test_a_stream_without_unicode_gets_escapes():
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding="ascii")
    Screen(stream).write("curvature κ of 模型")
    assert buffer.getvalue() == b"curvature \\u03ba of \\u6a21\\u578b\n"


def test_what_an_earlier_job_wrote_is_not_shown_for_a_later_one(tmp_path, monkeypatch):
    (tmp_path / "history.csv").write_text("epoch\n30\n")
    os.utime(tmp_path / "history.csv", (0, 0))
    handler = make_handler(monkeypatch, LogHandlerSettings(watch=str(tmp_path / "history.csv"), columns="epoch"))
    progress = Progress({"plot": 1})
    progress.update(submitted(1, run="a"))
    assert handler._watched(progress.jobs[1]) == ""
    (tmp_path / "history.csv").write_text("epoch\n31\n")
    assert handler._watched(progress.jobs[1]) == "epoch 31"
    handler.close()
