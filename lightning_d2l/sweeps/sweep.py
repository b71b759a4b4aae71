"""A whole sweep: check every job, then train what is missing with any launcher, and say how it went."""

from __future__ import annotations

import shlex
import shutil
import signal
import sys
import textwrap
import time
import traceback
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from hydra.core.config_loader import ConfigLoader
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightning_d2l.config.check import RequestError, check
from lightning_d2l.config.compose import explained, parse, plain, quote
from lightning_d2l.config.text import duration
from lightning_d2l.sweeps.compose import Composer
from lightning_d2l.sweeps.folder import SWEEP_FILE, State, check_same, find_sweep, lock, read_sweep, resumable, state
from lightning_d2l.sweeps.grid import Grid, Job, grid
from lightning_d2l.sweeps.progress import SweepProgress, status_table
from lightning_d2l.training.machine import check_accelerator, garments_stand_in
from lightning_d2l.training.record import Record, git_revision, new_folder, versions
from lightning_d2l.training.signals import Stopped, signals_stop_the_run

SUMMARY_LINES = 30


class Sweep:
    """The jobs of a sweep, its folder, and the composer that writes their .hydra files."""

    def __init__(self, config: DictConfig, composer: Composer, jobs: Sequence[Job], folder: Path) -> None:
        self.config, self.composer, self.jobs, self.folder = config, composer, jobs, folder
        self.stop_on_error: bool = config.sweep.on_error == "stop"
        self.progress = SweepProgress(0, {})

    @property
    def total(self) -> int:
        """How many jobs there will be."""
        return len(self.jobs)

    def states(self) -> dict[Job, State]:
        """How far each job has come, from the disk."""
        return {job: state(self.folder / job.name) for job in self.jobs}

    def make_ready(self, job: Job) -> bool:
        """True if a job goes on from its own checkpoint; if not, what an earlier attempt left is removed."""
        folder = self.folder / job.name
        if resumable(folder):
            return True
        shutil.rmtree(folder, ignore_errors=True)
        return False


def run_sweep(config: DictConfig, loader: ConfigLoader, launcher: Launcher, arguments: Sequence[str]) -> int:
    """Train the jobs of a command line; returns the exit code: 0, 1 if a run failed, 128 + signal if stopped.

    `config` is the composed configuration of the sweep, without its swept keys. Raises RequestError, with nothing
    written, if any of the jobs is wrong.
    """
    composer = Composer(loader, config)
    asked = grid(arguments, loader)
    jobs = checked_jobs(composer, asked)
    generated = garments_stand_in([job.config for job in jobs])
    if config.sweep.dry_run:
        from lightning_d2l.sweeps.dry_run import listing

        print(listing(jobs, asked.varied))
        return 0
    folder = find_sweep(config.sweep.resume) if config.sweep.resume else _place(config, generated)
    with lock(folder):
        sweep = Sweep(config, composer, jobs, folder)
        return _train(sweep, launcher, _record(sweep, asked))


def checked_jobs(composer: Composer, asked: Grid) -> list[Job]:
    """The jobs of a grid; raises RequestError that names the first wrong one."""
    jobs = []
    for number, (name, overrides) in enumerate(zip(asked.names, asked.overrides, strict=True)):
        try:
            settings = plain(composer.compose(overrides))
            check(settings)
            check_accelerator(settings)
        except (HydraException, OmegaConfBaseException) as error:
            raise RequestError(f"job {number} ({name}): {explained(error, parse(overrides))}") from error
        except RequestError as error:
            raise RequestError(f"job {number} ({name}): {error}") from error
        jobs.append(Job(number, name, overrides, settings))
    return jobs


def _place(config: DictConfig, generated: bool) -> Path:
    """Make the sweep's folder, one that holds no other sweep or run."""
    given = [o for o in config.hydra.overrides.hydra if o.lstrip("+").startswith("hydra.sweep.dir=")]
    if subdir := [o for o in config.hydra.overrides.hydra if o.lstrip("+").startswith("hydra.sweep.subdir=")]:
        raise RequestError(f"{subdir[0]}: must be left out; the folders of a sweep are named by what varies")
    wanted = Path(config.hydra.sweep.dir)
    if given and any((wanted / name).exists() for name in (SWEEP_FILE, "run.json")):
        raise RequestError(
            f"hydra.sweep.dir={wanted}: holds a sweep or run already; choose another folder, or sweep.resume={wanted}"
        )
    if not given and generated:
        wanted = wanted.with_name(f"{wanted.name}-generated")
    try:
        return new_folder(wanted, exact=bool(given))
    except OSError as error:
        raise RequestError(f"hydra.sweep.dir={wanted}: cannot be written ({error.strerror})") from error


