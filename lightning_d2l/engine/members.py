"""The members of an ensemble: what each trains, and the stacking and unstacking of their parameters."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from lightning_d2l.compat_torch import scheduler_state
from lightning_d2l.data.base import TensorDataModule
from lightning_d2l.engine.exact import Exact
from lightning_d2l.engine.loop import Step
from lightning_d2l.modules.base import SupervisedModule
from lightning_d2l.modules.callbacks import EarlyStopping

OptimizerState = list[dict[str, Any]]
"""An optimizer's state of each parameter: tensors of the parameter's shape, and the number of its steps."""
ScheduleState = tuple[dict[str, Any], dict[str, Any]]
"""A scheduler's state for one group of parameters, and the settings that it has given to the optimizer."""
# Numbers in the states of torch's optimizers that all members share: they count steps or follow from their number.
SHARED = ("step", "mu_product", "eta", "mu")


@dataclass(eq=False)
class Member:
    """One of many runs that train at once: its module and data, where it starts, and what was measured."""

    module: SupervisedModule
    optimizer: Optimizer
    data: TensorDataModule
    noise: torch.Generator  # draws dropout masks and noise
    schedule: Mapping[str, Any] | None = None  # `lr_scheduler` of configure_optimizers
    start: int = 0  # epochs that it has behind it, if it continues
    loops: dict[str, Any] | None = None  # of the checkpoint from which it continues
    best_parameters: list[Tensor] = field(default_factory=list)  # of its best epoch before
    rows: list[dict[str, float]] = field(default_factory=list)  # what was measured at each logging point
    best: dict[str, float] = field(default_factory=dict)  # the best of these
    test: list[dict[str, float]] = field(default_factory=list)  # with the last weights, and with the best if others
    diverged: str = ""  # what became infinite or not a number, and at which step
    logs_rate: bool = False  # its rows have `lr`, without a schedule too
    stoppers: list[EarlyStopping] = field(default_factory=list)  # decide after which logging point it stops
    stopped: int = 0  # the epoch after which one of them stopped it, or 0
    stoppers_at_best: dict[str, Any] = field(default_factory=dict)  # their states at its best epoch

    @property
    def trains(self) -> bool:
        return not (self.diverged or self.stopped)

    def states_of_stoppers(self) -> dict[str, Any]:
        """The states of its stoppers, as a checkpoint holds them."""
        return {stopper.state_key: stopper.state_dict() for stopper in self.stoppers}

    @property
    def parameters(self) -> list[nn.Parameter]:
        return list(self.module.parameters())

    @torch.no_grad()
    def restore(self, snapshot: Snapshot, number: int, shared: OptimizerState) -> None:
        """Take the state of member `number` of a snapshot; `shared` is the `optimizer` of its `LoggingPoint`."""
        parts = zip(self.parameters, snapshot.parameters, snapshot.optimizer, shared, strict=True)
        for p, stacked, state, numbers in parts:
            p.copy_(own(stacked[number], p))
            values = {k: own(state[k][number], p).to(p.device).clone() for k in numbers if is_stacked(k, state.get(k))}
            if numbers:
                self.optimizer.state[p] = copy.deepcopy(numbers) | values

    def restore_schedule(self, state: ScheduleState) -> None:
        """Take the state of its schedule at a `LoggingPoint`."""
        assert self.schedule is not None
        scheduler, settings = state
        groups = len(self.optimizer.param_groups)
        self.schedule["scheduler"].load_state_dict(scheduler_state(scheduler, 0, groups))
        for group in self.optimizer.param_groups:
            group.update({name: value for name, value in settings.items() if name in group})


@dataclass
class Snapshot:
    """The members' state at a logging point: parameters, optimizer states and the random states of the noise."""

    parameters: list[Tensor]
    optimizer: OptimizerState
    noise: list[Tensor]

    def take(self, other: Snapshot, chosen: Tensor) -> None:
        """Take the members that `chosen` (M,) marks from another snapshot."""
        pairs = list(zip(self.parameters, other.parameters, strict=True))
        for mine, theirs in zip(self.optimizer, other.optimizer, strict=True):
            for name, value in theirs.items():
                pairs += [(mine.setdefault(name, torch.zeros_like(value)), value)] if is_stacked(name, value) else []
        for here, there in pairs:
            here[chosen] = there[chosen]
        for number in chosen.nonzero().flatten().tolist():
            self.noise[number] = other.noise[number]

    def keep(self, index: Tensor) -> None:
        """Keep the members whose numbers are in `index` (m,)."""
        self.parameters = [p[index] for p in self.parameters]
        self.optimizer = kept_state(self.optimizer, index)
        self.noise = [self.noise[number] for number in index.tolist()]


@dataclass
class LoggingPoint:
    """What all members share at a logging point."""

    step: int
    loops: dict[str, Any]  # Lightning's
    optimizer: OptimizerState  # the optimizers' states except for tensors, and None for each of those
    schedules: list[ScheduleState]  # of each member, if there are schedules

    def keep(self, index: Tensor) -> None:
        """Keep the members whose numbers are in `index` (m,)."""
        self.schedules = [self.schedules[number] for number in index.tolist()] if self.schedules else []


def stacked(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors (..., d) as one (M, ..., D), with zeros behind those whose d is smaller than the largest, D."""
    width = max(t.shape[-1] if t.dim() else 0 for t in tensors)
    return torch.stack([functional.pad(t.detach(), (0, width - t.shape[-1])) if t.dim() else t for t in tensors])


def solved(members: Sequence[Member], stack: Sequence[Tensor]) -> list[Step]:
    """Solve for the members' parameters exactly, which replaces their steps, and put the solutions into the stack."""
    found: list[Step] = []
    for member in members:
        assert isinstance(member.optimizer, Exact)
        found += member.optimizer.solve(member.module, member.data.splits["train"])
    for parameter, values in zip(stack, zip(*(m.parameters for m in members), strict=True), strict=True):
        parameter.copy_(stacked(values))
    loss, output, y = (torch.stack(parts).to(stack[0].device) for parts in zip(*found, strict=True))
    return [(loss, output, y)]


def stacked_state(members: Sequence[Member]) -> OptimizerState:
    """The optimizers' states; numbers without a shape are the same for all members."""
    by_member = [[member.optimizer.state.get(p, {}) for p in member.parameters] for member in members]
    return [
        {k: stacked([s[k] for s in states]) if is_stacked(k, v) else copy.deepcopy(v) for k, v in states[0].items()}
        for states in zip(*by_member, strict=True)
    ]


def kept_state(state: OptimizerState, index: Tensor) -> OptimizerState:
    """The stacked states of the optimizers of the members whose numbers are in `index` (m,)."""
    return [{k: v[index] if is_stacked(k, v) else v for k, v in values.items()} for values in state]


def own(value: Tensor, like: Tensor) -> Tensor:
    """A member's part of a stack, (..., D), without the padding: (..., d) as `like`."""
    return value[..., : like.shape[-1]] if like.dim() else value


def is_stacked(name: str, value: object) -> bool:
    """Whether a value of an optimizer's state has the parameter's shape, and is each member's own."""
    return isinstance(value, Tensor) and name not in SHARED
