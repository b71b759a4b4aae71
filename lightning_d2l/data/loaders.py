"""Data of any LightningDataModule or map-style Dataset, trained as they are by Lightning's own loop."""

from __future__ import annotations

import functools
import hashlib
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.trainer import RUNNING
from lightning_d2l.data.arrays import custom_stream
from lightning_d2l.data.batches import Batch, as_batch
from lightning_d2l.data.datasets import DatasetLoaders, hashed, is_map_style, layers_of, targets_of

SPLITS = ("train", "val", "test")
STAGES = {"train": "fit", "val": "fit", "test": "test"}
MOST_LABELS = 100_000  # samples that are looked at to find their classes
# What Lightning calls beside the loaders, and does not where it is not overridden.
HOOKS = (
    "on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer", "state_dict", "load_state_dict",
    "on_exception",
)  # fmt: skip


class LoaderData(pl.LightningDataModule):
    """A LightningDataModule that was written for another project, with what this package asks of data.

    Its loaders, and its hooks, are those of `module`: Lightning calls `prepare_data`, `setup` and `teardown` of it as
    ever, the first two of them earlier, when the run is built. They draw from a stream of `seed`.

    The task, the numbers of inputs and outputs and the classes are read from the first samples, from attributes of the
    module or its datasets (`num_classes`, `classes`, `class_names`, `num_outputs`), else from all targets. Batches that
    are no pairs (x, y) of tensors have none of them: they suit a LightningModule that knows them.
    """

    source = "custom"
    preprocessing: Mapping[str, Any] | None = None
    transform: Mapping[str, Any] | None = None

    def __init__(self, module: pl.LightningDataModule, name: str = "", seed: int = 0) -> None:
        self.module = module
        super().__init__()
        self.name, self.seed = name or type(module).__name__, seed
        self.prepare_data_per_node = module.prepare_data_per_node
        self.shuffle_seed, self.evaluate = 0, ["val"]
        self._prepared: list[bool] = []
        self._ready: set[str] = set()
        for hook in HOOKS:
            if is_overridden(hook, module):
                setattr(self, hook, getattr(module, hook))

    # What Lightning calls

    @property
    def trainer(self) -> pl.Trainer | None:
        return self.module.trainer

    @trainer.setter
    def trainer(self, trainer: pl.Trainer | None) -> None:
        self.module.trainer = trainer

    def prepare_data(self) -> None:
        if not self._prepared and os.environ.get("LOCAL_RANK", "0") == "0":
            with custom_stream(self.seed):
                self.module.prepare_data()
        self._prepared.append(True)

    def setup(self, stage: str | None = None) -> None:
        """Set up a stage, once until it is torn down; without a stage prepare the data and set up the training."""
        if stage is None:
            self.prepare_data()
        if (stage := str(getattr(stage, "value", stage) or "fit")) not in self._ready:
            self._ready.add(stage)
            with custom_stream(self.seed):
                self.module.setup(stage)

    def teardown(self, stage: str) -> None:
        stage = str(getattr(stage, "value", stage))
        if stage in self._ready:
            self._ready.discard(stage)
            self.module.teardown(stage)

    def train_dataloader(self) -> Any:
        return self._loader("train")

    def val_dataloader(self) -> Any:
        loaders = {split: self._loader(split) for split in self.evaluated}
        return loaders["val"] if list(loaders) == ["val"] else loaders or []

    def test_dataloader(self) -> Any:
        return self._loader("test") if "test" in self.split_names else []

    def predict_dataloader(self) -> Any:
        own = is_overridden("predict_dataloader", self.module)
        return self.module.predict_dataloader() if own else self.test_dataloader()

    def _loader(self, split: str) -> Any:
        trained = self.trainer.lightning_module if self.trainer else None
        if hasattr(trained, "objective"):  # a module of this package: it takes floats of its own type
            self.on_after_batch_transfer = self._as_batch  # type: ignore[method-assign]
        return getattr(self.module, f"{split}_dataloader")()

    def _as_batch(self, batch: Any, dataloader_idx: int) -> Any:
        batch = self.module.on_after_batch_transfer(batch, dataloader_idx)
        trained = self.trainer.lightning_module if self.trainer else None
        if not _is_pair(batch) or trained is None:
            return batch
        x, y = batch
        numbers = x.is_floating_point() or x.dtype == torch.uint8  # other whole numbers may be indices
        return as_batch((x, y), cast(torch.dtype, trained.dtype)) if numbers else (x, y)

    @property
    def split_names(self) -> list[str]:
        """The splits that have a loader."""
        if isinstance(self.module, DatasetLoaders):
            return [split for split in SPLITS if split in self.module.datasets]
        return [split for split in SPLITS if split == "train" or is_overridden(f"{split}_dataloader", self.module)]

    @property
    def evaluated(self) -> list[str]:
        """The splits that are validated; those of training are measured as it goes."""
        return [split for split in self.split_names if split in self.evaluate and split != "train"]

    @property
    def monitor(self) -> str:
        """The metric whose lowest value marks the best epoch."""
        return "loss/val" if "val" in self.evaluated else f"loss/{RUNNING}"

    @property
    def num_batches(self) -> int:
        """Minibatches of one epoch, 1 where nobody knows."""
        try:
            return max(1, len(self._known("train")))
        except TypeError:
            return 1

    @property
    def batch_size(self) -> int:
        """Samples of a minibatch."""
        return int(getattr(self._known("train"), "batch_size", None) or 1)

    @property
    def served(self) -> int:
        """Minibatches of training data handed out since the first epoch began."""
        return self.trainer.fit_loop.total_batch_idx + 1 if self.trainer else 0

    def no_samples(self) -> None:
        """Only the data tell their shapes."""

    def samples(self, split: str, n: int | None = None) -> Batch:
        """The first n samples of a split, x and y as the loader batches them; all of them without `n`.

        Raises RequestError if the batches are no pairs (x, y) of tensors.
        """
        with custom_stream(self.seed):
            batches = [*self._batches(split, n)]
        if not batches or not all(map(_is_pair, batches)):
            kind = type(batches[0]).__name__ if batches else "nothing"
            raise RequestError(f"{self.name}: a batch of {split} is {kind}; must be a pair of tensors (x, y)")
        x, y = (torch.cat(parts)[:n] for parts in zip(*batches, strict=True))
        return x, y

    def sizes(self) -> dict[str, int | None]:
        """The samples of each split, None where its dataset does not tell."""
        found: dict[str, int | None] = {}
        for split in self.split_names:
            try:
                found[split] = len(self._known(split).dataset)
            except (AttributeError, TypeError):
                found[split] = None
        return found

    @functools.cached_property
    def _first(self) -> Batch | None:
        """A sample as the loader batches it, None if it is no pair of tensors."""
        try:
            return self.samples("train", 1)
        except RequestError:
            return None

    @property
    def task(self) -> str:
        """ "classification" or "regression", an empty text where only the user's module knows."""
        if self._first is None:
            return ""
        _, y = self._first
        whole = not y.is_floating_point()
        return "classification" if whole and y.dim() == 1 else "" if whole else "regression"

    @property
    def num_inputs(self) -> int:
        """Features of one sample."""
        if self._first is None:
            self.samples("train", 1)  # raises
        return math.prod(cast(Batch, self._first)[0].shape[1:])

    @property
    def num_outputs(self) -> int:
        """Classes, or numbers to predict."""
        if self.task == "classification":
            return len(self.class_names)
        if not self.task:
            self.samples("train", 1)
            raise RequestError(f"{self.name}: y of a batch must be classes (n,) or numbers (n, q)")
        y = cast(Batch, self._first)[1]
        return y.shape[1] if y.dim() > 1 else 1

    @property
    def named_classes(self) -> tuple[str, ...]:
        """The names of the classes, or their numbers, that attributes tell; none where none does."""
        for place in [self.module, *layers_of(getattr(self._known("train"), "dataset", None))]:
            for key in ("class_names", "classes"):
                if isinstance(names := getattr(place, key, None), (list, tuple)) and len(names) > 1:
                    return tuple(map(str, names))
            for key in ("num_classes", "n_classes", "num_outputs"):
                if isinstance(number := getattr(place, key, None), int) and number > 1:
                    return tuple(map(str, range(number)))
        return ()

    @functools.cached_property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, else their numbers; none for numbers to predict."""
        if self.task != "classification":
            return ()
        if known := self.named_classes:
            return known
        found = self._labels()
        if min(found) < 0 or max(found) >= len(found):
            shown = ", ".join(map(str, found[:10])) + ", ..." * (len(found) > 10)
            raise RequestError(
                f"{self.name}: the classes are {shown}; must be 0 to {len(found) - 1}, or an attribute num_classes "
                "must tell their number"
            )
        if len(found) < 2:
            raise RequestError(f"{self.name}: y has one class, {found[0]}; must have at least two")
        return tuple(map(str, range(len(found))))

    def _labels(self) -> list[int]:
        """The different classes of the training data."""
        if (targets := targets_of(getattr(self._known("train"), "dataset", None))) is not None:
            return [int(value) for value in np.unique(targets)]
        size = self.sizes()["train"]
        if size is None or size > MOST_LABELS:
            raise RequestError(
                f"{self.name}: its classes are not known; give it an attribute num_classes or class_names"
            )
        return [int(value) for value in np.unique(self.samples("train")[1].numpy())]

    def targets(self, split: str) -> np.ndarray | None:
        """The targets (n,) that the dataset of a split holds; None if it does not."""
        found = targets_of(getattr(self._known(split), "dataset", None))
        return None if found is None else np.asarray(found)

    def identity(self) -> dict[str, Any]:
        """Name, source, the numbers of samples, and a checksum of what the datasets hold in memory, else None."""
        digest = hashlib.sha256()
        known = all(hashed(getattr(self._known(split), "dataset", None), digest) for split in self.split_names)
        checksum = digest.hexdigest() if known else None
        return {"name": self.name, "source": self.source, "samples": self.sizes(), "checksum": checksum}

    def _known(self, split: str) -> Any:
        """A loader of a split whose stage is set up."""
        self.setup(STAGES[split])
        key = f"_loader_of_{split}"
        if key not in self.__dict__:
            with custom_stream(self.seed):
                self.__dict__[key] = getattr(self.module, f"{split}_dataloader")()
        return self.__dict__[key]

    def _batches(self, split: str, n: int | None) -> Iterator[Any]:
        """The first n samples of a split in the order of its dataset, or at least as many in that of its loader."""
        loader = self._known(split)
        dataset, collate = getattr(loader, "dataset", None), getattr(loader, "collate_fn", None)
        if isinstance(loader, DataLoader) and loader.batch_sampler is not None and collate and is_map_style(dataset):
            size = max(loader.batch_size or 1, 64)
            number = len(cast(Any, dataset)) if n is None else min(n, len(cast(Any, dataset)))
            for begin in range(0, number, size):
                yield collate([dataset[row] for row in range(begin, min(begin + size, number))])  # type: ignore[index]
            return
        seen = 0
        for batch in loader:
            if n is not None and seen >= n:
                return
            yield batch
            seen += len(batch[1]) if _is_pair(batch) else 1


def _is_pair(batch: Any) -> bool:
    return isinstance(batch, (list, tuple)) and len(batch) == 2 and all(isinstance(part, Tensor) for part in batch)
