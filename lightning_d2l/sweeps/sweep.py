"""A whole sweep: check every job, then train what is missing with any launcher, and say how it went."""

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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightning_d2l.config.check import RequestError, check
from lightning_d2l.config.compose import command_of_run, explained, parse, quote
from lightning_d2l.sweeps.compose import Composer
from lightning_d2l.sweeps.folder import (
    FINISHED,
    SWEEP_FILE,
    State,
    check_same,
    lock,
    read_sweep,
    resumable,
    state,
    sweep_folder,
)  # fmt: skip
from lightning_d2l.sweeps.grid import Grid, grid
from lightning_d2l.sweeps.progress import SweepProgress
from lightning_d2l.training.machine import check_accelerator, garments_stand_in
from lightning_d2l.training.record import Record, git_revision, versions
from lightning_d2l.training.signals import Stopped, signals_stop_the_run
from lightning_d2l.training.spec import RunSpec


class Sweep:
    """The jobs of a sweep in its folder, the composer of their .hydra files, and the launcher that trains them.

    `varied` are the swept keys. Raises RequestError if the sweep that is gone on with is another one.
    """

    def __init__(
        self,
        config: DictConfig,
        composer: Composer,
        jobs: Sequence[RunSpec],
        folder: Path,
        launcher: Launcher,
        varied: Sequence[str],
    ) -> None:
        self.config, self.composer, self.folder, self.launcher = config, composer, folder, launcher
        self.jobs = self.placed(jobs)
        self.stop_on_error: bool = config.sweep.on_error == "stop"
        self.progress = SweepProgress(0, {})
        self.record = Record(folder, self._fields(varied), SWEEP_FILE)
        self._finished: dict[RunSpec, State] = {}

    def _fields(self, varied: Sequence[str]) -> dict[str, object]:
        """sweep.json as it stands while the sweep runs."""
        config, study = self.config, self.config.get("study")
        if config.sweep.resume:
            before = read_sweep(self.folder)
            check_same(self.folder, before, self.jobs)
            return before
        words = [word for word in sys.argv[1:] if not word.startswith("sweep.resume=")]
        return {
            "status": "running",
            "command": shlex.join(["python", "train.py", *words]),
            "overrides": [*config.hydra.overrides.hydra, *config.hydra.overrides.task],
            "varied": list(varied),
            "jobs": listed(self.jobs),
            "study": OmegaConf.to_container(study, resolve=True) if study is not None else None,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": 0.0,
            "versions": versions(),
            "git": git_revision(),
        }

    def placed(self, jobs: Sequence[RunSpec]) -> list[RunSpec]:
        """Jobs with their folders in the sweep's folder."""
        return [dataclasses.replace(job, folder=self.folder / job.name) for job in jobs]

    @property
    def total(self) -> int:
        """How many jobs there will be."""
        return len(self.jobs)

    def states(self) -> dict[RunSpec, State]:
        """How far each job has come, from the disk; the record of a run that has finished is read once."""
        return {job: self._finished.get(job) or self._read(job) for job in self.jobs}

    def ended(self, job: RunSpec) -> State:
        """Tell of a run that has ended; returns how."""
        found = self._read(job)
        self.progress.ended(job, found)
        return found

    def ended_together(self, jobs: Sequence[RunSpec]) -> None:
        """Tell of runs that have ended at once."""
        self.progress.ended_together({job: self._read(job) for job in jobs})

    def _read(self, job: RunSpec) -> State:
        found = state(job.folder)
        if found.status in FINISHED:
            self._finished[job] = found
        return found

    def make_ready(self, job: RunSpec) -> bool:
        """True if a job goes on from its own checkpoint; if not, what an earlier attempt left is removed."""
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
        """Hydra's launchers compose the jobs again and call the application's task function."""
        hydra = self.config.hydra
        place = f"hydra.sweep.dir={quote(str(self.folder))}"
        hydra.sweep.dir = str(self.folder)
        hydra.overrides.hydra = [*hydra.overrides.hydra, place]
        batch = []
        for job in jobs:
            again = [f"resume={quote(str(job.folder))}"] if self.make_ready(job) else []
            batch.append([*job.overrides, f"hydra.sweep.subdir={quote(job.name)}", *again])
        try:
            self.launcher.launch(batch, initial_job_idx=0)
        except Exception as error:  # such as a worker that was killed: the runs' own records say what is done
            if self.config.verbose:
                traceback.print_exc()
            print(f"the launcher failed: {type(error).__name__}: {str(error).strip().splitlines()[0]}", file=sys.stderr)

    def run(self) -> int:
        """Train what is missing; returns the exit code: 0, 1 if a run failed, 128 + signal if stopped."""
        from lightning_d2l.sweeps.result import tell
        from lightning_d2l.training.console import from_here

        states = self.states()
        jobs = [job for job, found in states.items() if found.status not in FINISHED]
        kept = {job: found for job, found in states.items() if found.status in FINISHED}
        began, before = time.monotonic(), self.record.fields["seconds"]
        self.record.update(status="running")
        already = f", {len(kept)} of them finished before" if kept else ""
        print(f"{self.total} runs{already}, in {from_here(self.folder)}", flush=True)
        self.progress = SweepProgress(self.total, kept)
        stopped = 0
        try:
            # Hydra's launchers print lines of their own
            with signals_stop_the_run(), self.progress if hasattr(self.launcher, "train") else nullcontext():
                self.train(jobs)
        except Stopped as stop:
            stopped = stop.signum
        except SystemExit as stop:  # of a run that a signal reached first
            stopped = stop.code - 128 if isinstance(stop.code, int) and stop.code > 128 else signal.SIGTERM
        states = self.states()
        complete = all(found.status in (*FINISHED, "failed") for found in states.values())
        seconds = round(before + time.monotonic() - began, 3)
        self.record.update(status="completed" if complete else "stopped", seconds=seconds)
        tell(self, states, stopped)
        if stopped:
            return 128 + stopped
        return 0 if all(found.status in FINISHED for found in states.values()) else 1


