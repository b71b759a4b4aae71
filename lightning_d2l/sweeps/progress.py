"""Progress of a sweep: one line for each run in a log, a bar in a terminal, and a table of statuses at the end."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping

from rich.progress import BarColumn, Progress, TaskID, TextColumn

from lightning_d2l.config.text import duration, number
from lightning_d2l.sweeps.folder import FINISHED
from lightning_d2l.training.record import RunRecord
from lightning_d2l.training.spec import RunSpec

WIDTH = 80
SILENCE = 20.0  # seconds after which a log gets a line about runs that are training at once
MOST_FAILURES = 10  # listed by name at the end


class SweepProgress:
    """Reports each run that ends, and how many are finished, failed or diverged, the time left and the best loss.

    The best loss is the lowest validation loss of any run's best epoch, or training loss without validation data.
    """

    def __init__(self, total: int, before: Mapping[RunSpec, RunRecord]) -> None:
        self.total, self.counts = total, Counter(record.state for record in before.values())
        self.best: float | None = None
        self.trained, self.began = 0, time.monotonic()
        self._done = 0
        self._last_line = time.monotonic()
        for record in before.values():
            self._take(record)
        self._bar: Progress | None = None
        if sys.stdout.isatty():
            count, words = (TextColumn(text, markup=False) for text in ("{task.fields[count]}", "{task.description}"))
            self._bar = Progress(count, BarColumn(bar_width=None), words, expand=True)

    def __enter__(self) -> SweepProgress:
        if self._bar:
            self._bar.add_task(self._summary(), total=self.total, completed=self._done, count=self._count())
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar:
            self._bar.stop()

    def ended(self, job: RunSpec, record: RunRecord) -> None:
        """Report a run that has ended."""
        self._count_in({job: record})
        if self._bar:
            self._show(self._bar, {job: record})
            return
        outcome = _outcome(record)
        room = self._room() - len(outcome) - 2
        self._print(f"{cut(job.name, max(room, 12))}  {outcome}")

    def going_on(self, members: int, epoch: int, max_epochs: int) -> None:
        """Report the epoch of runs that are training at once."""
        words = f"{members} at once, epoch {epoch}/{max_epochs}"
        if self._bar:
            done = self._done + members * epoch / max_epochs
            self._bar.update(TaskID(0), completed=done, description=f"{words}  {self._summary()}")
        elif time.monotonic() - self._last_line > SILENCE:
            self._print(words)

    def ended_together(self, records: Mapping[RunSpec, RunRecord]) -> None:
        """Report runs that trained at once and have ended."""
        self._count_in(records)
        if self._bar:
            self._show(self._bar, records)
            return
        for job, record in records.items():
            if record.state == "failed":
                print(cut(f"{job.name}  {_outcome(record)}"))
        self._print(f"{len(records)} at once")

    def _count_in(self, records: Mapping[RunSpec, RunRecord]) -> None:
        for record in records.values():
            self.counts[record.state] += 1
            self._take(record)
        self.trained += len(records)

    def _show(self, bar: Progress, records: Mapping[RunSpec, RunRecord]) -> None:
        bar.update(TaskID(0), completed=self._done, description=self._summary(), count=self._count())
        for job, record in records.items():
            if record.state != "completed":
                bar.console.print(cut(f"{job.name}  {_outcome(record)}"), markup=False, highlight=False)

    def _room(self) -> int:
        """The columns of a line beside the count and the summary."""
        return max(WIDTH - len(self._count()) - len(self._summary()) - 4, 24)

    def _print(self, words: str) -> None:
        print(f"{self._count()}  {cut(words, self._room())}  {self._summary()}", flush=True)
        self._last_line = time.monotonic()

    def _take(self, record: RunRecord) -> None:
        self._done += record.state in (*FINISHED, "failed")
        if record.state == "completed":
            loss = monitored(record)[1]
            self.best = loss if self.best is None else min(self.best, loss)

    def _count(self) -> str:
        return f"{self._done:{len(str(self.total))}}/{self.total}"

    def _summary(self) -> str:
        parts = [f"best {number(self.best)}"] if self.best is not None else []
        parts += [f"{self.counts[status]} {status}" for status in ("failed", "diverged") if self.counts[status]]
        left = self.total - self._done
        if left and self.trained:
            parts.append(f"{duration((time.monotonic() - self.began) / self.trained * left)} left")
        return "  ".join(parts)


def monitored(record: RunRecord) -> tuple[str, float]:
    """Name and value of the metric that chose the best epoch of a completed run, at that epoch."""
    best = record.fields["metrics"]["best"]
    name = "loss/val" if "loss/val" in best else "loss/train"
    return name, best[name]


def _outcome(record: RunRecord) -> str:
    if record.state != "completed":
        return f"{record.state}: {record.error}" if record.state == "failed" else record.state
    name, value = monitored(record)
    return f"{name} {number(value)}"


def status_table(records: Mapping[RunSpec, RunRecord]) -> str:
    """How many runs of a sweep completed, diverged, failed and are left, and the errors of those that failed."""
    counts = Counter(record.state for record in records.values())
    left = counts["interrupted"] + counts["missing"]
    lines = [f"{status:12}{counts[status]:6}" for status in ("completed", "diverged", "failed")]
    lines += [f"{'left':12}{left:6}"] if left else []
    failed = [(job, record) for job, record in records.items() if record.state == "failed"]
    for job, record in failed[:MOST_FAILURES]:
        lines += [cut(f"  {job.name}"), cut(f"    {record.error}")]
    if len(failed) > MOST_FAILURES:
        lines.append(f"  and {len(failed) - MOST_FAILURES} more")
    return "\n".join(lines)


def cut(text: str, width: int = WIDTH) -> str:
    """The text, shortened to fit into a line."""
    return text if len(text) <= width else f"{text[: width - 3]}..."
