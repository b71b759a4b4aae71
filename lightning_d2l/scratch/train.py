"""The training loop (d2l 3.2.7, 3.6.6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor

Batch = tuple[Tensor, Tensor]


def train(
    net: Callable[[Tensor], Tensor],
    loss: Callable[[Tensor, Tensor], Tensor],
    updater: Callable[[int], None],
    data: Callable[[], Iterable[Batch]],
    num_epochs: int,
) -> list[float]:
    """Minimise the summed loss of each minibatch; returns each epoch's mean loss over its samples, during training.

    `net` maps X (n, ...) to y_hat. `loss` maps (y_hat, y) to the loss of each sample. `updater(batch_size)` updates the
    parameters from their gradients and sets the gradients to 0. `data()` returns the minibatches (X, y) of one epoch.
    """
    history = []
    for _ in range(num_epochs):
        total, n = 0.0, 0
        for X, y in data():
            losses = loss(net(X), y)
            losses.sum().backward()  # type: ignore[no-untyped-call]
            updater(len(X))
            total, n = total + losses.sum().item(), n + len(X)
        history.append(total / n)
    return history
