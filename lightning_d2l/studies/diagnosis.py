"""Underfitting, well fitted, overfitting or diverged: by a rule, and with its uncertainty.

The loss on held-out data (validation; test where there is no validation) is made of three parts:

    held-out = floor + (train - floor) + (held-out - train)

- The *floor* is what no model can go below: the variance of the noise where the data are generated, so that it is
  known (half of it for losses with the 1/2). Elsewhere, or if there is no noise, the lowest held-out loss that any
  point of the report reached at any epoch stands for it.
- *well fitted*: the held-out loss is at most a quarter above the floor.
- Otherwise the larger part names it. *underfitting*: train - floor, what the model doesn't even fit, is larger.
  *overfitting*: held-out - train, the generalisation gap, is larger.
- *diverged*: half of the runs or more ended with a loss that is no number.

Uncertainty. A mean's error has two sources: the spread over runs (half the 95 % interval), and, because a split has m
samples only, the sampling error of a mean of m squared residuals, whose standard deviation is sqrt(2/m) of the mean
for normal residuals (taken for cross-entropy too, where it is an approximation). Data sets drawn anew by data.seed
divide the latter's variance by their number. Both add in quadrature. A point is *uncertain*, and its second possible
name is said, if the border lies within that error: the held-out loss against 5/4 of the floor, or train against the
middle between floor and held-out loss. A floor taken from the data counts as exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_d2l.config.registry import SQUARED_LOSSES
from lightning_d2l.studies.statistics import Estimate

UNDERFITTING, WELL_FITTED, OVERFITTING, DIVERGED = "underfitting", "well fitted", "overfitting", "diverged"
TOLERANCE = 0.25
"""How far above the floor, as a fraction of it, the held-out loss of a well fitted model may be."""
NORMAL_95 = 1.959964
"""The 97.5 % quantile of the normal distribution."""


@dataclass(frozen=True)
class Errors:
    """Losses of one point: its estimates on the training split and on a held-out one ("val" or "test").

    `best_held_out` is the mean over runs of the lowest held-out loss at any epoch, `diverged` the fraction of the
    runs that diverged, `configs` are the completed runs' configurations.
    """

    train: Estimate | None
    held_out: Estimate | None
    split: str
    best_held_out: float | None
    configs: Sequence[Mapping[str, Any]]
    diverged: float = 0.0


@dataclass(frozen=True)
class Diagnosis:
    """One of the four names; `or_else` is the one on the other side of a border that lies within the uncertainty."""

    name: str
    or_else: str | None = None

    @property
    def uncertain(self) -> bool:
        return self.or_else is not None

    @property
    def short(self) -> str:
        """The name, with ~ before it if it is uncertain."""
        return f"~{self.name}" if self.or_else else self.name

    def __str__(self) -> str:
        return f"{self.name} (or {self.or_else})" if self.or_else else self.name


def loss_factor(config: Mapping[str, Any]) -> float | None:
    """What a run's loss multiplies the mean squared error by; None of a loss that is another."""
    return SQUARED_LOSSES.get(config.get("loss") or "mse")


def noise_variance(config: Mapping[str, Any]) -> float | None:
    """The irreducible loss of a run's generator: sigma^2, or sigma^2 / 2; None where it isn't known."""
    factor = loss_factor(config)
    noise = (config.get("data") or {}).get("noise")
    return factor * noise**2 if factor and isinstance(noise, (int, float)) else None


def floor_of(points: Sequence[Errors]) -> float | None:
    """The lowest held-out loss of any point: what stands for the irreducible loss where that is not known."""
    found = [point.best_held_out for point in points if point.best_held_out is not None]
    return min(found, default=None)


def diagnose(errors: Errors, lowest: float | None) -> Diagnosis | None:
    """The diagnosis of a point by the rule above; None without the losses for it, or with a floor that isn't positive.

    `lowest` stands for the floor where the data's noise isn't known, as `floor_of` finds it.
    """
    if errors.diverged >= 0.5:
        return Diagnosis(DIVERGED)
    floors = [noise_variance(config) for config in errors.configs]
    known = [floor for floor in floors if floor]
    floor = sum(known) / len(known) if known and len(known) == len(floors) else lowest
    train, held_out = errors.train, errors.held_out
    if train is None or held_out is None or floor is None or floor <= 0:
        return None
    error = uncertainty(held_out, errors.configs, errors.split)
    train_error = uncertainty(train, errors.configs, "train")
    underfits = train.mean > (held_out.mean + floor) / 2
    misfit, other = (UNDERFITTING, OVERFITTING) if underfits else (OVERFITTING, UNDERFITTING)
    near_the_floor = abs(held_out.mean - (1 + TOLERANCE) * floor) <= error
    if held_out.mean <= (1 + TOLERANCE) * floor:
        return Diagnosis(WELL_FITTED, misfit if near_the_floor else None)
    if near_the_floor:
        return Diagnosis(misfit, WELL_FITTED)
    between = abs(train.mean - (held_out.mean + floor) / 2) <= math.hypot(train_error, error / 2)
    return Diagnosis(misfit, other if between else None)


def uncertainty(loss: Estimate, configs: Sequence[Mapping[str, Any]], split: str) -> float:
    """Half the width of a mean loss's 95 % interval: spread over runs and the sampling error of a finite split."""
    data = [config.get("data") or {} for config in configs]
    draws = len({node.get("seed") for node in data}) or 1
    samples = min((size for node in data if (size := split_size(node, split))), default=None)
    sampling = NORMAL_95 * abs(loss.mean) * math.sqrt(2 / samples / draws) if samples else 0.0
    return math.hypot(loss.half_width, sampling)


def split_size(data: Mapping[str, Any], split: str) -> int | None:
    """Samples of a split by the node `data` of a configuration, or None where it doesn't say."""
    images = "val_size" in data
    train = data.get("n_train") or (60_000 - (0 if data.get("folds") else data["val_size"]) if images else None)
    if split == "test":
        return data.get("n_test") or (10_000 if images else None)
    if data.get("folds") and train:
        held_out = train // data["folds"]
        return int(held_out if split == "val" else train - held_out)
    size = train if split == "train" else data.get("val_size") or data.get("n_val")
    return int(size) if size else None
