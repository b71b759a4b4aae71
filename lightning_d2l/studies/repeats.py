"""Replicates that repeat each other, since what they differ in changes nothing.

Seeds draw the initialisation, the order of the batches and dropout. Where a model is solved for exactly, or starts at
zero and is given all samples in each step, they change nothing: the runs of several seeds are one sample of the data,
and their agreement says nothing of chance. So is what several data sets give that no seed draws. It is the measured
numbers that show this, whatever the model is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from lightning_d2l.studies.replicates import Replicate
from lightning_d2l.studies.statistics import kind_of

ROUNDING = 1e-5
"""The relative difference of two numbers that may be one calculation in single precision."""
TIMES = ("seconds",)
COUNTS = ("num_parameters", "epochs_to_fit")
"""They and shares may agree by chance."""

SHARES_EQUAL = 1e-6
"""The standard deviation of differences of shares that are equal but for rounding."""
MOST_SAMPLES = 10_000
"""Of more, a share is as good as not rounded."""

Row = Mapping[str, float]


def idle_of(replicates: Sequence[Replicate], rows: Sequence[Row]) -> tuple[str, ...]:
    """Which of "seed" and "data" change nothing in the metrics `rows` of the runs of a setting; empty if each does.

    One changes nothing if runs that differ in it alone have equal metrics, among them a loss, a norm or the like that
    is not 0. Both change nothing if all runs of a fold have.
    """
    if len(rows) < 2:
        return ()
    each = [*zip(replicates, rows, strict=True)]
    found = [name for name in ("seed", "data") if _is_idle((name,), each)]
    if not found and _is_idle(("seed", "data"), each):
        found = [name for name in ("seed", "data") if len({getattr(r, name) for r in replicates}) > 1]
    return tuple(found)


def independent(replicates: Sequence[Replicate], idle: Sequence[str]) -> tuple[list[int], list[Replicate]]:
    """The places of the runs that are no repetition of an earlier one, and which replicate each of them is."""
    if not idle:
        return [*range(len(replicates))], [*replicates]
    found: dict[Replicate, int] = {}
    for place, each in enumerate(replicates):
        found.setdefault(without(each, idle), place)
    return [*found.values()], [*found]


def without(replicate: Replicate, idle: Iterable[str]) -> Replicate:
    """The replicate, without what changes nothing."""
    return replace(replicate, **dict.fromkeys(idle, ""))


def _is_idle(names: Sequence[str], each: Sequence[tuple[Replicate, Row]]) -> bool:
    """Whether some runs differ in nothing but these parts of the replicate, and all such runs measured the same."""
    first: dict[Replicate, tuple[Replicate, Row]] = {}
    several = False
    for replicate, row in each:
        known, other = first.setdefault(without(replicate, names), (replicate, row))
        if known == replicate:
            continue
        if not _equal(row, other):
            return False
        several = True
    return several


def _equal(a: Row, b: Row) -> bool:
    """Whether two runs measured the same, as far as rounding goes, and measured something that would show a change."""
    telling = False
    for name, value in a.items():
        if name in TIMES or (other := b.get(name)) is None:
            continue
        if not math.isclose(value, other, rel_tol=ROUNDING):
            return False
        telling = telling or (value != 0 and name not in COUNTS and kind_of(name) != "share")
    return telling


def step_of(shares: Sequence[float]) -> float:
    """The least 1/m of which all shares are multiples, as those of m samples are; 0 if there is none.

    Rounding to it has the variance 1 / (12 m^2) (Sheppard), as long as the shares spread as widely.
    """
    samples = np.arange(1, MOST_SAMPLES + 1)
    counted = np.outer(sorted(set(shares)), samples)
    whole = np.flatnonzero((np.abs(counted - counted.round()) < 1e-3).all(0))
    return 1 / float(samples[whole[0]]) if len(whole) else 0.0
