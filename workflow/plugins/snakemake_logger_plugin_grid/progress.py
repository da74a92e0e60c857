"""What is known about a run from Snakemake's log events: jobs by rule and state, elapsed time, time to go."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from logging import LogRecord

from snakemake_interface_logger_plugins.common import LogEvent


@dataclass
class Job:
    """A job that was submitted; `began` is None while it waits for a worker."""

    rule: str
    wildcards: dict[str, str]
    began: float | None = None

    @property
    def label(self) -> str:
        """The values of its wildcards."""
        return " ".join(map(str, self.wildcards.values()))

    def seconds(self) -> float:
        return time.monotonic() - self.began if self.began is not None else 0.0


@dataclass
class Progress:
    """Counts of one run. `totals`: number of jobs of each rule, with the key `total`, as Snakemake plans them.

    `spent`: seconds that the finished jobs of each rule took. An event costs the same whatever the number of jobs.
    """

    totals: dict[str, int]
    jobs: dict[int, Job] = field(default_factory=dict)
    done: Counter = field(default_factory=Counter)
    failures: dict[int, str] = field(default_factory=dict)
    spent: Counter = field(default_factory=Counter)
    started: float = field(default_factory=time.monotonic)
    tells_starts: bool = False
    graph: int | None = None

    def __post_init__(self) -> None:
        self.total = self.totals.pop("total", sum(self.totals.values()))

    def update(self, record: LogRecord) -> None:
        """Take in one of Snakemake's records; an executor may name jobs that left its queue in `running`."""
        event = getattr(record, "event", None)
        if hasattr(record, "running"):
            self.tells_starts = True
            for jobid in record.running:
                if jobid in self.jobs:
                    self.jobs[jobid].began = time.monotonic()
        elif event == LogEvent.JOB_INFO:
            waits = self.tells_starts and not record.local
            began = None if waits else time.monotonic()
            self.failures.pop(record.jobid, None)  # tried again
            self.jobs[record.jobid] = Job(record.rule_name, dict(record.wildcards or {}), began)
        elif event == LogEvent.JOB_FINISHED:
            job = self.jobs.pop(record.job_id, None)
            if job is not None:
                self.done[job.rule] += 1
                self.spent[job.rule] += job.seconds()
        elif event == LogEvent.JOB_ERROR:
            job = self.jobs.get(record.jobid)
            if job is not None:
                self.failures[record.jobid] = job.rule
                job.began = None
        elif event == LogEvent.PROGRESS:
            # The whole graph, with jobs that --until leaves out; what checkpoints add to it is to be done.
            self.total += record.total - (record.total if self.graph is None else self.graph)
            self.graph = record.total

    def running(self) -> list[Job]:
        """Jobs at work, the longest first."""
        return sorted((job for job in self.jobs.values() if job.began is not None), key=lambda job: job.began)

    def remaining_seconds(self) -> float | None:
        """Expected time to go: mean duration of each rule's finished jobs, over the jobs at work at once."""
        if not self.done:
            return None
        known = {rule: self.spent[rule] / count for rule, count in self.done.items()}
        overall = self.spent.total() / self.done.total()
        running = self.running()
        work = sum(
            max(0, count - self.done[rule]) * known.get(rule, overall) for rule, count in self.totals.items()
        ) - sum(min(job.seconds(), known.get(job.rule, overall)) for job in running)
        return max(0.0, work / max(1, len(running)))

    def counts(self) -> str:
        done, running, failed = self.done.total(), len(self.running()), len(self.failures)
        text = f"{done}/{self.total} jobs done, {running} running, {max(0, self.total - done - running - failed)} to go"
        return f"{text}, {failed} failed" if failed else text

    def headline(self, width: int | None = None) -> str:
        """`12/47 jobs done, 2 running, 33 to go, 1:40 elapsed, about 4:10 left`, or less of it in fewer columns."""
        remaining, elapsed = self.remaining_seconds(), clock(time.monotonic() - self.started)
        done, running, failed = self.done.total(), len(self.running()), len(self.failures)
        left = "" if remaining is None else f", {clock(remaining)} left"
        some = f", {failed} failed" if failed else ""
        forms = [
            f"{self.counts()}, {elapsed} elapsed" + left.replace(", ", ", about "),
            f"{done}/{self.total} done, {running} run{some}, {elapsed}{left}",
            f"{done}/{self.total} done{some}{left}",
            f"{done}/{self.total}{some}",
        ]
        return next((form for form in forms if width is None or len(form) <= width), forms[-1])

    def rule_lines(self) -> list[str]:
        """A line for each rule that has begun and is not finished."""
        running, failed = Counter(job.rule for job in self.running()), Counter(self.failures.values())
        width = max(map(len, self.totals), default=0)
        return [
            f"  {rule:<{width}}  {self.done[rule]}/{count}"
            + (f"  {running[rule]} running" if running[rule] else "")
            + (f"  {failed[rule]} failed" if failed[rule] else "")
            for rule, count in self.totals.items()
            if count > 1 and (running[rule] or failed[rule] or 0 < self.done[rule] < count)
        ]

    def plan(self) -> str:
        """`47 jobs: 20 train_run, 20 evaluate_run, ...`."""
        counts = sorted(self.totals.items(), key=lambda item: -item[1])
        return f"{self.total} jobs: " + ", ".join(f"{count} {rule}" for rule, count in counts)

    def summary(self) -> str:
        return f"{self.counts()}, {clock(time.monotonic() - self.started)} elapsed"


def clock(seconds: float) -> str:
    """`0:07`, `12:30`, `3:04:05`."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def shortened(text: str, length: int) -> str:
    """The text in at most so many characters: its beginning and its end, with `..` for what is left out."""
    if len(text) <= length:
        return text
    end = max(0, (length - 2) // 2)
    return (text[: max(0, length - 2 - end)] + ".." + text[len(text) - end :])[: max(0, length)]
