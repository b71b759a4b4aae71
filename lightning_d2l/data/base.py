"""What every data set offers: splits of tensors in memory, their loaders, and what identifies them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from lightning_d2l.data.batches import Batches, Chunks

EVALUATION_BATCH = 1024  # rows that fit the processor's cache; metrics, of whole splits, do not depend on it


class TensorDataModule(pl.LightningDataModule):
    """A LightningDataModule over tensors in memory.

    Subclasses fill `splits` with (x, y) of "train", "val" (where one is held out) and "test" in `draw`:
    x (n, ...) uint8 pixels or float features, y (n,) int64 classes or (n, 1) float targets. With `folds` the
    validation split is fold number `fold`, from 0, of the training data.
    """

    name: str
    task: str  # "classification" or "regression"
    source = "synthetic"
    class_names: tuple[str, ...] = ()
    noise = 0.0  # standard deviation of the targets around the true function

    def __init__(self, batch_size: int, seed: int, folds: int | None = None, fold: int | None = None) -> None:
        super().__init__()
        self.batch_size, self.seed, self.folds, self.fold = batch_size, seed, folds, fold
        self.splits: dict[str, tuple[Tensor, Tensor]] = {}
        self.shuffle_seed = 0
        self.logging_points: list[int] = []
        self.evaluate: list[str] = []
        self._train: Batches | None = None

    def plan(self, shuffle_seed: int, logging_points: list[int], evaluate: Iterable[str]) -> None:
        """Fix the order of the training batches, where epochs are chunked (nowhere if empty), and what is evaluated."""
        self.setup()
        self.shuffle_seed, self.logging_points = shuffle_seed, logging_points
        self.evaluate = [split for split in evaluate if split in self.splits]

    def draw(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Load or generate the splits."""
        raise NotImplementedError

    def setup(self, stage: str | None = None) -> None:
        if not self.splits:
            self.splits = self.draw()
            if self.folds:
                self.hold_out_fold()

    def hold_out_fold(self) -> dict[str, Tensor]:
        """Cut the training split into `folds`, and put number `fold` in place of the validation split (d2l 4.4.2.2).

        Returns the rows (n,) of the training split that are now in "train" and in "val".
        """
        assert self.folds is not None
        assert self.fold is not None
        x, y = self.splits["train"]
        rows = fold_rows(len(x), self.folds, self.fold, self.seed)
        self.splits |= {split: (x[chosen], y[chosen]) for split, chosen in rows.items()}
        return rows

    @property
    def num_inputs(self) -> int:
        """Features of one sample."""
        return self.splits["train"][0][0].numel()

    @property
    def num_outputs(self) -> int:
        """Classes, or numbers to predict."""
        return len(self.class_names) or self.splits["train"][1].shape[1]

    @property
    def num_batches(self) -> int:
        """Minibatches of one epoch."""
        return -(-len(self.splits["train"][0]) // self.batch_size)

    @property
    def served(self) -> int:
        """Minibatches of training data handed out since the first epoch began."""
        return self._train.served if self._train else 0

    def identity(self) -> dict[str, Any]:
        """Name, source and a checksum (SHA-256) of every number of every split."""
        digest = hashlib.sha256()
        for split, tensors in sorted(self.splits.items()):
            for tensor in tensors:
                digest.update(f"{split}{tuple(tensor.shape)}{tensor.dtype}".encode())
                digest.update(tensor.numpy().data)
        return {"name": self.name, "source": self.source, "checksum": digest.hexdigest()}

    def train_dataloader(self) -> Batches | Chunks:
        self._train = self._batches("train", self.batch_size, self.shuffle_seed)
        return Chunks(self._train, self.logging_points) if self.logging_points else self._train

    def val_dataloader(self) -> list[Batches]:
        return [self._batches(split, EVALUATION_BATCH) for split in self.evaluate]

    def test_dataloader(self) -> Batches:
        return self._batches("test", EVALUATION_BATCH)

    def _batches(self, split: str, batch_size: int, shuffle_seed: int | None = None) -> Batches:
        x, y = self.splits[split]
        module = self.trainer.lightning_module if self.trainer else None
        device = module.device if module else torch.device("cpu")
        dtype = module.dtype if module and isinstance(module.dtype, torch.dtype) else torch.float32
        x = x.to(device, dtype if x.is_floating_point() else None)
        y = y.to(device, dtype if y.is_floating_point() else None)
        return Batches(x, y, batch_size, dtype, shuffle_seed)


def fold_rows(n: int, folds: int, fold: int, seed: int) -> dict[str, Tensor]:
    """The rows of n samples in "train" and in "val" for one of K folds, each in the order of the data.

    The rows are those of scikit-learn's KFold(folds, shuffle=True, random_state=seed modulo 2^32): numpy's
    RandomState shuffles them, and the first n modulo K of the K stretches of them have one more.
    """
    order = np.random.RandomState(seed % 2**32).permutation(n)
    held_out = np.zeros(n, dtype=bool)
    held_out[np.array_split(order, folds)[fold]] = True
    return {"train": torch.from_numpy(np.flatnonzero(~held_out)), "val": torch.from_numpy(np.flatnonzero(held_out))}
