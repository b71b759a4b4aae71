"""Minibatch stochastic gradient descent, as a function and as an optimizer (d2l 3.1.1.4, 3.2.6, 4.5)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


@torch.no_grad()
def sgd(params: Iterable[Tensor], lr: float, batch_size: int) -> None:
    """Take one step, w <- w - lr * gradient / batch_size, and set the gradients to 0 (d2l 3.2.6).

    Parameters
    ----------
    params : iterable of Tensor
        Leaf tensors with `requires_grad`, which are changed in place. One without a gradient stays as it is.
    lr : float
        The learning rate.
    batch_size : int
        The number of samples in the minibatch, over which the loss was summed.

    Examples
    --------
    >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> (w**2).sum().backward()
    >>> sgd([w], lr=0.5, batch_size=1)
    >>> w.tolist(), w.grad.tolist()
    ([0.0, 0.0], [0.0, 0.0])
    """
    for param in params:
        if param.grad is not None:
            param.sub_(lr * param.grad / batch_size)
            param.grad.zero_()


class SGD(Optimizer):
    """w <- w - lr * (gradient + weight_decay * w), for gradients of a mean loss (d2l 3.1.1.4, 4.5).

    A `torch.optim.Optimizer` stores the parameter groups with their settings; this class defines the step. As with
    `torch.optim.SGD`, the caller sets gradients to 0.
    """

    def __init__(self, params: Iterable[Any], lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Take one step; if a `closure` is given, call it first to recompute the gradients, and return its loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    param.sub_(group["lr"] * (param.grad + group["weight_decay"] * param))
        return loss
