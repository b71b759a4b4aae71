"""What a sweep prints: a line for each run in a log, a bar in a terminal, and at the end the outcome and the answer."""

from __future__ import annotations

import json
import math
import shlex
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TaskID, TextColumn

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.escape import terminal
from lightning_d2l.config.lines import LOG, cells, columns
from lightning_d2l.config.loggers import MLFLOW, MLFLOW_STORE, WANDB
from lightning_d2l.config.program import from_here
from lightning_d2l.config.text import cut, duration, number
from lightning_d2l.config.trainer import MONITORS
from lightning_d2l.sweeps.folder import FINISHED
from lightning_d2l.training.caller import display
from lightning_d2l.training.record import RunRecord
from lightning_d2l.training.spec import RunSpec

SILENCE = 20.0  # seconds after which a log gets a line about runs that are training at once
FEWEST = 0.01  # of the epochs, from which on the time left is told: the first ones begin with imports and data
MOST_FAILURES = 10  # listed by name at the end
# Settings of the data that no size of a network depends on; one network is built for all jobs that differ in these.
NO_SIZES = {
    "root", "seed", "noise", "label_noise", "n_train", "n_val", "n_test", "val_size", "batch_size", "folds", "fold",
}  # fmt: skip


class SweepProgress:
    """Reports each run that ends, the counts of runs, the time left, and the lowest validation (or training) loss."""

    def __init__(self, total: int, before: Iterable[RunRecord] = ()) -> None:
        self.total, self.counts, self.best = total, Counter[str](), math.inf
        self._count(before)
        self.before, self.under_way = self.done, 0.0
        self.began = self._last_line = time.monotonic()
        self._bar: Progress | None = None
        self._display = display()
        if not self._display and sys.stdout.isatty():
            count, words = (TextColumn(text, markup=False) for text in ("{task.fields[count]}", "{task.description}"))
            self._bar = Progress(count, BarColumn(bar_width=None), words, expand=True)

    def __enter__(self) -> SweepProgress:
        if self._bar:
            self._bar.add_task(self._summary(), total=self.total, completed=self.done, count=self._position())
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar:
            self._bar.stop()

    @property
    def done(self) -> int:
        return sum(self.counts[state] for state in (*FINISHED, "failed"))

    def ended(self, records: Mapping[RunSpec, RunRecord]) -> None:
        """Report a run that has ended, or runs that trained at once."""
        self.under_way = 0.0
        self._count(records.values())
        if self._display:
            self._display.progress(self.done, self.total, self._summary())
        elif self._bar:
            self._bar.update(TaskID(0), completed=self.done, description=self._summary(), count=self._position())
            for line in _lines(records, "failed"):
                self._bar.console.print(line, markup=False, highlight=False)
        elif len(records) == 1:
            ((job, record),) = records.items()
            outcome = _outcome(record)
            self._print(f"{cut(job.name, max(self._room() - cells(outcome) - 2, 12))}  {outcome}")
        else:
            for line in _lines(records, "failed"):
                print(line)
            self._print(f"{len(records)} at once")

    def going_on(self, members: int, epoch: int, max_epochs: int) -> None:
        """Report the epoch of runs that are training at once."""
        self.in_chunks(members * epoch / max_epochs, f"{members} at once, epoch {epoch}/{max_epochs}")

    def chunk_ended(self, counts: Mapping[str, int], best: float, failures: Mapping[str, str]) -> None:
        """Report runs that another process has trained: their number by state, the lowest loss, the failed by name."""
        self.counts.update(counts)
        self.best = min(self.best, best)
        for name, error in failures.items():
            line = cut(f"{name}  failed: {terminal(error)}")
            if self._bar:
                self._bar.console.print(line, markup=False, highlight=False)
            elif not self._display:
                print(line, flush=True)

    def in_chunks(self, under_way: float, words: str, *, last: bool = False) -> None:
        """Report what is under way, as a number of runs and in words; a log gets a line now and then, and the last."""
        self.under_way = under_way
        done = self.done + under_way
        if self._display:
            self._display.progress(done, self.total, f"{words}  {self._summary()}")
        elif self._bar:
            description = f"{words}  {self._summary()}"
            self._bar.update(TaskID(0), completed=done, description=description, count=self._position())
        elif last or time.monotonic() - self._last_line > SILENCE:
            self._print(words)

    def _count(self, records: Iterable[RunRecord]) -> None:
        for record in records:
            self.counts[record.state] += 1
            if record.state == "completed":
                self.best = min(self.best, monitored(record)[1])

    def _room(self) -> int:
        """The columns of a line beside the position and the summary."""
        return max(LOG - len(self._position()) - len(self._summary()) - 4, 24)

    def _print(self, words: str) -> None:
        print(f"{self._position()}  {cut(words, self._room())}  {self._summary()}", flush=True)
        self._last_line = time.monotonic()

    def _position(self) -> str:
        return f"{self.done:{len(str(self.total))}}/{self.total}"

    def _summary(self) -> str:
        parts = [f"best {number(self.best)}"] if math.isfinite(self.best) else []
        others = ("failed", "diverged", "pruned")
        parts += [f"{self.counts[status]} {status}" for status in others if self.counts[status]]
        trained = self.done + self.under_way - self.before
        left = self.total - self.before - trained
        if left > 0 and trained >= FEWEST * (left + trained):
            parts.append(f"{duration((time.monotonic() - self.began) / trained * left)} left")
        return "  ".join(parts)


