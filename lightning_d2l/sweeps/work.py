"""What one process does with jobs of a sweep: hold their folders, prepare, train and count them."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.text import cut
from lightning_d2l.sweeps.disk import require_written
from lightning_d2l.sweeps.folder import FINISHED
from lightning_d2l.sweeps.in_rungs import Turn, train_in_rungs
from lightning_d2l.sweeps.lean import Lean
from lightning_d2l.sweeps.ownership import is_empty, is_of_job, remove_run
from lightning_d2l.sweeps.pruning import Rungs
from lightning_d2l.training.files import LAST
from lightning_d2l.training.lock import hold, holder
from lightning_d2l.training.record import RunRecord
from lightning_d2l.training.same_data import require_same_data
from lightning_d2l.training.signals import Stopped
from lightning_d2l.training.spec import RunSpec

AT_ONCE = 200  # runs that trained by themselves, whose lean records share a file


class Progress(Protocol):
    """What hears of the runs."""

    def ended(self, records: Mapping[RunSpec, RunRecord]) -> None:
        """A run has ended, or runs that trained at once have."""

    def going_on(self, members: int, epoch: int, max_epochs: int) -> None:
        """Runs that train at once have come to an epoch."""


class Work:
    """Jobs in the folder of their sweep, trained by this process; `progress` hears of each that has ended.

    With `stops`, a failed run is the last. `left_out` has the jobs that were not trained, each with the reason, and
    `in_use` those of them whose folders another process holds.
    """

    def __init__(self, folder: Path, progress: Progress, *, stops: bool, verbose: bool) -> None:
        self.folder, self.progress, self.stops, self.verbose = folder, progress, stops, verbose
        self.left_out: dict[RunSpec, str] = {}
        self.in_use: list[RunSpec] = []
        self.lean = Lean(folder)
        self.one_by_one: dict[str, int] = {}  # the reasons why runs trained so, each with the runs that had it first
        self._finished: dict[RunSpec, RunRecord] = {}

    @functools.cached_property
    def rungs(self) -> Rungs | None:
        """Where settings of the sweep stop early, if they do."""
        return Rungs.of(self.folder)

    def record(self, job: RunSpec) -> RunRecord:
        """The record of a job on the disk; that of a finished run is read once."""
        if job in self._finished:
            return self._finished[job]
        record = self.lean.record(job) or RunRecord.read_or_missing(job.folder)
        if record.fields and not is_of_job(record, job):
            return RunRecord(job.folder, {}, job.name)
        if record.state in FINISHED:
            self._finished[job] = record
        return record

    def is_finished(self, job: RunSpec) -> bool:
        """Whether a job has completed or diverged."""
        return self.record(job).state in FINISHED

    def ended(self, jobs: Sequence[RunSpec]) -> bool:
        """Show that runs have ended, of which several trained at once; returns whether the sweep must stop."""
        self.lean.look()
        records = {job: self.record(job) for job in jobs}
        self.progress.ended(records)
        return self.must_stop(records.values())

    def must_stop(self, records: Iterable[RunRecord]) -> bool:
        """Whether one of the runs failed and the sweep ends with the first failure."""
        return self.stops and any(record.state == "failed" for record in records)

    @contextlib.contextmanager
    def holding(self, job: RunSpec) -> Iterator[bool]:
        """Hold a job's folder, where other processes may still train; gives False, and leaves the job out, if so."""
        with contextlib.ExitStack() as stack:
            try:
                job.folder.mkdir(exist_ok=True)
                stack.enter_context(hold(job.folder, "its folder"))
            except RequestError as error:
                if holder(job.folder) is None:
                    raise
                self.left_out[job] = str(error)
                self.in_use.append(job)
            yield job not in self.left_out

    def again(self) -> list[RunSpec]:
        """The jobs whose folders were in use, which are to be trained now, but for those that have finished since."""
        jobs, self.in_use = self.in_use, []
        for job in jobs:
            self.left_out.pop(job, None)
        return [job for job in jobs if not self.is_finished(job)]

    def ready(self, job: RunSpec, *, anew: bool = False) -> RunSpec:
        """The job in its folder, which is held: to resume if it was interrupted, else, or if `anew`, to start.

        Raises RequestError if there is another run in its folder.
        """
        resumes = False
        if job.folder.exists() and not is_empty(job.folder):
            record = RunRecord.read_or_missing(job.folder)
            if record.fields and not is_of_job(record, job):
                raise RequestError(f"{job.folder}: holds a run that is not of this sweep; choose another folder")
            stopped = record.state in ("interrupted", "running")  # held by this process, so that no other trains it
            resumes = stopped and (job.folder / LAST).exists() and not anew
            if not resumes:
                remove_run(job.folder)
        job.config = {**job.config, "resume": str(job.folder) if resumes else None}
        return job

    def tell_one_by_one(self, number: int, reason: str) -> None:
        """Say once for each reason that runs train one by one; a second line of the reason says where it arose."""
        if reason not in self.one_by_one:
            self.one_by_one[reason] = number
            first, _, place = reason.partition("\n")
            print(cut(f"{number} {'run' if number == 1 else 'runs'} one by one: {first}"), flush=True)
            if place:
                print(cut(f"  {place}"), flush=True)

    def train_in_turn(self, jobs: Sequence[RunSpec]) -> None:
        """Train jobs one after another in this process.

        Raises Stopped when a signal has ended a run, and DiskError when the disk has.
        """
        if self.rungs:
            train_in_rungs(self, self.rungs, jobs, self.train_each)
        else:
            self.train_each(jobs)

    def train_each(self, jobs: Sequence[RunSpec]) -> None:
        """Train jobs one after another to their ends, or to where they wait for others; raises as `train_in_turn`."""
        trained: list[RunSpec] = []
        try:
            for job in jobs:
                turn = Turn(self.rungs, job)
                with self.holding(job) as held:
                    code = self._train_alone(job, turn) if held else 0
                if code > 128:
                    raise Stopped(code - 128)
                if code == 2:
                    require_written(job, self.folder)
                if job not in self.left_out and not turn.waits:
                    trained.append(job)
                    if self.ended([job]):
                        return
                    if len(trained) == AT_ONCE:
                        self.absorb(trained)
                        trained = []
        finally:
            self.absorb(trained)

    def absorb(self, jobs: Sequence[RunSpec]) -> None:
        """Replace the folders of runs that have ended by lean records, if the sweep has such."""
        if self.lean.on:
            for job in self.lean.absorb(jobs):
                self._finished.pop(job, None)

    def _train_alone(self, job: RunSpec, turn: Turn) -> int:
        """Train a job whose folder is held; returns its exit code. An interrupted one that can't go on starts again."""
        from lightning_d2l.training.build import BuiltRun, build, build_data
        from lightning_d2l.training.fit import run

        def watched(spec: RunSpec) -> BuiltRun:
            built = build(spec)
            built.watch = turn
            return built

        try:
            try:
                return run(self.ready(job), watched)
            except RequestError:
                if not job.resuming:
                    raise
            require_same_data(RunRecord.read(job.folder), build_data(job.config))
            return run(self.ready(job, anew=True), watched)
        except RequestError as error:
            self.left_out[job] = str(error)
            return 0
