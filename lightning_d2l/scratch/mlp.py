"""The multilayer perceptron (d2l 4.2), and with dropout (d2l 4.6.4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from lightning_d2l.scratch.regularisation import dropout_layer


def relu(X: Tensor) -> Tensor:
    """Compute max(x, 0) of each entry, with derivative 0 at 0 (d2l 4.2.2).

    Parameters
    ----------
    X : Tensor
        Numbers in any shape.

    Returns
    -------
    Tensor
        The activations in the shape of X.

    Examples
    --------
    >>> relu(torch.tensor([-1.0, 0.0, 2.0])).tolist()
    [0.0, 0.0, 2.0]
    """
    return torch.where(X <= 0, 0.0, X)  # torch.maximum would have derivative 1/2 at 0


class MLPScratch(nn.Module):
    """O = relu(X W1 + b1) W2 + b2, (n, num_outputs), for images or features X (n, ...) (d2l 4.2).

    W1 (num_inputs, num_hiddens) and W2 (num_hiddens, num_outputs) ~ N(0, std^2), b1 = b2 = 0.
    """

    def __init__(self, num_inputs: int, num_outputs: int, num_hiddens: int = 256, std: float = 0.01) -> None:
        super().__init__()
        self.W1 = nn.Parameter(std * torch.randn(num_inputs, num_hiddens))
        self.b1 = nn.Parameter(torch.zeros(num_hiddens))
        self.W2 = nn.Parameter(std * torch.randn(num_hiddens, num_outputs))
        self.b2 = nn.Parameter(torch.zeros(num_outputs))

    def forward(self, X: Tensor) -> Tensor:
        H = relu(X.flatten(1) @ self.W1 + self.b1)
        return H @ self.W2 + self.b2


class DropoutMLPScratch(nn.Module):
    """An MLP with relu and, in training, dropout after each hidden layer; returns (n, num_outputs) (d2l 4.6.4).

    W[i] (n_in, n_out) and b[i] (n_out,) are initialised by `uniform`, as the book's nn.Linear layers are.

    Raises ValueError unless `dropout` has one probability for each hidden layer.
    """

    def __init__(
        self,
        num_inputs: int,
        num_outputs: int,
        num_hiddens: Sequence[int] = (256, 256),
        dropout: Sequence[float] = (0.2, 0.5),
    ) -> None:
        super().__init__()
        if len(dropout) != len(num_hiddens):
            raise ValueError(f"dropout={dropout}: must have one value a hidden layer, as num_hiddens={num_hiddens}")
        self.dropout = list(dropout)
        layers = list(pairwise([num_inputs, *num_hiddens, num_outputs]))
        self.W = nn.ParameterList(uniform(n_in, n_in, n_out) for n_in, n_out in layers)
        self.b = nn.ParameterList(uniform(n_in, n_out) for n_in, n_out in layers)

    def forward(self, X: Tensor) -> Tensor:
        H = X.flatten(1)
        for W, b, p in zip(self.W, self.b, self.dropout, strict=False):  # the last layer has no dropout
            H = relu(H @ W + b)
            if self.training:
                H = dropout_layer(H, p)
        logits: Tensor = H @ self.W[-1] + self.b[-1]
        return logits


def uniform(n_in: int, *shape: int) -> Tensor:
    """A tensor ~ U(-1 / sqrt(n_in), 1 / sqrt(n_in)), the initial values of an nn.Linear with n_in inputs."""
    return (2 * torch.rand(shape) - 1) / math.sqrt(n_in)
