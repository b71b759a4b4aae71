"""The yardstick of a sweep: polynomial regressions that a loop written by hand trains at once, on batched matrices.

The same work as the runs of `study=capacity optimizer=sgd`: the same samples, minibatches and orders, the features
of lower degrees followed by zeros, losses of training and validation data at every logging point, of test data at
the end.
"""

import torch
from torch import Tensor

from lightning_d2l.data.streams import generator

Samples = tuple[Tensor, Tensor]
"""Features (M, n, d) and targets (M, n, 1) of M runs."""


def mean_squared_errors(samples: Samples, w: Tensor) -> Tensor:
    """(M,)"""
    x, y = samples
    return (torch.bmm(x, w.mT) - y).square().mean((1, 2))


def train(
    splits: dict[str, Samples], w: Tensor, shuffle_seeds: list[int], *, lr: float, batch_size: int, points: list[int]
) -> tuple[Tensor, list[list[list[float]]]]:
    """Weights (M, 1, d) after the last logging point, from `w`, and the losses at each point and of the test split.

    `shuffle_seeds` has one number for each run; equal ones stand for the same orders.
    """
    (x, y), w, losses = splits["train"], w.clone(), []
    members, n, d = x.shape
    rows_x, rows_y = x.reshape(-1, d), y.reshape(-1, 1)
    seeds = list(dict.fromkeys(shuffle_seeds))
    order_of = torch.tensor([seeds.index(seed) for seed in shuffle_seeds])
    offsets = (n * torch.arange(members))[:, None]
    for epoch in range(points[-1]):
        drawn = torch.stack([torch.randperm(n, generator=generator("epoch", seed, epoch)) for seed in seeds])
        orders = (drawn[order_of] + offsets).reshape(members, -1, batch_size).transpose(0, 1)
        xs = rows_x.index_select(0, orders.flatten()).view(*orders.shape, d)
        ys = rows_y.index_select(0, orders.flatten()).view(*orders.shape, 1)
        for bx, by in zip(xs, ys, strict=True):
            residuals = torch.bmm(bx, w.mT) - by
            w.sub_(torch.bmm(residuals.mT, bx), alpha=2 * lr / batch_size)
        if epoch + 1 in points:
            losses.append([mean_squared_errors(splits[split], w).tolist() for split in ("train", "val")])
    losses.append([mean_squared_errors(splits["test"], w).tolist()])
    return w, losses
