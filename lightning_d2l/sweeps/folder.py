"""The folder of a sweep: a new one, or one that is resumed and must agree with what is asked for."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig

from lightning_d2l.compat_hydra import words_of
from lightning_d2l.config.check import RequestError, flat
from lightning_d2l.config.compose import path_override, with_literal_paths
from lightning_d2l.config.places import LOCK
from lightning_d2l.config.program import arguments_of, train_words
from lightning_d2l.config.records import require_same_streams
from lightning_d2l.studies.collect import OUTPUTS, newest_sweep
from lightning_d2l.studies.sweep_file import SWEEP_FILE, read_sweep_file
from lightning_d2l.sweeps.ownership import FREE, difference, other_sweep, require_unused
from lightning_d2l.training.folders import new_folder
from lightning_d2l.training.lock import holder
from lightning_d2l.training.record import RUN_FILE, RunRecord
from lightning_d2l.training.spec import RunSpec
from lightning_d2l.training.used_plugins import require_plugins

FINISHED = ("completed", "diverged", "pruned")


def read_sweep(folder: Path) -> dict[str, Any]:
    """The sweep.json of a sweep's folder; raises RequestError if there is none or it is damaged."""
    try:
        return read_sweep_file(folder / SWEEP_FILE)
    except (FileNotFoundError, NotADirectoryError):
        raise RequestError(_without_record(folder)) from None
    except (OSError, ValueError) as error:
        raise RequestError(f"{folder / SWEEP_FILE}: damaged; a sweep can't be read from it ({error})") from error


def _without_record(folder: Path) -> str:
    """Why a folder that has no sweep.json can't be resumed."""
    if user := holder(folder):
        return f"sweep.resume={folder}: in use by {user}; wait for it or stop it"
    if (folder / RUN_FILE).exists():
        return (
            f"sweep.resume={folder}: holds a run and no sweep; to resume that: the run's own command with resume=FOLDER"
        )
    if (folder / LOCK).exists():
        start = f"repeat its command with hydra.sweep.dir={folder}"
        return f"sweep.resume={folder}: its sweep was stopped before its first record; {start}"
    return f"sweep.resume={folder}: not a sweep's folder (it has no {SWEEP_FILE})"


def find_sweep(text: str) -> Path:
    """The folder that `sweep.resume` names: a path, or "latest" for the newest sweep below outputs/.

    Raises RequestError if there is no sweep in it that can be resumed.
    """
    folder = newest_sweep(OUTPUTS) if text == "latest" else Path(text)
    require_same_streams(fields := read_sweep(folder), f"sweep.resume={folder}")
    require_plugins(fields, f"sweep.resume={folder}", every=True)
    return folder


def check_command(record: Mapping[str, Any], what: str) -> None:
    """Raise RequestError if a recorded command, which is shown and never obeyed, holds more than the overrides."""
    try:
        words = arguments_of(record["command"])
    except ValueError as error:
        raise RequestError(f"{what}: its record is damaged: command: {error}") from error
    known = [*record["overrides"], "-m", "--multirun"]
    if (folder := record.get("config_dir")) is not None:
        known += ["--config-dir", "-cd", folder, f"--config-dir={folder}", f"-cd={folder}"]
    for word in words:
        if with_literal_paths([word])[0] not in known and not word.startswith("sweep.resume="):
            raise RequestError(f"{what}: its record is damaged: its command holds {word}, and its overrides do not")


def sweep_folder(config: DictConfig, generated: bool, names: Collection[str]) -> Path:
    """The folder of the sweep that is resumed, or a new one, in which the jobs have folders with these `names`.

    Raises RequestError if the folder can't be used.
    """
    given = words_of(config).hydra
    if config.sweep.resume:
        return find_sweep(config.sweep.resume)
    if subdir := [o for o in given if o.lstrip("+").startswith("hydra.sweep.subdir=")]:
        raise RequestError(f"{subdir[0]}: must be left out; the folders of a sweep are named by what varies")
    return place("sweep", config.hydra.sweep.dir, given, lambda: generated, names)


def place(
    kind: Literal["run", "sweep"],
    folder: str,
    overrides: Sequence[str],
    generated: Callable[[], bool],
    names: Collection[str] = (),
) -> Path:
    """Create the folder of a new run or sweep; `names` are the folders of a sweep's jobs.

    A folder that `overrides` don't give gets a new name, which ends in "-generated" if `generated` says that
    the data are generated garments.
    Raises RequestError if the folder can't be written, or is given and holds what would be replaced.
    """
    key, wanted = f"hydra.{kind}.dir", Path(folder)
    given = any(override.lstrip("+").startswith(f"{key}=") for override in overrides)
    try:
        if given:
            require_unused(kind, wanted, names)
        elif generated():
            wanted = wanted.with_name(f"{wanted.name}-generated")
        return new_folder(wanted, exact=given)
    except OSError as error:
        raise RequestError(f"{key}={wanted}: cannot be written ({error.strerror})") from error


def resume_command(folder: Path, config_dir: str | None = None) -> str:
    """The command that resumes the sweep in a folder, to be typed in a shell."""
    flags = [f"--config-dir={config_dir}"] if config_dir else []
    return shlex.join([*train_words(), *flags, path_override("sweep.resume", str(folder))])


def check_same(folder: Path, before: Mapping[str, Any], jobs: Sequence[RunSpec], alone: bool) -> None:
    """Raise RequestError unless `jobs` have the overrides and configurations that the sweep in `folder` recorded.

    `alone` says that the jobs are composed from the record itself.
    """
    free = tuple(key for key in FREE if key not in (before.get("varied") or ()))
    there = _values_by_key([job.get("overrides", []) for job in before["jobs"]])
    different = difference(there, _values_by_key([job.overrides for job in jobs]), free, _short)
    if not different and [job["folder"] for job in before["jobs"]] != [job.name for job in jobs]:
        different = "its jobs are in a different order"
    for job in jobs if not different else ():
        record = RunRecord.read_or_missing(job.folder)
        if record.fields and other_sweep(record, job):
            raise RequestError(f"sweep.resume={folder}: job {job.number} ({job.name}): its folder holds another's run")
        if record.fields and (other := difference(flat(record.config), flat(job.config), free)):
            different = f"job {job.number} ({job.name}): {other}"
            break
    if different and alone:
        raise RequestError(
            f"sweep.resume={folder}: composes otherwise than it did: {different}\n"
            "the configuration files or the environment variables that it names have changed since"
        )
    if different:
        raise RequestError(
            f"sweep.resume={folder}: names a different sweep: {different}\n"
            f"to resume that one: {resume_command(folder, before.get('config_dir'))}"
        )


def _values_by_key(jobs: Iterable[Sequence[str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for override in dict.fromkeys(itertools.chain.from_iterable(jobs)):
        key, _, value = override.lstrip("+").partition("=")
        found.setdefault(key, []).append(value)
    return found


def _short(values: Sequence[str] | None) -> str:
    text = "not given" if values is None else ",".join(values)
    return text if len(text) <= 60 else f"{text[:40]}... ({len(values or ())} values)"