def run_sweep(config: DictConfig, loader: ConfigLoader, launcher: Launcher, arguments: Sequence[str]) -> int:
    """Train the jobs of a command line; returns the exit code as `Sweep.run` does.

    `config` is the composed configuration of the sweep, without its swept keys. Raises RequestError, with nothing
    written, if any of the jobs is wrong.
    """
    composer = Composer(loader, config)
    asked = grid(arguments, loader)
    jobs = checked_jobs(composer, asked)
    check_study(config, jobs)
    generated = garments_stand_in([job.config for job in jobs])
    if config.sweep.dry_run:
        from lightning_d2l.sweeps.dry_run import listing

        print(listing(jobs, asked.varied))
        return 0
    folder = sweep_folder(config, generated)
    with lock(folder):
        return Sweep(config, composer, jobs, folder, launcher, asked.varied).run()


def checked_jobs(composer: Composer, asked: Grid) -> list[RunSpec]:
    """The jobs of a grid, their folders named but not placed; raises RequestError that names the first wrong one."""
    jobs = []
    for number, (name, overrides) in enumerate(zip(asked.names, asked.overrides, strict=True)):
        try:
            settings = composer.settings(overrides)
            check(settings)
            check_accelerator(settings)
        except (HydraException, OmegaConfBaseException) as error:
            raise RequestError(f"job {number} ({name}): {explained(error, parse(overrides))}") from error
        except RequestError as error:
            raise RequestError(f"job {number} ({name}): {error}") from error
        command = command_of_run(composer.master, overrides)
        jobs.append(RunSpec(settings, Path(name), overrides, command, number, silent=True))
    return jobs


def check_study(config: DictConfig, jobs: Sequence[RunSpec]) -> None:
    """Raise RequestError if the study of a sweep asks for what its jobs don't have."""
    if (study := config.get("study")) is None:
        return
    from lightning_d2l.studies.check import check_study_of
    from lightning_d2l.studies.collect import Run

    node: dict[str, Any] = OmegaConf.to_container(study, resolve=True)  # type: ignore[assignment]
    check_study_of(node, [Run(j.name, "", j.folder, {"config": j.config, "overrides": j.overrides}) for j in jobs])


def listed(jobs: Sequence[RunSpec]) -> list[dict[str, object]]:
    """Jobs as sweep.json has them."""
    return [{"number": job.number, "folder": job.name, "overrides": job.overrides} for job in jobs]
