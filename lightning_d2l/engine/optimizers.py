"""One optimizer step for many members at once, each with its own learning rate and weight decay."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from lightning_d2l.engine.loop import quickest, settings_of
from lightning_d2l.engine.members import OptimizerState
from lightning_d2l.scratch import sgd

ELEMENTWISE: tuple[type[Optimizer], ...] = (SGD, sgd.SGD, Adam, AdamW, RMSprop)
"""Optimizers whose step for a number depends on the gradients of that number alone, and is proportional to lr.

Subclasses are not meant: a step of theirs may mix parameters."""
VARIED = ("lr", "weight_decay")  # settings that may differ between members


class Memberwise:
    """Takes the steps that M optimizers of one class would take, each for its own parameters.

    `parameters` are stacked, (M, ...), and hold their gradients; `own` are those of each optimizer, in the same order.
    Where all members have the same settings torch's class steps with the stacks. Otherwise it steps from 0 with lr = 1
    and no weight decay, and lr times the result is the step, since a step is proportional to lr. Weight decay is
    added to the gradient; AdamW's is subtracted from the parameter first (Loshchilov and Hutter 2019).
    """

    def __init__(
        self, parameters: Sequence[Tensor], optimizers: Sequence[Optimizer], own: Sequence[Sequence[Tensor]]
    ) -> None:
        self.parameters, first = list(parameters), optimizers[0]
        self.decoupled = type(first) is AdamW
        found = [{id(p): group for group in each.param_groups for p in group["params"]} for each in optimizers]
        groups = [[known[id(p)] for p in mine] for known, mine in zip(found, own, strict=True)]  # by member
        self.lr, self.weight_decay = (
            [_of_members([float(group[i][key]) for group in groups], p) for i, p in enumerate(self.parameters)]
            for key in VARIED
        )
        self.alike = not any(isinstance(value, Tensor) for value in [*self.lr, *self.weight_decay])
        if self.alike:
            self.steps = self.parameters
            pairs = zip(self.parameters, self.lr, self.weight_decay, strict=True)
            groups_of_one = [{"params": [p], "lr": lr, "weight_decay": decay} for p, lr, decay in pairs]
            self.inner = _another(first, groups_of_one)
        else:
            self.steps = [torch.zeros_like(p) for p in self.parameters]
            self.inner = _another(first, self.steps, lr=1.0, weight_decay=0.0)
        self._steps = quickest(self.inner)

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
                    gradient = _plus(gradient, p, decay)
            step.grad = gradient
        self._steps.step()
        for p, step, lr in zip(self.parameters, self.steps, self.lr, strict=True):
            if isinstance(lr, float):
                p.add_(step, alpha=lr)
            else:
                p.addcmul_(step, lr)
            step.zero_()

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
    known = inspect.signature(make).parameters  # a group of AdamW has a setting that its class does not take
    made: Optimizer = make(parameters, **{k: v for k, v in (settings_of(like) | settings).items() if k in known})
    return made


def _of_members(values: Sequence[float], parameter: Tensor) -> float | Tensor:
    """A setting of a parameter (M, ...): one number, or where members differ a tensor (M, 1, ...)."""
    if len(set(values)) == 1:
        return values[0]
    return parameter.new_tensor(values).view(-1, *(1 for _ in parameter.shape[1:]))


def _plus(gradient: Tensor, p: Tensor, factor: float | Tensor) -> Tensor:
    return gradient.add(p, alpha=factor) if isinstance(factor, float) else torch.addcmul(gradient, p, factor)
