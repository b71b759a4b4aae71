"""Jobs of one structure at once, in this process; what can't train together, one after another."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from hydra.core.utils import env_override

from lightning_d2l.sweeps import sequential
from lightning_d2l.sweeps.grid import Job

if TYPE_CHECKING:
    from lightning_d2l.data.base import TensorDataModule
    from lightning_d2l.sweeps.group import Candidate
    from lightning_d2l.sweeps.sweep import Sweep


@dataclass(frozen=True)
class Settings:
    """Of the launcher: the sizes of groups, and the share of the free memory that one may take."""

    min_members: int = 2
    max_members: int = 500
    memory: float = 0.5

    def wrong(self) -> str:
        """What is out of range, or nothing."""
        if self.min_members < 2:
            return f"hydra.launcher.min_members={self.min_members}: must be at least 2"
        if self.max_members < self.min_members:
            return f"hydra.launcher.max_members={self.max_members}: must be at least min_members={self.min_members}"
        if not 0 < self.memory <= 1:
            return f"hydra.launcher.memory={self.memory}: must be above 0 and at most 1"
        return ""


def train(sweep: Sweep, jobs: Sequence[Job], settings: Settings) -> None:
    """Train jobs in groups, and those that can't be grouped one after another, with the reason in a line.

    Raises Stopped when a signal has ended the training.
    """
    alone: dict[Job, str] = {}
    if wrong := settings.wrong():
        alone = dict.fromkeys(jobs, wrong)
    else:
        with env_override(dict(sweep.config.hydra.job.env_set)):
            for group in _groups(sweep, jobs, settings, alone):
                _train(sweep, group, alone)
    for reason, number in Counter(alone.values()).items():
        print(f"{number} {'run' if number == 1 else 'runs'} one by one: {reason}", flush=True)
    sequential.train(sweep, [job for job in jobs if job in alone])


def _groups(sweep: Sweep, jobs: Sequence[Job], settings: Settings, alone: dict[Job, str]) -> Iterator[list[Candidate]]:
    """Jobs that can train together, as soon as there are enough of them; the others go into `alone`."""
    from lightning_d2l.sweeps.structure import CannotStack, structure

    waiting: dict[Hashable, list[Candidate]] = {}
    known: WeakValueDictionary[str, TensorDataModule] = WeakValueDictionary()
    for job in jobs:
        try:
            found = _candidate(sweep, job, known)
            key = structure(found)
        except CannotStack as error:
            alone[job] = str(error)
            continue
        except Exception as error:  # it will fail by itself too, and leave its traceback
            alone[job] = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
            continue
        waiting.setdefault(key, []).append(found)
        if len(waiting[key]) == settings.max_members:
            yield waiting.pop(key)
    for group in waiting.values():
        if len(group) >= settings.min_members:
            yield group
        else:
            alone |= dict.fromkeys([each.job for each in group], "no other is like it")


def _candidate(sweep: Sweep, job: Job, known: WeakValueDictionary[str, TensorDataModule]) -> Candidate:
    from lightning_d2l.sweeps.group import candidate
    from lightning_d2l.training import console
    from lightning_d2l.training.job import build_data, prepare

    if not job.config["verbose"]:
        console.quiet()
    key = json.dumps(job.config["data"], sort_keys=True)
    data = known.get(key) or build_data(job.config)
    known[key] = data
    request = sequential.request(sweep, job, resume=sweep.make_ready(job))
    return candidate(job, request, prepare(job.config, data))


def _train(sweep: Sweep, group: list[Candidate], alone: dict[Job, str]) -> None:
    from lightning_d2l.sweeps.group import Group

    Group(group).train()
    for each in group:
        sweep.ended(each.job)
