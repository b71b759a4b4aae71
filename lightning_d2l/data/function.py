"""Registered data: a LightningDataModule, or a function that returns tensors, arrays, a DataFrame or Datasets."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import Subset

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.own_data import own_data_rules
from lightning_d2l.config.size import LARGEST_DATA
from lightning_d2l.data.arrays import Splits, as_samples, checked_splits, custom_stream, numbered
from lightning_d2l.data.base import TensorDataModule
from lightning_d2l.data.datasets import DatasetLoaders, is_map_style, targets_of
from lightning_d2l.data.images import image_transform
from lightning_d2l.data.loaders import LoaderData
from lightning_d2l.data.splitting import split_rows

NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""The splits by the names that a function may give them."""
KINDS = "(x, y) of tensors or arrays, a DataFrame, a Dataset, or a dict of these by train, val and test"
BATCH_SIZE = 32


def build_data_of(target: Callable[..., Any], settings: Mapping[str, Any]) -> pl.LightningDataModule:
    """The data of a registered class or function, called with those of the settings that it takes.

    A TensorDataModule is used as it is. Any other LightningDataModule is trained by Lightning's own loop, unless its
    samples are put into memory by `in_memory`. A function returns what `KINDS` lists, or a LightningDataModule; what
    has no split for validation or test is split by `val_size` and `test_size`.

    Raises RequestError on what is none of these, and on samples that no network can take.
    """
    own_names = own_data_rules(())[0].keys()
    takes = inspect.signature(target).parameters
    given = {key: value for key, value in settings.items() if key in takes or key not in own_names}
    own = {**own_data_rules(())[1], **{key: value for key, value in settings.items() if key in own_names}}
    if isinstance(target, type) and issubclass(target, TensorDataModule):
        made: TensorDataModule = target(**settings)
        return made
    name = str(getattr(target, "__name__", type(target).__name__))
    with custom_stream(own["seed"]):
        return _data_of(target(**given), name, own)


def _data_of(made: Any, name: str, own: Mapping[str, Any]) -> pl.LightningDataModule:
    if isinstance(made, TensorDataModule):
        return made
    if isinstance(made, pl.LightningDataModule):
        return _of_loaders(LoaderData(made, name, own["seed"]), own)
    parts, classes = _parts(f"data={name}", made)
    if all(_is_frame(part) for part in parts.values()):
        from lightning_d2l.data.frame import FrameData  # imports pandas

        return FrameData(parts, name, own)
    if all(is_map_style(part) and not isinstance(part, tuple) for part in parts.values()):
        datasets = parts if own["in_memory"] else _split_datasets(name, parts, own)
        return _of_loaders(
            LoaderData(DatasetLoaders(datasets, own["batch_size"] or BATCH_SIZE), name, own["seed"]), own
        )
    if not all(isinstance(part, tuple) for part in parts.values()):
        raise RequestError(f"data={name}: its splits are of different kinds; must all be {KINDS}")
    return CustomData(name, lambda: (parts, classes), own)


def _of_loaders(loaders: LoaderData, own: Mapping[str, Any]) -> pl.LightningDataModule:
    """Loaders as they are, or their samples in memory."""
    if own["in_memory"]:
        return CustomData(str(loaders.name), lambda: _collected(loaders), own, loaders)
    for key, default in (("folds", None), ("standardize", False), ("augment", "none"), ("task", None)):
        if own[key] != default:
            raise RequestError(
                f"data.{key}={own[key]}: must be left out, or come with data.in_memory=true, for loaders"
            )
    return loaders


def _collected(loaders: LoaderData) -> tuple[dict[str, Any], list[str]]:
    """The samples of every split of loaders, and the names of the classes where they tell them."""
    loaders.setup()
    sizes, (x, y) = loaders.sizes(), loaders.samples("train", 1)
    total = sum(size or 0 for size in sizes.values()) * (x.nbytes + y.nbytes)
    if total > LARGEST_DATA:
        raise RequestError(
            f"data.in_memory=true: {sum(size or 0 for size in sizes.values()):,} samples of {loaders.name} take "
            f"{total:,} bytes; must be at most {LARGEST_DATA:,}, to fit into memory"
        )
    return {split: loaders.samples(split) for split in loaders.split_names}, list(loaders.named_classes)


