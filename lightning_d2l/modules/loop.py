"""The training loop of the book (d2l 3.2.7, 3.6.6): minibatch stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor
from torch.optim import Optimizer

from lightning_d2l.data.batches import Batch

Objective = Callable[[Batch], tuple[Tensor, Tensor]]
"""A function from a minibatch to its mean loss, a scalar, and the network's outputs."""
Step = tuple[Tensor, Tensor, Tensor]
"""What a step saw: its loss, outputs and targets."""


def train_minibatches(objective: Objective, batches: Iterable[Batch], optimizer: Optimizer) -> list[Step]:
    """Take one step of `optimizer` down the gradient of `objective` for each minibatch."""
    history = []
    for batch in batches:
        optimizer.zero_grad()
        loss, output = objective(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        history.append((loss.detach(), output.detach(), batch[1]))
    return history
