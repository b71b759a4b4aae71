"""Runs of one structure together, as one batch of models, in this process; all others one after another."""

from __future__ import annotations

import gc
import json
import os
import traceback
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from lightning_d2l.sweeps.disk import require_disk
from lightning_d2l.sweeps.heap import give_back, kept_apart
from lightning_d2l.sweeps.in_rungs import train_in_rungs
from lightning_d2l.sweeps.plan import by_seed
from lightning_d2l.training.spec import RunSpec

if TYPE_CHECKING:
    from lightning_d2l.data.base import TensorDataModule
    from lightning_d2l.engine.members import Member
    from lightning_d2l.sweeps.work import Work
    from lightning_d2l.training.build import BuiltRun


# What a custom model or data module may raise; a signal to this process raises Stopped.
RAISED = (Exception, SystemExit, KeyboardInterrupt)


@dataclass(frozen=True)
class VectorizedSettings:
    """Settings of the launcher: the sizes of groups, and the largest share of the free memory for one."""

    min_members: int
    max_members: int
    memory: float

    def wrong(self) -> str:
        """What is out of range, or an empty string."""
        if self.min_members < 2:
            return f"hydra.launcher.min_members={self.min_members}: must be at least 2"
        if self.max_members < self.min_members:
            return f"hydra.launcher.max_members={self.max_members}: must be at least min_members={self.min_members}"
        if not 0 < self.memory <= 1:
            return f"hydra.launcher.memory={self.memory}: must be above 0 and at most 1"
        return ""


def train(work: Work, jobs: Sequence[RunSpec], settings: VectorizedSettings) -> None:
    """Train jobs in groups, then the others one by one, with the reason in a line; raises Stopped after a signal."""
    if work.rungs:
        train_in_rungs(work, work.rungs, jobs, lambda some: _train(work, some, settings))
    else:
        _train(work, jobs, settings)


def _train(work: Work, jobs: Sequence[RunSpec], settings: VectorizedSettings) -> None:
    """Train jobs, each to its end or to where it waits for others."""
    wrong = settings.wrong()
    launch = _Vectorized(work, settings, dict.fromkeys(jobs, wrong) if wrong else {})
    try:
        several = len(jobs) > settings.max_members and not work.rungs  # which have an order of their own
        with kept_apart():
            for group in [] if wrong else launch.groups(by_seed(jobs) if several else jobs):
                more = len(group) < len(jobs)
                launch.train(group)
                group.clear()  # before the next group is built
                if more:
                    give_back()
    finally:
        launch.release(jobs)
    for reason, number in Counter(launch.reasons.values()).items():
        work.tell_one_by_one(number, reason)
    work.train_each([job for job in jobs if job in launch.reasons])


