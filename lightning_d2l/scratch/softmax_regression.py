"""Softmax regression, and the cross-entropy of probabilities and of logits (d2l 3.4, 3.6, 3.7.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def softmax(X: Tensor) -> Tensor:
    """Compute exp(x_j) / sum_k exp(x_k) along each row (d2l 3.6.2).

    Not stable: in float32 exp overflows above 88.7, and infinity divided by infinity is NaN; see `stable_softmax`.

    Parameters
    ----------
    X : Tensor
        The logits, (n, q).

    Returns
    -------
    Tensor
        The probabilities, (n, q): each row sums to 1.

    Raises
    ------
    IndexError
        By torch, if X has one dimension only.

    Examples
    --------
    >>> softmax(torch.tensor([[0.0, 0.0], [0.0, 1.0]]))
    tensor([[0.5000, 0.5000],
            [0.2689, 0.7311]])
    """
    X_exp = X.exp()
    return X_exp / X_exp.sum(1, keepdim=True)


def stable_softmax(X: Tensor) -> Tensor:
    """The softmax of each row of X (n, q) minus its largest entry: the same, but exp is at most 1 (d2l 3.7.2)."""
    return softmax(X - X.amax(1, keepdim=True))


def cross_entropy(y_hat: Tensor, y: Tensor) -> Tensor:
    """Compute the cross-entropy -log y_hat[i, y_i] of probabilities, in nats (d2l 3.6.4).

    Infinite where a probability was rounded to 0. `torch.nn.functional.cross_entropy` takes logits instead, as
    `cross_entropy_with_logits` does.

    Parameters
    ----------
    y_hat : Tensor
        The predicted probabilities, (n, q), such as `softmax` returns.
    y : Tensor
        The true classes, (n,), whole numbers from 0 to q - 1.

    Returns
    -------
    Tensor
        The loss of each sample, (n,).

    Raises
    ------
    ValueError
        If y has another shape, or the rows of y_hat are no probabilities.

    Examples
    --------
    >>> y_hat, y = torch.tensor([[0.1, 0.3, 0.6], [0.3, 0.2, 0.5]]), torch.tensor([0, 2])
    >>> cross_entropy(y_hat, y)
    tensor([2.3026, 0.6931])
    """
    _require_classes(y_hat, y)
    if (y_hat < 0).any() or ((y_hat.sum(1) - 1).abs() > 0.01).any():  # NaN passes: the softmax may have overflowed
        raise ValueError("y_hat: rows must be probabilities that sum to 1; cross_entropy_with_logits takes logits")
    return -y_hat[range(len(y)), y].log()


def log_sum_exp(X: Tensor) -> Tensor:
    """log sum_k exp(x_k) of each row of X (n, q): (n,), without overflow for finite X (d2l 3.7.2)."""
    largest = X.amax(1, keepdim=True)
    return largest.squeeze(1) + (X - largest).exp().sum(1).log()


def cross_entropy_with_logits(logits: Tensor, y: Tensor) -> Tensor:
    """The cross-entropy, (n,) nats, of finite logits (n, q) and classes y (n,), stable for any size (d2l 3.7.2).

    -log softmax(o)_y = log sum_k exp(o_k) - o_y. Subtracting o_y before exp keeps the precision of a small loss.
    """
    o_y = logits.gather(1, y[:, None])
    return log_sum_exp(logits - o_y)


def accuracy(y_hat: Tensor, y: Tensor) -> float:
    """Compute the share of samples that are predicted right (d2l 3.6.5).

    The book's first edition returns their number, which is this share times `len(y)`.

    Parameters
    ----------
    y_hat : Tensor
        Logits or probabilities, (n, q). The largest of a row is the predicted class.
    y : Tensor
        The true classes, (n,).

    Returns
    -------
    float
        The accuracy, from 0 to 1; NaN without samples.

    Raises
    ------
    ValueError
        If y has another shape.

    Examples
    --------
    >>> y_hat, y = torch.tensor([[0.1, 0.3, 0.6], [0.3, 0.2, 0.5]]), torch.tensor([0, 2])
    >>> accuracy(y_hat, y)
    0.5
    """
    _require_classes(y_hat, y)
    return (y_hat.argmax(1) == y).double().mean().item()


def _require_classes(y_hat: Tensor, y: Tensor) -> None:
    if y.shape != y_hat.shape[:1]:  # (n, 1) would be broadcast to (n, n)
        raise ValueError(f"y: must have the shape ({len(y_hat)},), not {tuple(y.shape)}")


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
