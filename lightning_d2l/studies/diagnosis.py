"""The diagnosis of a point, by a rule and with its uncertainty: underfitting, well fitted, overfitting or diverged.

The loss on held-out data (validation, or test if there is no validation data) has three parts:

    held-out = floor + (train - floor) + (held-out - train)

- The *floor* is a loss below which no model can come: the variance of the noise if the data are generated with known
  noise (half of it for losses with the factor 1/2); otherwise the lowest held-out loss of any point of the report at
  any epoch.
- *well fitted*: the held-out loss is at most a quarter above the floor.
- *underfitting*: otherwise, train - floor is larger than held-out - train.
- *overfitting*: otherwise, the generalisation gap held-out - train is larger.
- *diverged*: at least half of the runs ended with a loss that is not a number.

Uncertainty. The error of a mean loss has two independent sources: the spread over runs (half the 95 % interval), and
the finite number m of samples in a split. For normal residuals the standard deviation of a mean of m squared residuals
is sqrt(2/m) of it (an approximation for cross-entropy). New data sets for each data.seed divide this variance by
their number. A point is *uncertain*, and `or_else` its second possible name, if a border lies within the error: 5/4 of
the floor for the held-out loss, or the middle between floor and held-out loss for the training loss. A floor known
from the data counts as exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_d2l.config.text import show
from lightning_d2l.studies.statistics import Estimate
from lightning_d2l.theory.problem import noise_variance, split_size
from lightning_d2l.training.record import RunRecord

NAMES = UNDERFITTING, WELL_FITTED, OVERFITTING, DIVERGED = "underfitting", "well fitted", "overfitting", "diverged"
TOLERANCE = 0.25
"""The held-out loss of a well fitted model is at most this fraction above the floor."""
NORMAL_95 = 1.959964
"""The 97.5 % quantile of the normal distribution."""


@dataclass(frozen=True)
class Diagnosis:
    """One of the four names; `or_else` is a second one that is possible within the uncertainty."""

    name: str
    or_else: str | None = None

    @property
    def mark(self) -> str:
        """~ if it is uncertain."""
        return "~" if self.or_else else ""

    @property
    def short(self) -> str:
        return self.mark + self.name

    def __str__(self) -> str:
        return f"{self.name} (or {self.or_else})" if self.or_else else self.name


@dataclass(frozen=True)
class Losses:
    """The losses of one point: estimates on the training split and on the held-out `split`, "val" or "test".

    `best_held_out` is the mean over runs of the lowest held-out loss at any epoch, `configs` are the configurations of
    the completed runs, `diverged` is the fraction of runs that diverged.
    """

    train: Estimate | None
    held_out: Estimate | None
    split: str
    best_held_out: float | None
    configs: Sequence[Mapping[str, Any]]
    diverged: float = 0.0


def losses_of(estimates: Mapping[str, Estimate], runs: Sequence[RunRecord]) -> Losses:
    """The losses among the estimates of a point with its runs."""
    completed = [run for run in runs if run.completed]
    split = "val" if "loss/val" in estimates else "test"
    train, held_out = estimates.get("loss/train"), estimates.get(f"loss/{split}")
    lowest = held_out.mean if held_out else None
    best = [value for run in completed if (value := run.metric("best.loss/val")) is not None]
    if best and split == "val" and lowest is not None:
        lowest = min(sum(best) / len(best), lowest)
    diverged = sum(run.status == "diverged" for run in runs) / len(runs)
    return Losses(train, held_out, split, lowest, [run.config for run in completed], diverged)


def floor_of(points: Sequence[Losses]) -> float | None:
    """The lowest held-out loss of any point, the floor where the noise is not known."""
    return min((point.best_held_out for point in points if point.best_held_out is not None), default=None)


def diagnose(losses: Losses, lowest: float | None) -> Diagnosis | None:
    """The diagnosis of a point by the rule above; None if a loss is missing or the floor isn't positive.

    `lowest` is the floor where the noise isn't known; see `floor_of`.
    """
    if losses.diverged >= 0.5:
        return Diagnosis(DIVERGED)
    floors = [noise_variance(config) for config in losses.configs]
    known = [floor for floor in floors if floor]
    floor = sum(known) / len(known) if known and len(known) == len(floors) else lowest
    train, held_out = losses.train, losses.held_out
    if train is None or held_out is None or floor is None or floor <= 0:
        return None
    error = uncertainty(held_out, losses.configs, losses.split)
    train_error = uncertainty(train, losses.configs, "train")
    border, middle = (1 + TOLERANCE) * floor, (held_out.mean + floor) / 2
    misfit, other = (UNDERFITTING, OVERFITTING) if train.mean > middle else (OVERFITTING, UNDERFITTING)
    near_the_border = abs(held_out.mean - border) <= error
    if held_out.mean <= border:
        return Diagnosis(WELL_FITTED, misfit if near_the_border else None)
    if near_the_border:
        return Diagnosis(misfit, WELL_FITTED)
    near_the_middle = abs(train.mean - middle) <= math.hypot(train_error, error / 2)
    return Diagnosis(misfit, other if near_the_middle else None)


def uncertainty(loss: Estimate, configs: Sequence[Mapping[str, Any]], split: str) -> float:
    """Half the width of the 95 % interval of a mean loss: spread over runs and sampling error of a finite split."""
    data = [config.get("data") or {} for config in configs]
    draws = len({show(node.get("seed")) for node in data}) or 1
    samples = min((size for node in data if (size := split_size(node, split))), default=None)
    sampling = NORMAL_95 * abs(loss.mean) * math.sqrt(2 / samples / draws) if samples else 0.0
    return math.hypot(loss.half_width, sampling)
