"""The training loop of the book (d2l 3.2.7, 3.6.6): minibatch stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from lightning_d2l.data.batches import Batch

Objective = Callable[[Batch], tuple[Tensor, Tensor]]
"""A function from a minibatch to its mean loss, a scalar, and the network's outputs."""
Gradient = Callable[[Batch], tuple[Tensor, Tensor]]
"""Such a function that also leaves the gradient of the loss in the parameters."""
Step = tuple[Tensor, Tensor, Tensor]
"""What a step saw: its loss, outputs and targets."""


class Steps(Protocol):
    """What takes a step down a gradient."""

    def step(self) -> object: ...


def train_minibatches(gradient: Gradient, batches: Iterable[Batch], optimizer: Steps) -> list[Step]:
    """Take one step of `optimizer` down the `gradient` of each minibatch."""
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
    """The steps of a torch.optim.SGD without momentum, to the same bits, without the bookkeeping around them.

    On a small network that takes a third of the time of a step.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer

    @staticmethod
    def does(optimizer: Optimizer) -> bool:
        """Whether these are the steps of an optimizer."""
        settings = optimizer.defaults
        return type(optimizer) is SGD and not any(settings[key] for key in ("momentum", "maximize", "fused"))

    @torch.no_grad()
    def step(self) -> None:
        for group in self.optimizer.param_groups:
            lr, decay = group["lr"], group["weight_decay"]
            for parameter in group["params"]:
                if (gradient := parameter.grad) is not None:
                    parameter.add_(gradient.add(parameter, alpha=decay) if decay else gradient, alpha=-lr)


def quickest(optimizer: Optimizer) -> Steps:
    """What takes an optimizer's steps in the least time, to the same bits."""
    return PlainSGD(optimizer) if PlainSGD.does(optimizer) else optimizer
