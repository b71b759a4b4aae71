"""Means over the samples of a split, whatever the sizes of its batches and the number of processes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torchmetrics import Metric


class SampleMeans(Metric):
    """Means over samples of several quantities, each the mean of a batch, summed in float64 (float32 on MPS).

    `update` takes scalars by name and the number of samples that they are the means of; `compute` returns the means
    over all batches, and in a distributed run over all processes.
    """

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.names: tuple[str, ...] = ()
        for state in ("total", "count"):
            self.add_state(state, torch.zeros(()), dist_reduce_fx="sum")

    def update(self, means: Mapping[str, Tensor], n: int) -> None:
        self.names = tuple(means)
        values = torch.stack([value.detach() for value in means.values()])
        dtype = torch.float32 if values.device.type == "mps" else torch.float64
        counted = n * values.to(dtype) if n else torch.zeros_like(values, dtype=dtype)  # the mean of none is nan
        self.total = self.total.to(values.device) + counted
        self.count = self.count.to(values.device, dtype) + n

    def compute(self) -> dict[str, Tensor]:
        return dict(zip(self.names, (self.total / self.count).unbind(), strict=True))
