"""A whole sweep: check every job, train those that are missing with any launcher, and print the outcome."""

from __future__ import annotations

import shlex
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightning_d2l.compat_hydra import ConfigLoader, words_of
from lightning_d2l.config.check import RequestError, check
from lightning_d2l.config.compose import command_of_run, explained, parse, quote
from lightning_d2l.studies.check import check_study
from lightning_d2l.studies.collect import SWEEP_FILE
from lightning_d2l.sweeps.compose import Composer
from lightning_d2l.sweeps.folder import FINISHED, check_same, lock, read_sweep, sweep_folder
from lightning_d2l.sweeps.grid import grid
from lightning_d2l.sweeps.progress import SweepProgress, listing, tell
from lightning_d2l.training.files import LAST, write_json
from lightning_d2l.training.machine import check_accelerator, uses_generated_garments
from lightning_d2l.training.record import RunRecord, git_revision, versions
from lightning_d2l.training.same_data import on_the_data_of_its_runs
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

    def __init__(self, spec: SweepSpec, jobs: Sequence[RunSpec], folder: Path, varied: Sequence[str]) -> None:
        self.config, self.launcher, self.folder = spec.config, spec.launcher, folder
        self.jobs = self.placed(jobs)
        self.progress = SweepProgress(0)
        self.fields = self._first_fields(spec, varied)
        self._finished: dict[RunSpec, RunRecord] = {}

    def _first_fields(self, spec: SweepSpec, varied: Sequence[str]) -> dict[str, Any]:
        """sweep.json before the first run."""
        config = self.config
        if config.sweep.resume:
            before = read_sweep(self.folder)
            check_same(self.folder, before, self.jobs)
            on_the_data_of_its_runs(self.jobs)
            return before
        words = [word for word in shlex.split(spec.command) if not word.startswith("sweep.resume=")]
        return {
            "status": "running",
            "command": shlex.join(words),
            "overrides": [*words_of(config).hydra, *words_of(config).task],
            "varied": list(varied),
            "jobs": listed(self.jobs),
            "study": _study(config),
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
        """The jobs, each with its folder in the sweep's folder."""
        for job in jobs:
            job.folder = self.folder / job.name
        return list(jobs)

    @property
    def total(self) -> int:
        """The number of jobs that there will be."""
        return len(self.jobs)

    def records(self) -> dict[RunSpec, RunRecord]:
        """The record of each job on the disk; that of a finished run is read once."""
        return {job: self._finished.get(job) or self._read(job) for job in self.jobs}

    def _read(self, job: RunSpec) -> RunRecord:
        record = RunRecord.read_or_missing(job.folder)
        if record.state in FINISHED:
            self._finished[job] = record
        return record

    def ended(self, jobs: Sequence[RunSpec]) -> bool:
        """Show that runs have ended, of which several trained at once; returns whether the sweep must stop."""
        records = {job: self._read(job) for job in jobs}
        self.progress.ended(records)
        return self.must_stop(records.values())

    def must_stop(self, records: Iterable[RunRecord]) -> bool:
        """Whether one of the runs failed and sweep.on_error=stop."""
        return self.config.sweep.on_error == "stop" and any(record.state == "failed" for record in records)

    def ready(self, job: RunSpec, *, anew: bool = False) -> RunSpec:
        """The job in its folder: to resume if it was interrupted and has a checkpoint, else, or if `anew`, to start."""
        stopped = RunRecord.read_or_missing(job.folder).state == "interrupted"
        resumes = stopped and (job.folder / LAST).exists() and not anew
        if not resumes:
            shutil.rmtree(job.folder, ignore_errors=True)
        job.folder.mkdir(parents=True, exist_ok=True)
        job.config = {**job.config, "resume": str(job.folder) if resumes else None}
        return job

    def train(self, jobs: Sequence[RunSpec]) -> None:
        """Train jobs with the launcher, one of ours or one of Hydra's."""
        if hasattr(self.launcher, "train"):
            self.launcher.train(self, jobs)
        elif jobs:
            self._launch(jobs)

    def train_in_turn(self, jobs: Sequence[RunSpec]) -> None:
        """Train jobs one after another in this process.

        Raises Stopped when a signal has ended a run.
        """
        from lightning_d2l.training.fit import run

        for job in jobs:
            try:
                code = run(self.ready(job))
            except RequestError:  # the checkpoint of an interrupted run can't be used
                code = run(self.ready(job, anew=True))
            if code > 128:
                raise Stopped(code - 128)
            if self.ended([job]):
                return

    def _launch(self, jobs: Sequence[RunSpec]) -> None:
        """Train with one of Hydra's launchers, which compose the jobs again and call the program's task function."""
        hydra = self.config.hydra
        hydra.sweep.dir = str(self.folder)
        hydra.overrides.hydra = [*words_of(self.config).hydra, f"hydra.sweep.dir={quote(str(self.folder))}"]
        batch = []
        for job in jobs:
            again = [f"resume={quote(str(job.folder))}"] if self.ready(job).resuming else []
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

        kept = {job: record for job, record in self.records().items() if record.state in FINISHED}
        began, before = time.monotonic(), self.fields["seconds"]
        self.update(status="running")
        already = f", {len(kept)} of them finished before" if kept else ""
        print(f"{self.total} runs{already}, in {from_here(self.folder)}", flush=True)
        self.progress = SweepProgress(self.total, kept.values())
        stopped = 0
        try:
            # Hydra's launchers print their own lines.
            with signals_stop_the_run(), self.progress if hasattr(self.launcher, "train") else nullcontext():
                self.train([job for job in self.jobs if job not in kept])
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
    varied, asked = grid(spec.arguments, spec.loader)
    jobs = checked_jobs(composer, asked)
    # A resumed sweep uses the data of its runs.
    generated = not spec.config.sweep.resume and uses_generated_garments(job.config for job in jobs)
    if spec.config.sweep.dry_run:
        print(listing(jobs, varied))
        return 0
    folder = sweep_folder(spec.config, generated)
    with lock(folder):
        return Sweep(spec, jobs, folder, varied).run()


def checked_jobs(composer: Composer, asked: Mapping[str, list[str]], first: int = 0) -> list[RunSpec]:
    """Jobs with the overrides that are asked for each name, numbered from `first`; a name is also the job's folder.

    Raises RequestError that names the first wrong job, or if the study names a key or metric that they don't have.
    """
    jobs = []
    for number, (name, overrides) in enumerate(asked.items(), first):
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
    if (study := _study(composer.master)) is not None:
        check_study(study, [RunRecord(j.folder, {"config": j.config, "overrides": j.overrides}, j.name) for j in jobs])
    return jobs


def _study(config: DictConfig) -> Any:
    """The node `study` as plain values, or None."""
    study = config.get("study")
    return None if study is None else OmegaConf.to_container(study, resolve=True)


def listed(jobs: Sequence[RunSpec]) -> list[dict[str, object]]:
    """The jobs in sweep.json."""
    return [{"number": job.number, "folder": job.name, "overrides": job.overrides} for job in jobs]
