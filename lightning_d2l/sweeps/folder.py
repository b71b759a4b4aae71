"""The folder of a sweep: sweep.json, the lock that its process holds, and what a resumed sweep must agree with."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from filelock import AcquireReturnProxy, FileLock, Timeout
from omegaconf import DictConfig

from lightning_d2l.compat_hydra import words_of
from lightning_d2l.config.check import RequestError, flat
from lightning_d2l.config.records import require_same_streams
from lightning_d2l.studies.collect import OUTPUTS, SWEEP_FILE, newest_sweep
from lightning_d2l.training.files import new_folder
from lightning_d2l.training.record import RUN_FILE, RunRecord
from lightning_d2l.training.spec import RunSpec

FINISHED = ("completed", "diverged")
# Settings that may differ between the recorded runs of a sweep and the configuration that resumes it.
# Data may have moved; `same_data` compares them.
FREE = ("resume", "verbose", "logger", "trainer.checkpoint_every_n_seconds", "data.root", "data.source")
# What makes a folder no place for a new run or sweep: the files, what they are of, and how to resume it.
HELD = {"run": ((RUN_FILE,), "run", "resume"), "sweep": ((SWEEP_FILE, RUN_FILE), "sweep or run", "sweep.resume")}


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
    """The folder of the sweep that is resumed, or a new one.

    Raises RequestError if the folder can't be used.
    """
    given = words_of(config).hydra
    if config.sweep.resume:
        return find_sweep(config.sweep.resume)
    if subdir := [o for o in given if o.lstrip("+").startswith("hydra.sweep.subdir=")]:
        raise RequestError(f"{subdir[0]}: must be left out; the folders of a sweep are named by what varies")
    return place("sweep", config.hydra.sweep.dir, given, lambda: generated)


def place(kind: Literal["run", "sweep"], folder: str, overrides: Sequence[str], generated: Callable[[], bool]) -> Path:
    """Create the folder of a new run or sweep.

    A folder that `overrides` don't give gets a new name, which ends in "-generated" if `generated` says that
    the data are generated garments.
    Raises RequestError if the folder can't be written, or is given and holds a run or sweep.
    """
    key, wanted = f"hydra.{kind}.dir", Path(folder)
    given = any(override.lstrip("+").startswith(f"{key}=") for override in overrides)
    marks, what, resume = HELD[kind]
    if given and any((wanted / name).exists() for name in marks):
        raise RequestError(f"{key}={wanted}: holds a {what} already; choose another folder, or {resume}={wanted}")
    if not given and generated():
        wanted = wanted.with_name(f"{wanted.name}-generated")
    try:
        return new_folder(wanted, exact=given)
    except OSError as error:
        raise RequestError(f"{key}={wanted}: cannot be written ({error.strerror})") from error


def lock(folder: Path) -> AcquireReturnProxy[FileLock]:
    """Hold a sweep's folder for this process alone; the lock ends with the process.

    Raises RequestError if another process holds it.
    """
    try:
        return FileLock(folder / ".lock").acquire(timeout=0)
    except Timeout:
        raise RequestError(f"sweep.resume={folder}: this sweep is still running; wait for it or stop it") from None


def check_same(folder: Path, before: Mapping[str, Any], jobs: Sequence[RunSpec]) -> None:
    """Raise RequestError unless `jobs` have the overrides and configurations that the sweep in `folder` recorded."""
    there = _values_by_key([job["overrides"] for job in before["jobs"]])
    different = difference(there, _values_by_key([job.overrides for job in jobs]), FREE, _short)
    if not different and [job["folder"] for job in before["jobs"]] != [job.name for job in jobs]:
        raise RequestError(f"sweep.resume={folder}: its jobs are in a different order; repeat its command")
    for job in jobs:
        record = RunRecord.read_or_missing(job.folder)
        if not different and record.fields and (other := difference(flat(record.config), flat(job.config), FREE)):
            different = f"job {job.number} ({job.name}): {other}"
    if different:
        raise RequestError(
            f"sweep.resume={folder}: names a different sweep: {different}\n"
            f"to resume that one: python train.py sweep.resume={folder}"
        )


def difference(
    there: Mapping[str, Any], here: Mapping[str, Any], free: tuple[str, ...], show: Callable[[Any], object] = str
) -> str:
    """The first key with different values, except for keys that begin as those in `free`, or an empty string."""
    for key in dict.fromkeys([*there, *here]):
        if there.get(key) != here.get(key) and not key.startswith(free):
            return f"{key} is {show(there.get(key))} there and {show(here.get(key))} here"
    return ""


def _values_by_key(jobs: Iterable[Sequence[str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for override in dict.fromkeys(itertools.chain.from_iterable(jobs)):
        key, _, value = override.lstrip("+").partition("=")
        found.setdefault(key, []).append(value)
    return found


def _short(values: Sequence[str] | None) -> str:
    text = "not given" if values is None else ",".join(values)
    return text if len(text) <= 60 else f"{text[:40]}... ({len(values or ())} values)"
