"""The `grid` logger plugin: counts, time to go, the watched file, and errors that are always shown."""

import io
import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

PLUGINS = Path(__file__).parents[2] / "workflow" / "plugins"
sys.path.insert(0, str(PLUGINS))

LogEvent = pytest.importorskip("snakemake_interface_logger_plugins.common").LogEvent
from snakemake_logger_plugin_grid import LogHandler, LogHandlerSettings  # noqa: E402
from snakemake_logger_plugin_grid.progress import Progress, clock  # noqa: E402

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


def make_handler(monkeypatch, settings):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    common = SimpleNamespace(
        printshellcmds=False, nocolor=True, quiet=None, debug_dag=False, verbose=False, show_failed_logs=False,
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