def monitored(record: RunRecord) -> tuple[str, float]:
    """Name and value of the metric that chose the best epoch of a completed run, at that epoch; "" and inf without one.

    A custom module may log none of MONITORS.
    """
    best = record.fields["metrics"]["best"]
    name = next((name for name in MONITORS if name in best), "")
    return name, best.get(name, math.inf)


def _outcome(record: RunRecord) -> str:
    if record.state != "completed":
        return f"{record.state}: {terminal(record.error)}" if record.state == "failed" else record.state
    name, value = monitored(record)
    return f"{name} {number(value)}" if name else record.state


def _lines(records: Mapping[RunSpec, RunRecord], *states: str) -> list[str]:
    return [cut(f"{job.name}  {_outcome(record)}") for job, record in records.items() if record.state in states]


def tell(
    folder: Path,
    fields: dict[str, Any],
    records: Mapping[RunSpec, RunRecord],
    stopped: int,
    left_out: Mapping[RunSpec, str],
    advice: str,
) -> None:
    """Write the report of a sweep, whose sweep.json has `fields`, unless a signal or the disk `stopped` it; print it.

    All files are written before the first line is printed. `left_out` are the jobs that were not trained, and why;
    `advice` is the command that trains the rest.
    """
    table, answer, ahead = _report(folder, fields, records, written=bool(advice) and not stopped)
    lines = [f"\n{_statuses(records)}"]
    lines += [cut(f"left out     {job.name}: {reason}", 160) for job, reason in list(left_out.items())[:MOST_FAILURES]]
    lines += [f"\nsweep folder  {terminal(str(from_here(folder)))}  ({duration(fields['seconds'])})", *table]
    print("\n".join([*lines, *answer, *_commands(from_here(folder), list(records)), *ahead]), flush=True)
    if advice and any(record.state not in FINISHED for record in records.values()):
        what = f"stopped by {signal.Signals(stopped).name}; resume with" if stopped else "train the rest"
        print(f"{what:12}  {terminal(advice)}", flush=True)


def _commands(folder: Path, jobs: Sequence[RunSpec]) -> list[str]:
    """The commands that show what loggers of services hold of a sweep, as lines."""
    groups = [group for job in jobs for group in job.config["logger"].values()]
    targets, found = {group["_target_"] for group in groups}, []
    if MLFLOW in targets and (folder / MLFLOW_STORE).exists():
        found.append(shlex.join(["mlflow", "ui", "--backend-store-uri", f"sqlite:///{folder / MLFLOW_STORE}"]))
    if WANDB in targets and all(group["offline"] for group in groups if group["_target_"] == WANDB):
        found.append(f"wandb sync {shlex.quote(str(folder))}/*/wandb/offline-run-*")
    return [*_board(folder), *(f"look at it    {terminal(command)}" for command in found)]


