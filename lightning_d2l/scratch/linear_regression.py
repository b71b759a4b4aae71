"""Linear regression and its squared loss (d2l 3.1, 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def linreg(X: Tensor, w: Tensor, b: Tensor | float) -> Tensor:
    """y_hat = X w + b, (n, q), for X (n, d), w (d, q) and b (q,) (d2l 3.2.4)."""
    return X @ w + b


def squared_loss(y_hat: Tensor, y: Tensor) -> Tensor:
    """(y_hat - y)^2 / 2 of each number, in the shape of y_hat (d2l 3.2.5)."""
    return (y_hat - y.reshape(y_hat.shape)) ** 2 / 2


class LinearRegressionScratch(nn.Module):
    """`linreg` with weights w ~ N(0, std^2), (num_inputs, num_outputs), and, with `bias`, b = 0."""

    def __init__(self, num_inputs: int, num_outputs: int = 1, std: float = 0.01, bias: bool = True) -> None:
        super().__init__()
        self.w = nn.Parameter(std * torch.randn(num_inputs, num_outputs))
        self.b = nn.Parameter(torch.zeros(num_outputs)) if bias else None

    def forward(self, X: Tensor) -> Tensor:
        return linreg(X, self.w, 0.0 if self.b is None else self.b)
