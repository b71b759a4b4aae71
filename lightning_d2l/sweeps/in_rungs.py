"""The runs of one process, when hopeless settings of their sweep stop early: all train up to a rung, and wait there.

Then every setting is compared with all that have come to the rung, here or in other processes, and its runs go on or
stop. So no setting is judged by its first seed, nor by the order of the jobs. Runs that all train at once do not wait.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lightning_d2l.config.check import RequestError
from lightning_d2l.sweeps.pruning import Rungs, Standing
from lightning_d2l.training.pruned import Row, outcome, pruned, waits
from lightning_d2l.training.spec import RunSpec

if TYPE_CHECKING:
    from lightning_d2l.sweeps.work import Work

TOGETHER = 5  # runs of a setting that follow each other, before those of the next setting


class Turn:
    """Watches the rows of a run that trains by itself; `waits` says that it has come to a rung that is not decided."""

    def __init__(self, rungs: Rungs | None, job: RunSpec) -> None:
        self.rungs, self.setting, self.waits = rungs, rungs.plan.setting(job) if rungs else "", False
        self._began = False

    def __call__(self, rows: Sequence[Row]) -> None:
        """Raise Ended where the run ends or waits after the last of its rows."""
        if self.rungs is None:
            return
        epoch = int(rows[-1]["epoch"])
        rung = self.rungs.at(epoch)
        if rung is not None or not self._began:  # of a run that is resumed
            stopped = self.rungs.stopped_until(epoch)
            if self.setting in stopped:
                raise pruned(rows, stopped[self.setting])
        self._began = True
        if rung is None or self.setting in self.rungs.standings[rung]:
            return
        if self.rungs.plan.metric not in rows[-1]:
            known = ", ".join(name for name in rows[-1] if name.endswith("/val")) or "none, so no run can be pruned"
            raise RequestError(f"sweep.prune.metric={self.rungs.plan.metric}: the runs have {known}")
        self.waits = True
        raise waits()


def in_order(rungs: Rungs, jobs: Sequence[RunSpec]) -> list[RunSpec]:
    """The jobs so that those which train at once are of many settings, and of each setting several."""
    number, place = Counter[str](), {}
    for job in jobs:
        setting = rungs.plan.setting(job)
        place[job] = number[setting] // TOGETHER
        number[setting] += 1
    return sorted(jobs, key=lambda job: place[job])


def train_in_rungs(work: Work, rungs: Rungs, jobs: Sequence[RunSpec], train: Callable[[list[RunSpec]], object]) -> None:
    """Train jobs by `train`, which lets each of those that it is given come to its end or to an undecided rung."""
    _prune(work, rungs, jobs)  # what an earlier process decided and did not do
    going = [job for job in in_order(rungs, jobs) if not work.is_finished(job)]
    waiting = _waiting(work, rungs, jobs)  # since an earlier process
    while True:
        if going := [job for job in going if job not in waiting]:
            train(going)
        waiting = _waiting(work, rungs, jobs)
        if not waiting or (work.stops and work.must_stop([work.record(job) for job in jobs])):
            return
        rung = min(waiting.values())
        arrived: dict[str, list[Standing]] = {}
        for job in jobs:
            if standing := _standing(work, rungs, rung, job):
                arrived.setdefault(rungs.plan.setting(job), []).append(standing)
        rungs.judge(rung, {rungs.plan.setting(job): arrived[rungs.plan.setting(job)] for job in waiting})
        ended = _prune(work, rungs, [*waiting])
        going = [job for job, at in waiting.items() if at == rung and job not in ended]
        waiting = {job: at for job, at in waiting.items() if at > rung and job not in ended}


def _prune(work: Work, rungs: Rungs, jobs: Sequence[RunSpec]) -> list[RunSpec]:
    """End the runs that were interrupted after a rung at which their setting has stopped; returns their jobs."""
    stopped, ended = rungs.stopped_until(rungs.plan.rungs[-1]), []
    for job in jobs:
        rung = stopped.get(rungs.plan.setting(job))
        record = work.record(job)
        if rung is None or record.state != "interrupted" or not record.history:
            continue
        if record.history[-1]["epoch"] >= rungs.plan.rungs[rung]:
            with work.holding(job) as held:
                if held:
                    record.end("pruned", "", 0.0, **outcome(record.history, rung))
                    ended.append(job)
    if ended:
        work.ended(ended)
        work.absorb(ended)
    return ended


def _waiting(work: Work, rungs: Rungs, jobs: Sequence[RunSpec]) -> dict[RunSpec, int]:
    """The jobs whose runs wait, each with its rung, which is not decided."""
    rungs.stopped_until(0)  # reads what is on the disk
    found = {}
    for job in jobs:
        record = work.record(job)
        if record.state == "interrupted" and record.history and job not in work.left_out:
            rung = rungs.at(int(record.history[-1]["epoch"]))
            if rung is not None and rungs.plan.setting(job) not in rungs.standings[rung]:
                found[job] = rung
    return found


def _standing(work: Work, rungs: Rungs, rung: int, job: RunSpec) -> Standing | None:
    """What a run has at a rung; None of one that failed or has not come there."""
    record, at = work.record(job), rungs.plan.rungs[rung]
    if record.state == "diverged":
        return rungs.plan.standing([], diverged=True)
    rows = [row for row in record.history if row["epoch"] <= at]
    came = bool(rows) and (record.state == "completed" or rows[-1]["epoch"] == at)
    return rungs.plan.standing(rows) if came and rungs.plan.metric in rows[-1] else None
