"""Samples from outside, tensors or arrays, as the tensors of a TensorDataModule; refused where they can't be."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor

from lightning_d2l.config.check import RequestError
from lightning_d2l.data.streams import stream

MOST_CLASSES = 10_000

Splits = dict[str, tuple[Tensor, Tensor]]


@contextmanager
def custom_stream(seed: int) -> Iterator[None]:
    """Code of the user's draws from `seed` here, by whichever of Python's, numpy's and torch's global generators."""
    with isolate_rng(include_cuda=False):
        key = stream("data/custom", seed)
        random.seed(key)
        np.random.seed(key % 2**32)
        torch.default_generator.manual_seed(key)
        yield


def as_samples(what: str, x: Any, y: Any, task: str | None = None) -> tuple[Tensor, Tensor]:
    """Features x (n, ...), floats or images of uint8, and targets y: classes (n,) of int64, or numbers (n, q).

    Whole numbers are classes unless the task is "regression". Images may have their channels last, or none.

    Raises RequestError that begins with `what` if the lengths differ, or values are missing, infinite or no numbers.
    """
    x, y = as_tensor(f"{what}: x", x), as_tensor(f"{what}: y", y)
    if x.dim() < 1 or y.dim() < 1 or len(x) != len(y):
        lengths = [len(t) if t.dim() else "no" for t in (x, y)]
        raise RequestError(f"{what}: x has {lengths[0]} samples and y {lengths[1]}; must be as many")
    if not len(x):
        raise RequestError(f"{what}: holds no samples")
    for name, values in (("x", x), ("y", y)):
        if values.is_floating_point() and not values.isfinite().all():
            row = int((~values.isfinite()).reshape(len(values), -1).any(1).nonzero()[0])
            raise RequestError(f"{what}: {name} of sample {row} is missing or infinite")
    whole = not y.is_floating_point()
    y = y[:, 0] if y.dim() == 2 and y.shape[1] == 1 else y
    if y.dim() > 2 or (y.dim() == 2 and whole and task != "regression"):
        raise RequestError(f"{what}: y is {_each(y)} a sample; must be classes (n,) or numbers (n, q)")
    if not whole and task == "classification":
        if (y != y.round()).any() or y.dim() != 1:
            raise RequestError(
                f"data.task=classification: {what}: y is {_each(y)} a sample; must be whole numbers (n,)"
            )
        y, whole = y.long(), True
    if whole and task != "regression":
        return _features(x), y.long()
    return _features(x), (y if y.is_floating_point() else y.double()).reshape(len(y), -1)


def _features(x: Tensor) -> Tensor:
    """Images (n, channels, height, width) of uint8, or features (n, ...) of floats."""
    if x.dtype == torch.uint8 and x.dim() == 3:
        return x[:, None]
    if x.dtype == torch.uint8 and x.dim() == 4:
        return x.permute(0, 3, 1, 2).contiguous() if x.shape[1] not in (1, 3) and x.shape[3] in (1, 3) else x
    x = x if x.is_floating_point() else x.double()
    return x[:, None] if x.dim() == 1 else x


def as_tensor(what: str, values: Any) -> Tensor:
    """A tensor of values: a tensor, an array, a Series or DataFrame of numbers, or a list."""
    if isinstance(values, Tensor):
        return values.detach().cpu()
    try:
        array = np.asarray(values)
        if array.dtype.kind in "OUS":
            return torch.from_numpy(array.astype(np.float64))
        array = np.ascontiguousarray(array)
        return torch.from_numpy(array if array.flags.writeable else array.copy())
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:100]
        raise RequestError(f"{what}: {type(values).__name__} is not made of numbers ({reason})") from error


def numbered(targets: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Targets of each split, texts replaced by the numbers of their classes, and the names of these in order."""
    arrays = {split: np.asarray(y) for split, y in targets.items() if not isinstance(y, Tensor)}
    arrays = {split: y.reshape(-1) if y.ndim == 2 and y.shape[1] == 1 else y for split, y in arrays.items()}
    texts = [
        y.dtype.kind in "US" or (y.dtype == object and y.size and isinstance(y.flat[0], str)) for y in arrays.values()
    ]
    if len(texts) < len(targets) or not all(texts):
        return dict(targets), []
    names = np.unique(np.concatenate([y.astype(str) for y in arrays.values()]))
    return {split: np.searchsorted(names, y.astype(str)) for split, y in arrays.items()}, names.tolist()


def checked_splits(
    what: str, splits: Splits, names: Sequence[str], num_classes: int = 0
) -> tuple[Splits, tuple[str, ...]]:
    """Splits of one width whose classes are numbered from 0, and the names of the classes, none for numbers.

    Other whole numbers are replaced by their places among all that occur. Raises RequestError if splits differ in
    shape or kind, or if there is one class alone.
    """
    x, y = splits["train"]
    for split, (other_x, other_y) in splits.items():
        if other_x.shape[1:] != x.shape[1:]:
            raise RequestError(
                f"{what}: x of {split} is {_each(other_x)} a sample, and {_each(x)} in train; must be the same"
            )
        if other_y.is_floating_point() != y.is_floating_point() or other_y.shape[1:] != y.shape[1:]:
            raise RequestError(f"{what}: y of {split} is {_each(other_y)}, and {_each(y)} in train; must be the same")
    if y.is_floating_point():
        return splits, ()
    found = torch.from_numpy(np.unique(torch.cat([y for _, y in splits.values()]).numpy()))
    known = num_classes or len(names)
    if len(found) > MOST_CLASSES:
        raise RequestError(f"{what}: y has {len(found):,} different whole numbers; set data.task=regression")
    if int(found[0]) >= 0 and (int(found[-1]) < known or (not known and int(found[-1]) < len(found))):
        number = known or len(found)
        if number < 2:
            raise RequestError(f"{what}: y has one class, {int(found[0])}; must have at least two")
        return splits, tuple(map(str, names)) or tuple(map(str, range(number)))
    if known and len(found) > known:
        raise RequestError(f"{what}: y has {len(found)} classes; must have at most {known}, the number of its names")
    if len(found) < 2:
        raise RequestError(f"{what}: y has one class, {int(found[0])}; must have at least two")
    places = {split: (x, torch.searchsorted(found, y)) for split, (x, y) in splits.items()}
    named = map(str, names) if len(names) == len(found) else (str(int(value)) for value in found)
    return places, tuple(named)


def _each(values: Tensor) -> str:
    shape = " x ".join(map(str, values.shape[1:])) or "one number"
    return f"{shape} of {str(values.dtype).removeprefix('torch.')}"
