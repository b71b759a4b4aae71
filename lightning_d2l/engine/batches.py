"""Minibatches of many runs at once: one more dimension, that of the members, in front of the samples'."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from lightning_d2l.data.batches import Batch, as_input
from lightning_d2l.data.streams import generator

EPOCH_BYTES = 2**27  # an epoch up to this size is laid out at once, larger ones a minibatch at a time
FLOAT_BYTES = 2**28  # pixels up to this size become floats once, more of them a minibatch at a time
EVALUATION_NUMBERS = 2**22  # of all members in an evaluation batch, at most


class StackedSplit:
    """The samples of one split for each of M members: x (n, ...) and y (n, ...), the same shapes for all.

    Tensors that members share are held once. Features (n, d) are padded with zeros up to (n, num_inputs).
    """

    def __init__(self, members: Sequence[Batch], dtype: torch.dtype, device: torch.device, num_inputs: int = 0) -> None:
        tensors = {(x.data_ptr(), y.data_ptr(), x.shape): (x, y) for x, y in members}
        place = {key: number for number, key in enumerate(tensors)}
        where = [place[x.data_ptr(), y.data_ptr(), x.shape] for x, y in members]
        self.n, self.num_members, self.dtype = len(members[0][0]), len(members), dtype
        self.shared = len(tensors) == 1  # by all members
        self._each_its_own = where == list(range(len(members)))
        xs = [x for x, _ in tensors.values()]
        xs = [functional.pad(x, (0, num_inputs - x.shape[-1])) if x.shape[-1] < num_inputs else x for x in xs]
        # Rows of all data sets in one tensor, where member m's begin at offsets[m]: one indexing operation fetches
        # a batch of every member's.
        self.x = _joined(xs, dtype, device)
        if self.x.dtype == torch.uint8 and self.x.numel() * dtype.itemsize <= FLOAT_BYTES:
            self.x = as_input(self.x, dtype)
        self.y = _joined([y for _, y in tensors.values()], dtype, device)
        self.offsets = self.n * torch.tensor(where, device=device)

    def rows(self, index: Tensor, into: Batch | None = None) -> Batch:
        """The samples that `index` (..., M, b) names for each member: x (..., M, b, ...) and y (..., M, b, ...).

        They are written over those of an earlier call with the same shapes if these are given as `into`.
        """
        index = index + self.offsets[:, None]
        x, y = (
            torch.index_select(t, 0, index.flatten(), out=old if old is None else old.flatten(0, index.ndim - 1))
            for t, old in zip((self.x, self.y), into or (None, None), strict=True)
        )
        return as_input(x.view(*index.shape, *x.shape[1:]), self.dtype), y.view(*index.shape, *y.shape[1:])

    def batches(self, widest: int = 1) -> Iterator[Batch]:
        """The samples in order, in pieces: y (M, b, ...), and x (M, b, ...), or (b, ...) if the members share it.

        `widest` numbers for each sample and member of a piece, and its features, fit roughly into the cache.
        """
        features = self.x[0].numel() * (1 if self.shared else self.num_members)
        size = max(1, min(self.n, EVALUATION_NUMBERS // max(features, widest * self.num_members)))
        for start in range(0, self.n, size):
            piece = slice(start, min(start + size, self.n))
            if self.shared:
                y = self.y[piece]
                yield as_input(self.x[piece], self.dtype), y.expand(self.num_members, *y.shape)
            elif self._each_its_own:
                x, y = (t.view(self.num_members, self.n, *t.shape[1:])[:, piece] for t in (self.x, self.y))
                yield as_input(x, self.dtype), y
            else:
                yield self.rows(torch.arange(piece.start, piece.stop, device=self.x.device)[None])


class StackedBatches:
    """The minibatches x (M, b, ...) and y (M, b, ...) of M members, each in the order of its own `Batches`."""

    def __init__(self, split: StackedSplit, batch_size: int, shuffle_seeds: Sequence[int]) -> None:
        self.split, self.batch_size = split, batch_size
        self.seeds = list(dict.fromkeys(shuffle_seeds))
        place = {seed: number for number, seed in enumerate(self.seeds)}
        self.order_of = torch.tensor([place[seed] for seed in shuffle_seeds])
        self.epoch = 0
        self._laid_out: Batch | None = None  # an epoch; new memory for each would cost more than its numbers

    def __len__(self) -> int:
        return -(-self.split.n // self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration; epochs are counted from 0."""
        self.epoch = epoch

    def orders(self) -> Tensor:
        """The permutation (M, n) of this epoch for each member."""
        drawn = [torch.randperm(self.split.n, generator=generator("epoch", seed, self.epoch)) for seed in self.seeds]
        return torch.stack(drawn)[self.order_of].to(self.split.x.device)

    def __iter__(self) -> Iterator[Batch]:
        orders, size = self.orders(), self.batch_size
        whole = self.split.n // size * size
        index = orders[:, :whole].reshape(len(orders), -1, size).transpose(0, 1)  # (number of batches, M, size)
        row = self.split.x[0]
        if orders.numel() * row.numel() * row.element_size() <= EPOCH_BYTES and row.dtype != torch.uint8:
            self._laid_out = self.split.rows(index, self._laid_out)
            yield from zip(*self._laid_out, strict=True)
        else:
            for batch in index:
                yield self.split.rows(batch)
        if whole < self.split.n:
            yield self.split.rows(orders[:, whole:])


def _joined(parts: Sequence[Tensor], dtype: torch.dtype, device: torch.device) -> Tensor:
    joined = torch.cat(list(parts)) if len(parts) > 1 else parts[0]
    return joined.to(device, dtype if joined.is_floating_point() else None)
