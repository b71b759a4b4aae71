"""Images in folders, a folder a class: read once and kept in memory as bytes."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.places import here
from lightning_d2l.config.size import LARGEST_DATA
from lightning_d2l.data.image_file import read_pixels
from lightning_d2l.data.images import ImageData
from lightning_d2l.data.splitting import number_of, split_rows

log = logging.getLogger(__name__)
ENDINGS = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".gif", ".bmp", ".webp", ".ppm", ".pgm", ".pbm", ".pnm",
    ".jp2", ".avif",
)  # fmt: skip
SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""The splits by the names that their folders may have."""
MODES = {"auto": None, "grey": "L", "rgb": "RGB"}

Listing = tuple[tuple[str, int, int], ...]
"""Image files: the path, the size in bytes and the time of the last change of each."""


class ImageFolderData(ImageData):
    """The images of a folder `path` that holds a folder a class, or folders train, val and test that do.

    x (n, channels, height, width) uint8, y (n,) classes in the order of the folders' names. Files are read as
    `read_pixels` describes: upright, transparent ones over black. `mode` is "grey", "rgb", or "auto": grey if no image
    has a colour. `size` is a side or [height, width] in pixels, None if all images have one size.

    `test_size` and `val_size` are held out where there is no folder for them: a number of images, or a fraction below
    1, of each class its share; `n_train` of the rest are used (None: all). `label_noise` is the fraction of training
    labels replaced by uniformly random classes. With `on_error="skip"` files that can't be read are left out.

    Raises RequestError if there are fewer than two classes, a file that can't be read, or images of unequal sizes.
    """

    name = "image_folder"

    def __init__(
        self,
        path: str,
        mode: str = "auto",
        size: int | Sequence[int] | None = None,
        val_size: float = 0.1,
        test_size: float = 0.2,
        n_train: int | None = None,
        label_noise: float = 0.0,
        on_error: str = "stop",
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.path = Path(os.path.expanduser(here(path)))
        self.source = self.path.resolve().name or str(path)
        self.mode, self.on_error = mode, on_error
        self._shape: tuple[int, ...] | None = None  # of an image, where it is known before they are read
        self.size = None if size is None else (size, size) if isinstance(size, int) else (size[0], size[1])
        self.val_size, self.test_size, self.n_train, self.label_noise = val_size, test_size, n_train, label_noise

    def identity(self) -> dict[str, Any]:
        """Name, source, checksum, and what `restore` takes: the shape of an image and the names of the classes."""
        x, _ = self.splits["train"]
        return super().identity() | {"shape": list(x.shape[1:]), "classes": list(self.class_names)}

    def restore(self, known: Mapping[str, Any]) -> None:
        """Take the shape of the images and the classes from an `identity`, for which no file is read."""
        shape, classes = known.get("shape"), known.get("classes")
        if (
            isinstance(shape, list)
            and isinstance(classes, list)
            and len(shape) == 3
            and all(_is_side(n) for n in shape)
        ):
            self._shape, self.class_names = tuple(shape), tuple(map(str, classes))

    def no_samples(self) -> tuple[Tensor, Tensor] | None:
        if self._shape is None:
            return None
        return torch.empty(0, *self._shape, dtype=torch.uint8), torch.empty(0, dtype=torch.int64)

    def draw(self) -> dict[str, tuple[Tensor, Tensor]]:
        files = listed(self.path)
        self.class_names = tuple(files["train"])
        flat = [(split, number, file) for split in files for number, of in enumerate(self.class_names)
                for file in files[split].get(of, ())]  # fmt: skip
        images, kept = read_images(tuple(file for _, _, file in flat), self.mode, self.size, self.on_error == "skip")
        where = [flat[row][0] for row in kept]
        y = torch.tensor([flat[row][1] for row in kept])
        splits: dict[str, tuple[Tensor, Tensor]] = {}
        for split in files:
            rows = torch.tensor([row for row, its in enumerate(where) if its == split], dtype=torch.int64)
            splits[split] = images[rows], y[rows]
        for number, name in enumerate(self.class_names):
            if not (splits["train"][1] == number).any():
                raise RequestError(f"data.path={self.path}: the class {name} has no image to train on")
        return self._held_out(splits)

    def _held_out(self, splits: dict[str, tuple[Tensor, Tensor]]) -> dict[str, tuple[Tensor, Tensor]]:
        x, y = splits.pop("train")
        val_size = 0 if "val" in splits else number_of(self.val_size, len(x))
        if "test" not in splits:
            rows = split_rows(y, {"test": self.test_size}, self.seed, classes=True)
            splits |= {"test": (x[rows["test"]], y[rows["test"]])} if "test" in rows else {}
            x, y = x[rows["train"]], y[rows["train"]]
        held = self.held_out(x, y, val_size, self.n_train, self.label_noise, shares=True)
        return {**held, **splits}


def _is_side(n: Any) -> bool:
    return isinstance(n, int) and 0 < n <= 2**13


def listed(path: Path) -> dict[str, dict[str, Listing]]:
    """The image files of each split and class; the only split is "train" unless there are folders for them.

    Raises RequestError if there is no such folder, no image, one class alone, or a class that "train" lacks.
    """
    try:
        folders = _folders(path)
        as_splits = "train" in folders and set(folders) <= SPLITS.keys() and bool(_folders(path / "train"))
        roots = {SPLITS[name]: path / name for name in folders} if as_splits else {"train": path}
        found = {split: {name: _images(root / name) for name in _folders(root)} for split, root in roots.items()}
    except OSError as error:
        what = "a file" if path.is_file() else f"can't be read ({error.strerror})"
        raise RequestError(f"data.path={path}: {what}; must be a folder that holds a folder a class") from error
    classes = found["train"]
    if not any(classes.values()):
        there = "images and no folders" if _images(roots["train"]) else "no image"
        raise RequestError(f"data.path={path}: holds {there}; must hold a folder of images for each class")
    if len(classes) < 2:
        raise RequestError(f"data.path={path}: holds one class, {next(iter(classes))}; must hold at least two folders")
    if empty := [name for name, files in classes.items() if not files]:
        raise RequestError(f"data.path={path}: the folder {empty[0]} holds no image; remove it or fill it")
    for split, root in roots.items():
        if unknown := sorted(found[split].keys() - classes.keys()):
            raise RequestError(f"data.path={path}: {root.name} has the class {unknown[0]}, which train has not")
        if not any(found[split].values()):
            raise RequestError(f"data.path={path}: the folder {root.name} holds no image")
    return found


def _folders(path: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(path) if entry.is_dir() and not entry.name.startswith("."))


def _images(folder: Path) -> Listing:
    """The image files in a folder and in those inside, by name."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if name.lower().endswith(ENDINGS) and not name.startswith("."):
                status = os.stat(file := os.path.join(place, name))
                found.append((file, status.st_size, status.st_mtime_ns))
    return tuple(sorted(found))


@functools.lru_cache(maxsize=1)
def read_images(files: Listing, mode: str, size: tuple[int, int] | None, skip: bool) -> tuple[Tensor, list[int]]:
    """The images (n, channels, height, width) of files and the rows of those that could be read.

    Runs of a process share them; do not modify them. Raises RequestError at a file that can't be read, unless it is
    skipped, at images of unequal sizes, and where they do not fit into memory.
    """
    kept: list[int] = []
    pixels: list[NDArray[np.uint8]] = []
    broken: list[RequestError] = []
    for row, image in enumerate(_decoded(files, mode, size)):
        if isinstance(image, RequestError):
            broken.append(image)
            if not skip:
                raise RequestError(f"{image}\nremove the file, or set data.on_error=skip to leave such files out")
            continue
        _, h, w = image.shape
        if pixels and (h, w) != pixels[0].shape[1:]:
            height, width = pixels[0].shape[1:]
            raise RequestError(
                f"data.size=null: {files[kept[0]][0]} has {width} x {height} pixels and {files[row][0]} {w} x {h}; "
                "must be a side, or [height,width], to which all are resized"
            )
        if image.size * len(files) > LARGEST_DATA:
            raise RequestError(
                f"data.size={'null' if size is None else f'[{h},{w}]'}: {len(files):,} images of {w} x {h} pixels "
                f"do not fit into memory (at most {LARGEST_DATA:,} bytes); choose a smaller size"
            )
        kept.append(row)
        pixels.append(image)
    if broken:
        shown = "; ".join(str(error) for error in broken[:3])
        log.warning("%d of %d image files skipped: %s%s", len(broken), len(files), shown, "; ..." * (len(broken) > 3))
    if not pixels:
        raise RequestError("data.on_error=skip: none of the image files can be read")
    channels = max(len(image) for image in pixels)
    images = np.empty((len(pixels), channels, *pixels[0].shape[1:]), np.uint8)
    for row in reversed(range(len(pixels))):
        images[row] = pixels.pop()  # one grey channel among images in colour is all three of them
    return torch.from_numpy(images), kept


def _decoded(files: Listing, mode: str, size: tuple[int, int] | None) -> Iterator[NDArray[np.uint8] | RequestError]:
    """The pixels of each file, or why it can't be read; several threads decode at once."""

    def read(file: tuple[str, int, int]) -> NDArray[np.uint8] | RequestError:
        try:
            return read_pixels(Path(file[0]), MODES[mode], size)[0]
        except RequestError as error:
            return error

    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        yield from pool.map(read, files)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
