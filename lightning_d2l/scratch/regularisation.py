"""Norm penalties and dropout (d2l 4.5, 4.6)."""

from __future__ import annotations

import torch
from torch import Tensor


def l2_penalty(w: Tensor) -> Tensor:
    """sum w^2 / 2, a scalar. Its gradient is w, so adding lambda times it is weight decay lambda (d2l 4.5.3)."""
    return (w**2).sum() / 2


def l1_penalty(w: Tensor) -> Tensor:
    """sum |w|, a scalar, which drives small weights to 0 (d2l 4.5.1)."""
    return w.abs().sum()


def dropout_layer(X: Tensor, dropout: float) -> Tensor:
    """Set each entry of X to 0 with probability `dropout`, and divide the others by 1 - dropout (d2l 4.6.4).

    The expectation is X, so that predictions need neither dropout nor rescaling.

    Parameters
    ----------
    X : Tensor
        The activations of a layer, in any shape.
    dropout : float
        The probability, in [0, 1].

    Returns
    -------
    Tensor
        The activations that remain, in the shape of X; they are drawn with torch's global random state.

    Raises
    ------
    ValueError
        If the probability is outside [0, 1].

    Examples
    --------
    >>> state = torch.manual_seed(0)
    >>> kept = dropout_layer(torch.ones(8), 0.5)
    >>> sorted(set(kept.tolist()))
    [0.0, 2.0]
    """
    if not 0 <= dropout <= 1:
        raise ValueError(f"dropout={dropout}: must be a number in [0, 1]")
    if dropout == 0:
        return X
    if dropout == 1:
        return torch.zeros_like(X)
    mask = torch.empty_like(X).bernoulli_(1 - dropout)
    return mask * X / (1 - dropout)
