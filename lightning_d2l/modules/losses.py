"""Losses by name, each a mean over the samples of a batch (d2l 3.1.1.2, 3.4.6)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_d2l.config.check import nearest
from lightning_d2l.config.registry import LOSSES_OF_PLUGINS
from lightning_d2l.scratch import linear_regression, softmax_regression

Loss = Callable[[Tensor, Tensor], Tensor]
"""A function of outputs (n, num_outputs) and targets that returns a scalar."""


def half_mse(output: Tensor, y: Tensor) -> Tensor:
    """Half the mean squared error (d2l 3.1.5). The 1/2 halves the gradient, as half the learning rate does."""
    return 0.5 * functional.mse_loss(output, y)


def squared_scratch(output: Tensor, y: Tensor) -> Tensor:
    """`half_mse`, written from scratch."""
    return linear_regression.squared_loss(output, y).mean()


def cross_entropy_scratch(output: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy in nats of logits (n, num_classes) and classes (n,), written from scratch."""
    return softmax_regression.cross_entropy_with_logits(output, y).mean()


def one_hot_mse(output: Tensor, y: Tensor) -> Tensor:
    """The mean squared error between outputs (n, num_classes) and one-hot encoded classes y (n,)."""
    classes = torch.arange(output.shape[1], device=y.device)
    return functional.mse_loss(output, (y[:, None] == classes).to(output.dtype))


class GaussianNLL(nn.Module):
    """Negative log-likelihood, in nats, of targets (n, 1) with normal noise around the outputs (d2l 3.1.3).

    The standard deviation of the noise, sigma, is a parameter that is trained with the network. At the optimum the
    network is the least-squares fit, and sigma is the root mean square residual.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_sigma = nn.Parameter(torch.zeros(()))

    @property
    def sigma(self) -> Tensor:
        return self.log_sigma.exp()

    def forward(self, output: Tensor, y: Tensor) -> Tensor:
        mse = functional.mse_loss(output, y)
        return 0.5 * math.log(2 * math.pi) + self.log_sigma + mse / (2 * self.sigma**2)


LOSSES: dict[str, Callable[[], Loss]] = {
    "cross_entropy": lambda: functional.cross_entropy,
    "cross_entropy_scratch": lambda: cross_entropy_scratch,
    "one_hot_mse": lambda: one_hot_mse,
    "mse": lambda: functional.mse_loss,
    "half_mse": lambda: half_mse,
    "squared_scratch": lambda: squared_scratch,
    "gaussian_nll": GaussianNLL,
}


def build_loss(name: str) -> Loss:
    """The loss of a name in LOSSES, or one that a plugin registered; raises ValueError on any other name."""
    if name in LOSSES:
        return LOSSES[name]()
    if name not in LOSSES_OF_PLUGINS:
        names = [*LOSSES, *LOSSES_OF_PLUGINS]
        raise ValueError(f"loss={name}: must be one of {', '.join(names)}{nearest(name, names)}")
    found = LOSSES_OF_PLUGINS[name]
    made: Loss = found() if isinstance(found, type) else found
    return made
