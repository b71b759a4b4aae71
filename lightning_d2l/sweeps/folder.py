"""The folder of a sweep: sweep.json, the lock that its process holds, and what a resumed sweep must agree with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import AcquireReturnProxy, FileLock, Timeout
from omegaconf import DictConfig

from lightning_d2l.config.check import RequestError, flat
from lightning_d2l.config.records import require_same_streams
from lightning_d2l.studies.collect import OUTPUTS, SWEEP_FILE, newest_sweep
from lightning_d2l.training.files import LAST, new_folder
from lightning_d2l.training.record import RUN_FILE, RunRecord
from lightning_d2l.training.spec import RunSpec

FINISHED = ("completed", "diverged")
# Settings that may differ between the recorded runs of a sweep and the configuration that resumes it.
FREE = ("resume", "verbose", "logger", "trainer.checkpoint_every_n_seconds")


def read_sweep(folder: Path) -> dict[str, Any]:
    """The sweep.json of a sweep's folder; raises RequestError if there is none or it is damaged."""
    try:
        record = json.loads((folder / SWEEP_FILE).read_text())
        if isinstance(record, dict) and {"status", "command", "jobs"} <= record.keys():
            return record
    except (FileNotFoundError, NotADirectoryError):
        raise RequestError(f"{folder}: not a sweep's folder (it has no {SWEEP_FILE})") from None
    except (OSError, ValueError):
        pass
    raise RequestError(f"{folder / SWEEP_FILE}: damaged; a sweep can't be read from it")


def find_sweep(text: str) -> Path:
    """The folder that `sweep.resume` names: a path, or "latest" for the newest sweep below outputs/.

    Raises RequestError if there is no sweep in it that can be resumed.
    """
    folder = newest_sweep(OUTPUTS) if text == "latest" else Path(text)
    require_same_streams(read_sweep(folder), f"sweep.resume={folder}")
    return folder


def sweep_folder(config: DictConfig, generated: bool) -> Path:
    """The folder of the sweep that is resumed, or a new one that contains no other sweep or run.

    The name of a new folder ends in "-generated" if the data are generated garments. Raises RequestError if the folder
    can't be used.
    """
    if config.sweep.resume:
        return find_sweep(config.sweep.resume)
    given = [o for o in config.hydra.overrides.hydra if o.lstrip("+").startswith("hydra.sweep.dir=")]
    if subdir := [o for o in config.hydra.overrides.hydra if o.lstrip("+").startswith("hydra.sweep.subdir=")]:
        raise RequestError(f"{subdir[0]}: must be left out; the folders of a sweep are named by what varies")
    wanted = Path(config.hydra.sweep.dir)
    if given and any((wanted / name).exists() for name in (SWEEP_FILE, RUN_FILE)):
        raise RequestError(
            f"hydra.sweep.dir={wanted}: holds a sweep or run already; choose another folder, or sweep.resume={wanted}"
        )
    if not given and generated:
        wanted = wanted.with_name(f"{wanted.name}-generated")
    try:
        return new_folder(wanted, exact=bool(given))
    except OSError as error:
        raise RequestError(f"hydra.sweep.dir={wanted}: cannot be written ({error.strerror})") from error


def lock(folder: Path) -> AcquireReturnProxy[FileLock]:
    """Hold a sweep's folder for this process alone; the lock ends with the process.

    Raises RequestError if another process holds it.
    """
    try:
        return FileLock(folder / ".lock").acquire(timeout=0)
    except Timeout:
        raise RequestError(f"sweep.resume={folder}: this sweep is still running; wait for it or stop it") from None


def resumable(folder: Path) -> bool:
    """Whether a run was interrupted and has a checkpoint to resume from."""
    return RunRecord.read_or_missing(folder).state == "interrupted" and (folder / LAST).exists()


def check_same(folder: Path, before: Mapping[str, Any], jobs: Sequence[RunSpec]) -> None:
    """Raise RequestError unless `jobs` have the overrides and configurations that the sweep in `folder` recorded."""
    there = _values_by_key([job["overrides"] for job in before["jobs"]])
    here = _values_by_key([job.overrides for job in jobs])
    for key in dict.fromkeys([*there, *here]):
        if there.get(key) != here.get(key) and not key.startswith(FREE):
            raise _another(folder, key, _short(there.get(key)), _short(here.get(key)))
    if [job["folder"] for job in before["jobs"]] != [job.name for job in jobs]:
        raise RequestError(f"sweep.resume={folder}: its jobs are in a different order; repeat its command")
    for job in jobs:
        record = RunRecord.read_or_missing(job.folder)
        if not record.fields:
            continue
        old, new = flat(record.config), flat(job.config)
        for key in sorted({*old, *new}):
            if old.get(key) != new.get(key) and not key.startswith(FREE):
                raise _another(folder, f"job {job.number} ({job.name}): {key}", old.get(key), new.get(key))


def _another(folder: Path, what: str, there: object, here: object) -> RequestError:
    return RequestError(
        f"sweep.resume={folder}: names a different sweep: {what} is {there} there and {here} here\n"
        f"to resume that one: python train.py sweep.resume={folder}"
    )


def _values_by_key(jobs: Sequence[Sequence[str]]) -> dict[str, list[str]]:
    found: dict[str, dict[str, None]] = {}
    for overrides in jobs:
        for override in overrides:
            key, _, value = override.partition("=")
            found.setdefault(key.lstrip("+"), {})[value] = None
    return {key: list(values) for key, values in found.items()}


def _short(values: Sequence[str] | None) -> str:
    text = "not given" if values is None else ",".join(values)
    return text if len(text) <= 60 else f"{text[:40]}... ({len(values or ())} values)"
