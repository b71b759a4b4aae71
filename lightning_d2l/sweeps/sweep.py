"""A whole sweep: check every job, train those that are missing with any launcher, and print the outcome."""

from __future__ import annotations

import contextlib
import sys
import time
import traceback
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lightning_d2l.compat_hydra import words_of
from lightning_d2l.config.check import RequestError
from lightning_d2l.config.compose import quote
from lightning_d2l.config.escape import terminal
from lightning_d2l.config.program import arguments_of, from_here
from lightning_d2l.config.text import cut
from lightning_d2l.studies.sweep_file import SWEEP_FILE
from lightning_d2l.sweeps.compose import Composer
from lightning_d2l.sweeps.disk import DiskError
from lightning_d2l.sweeps.executors.submitted import take_back
from lightning_d2l.sweeps.folder import FINISHED, check_same, read_sweep, resume_command, sweep_folder
from lightning_d2l.sweeps.grid import grid
from lightning_d2l.sweeps.jobs import SweepSpec, checked_jobs, distinct, listed, require_single, resumed_alone, study_of
from lightning_d2l.sweeps.lean import best_and_worst, chosen, keep_of, require_possible
from lightning_d2l.sweeps.ownership import require_unused
from lightning_d2l.sweeps.progress import SweepProgress, listing, tell
from lightning_d2l.sweeps.prune_plan import keep_plan, planned
from lightning_d2l.sweeps.work import Work
from lightning_d2l.training.files import reason_of, remove_unfinished, write_json
from lightning_d2l.training.lock import hold, process
from lightning_d2l.training.machine import uses_generated_garments
from lightning_d2l.training.record import RunRecord, git_revision, versions
from lightning_d2l.training.same_data import on_the_data_of_its_runs, overrides_of_data
from lightning_d2l.training.signals import Signals, Stopped, signals_stop_the_run
from lightning_d2l.training.spec import RunSpec
from lightning_d2l.training.used_plugins import plugins_of_all


