"""What all data sets have in common: splits of tensors in memory, their loaders, and an identity."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from lightning_d2l.config.trainer import RUNNING
from lightning_d2l.data.batches import Batches
from lightning_d2l.data.streams import shuffled

EVALUATION_BATCH = 1024  # rows that fit the processor's cache; metrics of whole splits do not depend on it


class TensorDataModule(pl.LightningDataModule):
    """A LightningDataModule over tensors in memory, for any LightningModule and Trainer.

    Subclasses fill `splits` with (x, y) of "train", "val" (where one is held out) and "test" in `draw`: x (n, d) float
    features or (n, channels, height, width) uint8 pixels, y (n,) int64 classes or (n, 1) float targets. With `folds`
    the validation split is fold number `fold`, from 0, of the training data.

    Training batches come in an order that is a function of `shuffle_seed` and the epoch. `evaluate` names the splits
    that are validated, and `at_end` those that are measured with the test split, once; several of them are a dict of
    loaders, whose names our modules use in those of the metrics.
    """

    name: str
    task: str  # "classification" or "regression"
    source = "synthetic"
    class_names: tuple[str, ...] = ()
    background = 0  # grey level behind the objects of images, from 0 (black) to 255
    # The lowest and highest "mean", "std" and "border" (of the outermost pixels) of training images, in [0, 1].
    usual: Mapping[str, tuple[float, float]] = MappingProxyType({})
    transform: Mapping[str, Any] | None = None  # describes the layer that modules put before their networks
    preprocessing: Mapping[str, Any] | None = None  # describes the layer that made the features of raw samples
    noise = 0.0  # standard deviation of the targets around the true function
    wrong_labels = 0.0  # share of the training labels that label noise has made wrong

    def __init__(self, batch_size: int, seed: int = 0, folds: int | None = None, fold: int | None = None) -> None:
        super().__init__()
        self.batch_size, self.seed, self.folds, self.fold = batch_size, seed, folds, fold
        self.splits: dict[str, tuple[Tensor, Tensor]] = {}
        self.shuffle_seed = 0
        self.evaluate = ["val"]
        self.at_end: list[str] = []
        self._train: Batches | None = None

    def draw(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Load or generate the splits."""
        raise NotImplementedError

    def no_samples(self) -> tuple[Tensor, Tensor] | None:
        """Features (0, ...) and targets of no samples, with the shapes and types that the settings determine.

        None if only the data themselves tell them.
        """
        return None

    def setup(self, stage: str | None = None) -> None:
        if not self.splits:
            self.splits = self.draw()
            if self.folds:
                self.hold_out_fold()

    def hold_out_fold(self) -> dict[str, Tensor]:
        """Make fold number `fold` the validation split (d2l 4.4.2.2); returns the rows (n,) in "train" and "val"."""
        assert self.folds is not None
        assert self.fold is not None
        x, y = self.splits["train"]
        rows = fold_rows(len(x), self.folds, self.fold, self.seed)
        self.splits |= {split: (x[chosen], y[chosen]) for split, chosen in rows.items()}
        return rows

    def samples(self, split: str, n: int | None = None) -> tuple[Tensor, Tensor]:
        """The first n samples of a split, x and y; all of them without `n`."""
        x, y = self.splits[split]
        return x[:n], y[:n]

    @property
    def split_names(self) -> list[str]:
        """The splits, in the order train, val, test."""
        return sorted(self.splits, key=["train", "val", "test", *self.splits].index)

    def sizes(self) -> dict[str, int | None]:
        """The number of samples of each split."""
        return {split: len(y) for split, (_, y) in self.splits.items()}

    @property
    def num_inputs(self) -> int:
        """Features of one sample."""
        return math.prod(self.splits["train"][0].shape[1:])

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

    @property
    def evaluated(self) -> list[str]:
        """The splits of `evaluate` that these data have."""
        return [split for split in self.evaluate if split in self.splits]

    @property
    def monitor(self) -> str:
        """The metric whose lowest value marks the best epoch."""
        split = next((split for split in ("val", "train") if split in self.evaluated), RUNNING)
        return f"loss/{split}"

    def identity(self) -> dict[str, Any]:
        """Name, source and a checksum (SHA-256) of every number of every split.

        The one channel of grey images is left out of the shape: a record of a version without it names the same data.
        """
        digest = hashlib.sha256()
        for split, tensors in sorted(self.splits.items()):
            for tensor in tensors:
                grey = is_images(tensor) and tensor.shape[1] == 1
                shape = tuple(tensor[:, 0].shape if grey else tensor.shape)
                digest.update(f"{split}{shape}{tensor.dtype}".encode())
                digest.update(tensor.numpy().data)
        return {"name": self.name, "source": self.source, "checksum": digest.hexdigest()}

    def train_dataloader(self) -> Batches:
        fixed = getattr(self.trainer, "overfit_batches", 0) > 0  # the same batches in every epoch
        return self.training_batches(*self._place(), None if fixed else self.shuffle_seed)

    def val_dataloader(self) -> Batches | dict[str, Batches] | list[Batches]:
        loaders = {split: self.evaluation_batches(split, *self._place()) for split in self.evaluated}
        return loaders["val"] if list(loaders) == ["val"] else loaders or []

    def test_dataloader(self) -> Batches | dict[str, Batches]:
        loaders = {split: self.evaluation_batches(split, *self._place()) for split in ("test", *self.at_end)}
        return loaders if self.at_end else loaders["test"]

    def predict_dataloader(self) -> Batches:
        return self.evaluation_batches("test", *self._place())

    def training_batches(self, device: torch.device, dtype: torch.dtype, shuffle_seed: int | None) -> Batches:
        """The minibatches of the training split, on a device and in a floating-point type."""
        self._train = Batches(*self._moved("train", device, dtype), self.batch_size, dtype, shuffle_seed)
        return self._train

    def evaluation_batches(self, split: str, device: torch.device, dtype: torch.dtype) -> Batches:
        """The samples of a split in the order of the data."""
        return Batches(*self._moved(split, device, dtype), EVALUATION_BATCH, dtype)

    def _moved(self, split: str, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        x, y = (t.to(device, dtype if t.is_floating_point() else None) for t in self.splits[split])
        return x, y

    def _place(self) -> tuple[torch.device, torch.dtype]:
        """The device and the floating-point type of the module that the Trainer trains."""
        module = self.trainer.lightning_module if self.trainer else None
        dtype = module.dtype if module and isinstance(module.dtype, torch.dtype) else torch.float32
        return module.device if module else torch.device("cpu"), dtype


def is_images(x: Tensor) -> bool:
    """Whether x holds images: (n, channels, height, width) of uint8 with the one channel of grey or those of RGB."""
    return x.dtype == torch.uint8 and x.dim() == 4 and x.shape[1] in (1, 3)


def fold_rows(n: int, folds: int, fold: int, seed: int) -> dict[str, Tensor]:
    """The rows of n samples in "train" and in "val" for one of K folds, each in the order of the data.

    The rows are those of scikit-learn's KFold(folds, shuffle=True, random_state=seed): of the K stretches of a random
    order, the first n modulo K have one more.
    """
    order = shuffled(n, seed)
    held_out = np.zeros(n, dtype=bool)
    held_out[np.array_split(order, folds)[fold]] = True
    return {"train": torch.from_numpy(np.flatnonzero(~held_out)), "val": torch.from_numpy(np.flatnonzero(held_out))}
