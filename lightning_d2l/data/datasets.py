"""Map-style Datasets: their loaders, and what they hold in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytorch_lightning as pl
from torch import Tensor
from torch.utils.data import DataLoader

MOST_HASHED = 2**31  # bytes of a checksum


class DatasetLoaders(pl.LightningDataModule):
    """The DataLoaders of map-style Datasets by split."""

    def __init__(self, datasets: Mapping[str, Any], batch_size: int) -> None:
        super().__init__()
        self.datasets, self.batch_size = dict(datasets), batch_size

    def train_dataloader(self) -> Any:
        return DataLoader(self.datasets["train"], self.batch_size, shuffle=True)

    def val_dataloader(self) -> Any:
        return DataLoader(self.datasets["val"], self.batch_size)

    def test_dataloader(self) -> Any:
        return DataLoader(self.datasets["test"], self.batch_size)


def is_map_style(dataset: Any) -> bool:
    return hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")


def layers_of(dataset: Any) -> Iterator[Any]:
    """A dataset, and those that it is made of, of which the first of several."""
    for _ in range(10):
        if dataset is None:
            return
        yield dataset
        dataset = getattr(dataset, "dataset", None) or next(iter(getattr(dataset, "datasets", [])), None)


def targets_of(dataset: Any) -> Any:
    """The targets (n,) that a dataset holds, None if it does not."""
    if hasattr(dataset, "indices") and hasattr(dataset, "dataset"):
        inner = targets_of(dataset.dataset)
        return None if inner is None else np.asarray(inner)[np.asarray(dataset.indices, dtype=np.int64)]
    if isinstance(tensors := getattr(dataset, "tensors", None), (list, tuple)) and tensors:
        return np.asarray(tensors[-1])
    if getattr(dataset, "target_transform", None) is not None:
        return None
    targets = getattr(dataset, "targets", None)
    array = None if targets is None else np.asarray(targets)
    return array if array is not None and array.ndim == 1 and array.dtype.kind in "iu" else None


def hashed(dataset: Any, digest: Any) -> bool:
    """Hash what a dataset holds in memory; returns whether it is all of its samples."""
    if hasattr(dataset, "indices") and hasattr(dataset, "dataset"):
        digest.update(np.asarray(dataset.indices, dtype=np.int64).data)
        return hashed(dataset.dataset, digest)
    parts = getattr(dataset, "tensors", None) or [getattr(dataset, key, None) for key in ("data", "targets")]
    arrays = []
    for part in parts:
        if isinstance(part, (Tensor, np.ndarray)) or (
            isinstance(part, list) and part and isinstance(part[0], (int, float))
        ):
            arrays.append(np.ascontiguousarray(part.cpu() if isinstance(part, Tensor) else part))
    if (
        len(arrays) < len(parts)
        or any(a.dtype == object for a in arrays)
        or sum(a.nbytes for a in arrays) > MOST_HASHED
    ):
        return False
    for array in arrays:
        digest.update(f"{array.shape}{array.dtype}".encode())
        digest.update(array.data)
    return True
