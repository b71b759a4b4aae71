"""One optimizer step for many members at once, each with its own learning rate and weight decay."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import (
    ASGD,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    NAdam,
    Optimizer,
    RAdam,
    RMSprop,
    Rprop,
    SparseAdam,
)

from lightning_d2l.engine.loop import quickest, settings_of
from lightning_d2l.engine.members import OptimizerState, kept_state
from lightning_d2l.scratch.sgd import SGD as ScratchSGD

PROPORTIONAL: tuple[type[Optimizer], ...] = (
    SGD, ScratchSGD, Adam, AdamW, RMSprop, NAdam, RAdam, Adamax, Adagrad, Adadelta,
)  # fmt: skip
"""Optimizers whose step for a number depends on the gradients of that number alone, and is proportional to lr.

Subclasses are not meant: a step of theirs may mix parameters."""
ALIKE: tuple[type[Optimizer], ...] = (Rprop, ASGD)
"""Optimizers whose step is elementwise, but not proportional to lr: members have the same settings."""
VARIED = ("lr", "weight_decay")  # settings that may differ between members


def why_alone(optimizer: Optimizer) -> str:
    """Why an optimizer can't step for many members at once, in a few words, or an empty string."""
    kind = type(optimizer)
    if kind in (*PROPORTIONAL, *ALIKE):
        return ""
    what = "needs sparse gradients" if kind is SparseAdam else "may mix parameters"
    return f"a step of {kind.__name__} {what}"


def shared_settings(optimizer: Optimizer) -> dict[str, Any]:
    """The settings that members with this optimizer have in common."""
    apart = () if type(optimizer) in ALIKE else (*VARIED, "initial_lr", "max_lr", "min_lr")
    return {key: value for key, value in settings_of(optimizer).items() if key not in apart}


