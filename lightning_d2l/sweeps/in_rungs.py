"""Runs that train by themselves, in turn, when hopeless settings of their sweep stop early.

The runs of a setting train up to a rung one after another and wait there; then the setting is compared, and all of them
go on or stop. So a setting is not judged by its first seed. The only run of a setting does not wait.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lightning_d2l.config.check import RequestError
from lightning_d2l.sweeps.pruning import Rungs, Standing
from lightning_d2l.training.pruned import Row, outcome, pruned, waits
from lightning_d2l.training.record import RunRecord
from lightning_d2l.training.spec import RunSpec

if TYPE_CHECKING:
    from lightning_d2l.sweeps.work import Work


class Turn:
    """A run up to the next rung, or without rungs to its end: watches its rows.

    `at` is the rung at which it waits then, or None.
    """

    def __init__(self, rungs: Rungs | None, setting: str = "", *, alone: bool = True) -> None:
        self.rungs, self.setting, self.alone = rungs, setting, alone
        self.at: int | None = None
        self._began = False

    @property
    def waits(self) -> bool:
        return self.at is not None

    def __call__(self, rows: Sequence[Row]) -> None:
        """Raise Ended where the run ends or waits after the last of its rows."""
        if self.rungs is None:
            return
        epoch = int(rows[-1]["epoch"])
        if not self._began and (before := self.rungs.stopped_until(epoch)) and self.setting in before:
            raise pruned(rows, before[self.setting])  # of a run that is resumed
        self._began = True
        if (rung := self.rungs.at(epoch)) is None:
            return
        if self.rungs.plan.metric not in rows[-1]:
            known = ", ".join(name for name in rows[-1] if name.endswith("/val"))
            raise RequestError(
                f"sweep.prune.metric={self.rungs.plan.metric}: must be one of {known or 'no metric'} here"
            )
        if not self.alone and self.setting not in self.rungs.standings[rung]:
            self.at = rung
            raise waits()
        if self.setting in self.rungs.judge(rung, {self.setting: [self.rungs.plan.standing(rows)]}):
            raise pruned(rows, rung)


def train_in_rungs(work: Work, jobs: Sequence[RunSpec]) -> Iterator[tuple[RunSpec, Turn | None]]:
    """Each job as often as it must train, up to where its turn says; without a turn, a job that has just been pruned.

    Whoever iterates trains the job before it asks for the next one.
    """
    rungs = work.rungs
    if rungs is None:
        yield from ((job, Turn(None)) for job in jobs)
        return
    settings: dict[str, list[RunSpec]] = {}
    for job in jobs:
        settings.setdefault(rungs.plan.setting(job), []).append(job)
    for setting, runs in settings.items():
        yield from _setting(work, rungs, setting, runs)


def _setting(work: Work, rungs: Rungs, setting: str, runs: Sequence[RunSpec]) -> Iterator[tuple[RunSpec, Turn | None]]:
    rungs.stopped_until(0)  # reads what is on the disk
    waiting = {job: at for job in runs if (at := _waits_at(work, rungs, setting, job)) is not None}
    going = [job for job in runs if job not in waiting]
    while going or waiting:
        for job in going:
            turn = Turn(rungs, setting, alone=len(runs) == 1)
            yield job, turn
            if turn.at is not None:
                waiting[job] = turn.at
        if not waiting:
            return
        rung = min(waiting.values())
        standings = [each for job in runs if (each := _standing(work, rungs, rung, job))]
        if setting not in rungs.judge(rung, {setting: standings}):
            going = [job for job, at in waiting.items() if at == rung]
            waiting = {job: at for job, at in waiting.items() if at > rung}
            continue
        for job in waiting:
            with work.holding(job) as held:
                if held:
                    record = RunRecord.read(job.folder)
                    record.end("pruned", "", 0.0, **outcome(record.history, rung))
            yield job, None
        return


def _waits_at(work: Work, rungs: Rungs, setting: str, job: RunSpec) -> int | None:
    """The rung at which a run of an earlier process waits, if it is not decided."""
    record = work.record(job)
    if record.state != "interrupted" or not record.history:
        return None
    rung = rungs.at(int(record.history[-1]["epoch"]))
    return rung if rung is not None and setting not in rungs.standings[rung] else None


def _standing(work: Work, rungs: Rungs, rung: int, job: RunSpec) -> Standing | None:
    """What a run has at a rung; None of one that failed or has not come there."""
    record = work.record(job)
    if record.state == "diverged":
        return rungs.plan.standing([], diverged=True)
    rows = [row for row in record.history if row["epoch"] <= rungs.plan.rungs[rung]]
    ended = record.state == "completed" or (rows and rows[-1]["epoch"] == rungs.plan.rungs[rung])
    return rungs.plan.standing(rows) if rows and ended and rungs.plan.metric in rows[-1] else None
