"""Learning-rate schedules in the fast loops: torch's schedulers, stepped where Lightning's own loop steps them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import LRScheduler

from lightning_d2l.compat_torch import count_optimizer_step, join_scheduler_states, scheduler_state
from lightning_d2l.engine.loop import Steps
from lightning_d2l.engine.members import Member, ScheduleState
from lightning_d2l.engine.optimizers import ALIKE, Memberwise
from lightning_d2l.modules.callbacks import rate_of
from lightning_d2l.modules.schedule import changes_momentum, is_torchs, looks, looks_after, monitored, scheduler_config

OF_RATE = ("max_lr", "div_factor", "final_div_factor")  # settings of a cycle that leave momentum alone


class Schedules:
    """Schedulers that step together, as `lr_scheduler` of configure_optimizers describes each.

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
        return [float(group["lr"]) for each in self.schedulers for group in each.optimizer.param_groups]


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
        used = self.used()[0]
        if self.looks and looks_after(self.description, epoch):
            self.look({0: metrics[monitored(self.description, metrics)]})
        return used


class MemberSchedules(Schedules):
    """The schedules of M members, if they have any.

    One scheduler serves all members with the same settings, with a group for each learning rate among them. One that
    looks at a metric is its member's own. They are other objects than the members' own schedulers, which are set for
    checkpoints alone.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = members
        kinds: dict[Hashable, dict[Hashable, Member]] = {}  # the first member of each rate, by the kind of scheduler
        keys: list[tuple[Hashable, Hashable]] = []  # of members
        for number, member in enumerate(members if members[0].schedule else ()):
            kind, own = (number, number) if looks(_scheduler(member)) else _keys(member)
            kinds.setdefault(kind, {}).setdefault(own, member)
            keys.append((kind, own))
        super().__init__([_together(list(of_kind.values())) for of_kind in kinds.values()], self._push)
        flat = [(kind, own) for kind, of_kind in kinds.items() for own in of_kind]
        self.num_rates, place = len(flat), {key: number for number, key in enumerate(flat)}
        self.place = [place[key] for key in keys]
        self._set_rates: Callable[[Sequence[float], dict[str, Any]], object] = lambda rates, settings: None
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
                values[self.place[number]] = metrics[monitored(description, metrics)][number]
        self.look(values)

    def keep(self, numbers: Sequence[int]) -> None:
        """Serve the members with these numbers alone from now on; schedulers of others step on, and nobody sees it."""
        self.members = [self.members[number] for number in numbers]
        self.place = [self.place[number] for number in numbers] if self.place else []

    def states(self) -> list[ScheduleState]:
        """What each member's checkpoint holds of its schedule now."""
        now = [
            (scheduler_state(each.state_dict(), number, 1), _settings(group))
            for each in self.schedulers
            for number, group in enumerate(each.optimizer.param_groups)
        ]
        return [now[place] for place in self.place]

    def _push(self) -> None:
        settings: dict[str, Any] = {}
        if self.momentum:
            group = self.schedulers[0].optimizer.param_groups[0]
            settings = {k: group[k] for k in ("momentum", "betas") if k in group}
        self._set_rates(self._rates(), settings)


def _scheduler(member: Member) -> LRScheduler:
    assert member.schedule is not None
    scheduler: LRScheduler = member.schedule["scheduler"]
    return scheduler


def _settings(group: Mapping[str, Any]) -> dict[str, Any]:
    """What a scheduler may have changed; the groups of parameters of a run have all but weight decay in common."""
    return {k: v for k, v in group.items() if k not in ("params", "weight_decay")}


def _keys(member: Member) -> tuple[str, str]:
    """The kind of a member's scheduler, and the state on which its rates depend; equal for equal schedules."""
    scheduler, settings = _scheduler(member), _settings(member.optimizer.param_groups[0])
    state = scheduler_state(scheduler.state_dict(), 0, 1)
    others = {k: v for k, v in settings.items() if k not in ("lr", "initial_lr", "max_lr", "min_lr")}
    return f"{type(scheduler)} {scheduler_state(state, 0, 0)} {others}", f"{state} {settings}"


def _together(members: Sequence[Member]) -> dict[str, Any]:
    """One scheduler for members with the same settings, a group for each, in the state of their own schedulers."""
    settings = [_settings(member.optimizer.param_groups[0]) for member in members]
    optimizer = SGD([{"params": [torch.zeros(1)], **each} for each in settings], lr=0.0)
    description = members[0].module.scheduler
    assert description is not None
    config = scheduler_config(optimizer, description)
    config["scheduler"].load_state_dict(join_scheduler_states([_scheduler(each).state_dict() for each in members]))
    for group, each in zip(optimizer.param_groups, settings, strict=True):
        group.update(each)
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
