"""The log handler: feeds Snakemake's events to the progress, draws it, and lets everything else through."""

from __future__ import annotations

import contextlib
import glob
import math
import os
import sys
import threading
import time
from logging import LogRecord

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from .progress import Job, Progress, shortened
from .screen import Screen

REDRAW_SECONDS = 0.5
TAIL_LINES = 15
WATCHED = 2  # jobs whose file a plain line shows
CHATTER = "Select jobs to execute..."  # has no event of its own
SWALLOWED = {
    LogEvent.JOB_INFO, LogEvent.GROUP_INFO, LogEvent.JOB_STARTED, LogEvent.JOB_FINISHED, LogEvent.PROGRESS,
    LogEvent.RUN_INFO, LogEvent.RESOURCES_INFO, LogEvent.WORKFLOW_STARTED,
}  # fmt: skip


class LogHandler(LogHandlerBase):
    """Runs in Snakemake's logging thread; a thread of its own redraws the display."""

    def __post_init__(self) -> None:
        from snakemake.logging import ColorizingTextHandler, DefaultFilter, DefaultFormatter

        common = self.common_settings
        self.stream = sys.stdout if common.stdout else sys.stderr
        self.screen = Screen(self.stream)
        self.text = ColorizingTextHandler(
            nocolor=common.nocolor or bool(os.environ.get("NO_COLOR")),
            stream=self.stream,
            formatter=DefaultFormatter(common.quiet, common.show_failed_logs),
            filter=DefaultFilter(common.quiet, common.debug_dag, common.verbose, common.dryrun, common.printshellcmds),
        )
        self.terminal = self.text.is_tty and os.environ.get("TERM") != "dumb"
        self.progress: Progress | None = None
        self.last_line = ""
        self.last_time = 0.0
        self.drawing = threading.RLock()
        self.ended = threading.Event()
        self.thread: threading.Thread | None = None

    writes_to_stream = property(lambda self: True)
    writes_to_file = property(lambda self: False)
    has_filter = property(lambda self: True)
    has_formatter = property(lambda self: True)
    needs_rulegraph = property(lambda self: False)

    def emit(self, record: LogRecord) -> None:
        try:
            if self.common_settings.dryrun or self.common_settings.verbose:
                self._pass_on(record)
            else:
                self._take(record)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        self.ended.set()
        if self.thread is not None:
            self.thread.join()
            self.thread = None
            with self.drawing:
                self.screen.erase()
                self.screen.write(self.progress.summary())
        super().close()

    def _take(self, record: LogRecord) -> None:
        event = getattr(record, "event", None)
        if event == LogEvent.RUN_INFO:
            self._start(record)
        if self.progress is not None:
            with self.drawing:
                self.progress.update(record)
        if event in (LogEvent.JOB_ERROR, LogEvent.GROUP_ERROR):
            self._show_error(record)
        elif event not in SWALLOWED and not hasattr(record, "running") and record.msg != CHATTER:
            self._pass_on(record)
        if event == LogEvent.JOB_FINISHED and not self.terminal:
            self._draw_line()

    def _start(self, record: LogRecord) -> None:
        if self.progress is not None or "progress" in {str(item) for item in self.common_settings.quiet or ()}:
            return
        self.progress = Progress(dict(record.stats))
        self._pass_on(LogRecord("", record.levelno, "", 0, self.progress.plan(), None, None))
        self.thread = threading.Thread(target=self._loop, name="grid display", daemon=True)
        self.thread.start()

    def _loop(self) -> None:
        while not self.ended.wait(REDRAW_SECONDS):
            with self.drawing:
                if self.terminal:
                    self._draw_block()
                else:
                    self._draw_line()

    # Output

    def _pass_on(self, record: LogRecord) -> None:
        """Snakemake's own text for a record, above the display."""
        if record.levelno < 40 and not self.text.filter(record):
            return
        with self.drawing:
            self.screen.erase()
            self.text.emit(record)

    def _show_error(self, record: LogRecord) -> None:
        with self.drawing:
            self.screen.erase()
            self.text.emit(record)
            jobid = getattr(record, "jobid", None)
            job = self.progress.jobs.get(jobid) if self.progress is not None else None
            lines = [f"    wildcards: {job.label}"] if job is not None and job.label else []
            said = str(getattr(record, "rule_msg", None) or "")
            for log in dict.fromkeys(getattr(record, "log", None) or ()):
                log = str(log).split(" (")[0]
                if log not in said and not self.common_settings.show_failed_logs and (tail := _tail(log, TAIL_LINES)):
                    lines += [f"    last lines of {log}:", *(f"        {line}" for line in tail)]
            if lines:
                self.screen.write("\n".join(lines))

    def _draw_block(self) -> None:
        width, height = self.screen.size.columns - 1, self.screen.size.lines
        lines = [self.progress.headline(width), *self.progress.rule_lines()][: height - 1]
        running = self.progress.running()
        room = max(0, height - len(lines) - 2)
        lines += [self._job_line(job, width) for job in running[:room]]
        if room and len(running) > room:
            lines.append(f"  and {len(running) - room} more")
        self.screen.draw(lines)

    def _draw_line(self) -> None:
        """One plain line, at most every `seconds`, and only if something has changed."""
        seconds = 15.0 if self.settings is None else self.settings.seconds
        with self.drawing:
            now = time.monotonic()
            if self.progress is None or now - self.last_time < seconds:
                return
            running = self.progress.running()[:WATCHED]
            watched = [f"{job.label} {text}" for job in running if (text := self._watched(job))]
            state = " | ".join([self.progress.counts(), *watched])
            if state == self.last_line:
                return
            self.last_line, self.last_time = state, now
            self.screen.write(" | ".join([self.progress.headline(), *watched]))

    def _job_line(self, job: Job, width: int) -> str:
        """Rule, wildcards, seconds and the watched file; where that is too long, no rule and as little as says it."""
        seconds = f"{job.seconds():.0f} s"
        line = f"  {job.rule} {job.label}  {seconds}  {self._watched(job)}".rstrip()
        if len(line) <= width:
            return line
        tail = self._watched(job, short=True) or seconds
        return f"  {shortened(job.label or job.rule, width - len(tail) - 4)}  {tail}"

    def _watched(self, job: Job, *, short: bool = False) -> str:
        pattern = self.settings.watch if self.settings is not None else None
        if not pattern:
            return ""
        names = {name: glob.escape(str(value)) for name, value in job.wildcards.items()}
        try:
            found = glob.glob(pattern.format(**names))
        except (KeyError, IndexError, ValueError):
            return ""  # a job without these wildcards
        if not found or _age(found[0]) > job.seconds() + 1:
            return ""  # not there yet, or what another job has left: a figure of the run has its wildcards too
        row = _last_row(found[0], self.settings.columns.split(","))
        # The last part of a name is enough where room is scarce: `elbo` for `validation.elbo`.
        return ", ".join(f"{name.rpartition('.')[2] if short else name} {text}" for name, text in row.items())


def _age(path: str) -> float:
    """Seconds since a file was written; infinite if it is gone."""
    with contextlib.suppress(OSError):
        return time.time() - os.path.getmtime(path)
    return math.inf


def _last_row(path: str, columns: list[str]) -> dict[str, str]:
    """The chosen columns of a CSV file's last complete line, as far as it has them, with numbers to five digits."""
    with contextlib.suppress(OSError, ValueError), open(path, "rb") as file:
        header = file.readline().decode().strip().split(",")
        file.seek(max(file.tell(), os.path.getsize(path) - 8192))
        lines = file.read().decode(errors="replace").split("\n")
        rows = [line for line in lines[:-1] if line.count(",") == len(header) - 1]
        row = dict(zip(header, rows[-1].split(","), strict=True)) if rows else {}
        return {name: _number(row[name]) for name in columns if row.get(name)}
    return {}


def _number(text: str) -> str:
    return text if text.lstrip("-").isdigit() else f"{float(text):.5g}"


def _tail(path: str, lines: int) -> list[str]:
    with contextlib.suppress(OSError), open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - 16384))
        return file.read().decode(errors="replace").rstrip().splitlines()[-lines:]
    return []