class _Vectorized:
    """Trains groups; `reasons` has the jobs that must train by themselves, each with the reason."""

    def __init__(self, work: Work, settings: VectorizedSettings, reasons: dict[RunSpec, str]) -> None:
        self.work, self.settings, self.reasons = work, settings, reasons
        self.waits = False  # whether the next group waits at rungs for other runs of this process
        self._data: WeakValueDictionary[str, TensorDataModule] = WeakValueDictionary()
        self._held: dict[RunSpec, ExitStack] = {}  # the locks of the folders of jobs that wait or train

    def release(self, jobs: Iterable[RunSpec]) -> None:
        """Let other processes have the folders of jobs that have trained here, or will train by themselves."""
        for job in jobs:
            if job in self._held:
                self._held.pop(job).close()

    def _apart(self, jobs: Sequence[RunSpec], reason: str) -> None:
        self.reasons |= dict.fromkeys(jobs, reason)
        self.release(jobs)

    def groups(self, jobs: Sequence[RunSpec]) -> Iterator[list[tuple[BuiltRun, Member]]]:
        """Runs that can train together, as soon as there are as many as a group may have."""
        from lightning_d2l.sweeps.group import member_of
        from lightning_d2l.sweeps.structure import CannotStack, structure
        from lightning_d2l.training import console

        if jobs and not jobs[0].config["verbose"]:
            console.quiet()
        waiting: dict[Hashable, list[tuple[BuiltRun, Member]]] = {}
        full: set[Hashable] = set()  # structures of which a group has trained
        for job in jobs:
            if not self._hold(job):
                continue
            try:
                built = self._built(job)
                member = member_of(built)
                key = structure(built, member)
            except CannotStack as error:
                self._apart([job], str(error))
            except RAISED as error:  # it will fail in its own run too, and leave its traceback there
                require_disk(error, self.work.folder)
                self._apart([job], _line(error))
            else:
                waiting.setdefault(key, []).append((built, member))
                if len(waiting[key]) == self.settings.max_members:
                    full.add(key)
                    yield waiting.pop(key)
        several = len(waiting) > 1 or bool(self.reasons)
        for key in list(waiting):
            group, self.waits = waiting.pop(key), several
            if len(group) >= self.settings.min_members:
                yield group
            else:
                few = f"fewer than {self.settings.min_members} runs are left to train together"
                reason = few if len(group) > 1 or key in full else "no other run has the same structure"
                self._apart([built.spec for built, _ in group], reason)

    def _hold(self, job: RunSpec) -> bool:
        """Hold the folder of a job; returns False if another process does, so that the job is left out."""
        if self.work.lean.on and not job.folder.exists():  # whoever holds the sweep, or its chunk, holds the job
            return True
        stack = ExitStack()
        if held := stack.enter_context(self.work.holding(job)):
            self._held[job] = stack
        return held

    def _built(self, job: RunSpec) -> BuiltRun:
        from lightning_d2l.training.build import build
        from lightning_d2l.training.record import RunRecord
        from lightning_d2l.training.same_data import require_same_data

        key = json.dumps(job.config["data"], sort_keys=True)
        built = build(self.work.ready(job), self._data.get(key))
        if job.resuming:
            require_same_data(RunRecord.read(job.folder), built.data)
        self._data.setdefault(key, built.data)
        return built

    def train(self, group: list[tuple[BuiltRun, Member]]) -> None:
        """Train a group, in several parts where it does not fit into memory."""
        from lightning_d2l.sweeps.group import Group
        from lightning_d2l.sweeps.memory import bytes_of_member, free_bytes, out_of_memory

        jobs = [built.spec for built, _ in group]
        try:
            need = max(1, bytes_of_member(group[0][1]))
            size = max(1, int(self.settings.memory * free_bytes(jobs[0].config["trainer"]["accelerator"])) // need)
            while group:
                part, group = group[:size], group[size:]
                Group(part, self.work.progress, self.work.lean, self.work.rungs, waits=self.waits).train()
                if ended := [job for job in jobs[:size] if not self.waits or self.work.is_finished(job)]:
                    self.work.ended(ended)
                self.release(jobs[:size])
                del jobs[:size]
        except RAISED as error:
            require_disk(error, self.work.folder)
            group.clear()
            self.release(jobs)
            jobs = [job for job in jobs if not (self.work.rungs and self.work.is_finished(job))]  # the others left it
            if out_of_memory(error) and len(jobs) > 1:
                del error
                gc.collect()
                print(f"{len(jobs)} runs at once do not fit into memory: half as many", flush=True)
                for half in (jobs[: len(jobs) // 2], jobs[len(jobs) // 2 :]):
                    for again in self.groups(half):
                        self.train(again)
                return
            if self.work.verbose:
                traceback.print_exc()
            self._apart(jobs, f"{_line(error)}\nat {_place(error)}; verbose=true shows the traceback")


def _line(error: BaseException) -> str:
    words = str(error).strip().splitlines()
    return f"{type(error).__name__}: {words[0]}" if words else type(error).__name__


def _place(error: BaseException) -> str:
    """The last line before library code where an error arose: in a custom model, or in this package."""
    frames = traceback.extract_tb(error.__traceback__)
    libraries = {f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}"}
    own = [frame for frame in frames if not any(part in frame.filename for part in libraries)]
    frame = (own or frames)[-1]
    return f"{os.sep.join(Path(frame.filename).parts[-2:])}:{frame.lineno}"
