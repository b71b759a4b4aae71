"""Information theory: surprisal, entropy, cross-entropy and Kullback-Leibler divergence (d2l 3.4.7, appendix 18.11).

Distributions (..., k) are probabilities that sum to 1 over the last dimension; results have the shape (...). Zeros are
exact: 0 log 0 is 0, and the surprisal of probability 0 is infinite.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.special import entr, xlogy

Unit = Literal["nats", "bits"]
PER_NAT: dict[Unit, float] = {"nats": 1.0, "bits": 1 / math.log(2)}


def surprisal(p: Tensor, unit: Unit = "nats") -> Tensor:
    """-log p, the information content of events with probability p, of any shape."""
    return (0 - p.log()) * PER_NAT[unit]


def entropy(p: Tensor, unit: Unit = "nats") -> Tensor:
    """H(p) = -sum_j p_j log p_j: the mean surprisal, between 0 and log k."""
    spread: Tensor = entr(p).sum(-1)
    return spread * PER_NAT[unit]


def cross_entropy(p: Tensor, q: Tensor, unit: Unit = "nats") -> Tensor:
    """H(p, q) = -sum_j p_j log q_j: the mean surprisal under q of events drawn from p.

    Infinite where q_j = 0 < p_j.
    """
    expected: Tensor = 0 - xlogy(p, q).sum(-1)
    return expected * PER_NAT[unit]


def kl_divergence(p: Tensor, q: Tensor, unit: Unit = "nats") -> Tensor:
    """KL(p || q) = sum_j p_j log(p_j / q_j) = H(p, q) - H(p) >= 0: the extra surprisal.

    Infinite where q_j = 0 < p_j.
    """
    terms = torch.where(p > 0, p * (p.log() - q.log()), 0.0)
    return terms.sum(-1).clamp(min=0) * PER_NAT[unit]  # where p is close to q, rounding makes the sum slightly negative


def prediction_information(logits: Tensor, y: Tensor, unit: Unit = "nats") -> dict[str, Tensor]:
    """Information measures (n,) of each prediction, by name, from logits (n, num_classes) and classes y (n,).

    "surprisal" of the true class, "entropy" of the prediction, "cross_entropy" between the one-hot label and the
    prediction, and "kl", the divergence of the label from the prediction. A one-hot label has entropy 0, so the
    cross-entropy equals the divergence, and both equal the surprisal. All are computed from logits, since
    log softmax(o) = o - log sum_k exp(o_k) neither overflows nor rounds small probabilities to 0.
    """
    log_p = logits.log_softmax(1)
    p = log_p.exp()
    true_class = (0 - log_p.gather(1, y[:, None]).squeeze(1)) * PER_NAT[unit]
    spread = (0 - torch.where(p > 0, p * log_p, 0.0).sum(1)) * PER_NAT[unit]
    return {"surprisal": true_class, "entropy": spread, "cross_entropy": true_class, "kl": true_class}


def information_metrics(logits: Tensor, y: Tensor) -> dict[str, Tensor]:
    """The means of `prediction_information`: scalars in nats by its names, and in bits by its names with "_bits"."""
    means = {name: values.mean() for name, values in prediction_information(logits, y).items()}
    return means | {f"{name}_bits": mean * PER_NAT["bits"] for name, mean in means.items()}
