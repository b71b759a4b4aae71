"""A sweep on the disk: sweep.json, the lock that its process holds, and how far each of its runs has come."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import AcquireReturnProxy, FileLock, Timeout
from omegaconf import DictConfig

from lightning_d2l.config.check import RequestError, flat
from lightning_d2l.training.files import LAST, new_folder
from lightning_d2l.training.record import STOPPED, read_record
from lightning_d2l.training.spec import RunSpec

SWEEP_FILE = "sweep.json"
FINISHED = ("completed", "diverged")
# What may differ between a run's record and the configuration with which its sweep goes on.
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
    """The folder that `sweep.resume` names; "latest" is the sweep below outputs/ that was at work last."""
    if text != "latest":
        read_sweep(Path(text))
        return Path(text)
    found = sorted(Path("outputs").glob(f"**/{SWEEP_FILE}"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise RequestError("sweep.resume=latest: there is no sweep below outputs/")
    return found[-1].parent


def sweep_folder(config: DictConfig, generated: bool) -> Path:
    """The folder of the sweep that is gone on with, or a new one that holds no other sweep or run.

    `generated` garments make a part of a new one's name. Raises RequestError if there can be no such folder.
    """
    if config.sweep.resume:
        return find_sweep(config.sweep.resume)
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


def lock(folder: Path) -> AcquireReturnProxy[FileLock]:
    """Hold a sweep's folder for this process alone; the lock of a killed process is free.

    Raises RequestError if another process holds it.
    """
    try:
        return FileLock(folder / ".lock").acquire(timeout=0)
    except Timeout:
        raise RequestError(f"sweep.resume={folder}: this sweep is still running; wait for it or stop it") from None


@dataclass(frozen=True)
class State:
    """How far a run has come, from its record.

    `status` is completed, diverged, failed, interrupted (a signal, or the death of its process) or missing.
    """

    status: str
    record: dict[str, Any]

    @property
    def error(self) -> str:
        """What went wrong, in a line."""
        lines = str(self.record.get("error") or "").strip().splitlines()
        return lines[-1].removeprefix("failed: ") if lines else ""


def state(folder: Path) -> State:
    """The state of a run that is not running now."""
    try:
        record = read_record(folder)
    except RequestError:
        return State("missing", {})
    status = record["status"]
    if status == "running" or (status == "failed" and str(record.get("error")).startswith(STOPPED)):
        status = "interrupted"
    return State(status, record)


def resumable(folder: Path) -> bool:
    """Whether a run can go on from its own checkpoint."""
    return state(folder).status == "interrupted" and (folder / LAST).exists()


def check_same(folder: Path, before: Mapping[str, Any], jobs: Sequence[RunSpec]) -> None:
    """Raise RequestError unless the jobs of a sweep's record are these, by their overrides and configurations."""
    there, here = (_values_by_key(overrides) for overrides in ([j["overrides"] for j in before["jobs"]],
                                                                [j.overrides for j in jobs]))  # fmt: skip
    for key in dict.fromkeys([*there, *here]):
        if there.get(key) != here.get(key) and not key.startswith(FREE):
            raise _another(folder, key, _short(there.get(key)), _short(here.get(key)))
    if [j["folder"] for j in before["jobs"]] != [j.name for j in jobs]:
        raise RequestError(f"sweep.resume={folder}: the jobs come in another order there; repeat its command")
    for job in jobs:
        record = state(folder / job.name).record
        if not record:
            continue
        old, new = flat(record["config"]), flat(job.config)
        for key in sorted({*old, *new}):
            if old.get(key) != new.get(key) and not key.startswith(FREE):
                raise _another(folder, f"job {job.number} ({job.name}): {key}", old.get(key), new.get(key))


def _another(folder: Path, what: str, there: object, here: object) -> RequestError:
    return RequestError(
        f"sweep.resume={folder}: another sweep: {what} is {there} there and {here} here\n"
        f"to go on with that one: python train.py sweep.resume={folder}"
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
