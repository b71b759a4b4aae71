"""How far a sweep is: a line a run in a log, a bar in a terminal, and a table of statuses at the end."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping

from rich.progress import BarColumn, Progress, TaskID, TextColumn

from lightning_d2l.config.text import duration, number
from lightning_d2l.sweeps.folder import FINISHED, State
from lightning_d2l.training.spec import RunSpec

WIDTH = 80
SILENCE = 20.0  # seconds after which a log is told how far the runs are that train at once
MOST_FAILURES = 10  # shown at the end by name


class SweepProgress:
    """Tells a person of each run that ends: runs done and left, failed, diverged, time left and the best so far.

    Best is the lowest validation loss of a run's best epoch, or training loss where nothing is held out.
    """

    def __init__(self, total: int, before: Mapping[RunSpec, State]) -> None:
        self.total, self.counts = total, Counter(state.status for state in before.values())
        self.best: tuple[float, str] | None = None
        self.trained, self.began = 0, time.monotonic()
        self._done = 0
        self._said = time.monotonic()
        for job, state in before.items():
            self._take(job, state)
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

    def ended(self, job: RunSpec, state: State) -> None:
        """Tell of a run that has ended."""
        self._count_in({job: state})
        if self._bar:
            self._show(self._bar, {job: state})
            return
        outcome = _outcome(state)
        room = self._room() - len(outcome) - 2
        self._say(f"{cut(job.name, max(room, 12))}  {outcome}")

    def going_on(self, members: int, epoch: int, max_epochs: int) -> None:
        """Tell of runs that train at once, and how far they are."""
        words = f"{members} at once, epoch {epoch}/{max_epochs}"
        if self._bar:
            done = self._done + members * epoch / max_epochs
            self._bar.update(TaskID(0), completed=done, description=f"{words}  {self._summary()}")
        elif time.monotonic() - self._said > SILENCE:
            self._say(words)

    def ended_together(self, states: Mapping[RunSpec, State]) -> None:
        """Tell of runs that trained at once, and have ended."""
        self._count_in(states)
        if self._bar:
            self._show(self._bar, states)
            return
        for job, state in states.items():
            if state.status == "failed":
                print(cut(f"{job.name}  {_outcome(state)}"))
        self._say(f"{len(states)} at once")

    def _count_in(self, states: Mapping[RunSpec, State]) -> None:
        for job, state in states.items():
            self.counts[state.status] += 1
            self._take(job, state)
        self.trained += len(states)

    def _show(self, bar: Progress, states: Mapping[RunSpec, State]) -> None:
        bar.update(TaskID(0), completed=self._done, description=self._summary(), count=self._count())
        for job, state in states.items():
            if state.status != "completed":
                bar.console.print(cut(f"{job.name}  {_outcome(state)}"), markup=False, highlight=False)

    def _room(self) -> int:
        """Columns of a line that the count and the summary leave."""
        return max(WIDTH - len(self._count()) - len(self._summary()) - 4, 24)

    def _say(self, words: str) -> None:
        print(f"{self._count()}  {cut(words, self._room())}  {self._summary()}", flush=True)
        self._said = time.monotonic()

    def _take(self, job: RunSpec, state: State) -> None:
        self._done += state.status in (*FINISHED, "failed")
        if state.status == "completed":
            name, value = monitored(state)
            if self.best is None or value < self.best[0]:
                self.best = (value, name)

    def _count(self) -> str:
        return f"{self._done:{len(str(self.total))}}/{self.total}"

    def _summary(self) -> str:
        parts = [f"best {number(self.best[0])}"] if self.best else []
        parts += [f"{self.counts[status]} {status}" for status in ("failed", "diverged") if self.counts[status]]
        left = self.total - self._done
        if left and self.trained:
            parts.append(f"{duration((time.monotonic() - self.began) / self.trained * left)} left")
        return "  ".join(parts)


def monitored(state: State) -> tuple[str, float]:
    """Name and value of the metric by which the best epoch of a completed run was chosen, at that epoch."""
    best = state.record["metrics"]["best"]
    name = "loss/val" if "loss/val" in best else "loss/train"
    return name, best[name]


def _outcome(state: State) -> str:
    if state.status != "completed":
        return f"{state.status}: {state.error}" if state.status == "failed" else state.status
    name, value = monitored(state)
    return f"{name} {number(value)}"


def status_table(states: Mapping[RunSpec, State]) -> str:
    """How many runs of a sweep completed, diverged, failed and are left, and the reasons of those that failed."""
    counts = Counter(state.status for state in states.values())
    left = counts["interrupted"] + counts["missing"]
    lines = [f"{status:12}{counts[status]:6}" for status in ("completed", "diverged", "failed")]
    lines += [f"{'left':12}{left:6}"] if left else []
    failed = [(job, state) for job, state in states.items() if state.status == "failed"]
    for job, state in failed[:MOST_FAILURES]:
        lines += [cut(f"  {job.name}"), cut(f"    {state.error}")]
    if len(failed) > MOST_FAILURES:
        lines.append(f"  and {len(failed) - MOST_FAILURES} more")
    return "\n".join(lines)


def cut(text: str, width: int = WIDTH) -> str:
    """Text that fits into a line."""
    return text if len(text) <= width else f"{text[: width - 3]}..."
