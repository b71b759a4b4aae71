"""A whole sweep: check every job, train those that are missing with any launcher, and print the outcome."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightning_d2l.compat_hydra import ConfigLoader
from lightning_d2l.config.check import RequestError, check
from lightning_d2l.config.compose import command_of_run, explained, parse, quote
from lightning_d2l.studies.check import check_study
from lightning_d2l.studies.collect import SWEEP_FILE
from lightning_d2l.sweeps.compose import Composer
from lightning_d2l.sweeps.folder import FINISHED, check_same, lock, read_sweep, resumable, sweep_folder
from lightning_d2l.sweeps.grid import Grid, grid
from lightning_d2l.sweeps.progress import SweepProgress
from lightning_d2l.sweeps.result import tell
from lightning_d2l.training.files import write_json
from lightning_d2l.training.machine import check_accelerator, uses_generated_garments
from lightning_d2l.training.record import RunRecord, git_revision, versions
from lightning_d2l.training.signals import Stopped, signals_stop_the_run
from lightning_d2l.training.spec import RunSpec


@dataclass(frozen=True)
class SweepSpec:
    """What is asked of a sweep: the composed configuration without the swept keys, and all `arguments` in order.

    `command` is what the user typed.
    """

    config: DictConfig
    loader: ConfigLoader
    launcher: Launcher
    arguments: Sequence[str]
    command: str


class Sweep:
    """The jobs of a sweep in its folder, trained by the launcher of `spec`; `varied` are the swept keys.

    Raises RequestError if `sweep.resume` names a different sweep.
    """

    def __init__(
        self, spec: SweepSpec, composer: Composer, jobs: Sequence[RunSpec], folder: Path, varied: Sequence[str]
    ) -> None:
        self.config, self.launcher, self.composer, self.folder = spec.config, spec.launcher, composer, folder
        self.jobs = self.placed(jobs)
        self.stop_on_error: bool = self.config.sweep.on_error == "stop"
        self.progress = SweepProgress(0, {})
        self.fields = self._first_fields(spec, varied)
        self._finished: dict[RunSpec, RunRecord] = {}

    def _first_fields(self, spec: SweepSpec, varied: Sequence[str]) -> dict[str, Any]:
        """sweep.json before the first run."""
        config, study = self.config, self.config.get("study")
        if config.sweep.resume:
            before = read_sweep(self.folder)
            check_same(self.folder, before, self.jobs)
            return before
        words = [word for word in shlex.split(spec.command) if not word.startswith("sweep.resume=")]
        return {
            "status": "running",
            "command": shlex.join(words),
            "overrides": [*config.hydra.overrides.hydra, *config.hydra.overrides.task],
            "varied": list(varied),
            "jobs": listed(self.jobs),
            "study": OmegaConf.to_container(study, resolve=True) if study is not None else None,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": 0.0,
            "versions": versions(),
            "git": git_revision(),
        }

    def update(self, **fields: Any) -> None:
        """Change fields of sweep.json; they are on the disk when the call returns."""
        self.fields |= fields
        write_json(self.folder / SWEEP_FILE, self.fields)

    def placed(self, jobs: Sequence[RunSpec]) -> list[RunSpec]:
        """Jobs with their folders in the sweep's folder."""
        return [dataclasses.replace(job, folder=self.folder / job.name) for job in jobs]

    @property
    def total(self) -> int:
        """The number of jobs that there will be."""
        return len(self.jobs)

    def records(self) -> dict[RunSpec, RunRecord]:
        """The record of each job on the disk; that of a finished run is read once."""
        return {job: self._finished.get(job) or self._read(job) for job in self.jobs}

    def ended(self, job: RunSpec) -> RunRecord:
        """Show that a run has ended; returns its record."""
        record = self._read(job)
        self.progress.ended(job, record)
        return record

    def ended_together(self, jobs: Sequence[RunSpec]) -> None:
        """Show that runs which trained at once have ended."""
        self.progress.ended_together({job: self._read(job) for job in jobs})

    def _read(self, job: RunSpec) -> RunRecord:
        record = RunRecord.read_or_missing(job.folder)
        if record.state in FINISHED:
            self._finished[job] = record
        return record

    def make_ready(self, job: RunSpec) -> bool:
        """True if a job resumes from its own checkpoint; otherwise its folder is removed."""
        if resumable(job.folder):
            return True
        shutil.rmtree(job.folder, ignore_errors=True)
        return False

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
        hydra.overrides.hydra = [*hydra.overrides.hydra, f"hydra.sweep.dir={quote(str(self.folder))}"]
        batch = []
        for job in jobs:
            again = [f"resume={quote(str(job.folder))}"] if self.make_ready(job) else []
            batch.append([*job.overrides, f"hydra.sweep.subdir={quote(job.name)}", *again])
        try:
            self.launcher.launch(batch, initial_job_idx=0)
        except Exception as error:  # such as a killed worker process; the records of the runs show what has finished
            if self.config.verbose:
                traceback.print_exc()
            print(f"the launcher failed: {type(error).__name__}: {str(error).strip().splitlines()[0]}", file=sys.stderr)

    def run(self) -> int:
        """Train what is missing; returns the exit code: 0, 1 if a run failed, 128 + signal if stopped."""
        from lightning_d2l.training.console import from_here

        records = self.records()
        jobs = [job for job, record in records.items() if record.state not in FINISHED]
        kept = {job: record for job, record in records.items() if record.state in FINISHED}
        began, before = time.monotonic(), self.fields["seconds"]
        self.update(status="running")
        already = f", {len(kept)} of them finished before" if kept else ""
        print(f"{self.total} runs{already}, in {from_here(self.folder)}", flush=True)
        self.progress = SweepProgress(self.total, kept)
        stopped = 0
        try:
            # Hydra's launchers print their own lines.
            with signals_stop_the_run(), self.progress if hasattr(self.launcher, "train") else nullcontext():
                self.train(jobs)
        except Stopped as stop:
            stopped = stop.signum
        except SystemExit as stop:  # a run of one of Hydra's launchers got the signal
            stopped = stop.code - 128 if isinstance(stop.code, int) and stop.code > 128 else signal.SIGTERM
        records = self.records()
        complete = all(record.state in (*FINISHED, "failed") for record in records.values())
        seconds = round(before + time.monotonic() - began, 3)
        self.update(status="completed" if complete else "stopped", seconds=seconds)
        tell(self.folder, self.fields, records, stopped)
        if stopped:
            return 128 + stopped
        return 0 if all(record.state in FINISHED for record in records.values()) else 1


