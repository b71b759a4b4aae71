"""A synthetic data set and its minibatches (d2l 3.2.1, 3.2.2)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def synthetic_data(
    w: Tensor, b: float, num_examples: int, noise: float = 0.01, random: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Generate features X ~ N(0, 1) and labels y = X w + b + noise (d2l 3.2.1).

    Parameters
    ----------
    w : Tensor
        The true weights, (d,).
    b : float
        The true bias.
    num_examples : int
        The number of samples, n.
    noise : float
        The standard deviation of normal noise, in the unit of y.
    random : torch.Generator, optional
        The source of randomness; torch's global one by default.

    Returns
    -------
    tuple of Tensor
        X (n, d) and y (n, 1), in the dtype of w.

    Examples
    --------
    >>> features, labels = synthetic_data(torch.tensor([2.0, -3.4]), 4.2, 1000)
    >>> features.shape, labels.shape
    (torch.Size([1000, 2]), torch.Size([1000, 1]))
    """
    X = torch.randn(num_examples, len(w), generator=random, dtype=w.dtype)
    y = X @ w + b + noise * torch.randn(num_examples, generator=random, dtype=w.dtype)
    return X, y.reshape(num_examples, 1)


def data_iter(
    batch_size: int, features: Tensor, labels: Tensor, random: torch.Generator | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Iterate over minibatches of all samples in a random order (d2l 3.2.2).

    Parameters
    ----------
    batch_size : int
        The number of samples in a minibatch; the last one may be smaller.
    features, labels : Tensor
        The samples along their first dimensions, (n, ...) each.
    random : torch.Generator, optional
        The source of randomness; torch's global one by default.

    Yields
    ------
    tuple of Tensor
        Features and labels of a minibatch.

    Raises
    ------
    ValueError
        If `batch_size` is not positive, or features and labels differ in length.

    Examples
    --------
    >>> features, labels = torch.arange(5.0)[:, None], torch.arange(5)
    >>> [len(X) for X, y in data_iter(2, features, labels)]
    [2, 2, 1]
    """
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: must be at least 1")
    if len(features) != len(labels):
        raise ValueError(f"labels: must be as many as features, {len(features)}, not {len(labels)}")
    order = torch.randperm(len(features), generator=random)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        yield features[rows], labels[rows]
