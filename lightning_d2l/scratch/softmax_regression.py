"""Softmax regression, and the cross-entropy of probabilities and of logits (d2l 3.4, 3.6, 3.7.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def softmax(X: Tensor) -> Tensor:
    """exp(x_j) / sum_k exp(x_k) along each row of X (n, q) (d2l 3.6.2).

    Not stable: in float32 exp overflows above 88.7, and infinity divided by infinity is NaN.
    """
    X_exp = X.exp()
    return X_exp / X_exp.sum(1, keepdim=True)


def stable_softmax(X: Tensor) -> Tensor:
    """The softmax of each row of X (n, q) minus its largest entry: the same, but exp is at most 1 (d2l 3.7.2)."""
    return softmax(X - X.amax(1, keepdim=True))


def cross_entropy_naive(y_hat: Tensor, y: Tensor) -> Tensor:
    """-log y_hat[i, y_i], (n,) nats, of probabilities y_hat (n, q) and classes y (n,) (d2l 3.6.4).

    Infinite where a probability was rounded to 0.
    """
    return -y_hat[range(len(y)), y].log()


def log_sum_exp(X: Tensor) -> Tensor:
    """log sum_k exp(x_k) of each row of X (n, q): (n,), without overflow for finite X (d2l 3.7.2)."""
    largest = X.amax(1, keepdim=True)
    return largest.squeeze(1) + (X - largest).exp().sum(1).log()


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """The cross-entropy, (n,) nats, of finite logits (n, q) and classes y (n,), stable for any size (d2l 3.7.2).

    -log softmax(o)_y = log sum_k exp(o_k) - o_y. Subtracting o_y before exp keeps the precision of a small loss.
    """
    o_y = logits.gather(1, y[:, None])
    return log_sum_exp(logits - o_y)


def accuracy(y_hat: Tensor, y: Tensor) -> float:
    """The share of rows of y_hat (n, q), logits or probabilities, whose largest entry is class y (n,) (d2l 3.6.5)."""
    return (y_hat.argmax(1) == y).double().mean().item()


class SoftmaxRegressionScratch(nn.Module):
    """Logits o = X W + b, (n, num_outputs), for images or features X (n, ...) (d2l 3.6.3).

    W ~ N(0, std^2) is (num_inputs, num_outputs), b = 0. The softmax is part of the loss, for stability.
    """

    def __init__(self, num_inputs: int, num_outputs: int, std: float = 0.01) -> None:
        super().__init__()
        self.W = nn.Parameter(std * torch.randn(num_inputs, num_outputs))
        self.b = nn.Parameter(torch.zeros(num_outputs))

    def forward(self, X: Tensor) -> Tensor:
        return X.flatten(1) @ self.W + self.b