def run_sweep(spec: SweepSpec) -> int:
    """Train the jobs of a command line; returns the exit code as `Sweep.run` does.

    Raises RequestError, with nothing written, if any of the jobs is wrong.
    """
    composer = Composer(spec.loader, spec.config)
    asked = grid(spec.arguments, spec.loader)
    jobs = checked_jobs(composer, asked)
    check_study_of_sweep(spec.config, jobs)
    generated = uses_generated_garments([job.config for job in jobs])
    if spec.config.sweep.dry_run:
        from lightning_d2l.sweeps.dry_run import listing

        print(listing(jobs, asked.varied))
        return 0
    folder = sweep_folder(spec.config, generated)
    with lock(folder):
        return Sweep(spec, composer, jobs, folder, asked.varied).run()


def checked_jobs(composer: Composer, asked: Grid) -> list[RunSpec]:
    """The jobs of a grid, each with its name as its folder; raises RequestError that names the first wrong one."""
    jobs = []
    for number, (name, overrides) in enumerate(zip(asked.names, asked.overrides, strict=True)):
        try:
            config = composer.settings(overrides)
            check(config)
            check_accelerator(config)
        except (HydraException, OmegaConfBaseException) as error:
            raise RequestError(f"job {number} ({name}): {explained(error, parse(overrides))}") from error
        except RequestError as error:
            raise RequestError(f"job {number} ({name}): {error}") from error
        command = command_of_run(composer.master, overrides)
        jobs.append(RunSpec(config, Path(name), overrides, command, number, silent=True))
    return jobs


def check_study_of_sweep(config: DictConfig, jobs: Sequence[RunSpec]) -> None:
    """Check the study of a sweep; raises RequestError if it names a key or a metric that the jobs don't have."""
    if (study := config.get("study")) is None:
        return
    node: dict[str, Any] = OmegaConf.to_container(study, resolve=True)  # type: ignore[assignment]
    records = [RunRecord(job.folder, {"config": job.config, "overrides": job.overrides}, job.name) for job in jobs]
    check_study(node, records)


def listed(jobs: Sequence[RunSpec]) -> list[dict[str, object]]:
    """The jobs in sweep.json."""
    return [{"number": job.number, "folder": job.name, "overrides": job.overrides} for job in jobs]
