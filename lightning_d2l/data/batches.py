"""Minibatches of tensors in memory: a batch is one indexing operation (d2l 3.2.2, the data iterator)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, distributed

from lightning_d2l.data.streams import generator

Batch = tuple[Tensor, Tensor]


def as_input(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Pixels (uint8) scaled to [0, 1], other features unchanged, in the floating-point type `dtype`."""
    return x.to(dtype).div_(255) if x.dtype == torch.uint8 else x.to(dtype)


def as_batch(samples: Batch, dtype: torch.dtype) -> Batch:
    """Features as input, and targets that are no classes, in the floating-point type `dtype`."""
    x, y = samples
    return as_input(x, dtype), y.to(dtype) if y.is_floating_point() else y


class Batches:
    """The minibatches of features x (n, ...) and targets y (n, ...); the last one may be smaller.

    With a `shuffle_seed` the order of an epoch is a function of (shuffle_seed, epoch) alone; without it the order is
    that of the data. Lightning sets the epoch through `sampler`, and saves `state_dict` in a checkpoint within an
    epoch. In a distributed run each rank has its own share of the rows and as many batches as the others.
    """

    batch_sampler = None  # Lightning looks for one wherever there is a sampler

    def __init__(
        self, x: Tensor, y: Tensor, batch_size: int, dtype: torch.dtype, shuffle_seed: int | None = None
    ) -> None:
        self.x, self.y, self.batch_size, self.dtype, self.shuffle_seed = x, y, batch_size, dtype, shuffle_seed
        self.epoch = 0
        self._next = 0  # the batch of `epoch` that comes next
        self._resumed = (0, 0)  # the epoch and the batch at which the next iteration begins, after a resume
        self.served = 0  # minibatches since epoch 0 began, for a progress bar

    def __len__(self) -> int:
        return -(-len(self.x) // (self.batch_size * _world_size()))

    @property
    def sampler(self) -> Batches:
        """What Lightning calls `set_epoch` of."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration; epochs are counted from 0."""
        if epoch != self.epoch:
            self.epoch, self._next = epoch, 0

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch, "next": self._next}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.epoch, self._next = self._resumed = state["epoch"], state["next"]

    def order(self, epoch: int) -> Tensor | None:
        """The permutation (n,) of an epoch, None for the order of the data."""
        if self.shuffle_seed is None:
            return None
        return torch.randperm(len(self.x), generator=generator("epoch", self.shuffle_seed, epoch)).to(self.x.device)

    def __iter__(self) -> Iterator[Batch]:
        begin = self._resumed[1] if self._resumed[0] == self.epoch else 0
        self._resumed = (0, 0)
        order, ends = self.order(self.epoch), self._ends()
        if (world := _world_size()) > 1:
            rows = torch.arange(len(self.x), device=self.x.device) if order is None else order
            order = rows[distributed.get_rank() :: world]
        for number in range(begin, len(ends)):
            batch = slice(ends[number - 1] if number else 0, ends[number])
            self._next = number + 1
            self.served = self.epoch * len(ends) + number + 1
            if order is None:
                yield as_input(self.x[batch], self.dtype), self.y[batch]
            else:  # index_select is up to four times as fast as x[order[batch]]
                chosen = order[batch]
                yield as_input(self.x.index_select(0, chosen), self.dtype), self.y.index_select(0, chosen)

    def _ends(self) -> list[int]:
        """Where each minibatch ends among this rank's rows."""
        number, world = len(self), _world_size()
        n = len(range(distributed.get_rank() if world > 1 else 0, len(self.x), world))
        ends = [min((i + 1) * self.batch_size, n) for i in range(number)]
        if number > 1 and ends[-2] == n:  # the other ranks have one more row, and with it one more batch
            ends[-2] -= 1
        return ends


def _world_size() -> int:
    """Processes of a distributed run."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1
