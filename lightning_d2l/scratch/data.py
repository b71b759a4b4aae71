"""A synthetic data set and its minibatches (d2l 3.2.1, 3.2.2)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def synthetic_data(w: Tensor, b: float, n: int, noise: float, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Features X ~ N(0, 1), (n, d), and labels y = X w + b + noise, (n, 1), for weights w (d,) (d2l 3.2.1).

    `noise` is the standard deviation of normal noise, in the unit of y. X and y have the dtype of w.
    """
    X = torch.randn(n, len(w), generator=random, dtype=w.dtype)
    y = X @ w + b + noise * torch.randn(n, generator=random, dtype=w.dtype)
    return X, y.reshape(n, 1)


def data_iter(
    batch_size: int, features: Tensor, labels: Tensor, random: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Minibatches of all samples in a random order; the last one may be smaller (d2l 3.2.2)."""
    order = torch.randperm(len(features), generator=random)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        yield features[rows], labels[rows]
