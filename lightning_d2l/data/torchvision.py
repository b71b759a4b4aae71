"""The data sets of torchvision: official files, checked by md5 and kept in memory as bytes.

The addresses and md5 sums are torchvision's own. The files lie where torchvision puts them, so that either finds what
the other downloaded.
"""

from __future__ import annotations

import functools
import gzip
import io
import math
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.places import here
from lightning_d2l.data.download import data_root, official_file
from lightning_d2l.data.images import ImageData, resized

Arrays = tuple[NDArray[Any], NDArray[Any]]
MB = 2**20
DIGITS = tuple("0123456789")
IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
# The range of all but a few of the images of MNIST and its relatives, which are light on black, in [0, 1].
USUAL_DIGITS = {"mean": (0.01, 0.6), "std": (0.05, 0.5), "border": (0.0, 0.25)}
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR100 = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
    "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock",
    "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish",
    "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion",
    "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange",
    "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine",
    "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk",
    "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank",
    "telephone", "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale",
    "willow_tree", "wolf", "woman", "worm",
)  # fmt: skip


class TorchvisionData(ImageData):
    """MNIST, KMNIST, QMNIST, EMNIST, CIFAR10, CIFAR100 or SVHN: x (n, channels, height, width) uint8, y (n,) classes.

    `root` is the folder that torchvision's classes take, None for the user's cache folder; missing files are
    downloaded. `subset` is that of EMNIST, None for "balanced". `size` is a side or [height, width] in pixels. Of the
    training images `val_size`, a number or a fraction, are held out for validation (none with `folds`), and `n_train`
    of the rest are used (None: all), both balanced over the classes. `label_noise` is the fraction of training labels
    replaced by uniformly random classes.

    Raises RequestError if a file is altered, or is missing and can't be downloaded.
    """

    source = "official"

    def __init__(
        self,
        dataset: str,
        root: str | None = None,
        subset: str | None = None,
        size: int | Sequence[int] | None = None,
        val_size: float = 0.1,
        n_train: int | None = None,
        label_noise: float = 0.0,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        if subset is not None and dataset != "EMNIST":
            raise RequestError(f"data.subset={subset}: must be null for data.dataset={dataset}; it is for EMNIST")
        self.dataset, self.subset, self.root = dataset, subset or "balanced" * (dataset == "EMNIST"), root
        self.name = "_".join([dataset.lower(), *[self.subset] * bool(self.subset)])
        self.class_names = class_names(dataset, self.subset)
        self.coloured = dataset in ("CIFAR10", "CIFAR100", "SVHN")
        self.usual = {} if self.coloured else USUAL_DIGITS
        self.size = None if size is None else (size, size) if isinstance(size, int) else (size[0], size[1])
        self.val_size, self.n_train, self.label_noise = val_size, n_train, label_noise

    def no_samples(self) -> tuple[Tensor, Tensor]:
        shape = (3, *(self.size or (32, 32))) if self.coloured else (1, *(self.size or (28, 28)))
        return torch.empty(0, *shape, dtype=torch.uint8), torch.empty(0, dtype=torch.int64)

    def draw(self) -> dict[str, tuple[Tensor, Tensor]]:
        root = data_root(here(self.root))
        x, y = images_and_labels(self.dataset, self.subset, "train", root)
        test = images_and_labels(self.dataset, self.subset, "test", root)
        splits = {"test": test, **self.held_out(x, y, self.val_size, self.n_train, self.label_noise)}
        if self.size:
            return {split: (resized(x, self.size), y) for split, (x, y) in splits.items()}
        return splits


@functools.lru_cache(maxsize=2)
def images_and_labels(dataset: str, subset: str, split: str, root: Path) -> tuple[Tensor, Tensor]:
    """Images (n, c, h, w) and labels (n,) of a split, shared by all runs of a process; do not modify them."""
    read: Callable[[str, str, str, Path], Arrays]
    read = {"EMNIST": _emnist, "CIFAR10": _cifar, "CIFAR100": _cifar, "SVHN": _svhn}.get(dataset, _mnist)
    try:
        images, labels = read(dataset, subset, split, root)
    except (
        KeyError,
        ValueError,
        EOFError,
        OSError,
        pickle.UnpicklingError,
        tarfile.TarError,
        zipfile.BadZipFile,
    ) as error:
        raise RequestError(f"data.root={root}: the files of {dataset} can't be read ({error})") from error
    return torch.tensor(images), torch.tensor(labels.astype(np.int64))


def has_files(dataset: str, root: Path) -> bool:
    """Whether the files of a data set are below a root; they are not checked."""
    return all(os.path.isfile(root / name) for name in files(dataset))


def files(dataset: str) -> list[str]:
    """The paths of the files of a data set, below its root."""
    from torchvision import datasets

    of: Any = getattr(datasets, dataset)
    if dataset == "EMNIST":
        return ["EMNIST/raw/gzip.zip"]
    if dataset == "SVHN":
        return [of.split_list[split][1] for split in ("train", "test")]
    if dataset.startswith("CIFAR"):
        return [of.filename]
    listed = [*of.resources["train"], *of.resources["test"]] if dataset == "QMNIST" else of.resources
    return [f"{dataset}/raw/{name.rpartition('/')[2]}" for name, _ in listed]


def class_names(dataset: str, subset: str) -> tuple[str, ...]:
    """The names of the classes, by their numbers."""
    from torchvision import datasets

    if dataset == "EMNIST":
        return tuple(name for name in datasets.EMNIST.classes_split_dict[subset] if name != "N/A")
    if dataset == "KMNIST":
        return tuple(datasets.KMNIST.classes)
    return {"CIFAR10": CIFAR10, "CIFAR100": CIFAR100}.get(dataset, DIGITS)


def read_idx(content: bytes) -> NDArray[Any]:
    """The array of a file in the IDX format, in which MNIST is distributed; raises ValueError if it is none."""
    kind = IDX_TYPES.get(content[2]) if len(content) > 3 and content[:2] == b"\0\0" else None
    if kind is None:
        raise ValueError("not a file of the IDX format")
    begin = 4 + 4 * content[3]
    shape = tuple(int(n) for n in np.frombuffer(content[4:begin], ">u4"))
    if len(shape) != content[3] or len(content) - begin != math.prod(shape) * np.dtype(kind).itemsize:
        raise ValueError("a truncated file of the IDX format")
    return np.frombuffer(content, kind, offset=begin).reshape(shape)


def _mnist(dataset: str, subset: str, split: str, root: Path) -> Arrays:
    """MNIST, KMNIST and QMNIST: one file of images and one of labels a split."""
    from torchvision import datasets

    if dataset == "QMNIST":
        known = [(url.rpartition("/")[2], md5, [url]) for url, md5 in datasets.QMNIST.resources[split]]
    else:
        of: type[datasets.MNIST] = getattr(datasets, dataset)
        begin = {"train": "train", "test": "t10k"}[split]
        known = [
            (name, md5, [mirror + name for mirror in of.mirrors])
            for name, md5 in of.resources
            if name.startswith(begin)
        ]
    images, labels = (
        read_idx(gzip.decompress(official_file(root / dataset / "raw", name, md5, urls, 64 * MB)))
        for name, md5, urls in known
    )
    return images[:, None], labels if labels.ndim == 1 else labels[:, 0]  # QMNIST: the class and where it is from


def _emnist(dataset: str, subset: str, split: str, root: Path) -> Arrays:
    """EMNIST: an archive of all its subsets; images are stored with rows and columns exchanged."""
    from torchvision import datasets

    content = official_file(root / "EMNIST" / "raw", "gzip.zip", datasets.EMNIST.md5, [datasets.EMNIST.url], 1024 * MB)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        images, labels = (
            read_idx(gzip.decompress(archive.read(f"gzip/emnist-{subset}-{split}-{what}-ubyte.gz")))
            for what in ("images-idx3", "labels-idx1")
        )
    return images.transpose(0, 2, 1)[:, None], labels - (subset == "letters")  # letters are counted from 1


def _cifar(dataset: str, subset: str, split: str, root: Path) -> Arrays:
    """CIFAR-10 and CIFAR-100: pickles of arrays in an archive."""
    from torchvision import datasets

    of: type[datasets.CIFAR10] = getattr(datasets, dataset)
    content = official_file(root, of.filename, of.tgz_md5, [of.url], 256 * MB)
    images, labels = [], []
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        for name, _ in of.train_list if split == "train" else of.test_list:
            file = archive.extractfile(f"{of.base_folder}/{name}")
            if file is None:
                raise ValueError(f"{name} is no file")
            found = ArraysOnly(file, encoding="latin1").load()
            images.append(found["data"])
            labels += found["labels" if "labels" in found else "fine_labels"]
    return np.concatenate(images).reshape(-1, 3, 32, 32), np.array(labels)


def _svhn(dataset: str, subset: str, split: str, root: Path) -> Arrays:
    """SVHN: a MATLAB file a split, in which class 10 is the digit 0."""
    from scipy.io import loadmat
    from torchvision import datasets

    url, name, md5 = datasets.SVHN.split_list[split]
    found = loadmat(io.BytesIO(official_file(root, name, md5, [url], 256 * MB)))
    return np.ascontiguousarray(found["X"].transpose(3, 2, 0, 1)), found["y"].reshape(-1) % 10


class ArraysOnly(pickle.Unpickler):
    """Reads pickles of plain values and of numpy's arrays, and refuses all others."""

    ALLOWED: ClassVar = {
        ("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode"),
    }  # fmt: skip

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it holds {module}.{name}")
        if name == "_reconstruct":  # the old name warns
            return super().find_class("numpy._core.multiarray", name)
        return super().find_class(module, name)
