"""Which samples are held out: balanced over the classes, in the classes' own shares, or at random."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lightning_d2l.config.check import RequestError
from lightning_d2l.data.streams import generator

STREAMS = {"test": "data/test split", "val": "data/validation split"}


def balanced_order(y: Tensor, random: torch.Generator, *, proportional: bool = False) -> Tensor:
    """A random order (n,) of the samples, in which every prefix is as balanced over the classes y (n,) as possible.

    With `proportional` each class has in every prefix its share of all samples.
    """
    shuffled = torch.randperm(len(y), generator=random)
    by_class = shuffled[y[shuffled].argsort(stable=True)]
    counts = y.bincount()
    starts = counts.cumsum(0) - counts
    round_number = torch.arange(len(y)) - starts.repeat_interleave(counts)
    if proportional:  # a random shift of each class decides which of them are rounded up
        shift = torch.rand(len(counts), generator=random, dtype=torch.float64)
        round_number = (round_number + shift.repeat_interleave(counts)) / counts.repeat_interleave(counts)
    return by_class[round_number.argsort(stable=True)]


def number_of(size: float, n: int) -> int:
    """The number of samples that a size means: a fraction of n below 1 (at least one sample, unless 0), or a number."""
    return max(round(n * size), 1 if size else 0) if size < 1 else int(size)


def split_rows(y: Tensor, sizes: Mapping[str, float], seed: int, *, classes: bool) -> dict[str, Tensor]:
    """The rows of n samples in "train" and in each split of `sizes`, "test" and "val", each in the order of the data.

    A size is a fraction of the n samples or a number of them. Targets y (n,) that are `classes` have their shares of
    the whole in every split. "test" is drawn first, so that it does not depend on the size of "val".

    Raises RequestError if nothing is left to train on.
    """
    n = len(y)
    numbers = {name: number_of(size, n) for name, size in sizes.items()}
    if sum(numbers.values()) >= n:
        asked = " and ".join(f"data.{name}_size={sizes[name]:g}" for name, number in numbers.items() if number)
        raise RequestError(f"{asked or 'data'}: none of the {n:,} samples is left to train on")
    rest, found = torch.arange(n), {}
    for name in ("test", "val"):
        if number := numbers.get(name, 0):
            random = generator(STREAMS[name], seed)
            order = balanced_order(y[rest], random, proportional=True) if classes else None
            order = torch.randperm(len(rest), generator=random) if order is None else order
            held_out = torch.zeros(n, dtype=torch.bool)
            held_out[rest[order[:number]]] = True
            found[name], rest = held_out.nonzero().flatten(), rest[~held_out[rest]]
    return {"train": rest, **found}