class Sweep(Work):
    """The jobs of a sweep in its folder, trained by the launcher of `spec`; `varied` are the swept keys.

    Raises RequestError if `sweep.resume` names a different sweep.
    """

    progress: SweepProgress

    def __init__(self, spec: SweepSpec, jobs: Sequence[RunSpec], folder: Path, varied: Sequence[str]) -> None:
        stops = spec.config.sweep.on_error == "stop"
        super().__init__(folder, SweepProgress(0), stops=stops, verbose=bool(spec.config.verbose))
        self.config, self.launcher = spec.config, spec.launcher
        before = read_sweep(folder) if spec.config.sweep.resume else None
        self.id = str((before or {}).get("id", "" if before else uuid.uuid4().hex))
        self.jobs = self.placed(jobs)
        if before:
            check_same(folder, before, self.jobs, alone=resumed_alone(spec))
            on_the_data_of_its_runs(self.jobs)
            if not hasattr(self.launcher, "made"):  # it trains what is missing without chunks
                take_back(folder, self.id)
        records = chosen(spec.config, self.jobs or spec.alike, self.total, before)
        if records == "lean":
            self.lean.turn_on(keep_of(spec.config, self.jobs))
        self.lean.look()
        for path, reason in self.lean.there.damaged.items():
            print(f"{path}: {reason}; its runs are trained again", file=sys.stderr, flush=True)
        self.lean.there.remove_damaged()
        self.fields = (before or self._first_fields(spec, varied)) | {"records": records}
        keep_plan(folder, spec.prune, (before or {}).get("prune"))
        self.fields |= {"prune": spec.prune.told()} if spec.prune else {}

    def _first_fields(self, spec: SweepSpec, varied: Sequence[str]) -> dict[str, Any]:
        """sweep.json before the first run."""
        given = [*words_of(self.config).hydra, *words_of(self.config).task]
        return {
            "status": "running",
            "id": self.id,
            "command": spec.command,
            "config_dir": spec.config_dir,
            "overrides": [text for text in given if not text.lstrip("+").startswith("sweep.resume=")],
            "varied": list(varied),
            "jobs": listed(self.jobs),
            "study": study_of(self.config),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": 0.0,
            "versions": versions(),
            "git": git_revision(),
            "plugins": plugins_of_all([*(job.config for job in self.jobs), {"study": study_of(self.config)}], given),
        }

    def update(self, **fields: Any) -> None:
        """Change fields of sweep.json; they are on the disk when the call returns."""
        self.fields |= fields
        write_json(self.folder / SWEEP_FILE, self.fields, new_folders=False)

    def placed(self, jobs: Sequence[RunSpec]) -> list[RunSpec]:
        """The jobs, each with its folder in the sweep's folder and the id of the sweep."""
        for job in jobs:
            job.folder, job.sweep = self.folder / job.name, self.id
        return list(jobs)

    @property
    def total(self) -> int:
        """The number of jobs that there will be."""
        return len(self.jobs)

    @property
    def resume_command(self) -> str:
        """The command that resumes this sweep."""
        return resume_command(from_here(self.folder), self.fields.get("config_dir"))

    def records(self) -> dict[RunSpec, RunRecord]:
        """The record of each job on the disk; that of a finished run is read once."""
        self.lean.look()
        return {job: self.record(job) for job in self.jobs}

    def train(self, jobs: Sequence[RunSpec]) -> None:
        """Train jobs with the launcher, one of ours or one of Hydra's."""
        if hasattr(self.launcher, "train"):
            self.launcher.train(self, jobs)
        elif jobs:
            self._launch(jobs)

    def _launch(self, jobs: Sequence[RunSpec]) -> None:
        """Train with one of Hydra's launchers, which compose the jobs again and call the program's task function."""
        hydra = self.config.hydra
        hydra.sweep.dir = str(self.folder)
        hydra.overrides.hydra = [*words_of(self.config).hydra, f"hydra.sweep.dir={quote(str(self.folder))}"]
        batch = []
        for job in jobs:
            with self.holding(job) as held:
                if held:
                    again = [f"resume={quote(str(job.folder))}"] if self.ready(job).resuming else []
                    again += overrides_of_data(job) if self.config.sweep.resume else []
                    batch.append([*job.overrides, f"hydra.sweep.subdir={quote(job.name)}", *again])
        try:
            self.launcher.launch(batch, initial_job_idx=0)
        except SystemExit as end:  # a run got the signal
            if isinstance(end.code, int) and end.code > 128:
                raise Stopped(end.code - 128) from None
            self._launcher_failed(end)
        except Exception as error:  # such as a killed worker process; the records of the runs show what has finished
            self._launcher_failed(error)

    def _launcher_failed(self, error: BaseException) -> None:
        if self.verbose:
            traceback.print_exc()
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        print(f"the launcher failed: {type(error).__name__}: {reason}", file=sys.stderr)

    def run(self, signals: Signals) -> int:
        """Train what is missing; returns the exit code: 0, 1 if a run failed, 128 + signal if stopped.

        Raises RequestError, with all that had finished recorded, if the disk takes no more.
        """
        began, before = time.monotonic(), self.fields["seconds"]
        stopped, full = 0, ""
        refused: RequestError | None = None
        try:
            try:
                self._train_missing()
            finally:
                signals.end()
        except Stopped as stop:
            stopped = stop.signum
        except (DiskError, OSError) as error:
            full = reason_of(error)
        except RequestError as error:
            refused = error
        records = self.records()
        complete = all(record.state in (*FINISHED, "failed") for record in records.values())
        if not (complete or self.config.sweep.wait or stopped or full or refused):
            self.update(status="submitted", process=None)
            print(f"resume        {terminal(self.resume_command)}", flush=True)
            return 0
        try:
            seconds = round(before + time.monotonic() - began, 3)
            self.update(status="completed" if complete else "stopped", seconds=seconds, process=None)
        except OSError as error:
            full = full or reason_of(error)
        stopped = stopped or signals.received
        whole = not (stopped or full or refused)
        tell(self.folder, self.fields, records, stopped, self.left_out, self.resume_command if whole or stopped else "")
        if full:
            advice = f"to resume when it can be written: {self.resume_command}"
            raise RequestError(f"hydra.sweep.dir={self.folder}: {full}\n{advice}")
        if refused:
            raise refused
        if stopped := stopped or signals.received:  # a signal may have come while the report was written
            return 128 + stopped
        return 0 if all(record.state in FINISHED for record in records.values()) else 1

    def _train_missing(self) -> None:
        kept = {job: record for job, record in self.records().items() if record.state in FINISHED}
        self.update(status="running", process=process())
        already = f", {len(kept)} of them finished before" if kept else ""
        print(f"{self.total} run{'s' * (self.total != 1)}{already}, in {from_here(self.folder)}", flush=True)
        if self.rungs:
            print(cut(self.rungs.plan.words), flush=True)
        self.progress = progress = SweepProgress(self.total, kept.values())
        # Hydra's launchers print their own lines.
        with progress if hasattr(self.launcher, "train") else contextlib.nullcontext():
            try:
                self.train([job for job in self.jobs if job not in kept])
                if self.lean.on and self.config.sweep.wait:
                    self._end_lean()
            finally:
                if hasattr(self.launcher, "close"):
                    self.launcher.close()

    def _end_lean(self) -> None:
        """Replace the folders that a launcher of Hydra has left, and make those of the best and worst runs."""
        self.lean.look()
        left = [job for job in self.jobs if job.name not in self.lean.there.runs]
        self.absorb([job for job in left if job.folder.exists()])
        kept = best_and_worst(self.folder, self.fields, self.records())
        again = [job for job in kept if RunRecord.read_or_missing(job.folder).state not in FINISHED]
        if not again or self.must_stop(self.records().values()):
            return
        print(f"the best and the worst runs are trained again, for their folders: {len(again)}", flush=True)
        finished, progress = self._finished, self.progress
        self.lean.again, self.lean.on = frozenset(job.name for job in again), False
        self._finished = {job: record for job, record in finished.items() if job.name not in self.lean.again}
        self.progress = SweepProgress(len(again))
        try:
            Sweep.train(self, again)
        finally:  # the records are those of the first time
            self.lean.again, self.lean.on = frozenset(), True
            self._finished, self.progress = finished, progress


