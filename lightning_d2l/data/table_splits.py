"""The rows of a table in each split: at random, in each class's share, or whole groups."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_d2l.config.check import RequestError
from lightning_d2l.data.base import fold_rows
from lightning_d2l.data.splitting import STREAMS, number_of, split_rows
from lightning_d2l.data.streams import generator, shuffled

Rows = NDArray[np.int64]


def held_out(
    n: int, sizes: Mapping[str, float], seed: int, *, classes: Rows | None = None, groups: Rows | None = None
) -> dict[str, Rows]:
    """The rows of "train" and of each split in `sizes`, each in the order of the data.

    A size below 1 is a fraction of the n rows. Rows of one of the `groups` (n,) stay together, in splits of about the
    sizes asked for; else each class of `classes` (n,) has its share of every split. Raises RequestError if nothing is
    left to train on.
    """
    if groups is None:
        y = torch.zeros(n) if classes is None else torch.from_numpy(classes)
        found = split_rows(y, sizes, seed, classes=classes is not None)
        return {split: rows.numpy() for split, rows in found.items()}
    where = np.full(n, "train", dtype="<U5")
    left = np.arange(int(groups.max()) + 1)
    counts = np.bincount(groups)
    for split in ("test", "val"):
        if not len(left) or not (size := sizes.get(split, 0)):
            continue
        left = left[torch.randperm(len(left), generator=generator(STREAMS[split], seed)).numpy()]
        taken = 1 + int(np.abs(np.cumsum(counts[left]) - number_of(size, n)).argmin())
        where[np.isin(groups, left[:taken])] = split
        left = np.sort(left[taken:])
    if not len(left):
        asked = ", ".join(f"data.{name}_size={size:g}" for name, size in sizes.items() if size)
        raise RequestError(f"{asked}: no group of {len(counts):,} is left to train on (data.group)")
    return {split: np.flatnonzero(where == split) for split in ("train", "val", "test") if (where == split).any()}


def fold_of(
    n: int, folds: int, fold: int, seed: int, *, classes: Rows | None = None, groups: Rows | None = None
) -> dict[str, Rows]:
    """The rows of n in "train" and in "val" for one of K folds, each in the order of the data.

    Whole groups are in one fold, else each class has its share of every fold. Raises RequestError if there are fewer
    rows, or groups, than folds.
    """
    names = np.unique(groups) if groups is not None else np.arange(n)
    if folds > len(names):
        what = "rows of the training data" if groups is None else "groups of the training data"
        raise RequestError(f"data.folds={folds}: must be at most {len(names)}, the number of {what}")
    if classes is not None and groups is None:
        order = shuffled(n, seed)
        order = order[classes[order].argsort(kind="stable")]
        in_fold = np.zeros(n, dtype=bool)
        in_fold[order[fold::folds]] = True  # row by row of a class to the next fold
    else:
        chosen: Tensor = fold_rows(len(names), folds, fold, seed)["val"]
        in_fold = np.isin(np.arange(n) if groups is None else groups, names[chosen.numpy()])
    return {"train": np.flatnonzero(~in_fold), "val": np.flatnonzero(in_fold)}
