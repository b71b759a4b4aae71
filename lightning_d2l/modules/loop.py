"""The training loop of the book (d2l 3.2.7, 3.6.6): minibatch stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor
from torch.optim import Optimizer

from lightning_d2l.data.batches import Batch

Sums = tuple[Tensor, int]
"""Sums over the samples of a minibatch, one a metric, and the number of samples."""
Objective = Callable[[Batch], tuple[Tensor, Sums]]
"""A function from a minibatch to its mean loss, and to the sums that metrics are made of."""


def train_minibatches(objective: Objective, batches: Iterable[Batch], optimizer: Optimizer) -> list[Sums]:
    """Take one step of `optimizer` down the gradient of `objective` a minibatch; return each one's sums."""
    history = []
    for batch in batches:
        optimizer.zero_grad()
        loss, sums = objective(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        history.append(sums)
    return history
