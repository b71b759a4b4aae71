"""Linear regression and its squared loss (d2l 3.1, 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def linreg(X: Tensor, w: Tensor, b: Tensor | float) -> Tensor:
    """Compute the predictions y_hat = X w + b of linear regression (d2l 3.2.4).

    Parameters
    ----------
    X : Tensor
        The features, (n, d).
    w : Tensor
        The weights, (d, q), or (d,) for one output.
    b : Tensor or float
        The bias, (q,), or a number.

    Returns
    -------
    Tensor
        The predictions, (n, q), or (n,) for w (d,).

    Raises
    ------
    RuntimeError
        By torch, if X and w do not fit.

    Examples
    --------
    >>> X, w = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[2.0], [-1.0]])
    >>> linreg(X, w, 0.5).tolist()
    [[0.5], [2.5]]
    """
    return X @ w + b


def squared_loss(y_hat: Tensor, y: Tensor) -> Tensor:
    """Compute half the squared error, (y_hat - y)^2 / 2, of each number (d2l 3.2.5).

    Parameters
    ----------
    y_hat : Tensor
        The predictions.
    y : Tensor
        The labels, as many numbers as y_hat in any shape: (n,) fits predictions (n, 1).

    Returns
    -------
    Tensor
        The losses in the shape of y_hat; they are not averaged.

    Raises
    ------
    RuntimeError
        By torch, if y has another number of elements.

    Examples
    --------
    >>> squared_loss(torch.tensor([[1.0], [3.0]]), torch.tensor([1.0, 1.0])).tolist()
    [[0.0], [2.0]]
    """
    return (y_hat - y.reshape(y_hat.shape)) ** 2 / 2


class LinearRegressionScratch(nn.Module):
    """`linreg` with weights w ~ N(0, std^2), (num_inputs, num_outputs), and, with `bias`, b = 0."""

    def __init__(self, num_inputs: int, num_outputs: int = 1, std: float = 0.01, bias: bool = True) -> None:
        super().__init__()
        self.w = nn.Parameter(std * torch.randn(num_inputs, num_outputs))
        self.b = nn.Parameter(torch.zeros(num_outputs)) if bias else None

    def forward(self, X: Tensor) -> Tensor:
        return linreg(X, self.w, 0.0 if self.b is None else self.b)