class Memberwise:
    """Takes the steps that M optimizers of one class would take, each for its own parameters.

    `parameters` are stacked, (M, ...), and hold their gradients; `own` are those of each optimizer, in the same order.
    Where all members have the same settings torch's class steps with the stacks. Otherwise it steps from 0 with lr = 1
    and no weight decay, and lr times the result is the step, since a step is proportional to lr. Weight decay is
    added to the gradient; AdamW's is subtracted from the parameter first (Loshchilov and Hutter 2019).

    With schedules `place` is the number of each member's rate among those that `set_rates` gives.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        optimizers: Sequence[Optimizer],
        own: Sequence[Sequence[Tensor]],
        *,
        place: Sequence[int] = (),
    ) -> None:
        self.parameters, first = list(parameters), optimizers[0]
        found = [{id(p): group for group in each.param_groups for p in group["params"]} for each in optimizers]
        groups = [[known[id(p)] for p in mine] for known, mine in zip(found, own, strict=True)]  # by member
        found_settings = {key: [[float(g.get(key, 0)) for g in mine] for mine in groups] for key in VARIED}
        self.lr, self.weight_decay = (
            [_of_members(values, p) for values, p in zip(zip(*by_member, strict=True), self.parameters, strict=True)]
            for by_member in found_settings.values()
        )
        self._rates: list[Tensor] = []  # (M,) for each type and device, of which `lr` are views
        self._place = torch.tensor(place, device=self.parameters[0].device)
        if len(set(place)) > 1:
            self._let_rates_vary([float(each.param_groups[0]["lr"]) for each in optimizers])
        self.alike = not any(isinstance(value, Tensor) for value in [*self.lr, *self.weight_decay])
        if self.alike:
            self.steps = self.parameters
            pairs = zip(self.parameters, self.lr, self.weight_decay, strict=True)
            groups_of_one = [{"params": [p], "lr": lr, "weight_decay": decay} for p, lr, decay in pairs]
            self.inner = _another(first, groups_of_one)
        else:
            self.steps = [torch.zeros_like(p) for p in self.parameters]
            self.inner = _another(first, self.steps, lr=1.0, weight_decay=0.0)
        settings = settings_of(first)
        self.decoupled = type(first) is AdamW or bool(settings.get("decoupled_weight_decay"))
        self.sign = -1.0 if settings.get("maximize") else 1.0  # of weight decay in a gradient that is turned round
        self._steps = quickest(self.inner)

    def _let_rates_vary(self, rates: Sequence[float]) -> None:
        base: dict[tuple[torch.dtype, torch.device], Tensor] = {}
        for p in self.parameters:
            if (p.dtype, p.device) not in base:
                base[p.dtype, p.device] = p.new_tensor(rates)
        self._rates = list(base.values())
        self.lr = [_beside(base[p.dtype, p.device], p) for p in self.parameters]

    def set_rates(self, rates: Sequence[float], settings: Mapping[str, Any]) -> None:
        """Take further steps with other rates, and with other `settings` that all members share."""
        if self._rates:
            for mine in self._rates:
                torch.index_select(mine.new_tensor(rates), 0, self._place, out=mine)
        else:
            self.lr = [rates[0] for _ in self.lr]
        if settings:
            self._steps = self.inner  # a quicker one may be for a momentum of 0 alone
        if self.alike or settings:
            for group in self.inner.param_groups:
                group.update(settings)
                if self.alike:
                    group["lr"] = rates[0]

    @torch.no_grad()
    def step(self) -> None:
        if self.alike:
            self._steps.step()
            return
        parts = zip(self.parameters, self.steps, self.lr, self.weight_decay, strict=True)
        for p, step, lr, decay in parts:
            gradient = p.grad
            assert gradient is not None
            if isinstance(decay, Tensor) or decay:
                if self.decoupled:
                    p.mul_(1 - lr * decay)
                else:
                    gradient = _plus(gradient, p, self.sign * decay)
            step.grad = gradient
        self._steps.step()
        for p, step, lr in zip(self.parameters, self.steps, self.lr, strict=True):
            if isinstance(lr, float):
                p.add_(step, alpha=lr)
            else:
                p.addcmul_(step, lr)
            step.zero_()

    def keep(self, index: Tensor, parameters: Sequence[Tensor]) -> None:
        """From now on step for the members whose numbers are in `index` (m,) alone; `parameters` are their stacks."""
        state, before, self.parameters = kept_state(self.state(), index), self.inner, list(parameters)
        if self._rates:
            self._let_rates_vary(self._rates[0][index].tolist())
        else:
            self.lr = [value[index] if isinstance(value, Tensor) else value for value in self.lr]
        self.weight_decay = [value[index] if isinstance(value, Tensor) else value for value in self.weight_decay]
        self._place = self._place[index.to(self._place.device)] if len(self._place) else self._place
        if self.alike:
            self.steps = self.parameters
            groups = zip(before.param_groups, self.parameters, strict=True)
            self.inner = _another(before, [{**group, "params": [p]} for group, p in groups])
        else:
            self.steps = [torch.zeros_like(p) for p in self.parameters]
            self.inner = _another(before, self.steps)
        self._steps = self.inner if self._steps is before else quickest(self.inner)
        self.load(state)

    def state(self) -> OptimizerState:
        """A copy of the optimizer's state of each parameter: tensors (M, ...), and numbers that all members share."""
        return [copy.deepcopy(dict(self.inner.state[step])) for step in self.steps]

    def load(self, state: OptimizerState) -> None:
        """Continue from what `state` returned."""
        known = {number: values for number, values in enumerate(state) if values}
        self.inner.load_state_dict({**self.inner.state_dict(), "state": known})  # on the parameters' device


def _another(like: Optimizer, parameters: Sequence[Any], **settings: Any) -> Optimizer:
    """Another optimizer of the same class, with the same settings except for `settings`."""
    make: Any = type(like)
    known = inspect.signature(make).parameters  # a group has settings that its class does not take
    made: Optimizer = make(parameters, **{k: v for k, v in (settings_of(like) | settings).items() if k in known})
    return made


def _of_members(values: Sequence[float], parameter: Tensor) -> float | Tensor:
    """A setting of a parameter (M, ...): one number, or where members differ a tensor (M, 1, ...)."""
    if len(set(values)) == 1:
        return values[0]
    return _beside(parameter.new_tensor(values), parameter)


def _beside(values: Tensor, parameter: Tensor) -> Tensor:
    """Values (M,) as (M, 1, ...), with the dimensions of a parameter."""
    return values.view(-1, *(1 for _ in parameter.shape[1:]))


def _plus(gradient: Tensor, p: Tensor, factor: float | Tensor) -> Tensor:
    return gradient.add(p, alpha=factor) if isinstance(factor, float) else torch.addcmul(gradient, p, factor)
