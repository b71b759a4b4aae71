"""What an ensemble remembers of its members: their state at the last logging point, and at the best one of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytorch_lightning as pl
import torch
from torch import Tensor

from lightning_d2l.compat_lightning import loop_states
from lightning_d2l.engine.members import LoggingPoint, Member, Snapshot, is_stacked, stacked
from lightning_d2l.engine.schedules import MemberSchedules


class Memory:
    """Snapshots of all members, `last` and `best`, and the logging `points` by the number of epochs that they need."""

    def __init__(self, now: Callable[[], Snapshot]) -> None:
        self._now, self.began = now, False
        self.last: Snapshot
        self.best: Snapshot
        self.points: dict[int, LoggingPoint] = {}

    def begin(self, trainer: pl.Trainer, members: Sequence[Member], schedules: MemberSchedules) -> None:
        """Start with the state of the members before the first step, or where they were interrupted."""
        self.last, self.best, self.began = self._now(), self._now(), True
        self.remember(trainer.current_epoch, trainer, members, schedules, [True] * len(members))
        if members[0].best_parameters:
            before = zip(*(member.best_parameters for member in members), strict=True)
            for mine, parameters in zip(self.best.parameters, before, strict=True):
                mine.copy_(stacked(parameters))

    def remember(
        self,
        epoch: int,
        trainer: pl.Trainer,
        members: Sequence[Member],
        schedules: MemberSchedules,
        sound: Sequence[bool],
    ) -> None:
        """Keep the state of the members that are `sound`: they trained until now; and of Lightning's loops."""
        now = self._now()
        self.last.take(now, torch.tensor(sound, device=self.last.parameters[0].device))
        shared = [{k: None if is_stacked(k, v) else v for k, v in values.items()} for values in now.optimizer]
        self.points[epoch] = LoggingPoint(trainer.global_step, loop_states(trainer), shared, schedules.states())
        if len(self.points) > 3 * len(members) + 10:
            needed = {epoch} | {member.start for member in members}
            needed |= {int(row["epoch"]) for m in members for row in (m.best, *m.rows[-1:]) if row}
            self.points = {at: point for at, point in self.points.items() if at in needed}

    def keep(self, index: Tensor) -> None:
        """Keep the members whose numbers are in `index` (m,)."""
        self.last.keep(index)
        self.best.keep(index)
        for point in self.points.values():
            point.keep(index)