def _record(sweep: Sweep, asked: Grid) -> Record:
    """sweep.json as it stands while the sweep runs."""
    config, study = sweep.config, sweep.config.get("study")
    if config.sweep.resume:
        before = read_sweep(sweep.folder)
        check_same(sweep.folder, before, sweep.jobs)
        return Record(sweep.folder, before, SWEEP_FILE)
    words = [word for word in sys.argv[1:] if not word.startswith("sweep.resume=")]
    fields = {
        "status": "running",
        "command": shlex.join(["python", "train.py", *words]),
        "overrides": [*config.hydra.overrides.hydra, *config.hydra.overrides.task],
        "varied": asked.varied,
        "jobs": [{"number": job.number, "folder": job.name, "overrides": job.overrides} for job in sweep.jobs],
        "study": OmegaConf.to_container(study, resolve=True) if study is not None else None,
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seconds": 0.0,
        "versions": versions(),
        "git": git_revision(),
    }
    return Record(sweep.folder, fields, SWEEP_FILE)


def _train(sweep: Sweep, launcher: Launcher, record: Record) -> int:
    states = sweep.states()
    jobs = [job for job, found in states.items() if found.status not in ("completed", "diverged")]
    kept = {job: found for job, found in states.items() if job not in jobs}
    began, before = time.monotonic(), record.fields["seconds"]
    record.update(status="running")
    already = f", {len(kept)} of them finished before" if kept else ""
    print(f"{sweep.total} runs{already}, in {_shown(sweep.folder)}", flush=True)
    sweep.progress = SweepProgress(sweep.total, kept)
    stopped = 0
    try:
        with signals_stop_the_run():
            if hasattr(launcher, "train"):
                with sweep.progress:
                    launcher.train(sweep, jobs)
            elif jobs:
                _launch(sweep, launcher, jobs)
    except Stopped as stop:
        stopped = stop.signum
    except SystemExit as stop:  # of a run that a signal reached first
        stopped = stop.code - 128 if isinstance(stop.code, int) and stop.code > 128 else signal.SIGTERM
    states = sweep.states()
    complete = all(found.status in ("completed", "diverged", "failed") for found in states.values())
    seconds = round(before + time.monotonic() - began, 3)
    record.update(status="completed" if complete else "stopped", seconds=seconds)
    _report(sweep, record, states, stopped)
    if stopped:
        return 128 + stopped
    return 0 if all(found.status in ("completed", "diverged") for found in states.values()) else 1


def _launch(sweep: Sweep, launcher: Launcher, jobs: Sequence[Job]) -> None:
    """Train with one of Hydra's launchers, which compose the jobs again and call the application's task function."""
    hydra = sweep.config.hydra
    place = f"hydra.sweep.dir={quote(str(sweep.folder))}"
    hydra.sweep.dir = str(sweep.folder)
    hydra.overrides.hydra = [*hydra.overrides.hydra, place]
    batch = []
    for job in jobs:
        again = [f"resume={quote(str(sweep.folder / job.name))}"] if sweep.make_ready(job) else []
        batch.append([*job.overrides, f"hydra.sweep.subdir={quote(job.name)}", *again])
    try:
        launcher.launch(batch, initial_job_idx=0)
    except Exception as error:  # such as a worker that was killed: the runs' own records say what is done
        if sweep.config.verbose:
            traceback.print_exc()
        print(f"the launcher failed: {type(error).__name__}: {str(error).strip().splitlines()[0]}", file=sys.stderr)


def _report(sweep: Sweep, record: Record, states: dict[Job, State], stopped: int) -> None:
    from lightning_d2l.sweeps.summary import summary

    fields, shown = record.fields, _shown(sweep.folder)
    print(f"\n{status_table(states)}\n\nsweep folder  {shown}  ({duration(fields['seconds'])})")
    lines = summary(sweep.folder, fields["varied"]).splitlines()
    print("\n".join(lines[:SUMMARY_LINES]))
    if len(lines) > SUMMARY_LINES:
        print(f"... {len(lines) - SUMMARY_LINES} more lines")
    if any(found.status == "completed" for found in states.values()) and not stopped:
        _conclude(sweep.folder, shown)
    if any(found.status not in ("completed", "diverged") for found in states.values()):
        what = f"stopped by {signal.Signals(stopped).name}; go on with" if stopped else "train the rest"
        print(f"{what:14}python train.py sweep.resume={shown}")


def _conclude(folder: Path, shown: Path) -> None:
    """Write the report beside the runs, and print its answer."""
    from lightning_d2l.studies.report import report

    try:
        made = report([folder])
    except (RequestError, OSError) as error:  # the runs are done and recorded, whatever becomes of their report
        print(f"\nno report: {error}", file=sys.stderr)
        return
    print(f"\n{textwrap.fill(made.answer, 80)}\n\nreport        {shown / made.paths['html'].name}")


def _shown(folder: Path) -> Path:
    from lightning_d2l.training.console import from_here

    return from_here(folder)
