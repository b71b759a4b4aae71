"""A LightningModule that was written for another project: what it logs, in the words of this one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import pytorch_lightning as pl
from pytorch_lightning.utilities.model_helpers import is_overridden

SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
USUAL = {"accuracy": "acc"}
"""Metrics that have another name here."""


def metric_name(name: str) -> str | None:
    """The name `<metric>/<split>` of a logged metric: "val_loss" is "loss/val".

    A name without a split is returned as it is. None for a value of a single step, which has the average of its epoch
    beside it.
    """
    if name.endswith("_step"):
        return None
    words = [word for word in re.split(r"[/_.]", name.removesuffix("_epoch")) if word]
    for at in (0, -1):
        if len(words) > 1 and (split := SPLITS.get(words[at].lower())):
            rest = "_".join(words[1:] if at == 0 else words[:-1])
            return f"{USUAL.get(rest.lower(), rest)}/{split}"
    return name.removesuffix("_epoch")


def named(metrics: Mapping[str, float]) -> dict[str, float]:
    """Logged metrics by their names here; the first of two that come to one name counts."""
    found: dict[str, float] = {}
    for name, value in metrics.items():
        if known := metric_name(name):
            found.setdefault(known, value)
    return found


def monitored(metrics: Iterable[str]) -> str | None:
    """The metric whose lowest value is the best: the loss on the validation data, else on the training data."""
    known = [*metrics]
    return next((name for name in ("loss/val", "loss/train") if name in known), None)


def has_step(module: pl.LightningModule, split: str) -> bool:
    """Whether a module defines training_step, validation_step ("validation") or test_step."""
    return bool(is_overridden(f"{split}_step", module))
