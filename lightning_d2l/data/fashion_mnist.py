"""Fashion-MNIST: 28 x 28 grey images of garments in ten classes (d2l 3.5)."""

from __future__ import annotations

import functools
import logging
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_d2l.data.download import data_root, locked, official_folder, read_official, whole_file
from lightning_d2l.data.images import ImageData, resized

log = logging.getLogger(__name__)
Arrays = tuple[NDArray[np.uint8], NDArray[np.uint8]]


class FashionMNISTData(ImageData):
    """60,000 training and 10,000 test images, x (n, 1, 28, 28) uint8, y (n,) classes.

    `val_size` training images are held out for validation (none with `folds`), and `n_train` of the rest are used
    (null: all), both balanced over the classes. A smaller `n_train` is a subset of a larger one, and does not change
    the validation images. `label_noise` is the fraction of training labels replaced by uniformly random classes; one
    in 10 of these is the right class again.
    """

    name = "fashion_mnist"
    class_names = (
        "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
    )  # fmt: skip
    # The range of all but one in a thousand of the official training images and of the generated ones, in [0, 1].
    usual = MappingProxyType({"mean": (0.03, 0.68), "std": (0.08, 0.47), "border": (0.0, 0.25)})

    def __init__(
        self,
        root: str | None,
        source: str,
        val_size: int,
        n_train: int | None,
        resize: int | None,
        label_noise: float,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.root, self.wanted_source = root, source
        self.val_size, self.n_train, self.resize, self.label_noise = val_size, n_train, resize, label_noise

    def no_samples(self) -> tuple[Tensor, Tensor]:
        side = self.resize or 28
        return torch.empty(0, 1, side, side, dtype=torch.uint8), torch.empty(0, dtype=torch.int64)

    def draw(self) -> dict[str, tuple[Tensor, Tensor]]:
        folder, reason = official_folder(self.root, self.wanted_source)
        self.source = "official" if folder else "generated"
        if folder is None:
            log.warning("GENERATED GARMENTS, not Fashion-MNIST: %s", reason)
        x, y = _of_split(folder, "train")
        splits = {
            "test": _of_split(folder, "test"),
            **self.held_out(x, y, self.val_size, self.n_train, self.label_noise),
        }
        if self.resize:
            size = self.resize, self.resize
            return {split: (resized(x, size), y) for split, (x, y) in splits.items()}
        return splits


def _of_split(folder: Path | None, split: str) -> tuple[Tensor, Tensor]:
    return images_and_labels(read_official, folder, split) if folder else images_and_labels(generated_garments, split)


@functools.lru_cache(maxsize=2)
def images_and_labels(read: Callable[..., Arrays], *where: object) -> tuple[Tensor, Tensor]:
    """Images (n, 1, 28, 28) and labels (n,) of a split, shared by all runs of a process; do not modify them."""
    images, labels = read(*where)
    return torch.tensor(images)[:, None], torch.tensor(labels).long()


def generated_garments(split: str) -> Arrays:
    """Generated garments (n, 28, 28) and classes (n,) of a split, from the user's cache folder if they are there.

    Several processes that need them at once wait for the first one to draw them.
    """
    from lightning_d2l.data.garments import VERSION, draw_garments

    n, seed = {"train": (60_000, 0), "test": (10_000, 1)}[split]
    cached = data_root(None) / f"garments-{VERSION}-{split}.npz"
    if found := _cached(cached, n):
        return found
    drawn: Arrays | None = None
    try:
        with locked(cached.parent):
            if found := _cached(cached, n):
                return found
            drawn = draw_garments(n, seed)
            with whole_file(cached) as file:
                np.savez(file, images=drawn[0], labels=drawn[1])
    except OSError as error:  # without a cache the next run takes some seconds longer
        log.debug("garments not cached: %s", error)
    return drawn or draw_garments(n, seed)


def _cached(path: Path, n: int) -> Arrays | None:
    """The n garments of a file, or None if it is missing, damaged or not ours."""
    try:
        if not path.is_file():
            return None
        with zipfile.ZipFile(path) as file:
            size = sum(member.file_size for member in file.infolist())
        if size > n * 785 + 4096:  # the pixels, the labels and two headers
            return None
        with np.load(path, allow_pickle=False) as file:
            images, labels = file["images"], file["labels"]
    except Exception:  # a damaged archive can raise anything
        log.debug("no usable %s", path)
        return None
    sound = images.shape == (n, 28, 28) and labels.shape == (n,) and images.dtype == labels.dtype == np.uint8
    return (images, labels) if sound and labels.max() < 10 else None
