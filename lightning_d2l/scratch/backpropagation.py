"""Forward and backward propagation by hand through one hidden layer (d2l 4.7): no autograd.

Samples are columns: x is (d, n), z and h are (h, n), o and the targets y are (q, n). W1 is (h, d) and W2 (q, h). The
loss L is the mean over the samples, which adds a factor 1/n to dL/do; all other equations are as for one sample.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "relu": (lambda z: z.clamp(min=0), lambda z: (z > 0).to(z.dtype)),
    "sigmoid": (torch.sigmoid, lambda z: torch.sigmoid(z) * (1 - torch.sigmoid(z))),
    "tanh": (torch.tanh, lambda z: 1 - torch.tanh(z) ** 2),
}
"""phi and its derivative phi', elementwise (d2l 4.1.2)."""


def squared_loss(o: Tensor, y: Tensor) -> Tensor:
    """1/2 |o - y|^2 of each sample, (n,)."""
    return (o - y).square().sum(0) / 2


def cross_entropy_loss(o: Tensor, y: Tensor) -> Tensor:
    """-sum_j y_j log softmax(o)_j of each sample, (n,), for y one-hot or any distribution over the q classes."""
    return torch.logsumexp(o, 0) - (y * o).sum(0)


LOSSES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "squared": (squared_loss, lambda o, y: o - y),
    "cross_entropy": (cross_entropy_loss, lambda o, y: torch.softmax(o, 0) - y),
}
"""l(o, y) of each sample, and its gradient in o, which is prediction minus target for both (d2l 3.4.6.2)."""


@dataclass
class Forward:
    """The values of forward propagation, stored for `backward`."""

    z: Tensor
    h: Tensor
    o: Tensor
    L: Tensor
    s: Tensor
    J: Tensor


@dataclass
class Backward:
    """The gradients of the objective J (and of the loss L), each in the shape of its variable."""

    dJ_dL: Tensor
    dJ_ds: Tensor
    dL_do: Tensor
    dJ_do: Tensor
    dJ_dW2: Tensor
    dJ_dh: Tensor
    dJ_dz: Tensor
    dJ_dW1: Tensor


@dataclass
class OneHiddenLayer:
    """o = W2 phi(W1 x) with the objective J = L + s, s = lambda/2 (|W1|^2 + |W2|^2) in Frobenius norms.

    `activation` is relu, sigmoid or tanh, `loss` squared or cross_entropy, `weight_decay` is lambda.
    """

    W1: Tensor
    W2: Tensor
    weight_decay: float = 0.0
    activation: str = "relu"
    loss: str = "squared"

    def forward(self, x: Tensor, y: Tensor) -> Forward:
        """Compute all values from the inputs x (d, n) to the objective (d2l 4.7.1)."""
        phi, _ = ACTIVATIONS[self.activation]
        loss, _ = LOSSES[self.loss]
        z = self.W1 @ x
        h = phi(z)
        o = self.W2 @ h
        L = loss(o, y).mean()
        s = self.weight_decay / 2 * (self.W1.square().sum() + self.W2.square().sum())
        return Forward(z, h, o, L, s, L + s)

    def backward(self, x: Tensor, y: Tensor, kept: Forward) -> Backward:
        """Compute all gradients, from the objective to the weights, by the chain rule (d2l 4.7.3)."""
        _, phi_prime = ACTIVATIONS[self.activation]
        _, loss_gradient = LOSSES[self.loss]
        dJ_dL = torch.ones_like(kept.L)
        dJ_ds = torch.ones_like(kept.s)
        dL_do = loss_gradient(kept.o, y) / x.shape[1]
        dJ_do = dJ_dL * dL_do
        ds_dW2 = self.weight_decay * self.W2
        dJ_dW2 = dJ_do @ kept.h.T + dJ_ds * ds_dW2
        dJ_dh = self.W2.T @ dJ_do
        dJ_dz = dJ_dh * phi_prime(kept.z)
        ds_dW1 = self.weight_decay * self.W1
        dJ_dW1 = dJ_dz @ x.T + dJ_ds * ds_dW1
        return Backward(dJ_dL, dJ_ds, dL_do, dJ_do, dJ_dW2, dJ_dh, dJ_dz, dJ_dW1)
