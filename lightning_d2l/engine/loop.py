"""The training loop of the book (d2l 3.2.7, 3.6.6): minibatch stochastic gradient descent."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from lightning_d2l.data.batches import Batch

Objective = Callable[[Batch], tuple[Tensor, Tensor]]
"""A function from a minibatch to its mean loss, a scalar, and the network's outputs."""
Gradient = Callable[[Batch], tuple[Tensor, Tensor]]
"""Such a function that also leaves the gradient of the loss in the parameters."""
Step = tuple[Tensor, Tensor, Tensor]
"""What a step computed: its loss, outputs and targets."""


class Diverged(Exception):
    """The loss became infinite or not a number."""


class Steps(Protocol):
    """Anything that takes a step along a gradient."""

    def step(self) -> object: ...


def train_minibatches(gradient: Gradient, batches: Iterable[Batch], optimizer: Steps) -> list[Step]:
    """Take one step of `optimizer` along the `gradient` of each minibatch."""
    history = []
    for batch in batches:
        loss, output = gradient(batch)
        optimizer.step()
        history.append((loss, output, batch[1]))
    return history


def backpropagation(objective: Objective, parameters: Sequence[Tensor]) -> Gradient:
    """The gradient of `objective` by backpropagation."""

    def gradient(batch: Batch) -> tuple[Tensor, Tensor]:
        for parameter in parameters:
            parameter.grad = None
        loss, output = objective(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach(), output.detach()

    return gradient


class PlainSGD:
    """The steps of SGD without momentum, bit for bit; torch's bookkeeping takes a third of a small network's step."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer

    @torch.no_grad()
    def step(self) -> None:
        for group in self.optimizer.param_groups:
            lr, decay = group["lr"], group["weight_decay"]
            for parameter in group["params"]:
                if (gradient := parameter.grad) is not None:
                    parameter.add_(gradient.add(parameter, alpha=decay) if decay else gradient, alpha=-lr)


def quickest(optimizer: Optimizer) -> Steps:
    """The fastest object that takes an optimizer's steps, bit for bit."""
    other = ("momentum", "maximize", "fused")
    plain = type(optimizer) is SGD and not any(group[key] for group in optimizer.param_groups for key in other)
    return PlainSGD(optimizer) if plain else optimizer


def settings_of(optimizer: Optimizer) -> dict[str, Any]:
    """The settings of an optimizer's first group of parameters."""
    return {key: value for key, value in optimizer.param_groups[0].items() if key != "params"}


def diverged(what: str, value: float, step: int, optimizer: Optimizer | None) -> str:
    """The sentence that says what became infinite or not a number, and at which step."""
    lr = optimizer.defaults.get("lr") if optimizer else None  # that of the configuration, before any schedule
    return f"{what} is {value} at step {step} with optimizer.lr={lr}"


def require_finite_metrics(metrics: Mapping[str, Any], step: int, optimizer: Optimizer | None) -> None:
    """Raise Diverged that names the first metric, by name a scalar, that is not finite."""
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise Diverged(diverged(name, float(value), step, optimizer))


def require_finite(losses: Sequence[Tensor], steps: int, optimizer: Optimizer | None) -> None:
    """Raise Diverged that names the first infinite one of the last losses; `steps` were taken in all."""
    values = torch.stack(list(losses))
    if not values.isfinite().all():
        bad = int(values.isfinite().logical_not().nonzero()[0])
        raise Diverged(diverged("the training loss", values[bad].item(), steps - len(values) + bad + 1, optimizer))
