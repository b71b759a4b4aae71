"""Learning-rate schedules in the fast loops: torch's schedulers, stepped where Lightning's own loop steps them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lightning_d2l.compat_torch import count_optimizer_step
from lightning_d2l.engine.loop import Steps
from lightning_d2l.engine.members import Member, ScheduleState
from lightning_d2l.engine.optimizers import ALIKE, Memberwise
from lightning_d2l.modules.callbacks import rate_of
from lightning_d2l.modules.schedule import changes_momentum, is_torchs, looks, looks_after, monitored, parts, rate

OF_RATE = ("max_lr", "div_factor", "final_div_factor")  # settings of a cycle that leave momentum alone


class Schedules:
    """Schedulers of one kind that step together, as `lr_scheduler` of configure_optimizers describes each.

    `changed` is called after they have changed the rates.
    """

    def __init__(self, configs: Sequence[Mapping[str, Any]], changed: Callable[[], object] = lambda: None) -> None:
        self.schedulers: list[LRScheduler] = [config["scheduler"] for config in configs]
        self.each_step = any(config["interval"] == "step" for config in configs)
        self.changed, self._before = changed, self._rates()
        self.looks = any(map(looks, self.schedulers))
        for each in self.schedulers:
            count_optimizer_step(each.optimizer)  # the fast loops step by other objects

    def after(self, steps: Steps) -> Steps:
        """What takes `steps`, and steps schedulers that count steps after each."""
        return _Both(steps, self) if self.each_step and not self.looks else steps

    def end_epoch(self) -> None:
        """Step schedulers that count epochs."""
        if self.schedulers and not self.each_step and not self.looks:
            self.step()

    def step(self) -> None:
        self._before = self._rates()
        for each in self.schedulers:
            each.step()
        self.changed()

    def look(self, values: Mapping[int, Any]) -> None:
        """Step schedulers that look at a metric, each at its value, by number; a number left out takes no step."""
        for number, value in values.items():
            each: Any = self.schedulers[number]
            each.step(value)
        self.changed()

    def used(self) -> list[float]:
        """The rates of the last step that was taken."""
        return self._rates() if self.looks else self._before

    def _rates(self) -> list[float]:
        return [rate(each) for each in self.schedulers]


class _Both:
    """A step of the optimizer, then one of the schedulers."""

    def __init__(self, steps: Steps, schedules: Schedules) -> None:
        self.steps, self.schedules = steps, schedules

    def step(self) -> None:
        self.steps.step()
        self.schedules.step()


class Schedule(Schedules):
    """The schedule of one run: `description` is its module's, `config` what configure_optimizers returned of it."""

    def __init__(self, config: Mapping[str, Any], description: Mapping[str, Any]) -> None:
        super().__init__([config])
        self.description = description
        self.changes_momentum = changes_momentum(self.schedulers[0])

    def log(self, epoch: int, metrics: Mapping[str, Any]) -> float:
        """The rate of the last step; a scheduler that looks at a metric takes its step after an epoch, from 1."""
        (used,) = self.used()
        if self.looks and looks_after(self.description, epoch):
            self.look({0: metrics[monitored(self.description, metrics)]})
        return used


class MemberSchedules(Schedules):
    """The schedules of M members, if they have any.

    Schedulers in equal states are one; one that looks at a metric is its member's own.

    They are other objects than the members' own, which are set for checkpoints alone.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = members
        scheduled = [(number, member) for number, member in enumerate(members) if member.schedule]
        keys = [number if looks(_scheduler(member)) else _key(member) for number, member in scheduled]
        first = {key: number for number, key in reversed(list(enumerate(keys)))}
        order = sorted(first.values())
        self.place = [order.index(first[key]) for key in keys]
        super().__init__([_again(members[number]) for number in order], self._push)
        self.momentum = any(map(changes_momentum, self.schedulers))

    def drive(self, optimizer: Memberwise) -> Steps:
        """Give the rates to the members' optimizer; returns what takes its steps and those of the schedulers."""
        self._set_rates = optimizer.set_rates
        return self.after(optimizer)

    def logged(self) -> dict[str, list[float]]:
        """The rate of each member's last step, as the metric `lr`, where it has a schedule or logs its rate."""
        rates = self.used()
        if not rates:
            return {"lr": [rate_of(m.optimizer) for m in self.members]} if self.members[0].logs_rate else {}
        return {"lr": [rates[place] for place in self.place]}

    def look_after(self, epoch: int, metrics: Mapping[str, Sequence[float]], training: Sequence[bool]) -> None:
        """Let schedulers of members that are `training` look at the metrics after an epoch, from 1."""
        if not self.looks:
            return
        values: dict[int, float] = {}
        for number, member in enumerate(self.members):
            description = member.module.scheduler
            assert description is not None
            if training[number] and looks_after(description, epoch):
                values[number] = metrics[monitored(description, metrics)][number]
        self.look(values)

    def states(self) -> list[ScheduleState]:
        """What each member's checkpoint holds of its schedule now."""
        now = [(copy.deepcopy(each.state_dict()), _settings(each.optimizer)) for each in self.schedulers]
        return [now[place] for place in self.place]

    def _push(self) -> None:
        new = self._rates()
        group = self.schedulers[0].optimizer.param_groups[0]
        settings: dict[str, Any] = {}
        if self.momentum:
            settings = {k: group[k] for k in ("momentum", "betas") if k in group}
        self._set_rates([new[place] for place in self.place], settings)


def _scheduler(member: Member) -> LRScheduler:
    assert member.schedule is not None
    scheduler: LRScheduler = member.schedule["scheduler"]
    return scheduler


def _settings(optimizer: Optimizer) -> dict[str, Any]:
    """What a scheduler may have changed in each group of parameters, which have all but weight decay in common."""
    return {k: v for k, v in optimizer.param_groups[0].items() if k not in ("params", "weight_decay")}


def _key(member: Member) -> str:
    """Equal for schedulers that will give the same rates."""
    scheduler = _scheduler(member)
    return f"{type(scheduler)} {sorted(scheduler.state_dict().items())} {_settings(member.optimizer)}"


def _again(member: Member) -> dict[str, Any]:
    """Another scheduler of a member, on another optimizer, in the state of its own."""
    optimizer, config = parts(member.module.configure_optimizers())
    assert config is not None
    config["scheduler"].load_state_dict(copy.deepcopy(_scheduler(member).state_dict()))
    for group in optimizer.param_groups:
        group.update(_settings(member.optimizer))
    return config


def why_apart(member: Member) -> str:
    """Why a member's schedule can't be one of many, in a few words, or an empty string."""
    if member.schedule is None or is_torchs(_scheduler(member)):
        return ""
    return f"the schedule {type(_scheduler(member)).__name__} is not one of torch's"


def in_common(member: Member) -> dict[str, Any]:
    """What the schedules of members that train together have in common."""
    if member.schedule is None:
        return {"interval": None}
    scheduler, description = _scheduler(member), dict(member.module.scheduler or {})
    found = {"interval": member.schedule["interval"], "looks": looks(scheduler)}
    if type(member.optimizer) in ALIKE:
        return found | {"schedule": description}
    if changes_momentum(scheduler):  # which members share
        return found | {"schedule": {k: v for k, v in description.items() if k not in OF_RATE}}
    return found
