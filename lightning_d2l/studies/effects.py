"""Which setting of a sweep matters most: the share of each in the variance between the runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightning_d2l.config.text import show
from lightning_d2l.studies.points import Point
from lightning_d2l.studies.replicates import REPLICATES
from lightning_d2l.studies.statistics import kind_of
from lightning_d2l.studies.study import Study
from lightning_d2l.theory.curves import numeric
from lightning_d2l.training.record import RunRecord

FEW_LEVELS = 30
"""A number with more values, as a random search has, is cut into as many classes as `CLASSES`."""
CLASSES = 4
MOST_NUMBERS = 3 * 10**7
"""Runs times levels of keys that are analysed at most, as of names that hardly any two runs share."""


@dataclass(frozen=True)
class Effects:
    """The share of each key in the variance of `metric` over the runs, largest first; of its logarithm if `is_log`.

    A share is an omega squared of an analysis of variance with main effects alone (Hays 1963), at least 0. It is that
    of the seeds too, if runs differ in them. The rest is interactions and chance.
    """

    metric: str
    is_log: bool
    shares: Mapping[str, float]


def effects(study: Study, points: Sequence[Point]) -> Effects | None:
    """The effects of the keys of a study on `study.select`.

    None where no key has two values, or where the runs are too few to tell its effect from chance. For unequal numbers
    of runs the sum of squares of a key is what the others leave (type II). Runs that repeat another don't count.
    """
    runs = [run for point in points for run in point.sampled if run.metric(study.select) is not None]
    if study.x == "epoch" or len(runs) < 3:
        return None
    values = np.array([run.metric(study.select) for run in runs])
    is_log = kind_of(study.select) == "positive" and bool((values > 0).all())
    y = np.log(values) if is_log else values
    keys = [key for key in study.keys if key not in ("sweep", "source")]
    varied = {key: found for key in keys if len(set(found := _levels(runs, key))) > 1}
    if not varied:
        return None
    seeds = {key: _levels(runs, key) for key in REPLICATES}
    seeds = {key: found for key, found in seeds.items() if 1 < len(set(found)) < len(runs) and key not in varied}
    for factors in ({**varied, **seeds}, varied):
        if (shares := _shares(factors, y)) is not None:
            return Effects(study.select, is_log, dict(sorted(shares.items(), key=lambda item: -item[1])))
    return None


def _levels(runs: Sequence[RunRecord], key: str) -> list[str]:
    """The value of a key in each run, as text; of a number with many values its class."""
    values: list[Any] = [run.get(key) for run in runs]
    if numeric(values) and len(set(values)) > FEW_LEVELS:
        ranks = np.argsort(np.argsort(np.array(values, dtype=float), kind="stable"), kind="stable")
        return [str(int(rank) * CLASSES // len(values)) for rank in ranks]
    return [show(value) for value in values]


def _shares(factors: Mapping[str, Sequence[str]], y: np.ndarray) -> dict[str, float] | None:
    """Omega squared of each factor; None if no degree of freedom is left for chance, nothing differs, or too much."""
    width = sum(len(set(levels)) - 1 for levels in factors.values())
    if len(y) - 1 - width < 1 or len(y) * width > MOST_NUMBERS:
        return None
    blocks = {key: _indicators(levels) for key, levels in factors.items()}
    columns, centred = np.concatenate([*blocks.values()], axis=1), y - y.mean()
    owner = np.repeat(np.arange(len(blocks)), [block.shape[1] for block in blocks.values()])
    with np.errstate(over="ignore"):
        left, total = len(y) - 1 - len(owner), float(centred @ centred)
    if not 0 < total < np.inf:
        return None
    gram, along = columns.T @ columns, columns.T @ centred

    def explained(kept: np.ndarray) -> float:
        return float(along[kept] @ np.linalg.lstsq(gram[np.ix_(kept, kept)], along[kept], rcond=None)[0])

    whole = explained(owner >= 0)
    chance = max(total - whole, 0.0) / left
    found = {}
    for i, (key, block) in enumerate(blocks.items()):
        own = whole - explained(owner != i)
        found[key] = min(max((own - block.shape[1] * chance) / (total + chance), 0.0), 1.0)
    return found


def _indicators(levels: Sequence[str]) -> np.ndarray:
    """A column for each level but the first: whether a run has it, minus the column's mean."""
    numbers = {level: number for number, level in enumerate(dict.fromkeys(levels))}
    of = np.array([numbers[level] for level in levels])
    columns = (of[:, None] == np.arange(1, len(numbers))).astype(float)
    return np.asarray(columns - columns.mean(0))