def _board(folder: Path) -> list[str]:
    """The command that shows a sweep in TensorBoard and the address that it opens, as lines; none without events."""
    from lightning_d2l.studies import view

    try:
        address = view.address(folder)
    except (RequestError, OSError):
        return []
    return [f"look at it    {terminal(view.command(folder))}", f"              {terminal(address)}"]


def _report(
    folder: Path, fields: dict[str, Any], records: Mapping[RunSpec, RunRecord], *, written: bool
) -> tuple[list[str], list[str], list[str]]:
    """The table of a sweep, and, if its report is `written`, its answer and the next command, as lines.

    No error costs the sweep.
    """
    from lightning_d2l.studies import ending, report, tables
    from lightning_d2l.studies.collect import of_runs
    from lightning_d2l.studies.findings import find_in
    from lightning_d2l.sweeps.fitted import fitted

    runs, width = [record for record in records.values() if record.fields], columns()
    table: list[str] = []
    answer: list[str] = []
    try:
        if runs:
            findings = find_in([of_runs(folder, fields, runs)])
            table = ["", *ending.question(findings, width), ""]
            table += tables.text(findings, width, "summary.csv" if written else "").splitlines()
            if written:
                made = report.write(findings, folder, fitted=fitted) if findings.counts["completed"] else None
                answer = ["", *ending.told(findings, width), ""]
                answer += [f"report        {terminal(str(from_here(made.paths['html'])))}"] if made else []
                return table, answer, ending.ahead(findings)
    except Exception as error:  # the runs are recorded even if there is no report
        reason = str(error).strip() or repr(error)
        answer = ["", f"warning: no report: {terminal(reason.splitlines()[0])}"]
    return table, answer, []


def _statuses(records: Mapping[RunSpec, RunRecord]) -> str:
    """How many runs of a sweep completed, diverged, failed and are left, and the errors of those that failed."""
    counts = Counter(record.state for record in records.values())
    lines = [f"{status:12}{counts[status]:6}" for status in ("completed", "diverged", "failed")]
    lines[1:1] = [f"{'pruned':12}{counts['pruned']:6}"] if counts["pruned"] else []
    if left := counts["interrupted"] + counts["running"] + counts["missing"]:
        lines.append(f"{'left':12}{left:6}")
    solutions = [record.fields.get("solution") or {} for record in records.values()]
    if truncated := sum(found.get("rank", 0) < found.get("full_rank", 0) for found in solutions):
        lines.append(f"exact: {truncated} without full rank, within rounding: solution.rank in run.json")
    failed = [(job, record) for job, record in records.items() if record.state == "failed"]
    for job, record in failed[:MOST_FAILURES]:
        lines += [cut(f"  {job.name}"), cut(f"    {terminal(record.error)}")]
    if len(failed) > MOST_FAILURES:
        lines.append(f"  and {len(failed) - MOST_FAILURES} more")
    return "\n".join(lines)


def listing(jobs: Sequence[RunSpec], varied: Sequence[str]) -> str:
    """What a dry run prints: a line a job; raises RequestError with the name of a job whose network can't be built."""
    from lightning_d2l.training.build import build_data, build_module

    data, counts, lines = {}, {}, []
    for job in jobs:
        shape = json.dumps({key: value for key, value in job.config["data"].items() if key not in NO_SIZES})
        structure = shape + json.dumps([job.config["model"], job.config["loss"]])
        try:
            if shape not in data:
                data[shape] = build_data(job.config)
            if structure not in counts:
                module = build_module(job.config, data[shape])
                counts[structure] = sum(parameter.numel() for parameter in module.parameters())
        except Exception as error:
            raise RequestError(f"job {job.number} ({job.name}): {type(error).__name__}: {error}") from error
        lines.append(f"{job.number:5}{counts[structure]:12,}  {job.name}")
    given = {(o.lstrip("+").partition("=")[0], o) for job in jobs for o in job.overrides}
    numbers = ", ".join(f"{key} ({sum(name == key for name, _ in given)})" for key in varied)
    what = f"what varies, with the number of values: {numbers}" if varied else "nothing varies"
    head = [f"{len(jobs)} runs; {what}", f"{'job':>5}{'parameters':>12}  name"]
    return "\n".join([*head, *lines, "nothing was trained or written: sweep.dry_run=true"])
