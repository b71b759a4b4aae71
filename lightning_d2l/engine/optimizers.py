"""One optimizer step for many members at once, each with its own learning rate and weight decay."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from lightning_d2l.engine.loop import quickest
from lightning_d2l.engine.members import State, is_stacked
from lightning_d2l.scratch import sgd

ELEMENTWISE: tuple[type[Optimizer], ...] = (SGD, sgd.SGD, Adam, AdamW, RMSprop)
"""Optimizers whose step for a number depends on the gradients of that number alone, and is in proportion to lr."""
VARIED = ("lr", "weight_decay")  # settings that may differ between members


class InTurn:
    """Takes the steps of M optimizers of one class, a member after another, to the bits of each by itself.

    `parameters` are stacked, (M, ...), and hold their gradients; `own` are those of each optimizer, in the same order.
    """

    def __init__(
        self, parameters: Sequence[Tensor], optimizers: Sequence[Optimizer], own: Sequence[Sequence[Tensor]]
    ) -> None:
        self.parameters = list(parameters)
        self.rows = [p.unbind() for p in parameters]  # by parameter and member
        groups: list[dict[str, Any]] = []
        for member, (optimizer, mine) in enumerate(zip(optimizers, own, strict=True)):
            row = {id(p): rows[member] for p, rows in zip(mine, self.rows, strict=True)}
            groups += [{**group, "params": [row[id(p)] for p in group["params"]]} for group in optimizer.param_groups]
        self.inner = _made(optimizers[0], params=groups)
        self._steps = quickest(self.inner)

    def step(self) -> None:
        for p, rows in zip(self.parameters, self.rows, strict=True):
            assert p.grad is not None
            for row, gradient in zip(rows, p.grad.unbind(), strict=True):
                row.grad = gradient
        self._steps.step()

    def state(self) -> State:
        """A copy of what the optimizer remembers of each parameter: tensors (M, ...), and numbers that all share."""
        states = [[self.inner.state[row] for row in rows] for rows in self.rows]
        return [
            {k: torch.stack([s[k] for s in each]) if is_stacked(k, v) else copy.deepcopy(v) for k, v in each[0].items()}
            for each in states
        ]

    def load(self, state: State) -> None:
        """Go on from what `state` returned."""
        for rows, values in zip(self.rows, state, strict=True):
            for member, row in enumerate(rows):
                mine = {k: v[member].clone() if is_stacked(k, v) else copy.deepcopy(v) for k, v in values.items()}
                self.inner.state[row].update(mine)


class AtOnce:
    """Takes the steps that M optimizers of one class would take, each for its own parameters.

    `parameters` are stacked, (M, ...), and hold their gradients; `own` are those of each optimizer, in the same order.
    Where members have the same settings torch's class steps with the stacks. Where they don't, it steps from 0 with
    lr = 1 and no weight decay, and lr times that is the step, since lr is a factor of it; weight decay is added to the
    gradient, or with AdamW taken off the parameter first (Loshchilov and Hutter 2019), as the class itself does.
    """

    def __init__(
        self, parameters: Sequence[Tensor], optimizers: Sequence[Optimizer], own: Sequence[Sequence[Tensor]]
    ) -> None:
        self.parameters, first = list(parameters), optimizers[0]
        self.decoupled = isinstance(first, AdamW)
        groups = [_groups(optimizer, mine) for optimizer, mine in zip(optimizers, own, strict=True)]  # by member
        self.lr, self.weight_decay = (
            [_of_members([float(group[i][key]) for group in groups], p) for i, p in enumerate(self.parameters)]
            for key in VARIED
        )
        self.alike = not any(isinstance(value, Tensor) for value in [*self.lr, *self.weight_decay])
        if self.alike:
            self.steps = self.parameters
            pairs = zip(self.parameters, self.lr, self.weight_decay, strict=True)
            groups_of_one = [{"params": [p], "lr": lr, "weight_decay": decay} for p, lr, decay in pairs]
            self.inner = _made(first, params=groups_of_one)
        else:
            self.steps = [torch.zeros_like(p) for p in self.parameters]
            self.inner = _made(first, params=self.steps, lr=1.0, weight_decay=0.0)
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
            _add(p, step, lr)
            step.zero_()

    def state(self) -> State:
        """A copy of what the optimizer remembers of each parameter: tensors (M, ...), and numbers that all share."""
        return [copy.deepcopy(dict(self.inner.state[step])) for step in self.steps]

    def load(self, state: State) -> None:
        """Go on from what `state` returned."""
        known = {number: values for number, values in enumerate(state) if values}
        self.inner.load_state_dict({**self.inner.state_dict(), "state": known})  # on the parameters' device


def _made(like: Optimizer, **settings: Any) -> Optimizer:
    """Another optimizer of a class, with the same settings but for some."""
    defaults = {k: v for k, v in like.defaults.items() if k != "decoupled_weight_decay"}  # which says: AdamW
    make: Any = type(like)
    made: Optimizer = make(**defaults | settings)
    return made


def _groups(optimizer: Optimizer, parameters: Sequence[Tensor]) -> list[dict[str, Any]]:
    """The optimizer's group of settings for each parameter."""
    found = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    return [found[id(p)] for p in parameters]


def _of_members(values: Sequence[float], parameter: Tensor) -> float | Tensor:
    """A setting of a parameter (M, ...): one number, or where members differ a tensor (M, 1, ...)."""
    if len(set(values)) == 1:
        return values[0]
    return parameter.new_tensor(values).view(-1, *(1 for _ in parameter.shape[1:]))


def _plus(gradient: Tensor, p: Tensor, factor: float | Tensor) -> Tensor:
    return gradient.add(p, alpha=factor) if isinstance(factor, float) else torch.addcmul(gradient, p, factor)


def _add(p: Tensor, other: Tensor, factor: float | Tensor) -> None:
    if isinstance(factor, float):
        p.add_(other, alpha=factor)
    else:
        p.addcmul_(other, factor)
