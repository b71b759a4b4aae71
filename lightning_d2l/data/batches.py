"""Minibatches of tensors in memory: a batch is one indexing operation (d2l 3.2.2, the data iterator)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

Batch = tuple[Tensor, Tensor]


def stream(seed: int, *key: int) -> int:
    """The seed of an independent random stream, named by a few numbers, of the generator with `seed`."""
    return int(np.random.SeedSequence([seed, *key]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator(seed: int, *key: int) -> torch.Generator:
    """A generator on the CPU for the stream `key` of `seed`."""
    return torch.Generator().manual_seed(stream(seed, *key))


def as_input(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Pixels (uint8) in [0, 1], other features as they are, in the floating-point type `dtype`."""
    return x.to(dtype).div_(255) if x.dtype == torch.uint8 else x.to(dtype)


def as_batch(samples: Batch, dtype: torch.dtype) -> Batch:
    """Features as input, and targets that are no classes, in the floating-point type `dtype`."""
    x, y = samples
    return as_input(x, dtype), y.to(dtype) if y.is_floating_point() else y


class Batches:
    """The minibatches of features x (n, ...) and targets y (n, ...), the ragged last one kept.

    With a `shuffle_seed` the order of epoch e is a function of (shuffle_seed, e) alone, so the number of the
    epoch is all the state that a checkpoint needs; without it the order is that of the data.
    """

    def __init__(
        self, x: Tensor, y: Tensor, batch_size: int, dtype: torch.dtype, shuffle_seed: int | None = None
    ) -> None:
        self.x, self.y, self.batch_size, self.dtype, self.shuffle_seed = x, y, batch_size, dtype, shuffle_seed
        self.epoch = self.served = 0  # served: minibatches since epoch 0 began, which a progress bar reads

    def __len__(self) -> int:
        return -(-len(self.x) // self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration; epochs are counted from 0."""
        self.epoch = epoch

    def order(self, epoch: int) -> Tensor | None:
        """The permutation (n,) of an epoch, None for the order of the data."""
        if self.shuffle_seed is None:
            return None
        return torch.randperm(len(self.x), generator=generator(self.shuffle_seed, epoch)).to(self.x.device)

    def __iter__(self) -> Iterator[Batch]:
        order = self.order(self.epoch)
        self.served = self.epoch * len(self)
        for start in range(0, len(self.x), self.batch_size):
            rows = slice(start, start + self.batch_size)
            self.served += 1
            if order is None:
                yield as_input(self.x[rows], self.dtype), self.y[rows]
            else:  # index_select is up to four times as fast as x[order[rows]]
                chosen = order[rows]
                yield as_input(self.x.index_select(0, chosen), self.dtype), self.y.index_select(0, chosen)


class Epochs(Protocol):
    """The minibatches of the epoch that was set."""

    epoch: int

    def set_epoch(self, epoch: int) -> None: ...

    def __iter__(self) -> Iterator[Batch]: ...


class Chunk:
    """A number of `epochs`, from the epoch `first` on (counted from 0): iterates over each one's minibatches."""

    def __init__(self, batches: Epochs, first: int, epochs: int) -> None:
        self.batches, self.first, self.epochs = batches, first, epochs

    def __iter__(self) -> Iterator[Epochs]:
        for epoch in range(self.first, self.first + self.epochs):
            self.batches.set_epoch(epoch)
            yield self.batches


class Chunks:
    """The epochs up to the next logging point as the one item of a dataloader.

    Lightning then takes one step, and pays its overhead once, from one logging point to the next.
    """

    def __init__(self, batches: Epochs, logging_points: list[int]) -> None:
        self.batches, self.logging_points = batches, logging_points

    def __len__(self) -> int:
        return 1

    def set_epoch(self, epoch: int) -> None:
        self.batches.set_epoch(epoch)

    def __iter__(self) -> Iterator[Chunk]:
        first = self.batches.epoch
        yield Chunk(self.batches, first, next(point for point in self.logging_points if point > first) - first)
