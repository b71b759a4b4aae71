"""The training loop of the book (d2l 3.2.7, 3.6.6): minibatch stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from torch import Tensor
from torch.optim import Optimizer

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


def backpropagation(objective: Objective, optimizer: Optimizer) -> Gradient:
    """The gradient of `objective` by backpropagation, in the parameters of `optimizer`."""

    def gradient(batch: Batch) -> tuple[Tensor, Tensor]:
        optimizer.zero_grad()
        loss, output = objective(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach(), output.detach()

    return gradient