class CustomData(TensorDataModule):
    """Samples of a registered function or of loaders, in memory.

    `read` returns (x, y) of "train", and of "val" and "test" where there are such, and the names of the classes, none
    if they are not known.
    """

    source = "custom"

    def __init__(
        self,
        name: str,
        read: Callable[[], tuple[Mapping[str, Any], list[str]]],
        own: Mapping[str, Any],
        loaders: LoaderData | None = None,
    ) -> None:
        super().__init__(own["batch_size"] or BATCH_SIZE, own["seed"], own["folds"], own["fold"])
        self.name, self.read, self.own, self.loaders = name, read, own, loaders

    def draw(self) -> Splits:
        what = f"data={self.name}"
        parts, names = self.read()
        if self.loaders and not self.own["batch_size"]:
            self.batch_size = self.loaders.batch_size
        y, texts = numbered({split: y for split, (_, y) in parts.items()})
        splits = {
            split: as_samples(f"{what}: {split}" if len(parts) > 1 else what, x, y[split], self.own["task"])
            for split, (x, _) in parts.items()
        }
        splits, self.class_names = checked_splits(what, splits, texts or names)
        self.task = "classification" if self.class_names else "regression"
        return self._split(splits)

    def setup(self, stage: str | None = None) -> None:
        super().setup(stage)
        if self.transform is None:
            self.transform = image_transform(self.splits["train"][0], self.own["standardize"], self.own["augment"])

    def _split(self, splits: Splits) -> Splits:
        """The splits, and those that are missing held out of the training data."""
        x, y = splits["train"]
        sizes = _missing(splits, self.own)
        rows = split_rows(
            y if self.class_names else torch.zeros(len(y)), sizes, self.seed, classes=bool(self.class_names)
        )
        if len(rows) == 1:
            return splits
        return {**splits, **{split: (x[chosen], y[chosen]) for split, chosen in rows.items()}}


def _missing(splits: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, float]:
    """The sizes of the splits that have to be held out."""
    sizes = {"test": own["test_size"], "val": 0 if own["folds"] else own["val_size"]}
    return {split: size for split, size in sizes.items() if split not in splits}


def _split_datasets(name: str, parts: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Datasets with those that are missing held out of the training data."""
    train = parts["train"]
    if not len(train):
        raise RequestError(f"data={name}: holds no samples")
    targets = targets_of(train)
    classes = targets is not None and targets.ndim == 1 and targets.dtype.kind in "iu" and int(targets.min()) >= 0
    y = torch.as_tensor(targets).long() if classes else torch.zeros(len(train))
    rows = split_rows(y, _missing(parts, own), own["seed"], classes=classes)
    return (
        {**parts, **{split: Subset(train, chosen.tolist()) for split, chosen in rows.items()}}
        if len(rows) > 1
        else {**parts}
    )


def _parts(what: str, made: Any) -> tuple[dict[str, Any], list[str]]:
    """What a function returned, by split, and the names of the classes."""
    names: list[str] = []
    if isinstance(made, Mapping):
        found = made.get("class_names", made.get("target_names"))
        names = [str(name) for name in (() if found is None else found)]
        if "data" in made and "target" in made:  # as scikit-learn's data sets
            made, names = (made["data"], made["target"]), names if len(names) > 1 else []
        else:
            known = {NAMES[key]: part for key, part in made.items() if key in NAMES}
            if "train" not in known:
                raise RequestError(
                    f"{what}: returned a dict of {', '.join(map(str, made)) or 'nothing'}; must have train"
                )
            return {split: _part(f"{what}: {split}", part) for split, part in known.items()}, names
    if isinstance(made, (tuple, list)) and len(made) == 3 and not any(_is_values(part) for part in made):
        return {
            split: _part(f"{what}: {split}", part) for split, part in zip(("train", "val", "test"), made, strict=True)
        }, names
    if isinstance(made, (tuple, list)) and not (len(made) == 2 and any(_is_values(part) for part in made)):
        raise RequestError(f"{what}: returned {len(made)} parts; must be {KINDS}, or a tuple of train, val and test")
    return {"train": _part(what, made)}, names


def _part(what: str, part: Any) -> Any:
    if isinstance(part, (tuple, list)):
        if len(part) != 2:
            raise RequestError(f"{what}: has {len(part)} parts; must be a pair (x, y)")
        x, y = part
        if _is_frame(x) and getattr(y, "ndim", 0) == 1:
            name = getattr(y, "name", None) or "target"
            return x.assign(**{str(name): y.to_numpy() if hasattr(y, "to_numpy") else y})
        return x, y
    if _is_frame(part) or (is_map_style(part) and not _is_values(part) and not isinstance(part, (str, bytes, Mapping))):
        return part
    raise RequestError(f"{what}: returned {type(part).__name__}; must be {KINDS}")


def _is_frame(part: Any) -> bool:
    return hasattr(part, "columns") and hasattr(part, "iloc")


def _is_values(part: Any) -> bool:
    """Whether a part is x or y by itself: a tensor, an array, a Series, or a list of numbers or texts."""
    if isinstance(part, Tensor) or (hasattr(part, "dtype") and hasattr(part, "shape")):
        return True
    return isinstance(part, list) and bool(part) and isinstance(part[0], (int, float, str, list))
