"""Which members of a group leave it: those of settings that stop at a rung, and those that have diverged by then."""

from __future__ import annotations

from collections.abc import Sequence

from lightning_d2l.engine.members import Member
from lightning_d2l.sweeps.pruning import Rungs, Standing
from lightning_d2l.training.build import BuiltRun


class Leavers:
    """The members of a group that leave it early; `stops` has those that are pruned, with the epoch and the rung.

    With `waits` those at a rung that is not decided leave to wait for other groups; `waiting` has them.
    """

    def __init__(self, rungs: Rungs, pairs: Sequence[tuple[BuiltRun, Member]], waits: bool) -> None:
        self.rungs, self.stops, self.waits = rungs, dict[Member, dict[str, int]](), waits
        self.waiting: set[Member] = set()
        self._settings = {member: rungs.plan.setting(built.spec) for built, member in pairs}
        self._diverged: dict[str, int] = {}  # members of a setting that have left
        self._began = False

    def after(self, epoch: int, members: Sequence[Member]) -> list[int]:
        """The numbers of those of the `members` that leave after an epoch; it is decided for good."""
        rung = self.rungs.at(epoch)
        if rung is None and self._began:
            return []
        stopped = self.rungs.stopped_until(epoch)  # by others, or before the group was resumed
        self._began = True
        if rung is not None and not self.waits:
            arrived: dict[str, list[Standing]] = {}
            for member in members:
                standing = self.rungs.plan.standing(member.rows, diverged=bool(member.diverged))
                arrived.setdefault(self._settings[member], []).append(standing)
            for setting, number in self._diverged.items():
                if setting in arrived:
                    arrived[setting] += [self.rungs.plan.standing([], diverged=True)] * number
            stopped |= dict.fromkeys(self.rungs.judge(rung, arrived) - stopped.keys(), rung)
        leaving = []
        for number, member in enumerate(members):
            setting = self._settings[member]
            if member.diverged:
                self._diverged[setting] = self._diverged.get(setting, 0) + 1
                leaving.append(number)
            elif setting in stopped:
                self.stops[member] = {"epoch": int(member.rows[-1]["epoch"]), "rung": stopped[setting] + 1}
                leaving.append(number)
            elif rung is not None and member.trains and setting not in self.rungs.standings[rung]:
                self.waiting.add(member)
                leaving.append(number)
        return leaving