def run_sweep(spec: SweepSpec) -> int:
    """Train the jobs of a command line; returns the exit code as `Sweep.run` does.

    Raises RequestError, with nothing written, if any of the jobs is wrong.
    """
    require_single(spec.config)
    composer = Composer(spec.loader, spec.config)
    varied, asked, repeated = grid(spec.arguments, spec.loader, spec.params)
    jobs, same = distinct(checked_jobs(composer, asked))
    if repeated or same:
        print(cut(f"equal settings are trained once: {', '.join([*repeated, *same])}"), flush=True)
    # A resumed sweep uses the data of its runs.
    generated = not spec.config.sweep.resume and uses_generated_garments(job.config for job in jobs)
    spec = replace(spec, prune=planned(spec, [job.config for job in jobs], varied, search=False))
    if spec.config.sweep.dry_run:
        print(listing(jobs, varied))
        return 0
    return in_its_folder(spec, generated, [job.name for job in jobs], lambda at: Sweep(spec, jobs, at, varied), jobs)


def require_leaving(spec: SweepSpec) -> None:
    """Raise RequestError unless the workers of the launcher can go on without the driver, which must not be needed."""
    if not getattr(spec.launcher, "leaves", False):
        if spec.config.sweep.resume and not any("sweep.wait=" in word for word in arguments_of(spec.command)):
            spec.config.sweep.wait = True  # false was meant for another launcher
            return
        raise RequestError("sweep.wait=false: needs hydra/launcher=slurm; the workers of others end with this program")
    if spec.config.sweep.on_error == "stop":
        raise RequestError("sweep.wait=false: needs sweep.on_error=continue, since nobody waits for the first failure")


def in_its_folder(
    spec: SweepSpec,
    generated: bool,
    names: Sequence[str],
    made: Callable[[Path], Sweep],
    jobs: Sequence[RunSpec] = (),
) -> int:
    """Run the sweep that is `made` in its folder, which is held meanwhile; `names` are the folders of its jobs.

    `jobs` are those that are known before.
    """
    if not spec.config.sweep.wait:
        require_leaving(spec)
    require_possible(spec.config, jobs, spec.alike)
    if hasattr(spec.launcher, "check"):
        spec.launcher.check(jobs)
    try:
        with signals_stop_the_run() as signals, contextlib.ExitStack() as stack:
            folder = sweep_folder(spec.config, generated, names)
            resume = spec.config.sweep.resume
            stack.enter_context(hold(folder, f"{'sweep.resume' if resume else 'hydra.sweep.dir'}={folder}"))
            if not resume:
                require_unused("sweep", folder, names)  # another process may have used it since
            spec.config.hydra.sweep.dir = str(folder)  # where whoever asked for the sweep finds it
            for place in (folder, folder / "summary"):  # the folders of the runs may be in use by workers
                remove_unfinished(place, below=False)
            return made(folder).run(signals)
    except Stopped as stop:  # before or after the sweep
        return 128 + stop.signum
