"""The scale and the ends of an axis, from the values that it shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lightning_d2l.theory.curves import numeric

WIDE = 20.0
"""Values that span more than this factor get a logarithmic scale."""
SMALLEST, LARGEST = 1e-300, 1e300
"""The ends of an axis; matplotlib has no ticks beyond."""
MARGIN = 0.06  # of the height of a panel, above and below what it shows
LEAST_SPAN = 0.1
"""A linear axis spans at least this part of its largest number, so that small differences look small."""
LEAST_SHARE = 0.05  # the same for an axis of shares such as accuracies
LEAST_FACTOR = 1.5  # the same for a logarithmic axis
FROM_ZERO = 0.3
"""An axis of positive numbers begins at 0 if the lowest is below this part of the highest."""
FEW_OUTLIERS = 0.05
"""At most this part of the runs may lie beyond the ends of an axis (one a line in any case), else it shows all."""
FAR = 6.0
"""An outlier is further from its estimate than this many times the median distance."""
DIFFERENT, HIDDEN = 100.0, 0.4
"""Panels of a metric have ranges of their own where a logarithmic one would have to show so many times its own range,
which would then fill less than this part of it."""
FLAT = 30.0
"""The same for a linear axis."""


@dataclass(frozen=True)
class Range:
    """The scale of an axis, "linear" or "log", and its ends."""

    scale: str
    low: float
    high: float

    def contains(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass
class Shown:
    """What the y-axis of a panel shows: estimates, ends of intervals and runs, each with its estimate, and theory."""

    estimates: list[float] = field(default_factory=list)
    ends: list[tuple[float, float]] = field(default_factory=list)
    runs: list[tuple[float, float]] = field(default_factory=list)
    theory: list[float] = field(default_factory=list)
    kind: str = "real"
    lines: int = 1


def have_positions(xs: Sequence[Any]) -> bool:
    """Whether all values are numbers that an axis can have; other values are names side by side."""
    return numeric(xs) and all(abs(x) <= LARGEST for x in xs)


def geometric(values: Sequence[float]) -> bool:
    """Whether sorted numbers differ by factors rather than by steps: the range is wide, most are near its lower end."""
    positive = [value for value in values if value > 0]
    if min(values, default=-1) < 0 or len(positive) < 3 or positive[-1] / positive[0] < 8:
        return False
    return positive[len(positive) // 2] < (positive[0] + positive[-1]) / 4


def x_scale(scale: str | None, xs: Sequence[Any]) -> str:
    """The scale of an x-axis: names, linear, log, or symlog, which is log with a place for 0."""
    if not have_positions(xs):
        return "names"
    values = sorted(set(xs))
    scale = scale or ("log" if geometric(values) else "linear")
    positive = sum(value > 0 for value in values)
    return "linear" if scale != "log" or not positive else "log" if positive == len(values) else "symlog"


def y_range(scale: str | None, shown: Shown) -> Range | None:
    """The y-axis of a panel; None without values.

    Estimates lie inside, and the intervals around them and the runs, but for a few outliers; so does near theory.
    """
    estimates = _usable(shown.estimates)
    dots = [value for value, _ in shown.runs if _is_usable(value)]
    if not (core := estimates or dots):
        return None
    positive = [value for value in core if value > 0]
    wide = min(core) > 0 and max(core) > WIDE * min(core)
    scale = "log" if (scale == "log" and positive) or (scale is None and wide) else "linear"

    def placed(values: Sequence[float]) -> np.ndarray:
        array = np.asarray([v for v in values if scale == "linear" or v > 0], dtype=np.float64)
        return np.log(array) if scale == "log" else array

    inner = placed(core)
    low, high = float(inner.min()), float(inner.max())
    least = _least(scale, high, shown.kind)
    for pairs, beyond in ((shown.ends, 1.0), (shown.runs, 0.5)):
        kept = [(v, e) for v, e in pairs if _is_usable(v) and _is_usable(e) and (scale == "linear" or min(v, e) > 0)]
        if kept:
            here, own = placed([v for v, _ in kept]), placed([e for _, e in kept])
            most = max(shown.lines, FEW_OUTLIERS * len(here))
            usual = here[~_are_outliers(here, own, low, high, beyond * max(high - low, least), most)]
            low, high = min(low, float(usual.min(initial=low))), max(high, float(usual.max(initial=high)))
    reach = max(high - low, least)
    theory = placed(_usable(shown.theory))
    theory = theory[(theory > low - reach / 2) & (theory < high + reach / 2)]
    low, high = min(low, float(theory.min(initial=low))), max(high, float(theory.max(initial=high)))
    return _with_margins(scale, low, high, shown.kind)


def _are_outliers(
    values: np.ndarray, own: np.ndarray, low: float, high: float, least: float, most: float
) -> np.ndarray:
    """Which values, at most `most`, are far from their `own` estimates and outside `low` to `high` by `least`."""
    away = np.abs(values - own)
    far: np.ndarray = (away > FAR * max(float(np.median(away)), 1e-12)) & (
        np.maximum(values - high, low - values) > least
    )
    return far if far.sum() <= most else np.zeros_like(far)


def _is_usable(value: float) -> bool:
    return math.isfinite(value) and abs(value) <= LARGEST


def _usable(values: Sequence[float]) -> list[float]:
    return [value for value in values if _is_usable(value)]


def _least(scale: str, high: float, kind: str) -> float:
    """The least length of an axis, so that it doesn't exaggerate."""
    if scale == "log":
        return math.log(LEAST_FACTOR)
    return LEAST_SHARE if kind == "share" else LEAST_SPAN * abs(high)


def _with_margins(scale: str, low: float, high: float, kind: str) -> Range:
    if low == high == 0 and scale == "linear" and kind in ("positive", "share"):
        return Range(scale, -MARGIN, 1.0)
    if scale == "linear" and kind == "positive" and 0 <= low < FROM_ZERO * high:
        return Range(scale, 0.0, high * (1 + MARGIN))
    missing = max(_least(scale, max(abs(low), abs(high)), kind) - (high - low), 0.0)
    low, high = low - missing / 2, high + missing / 2
    if kind == "share" and missing and high > 1 >= high - missing / 2:  # no accuracy is above 1
        low, high = low - (high - 1), 1.0
    margin = MARGIN * (high - low) or 1.0
    low, high = low - margin, high + margin
    if scale == "linear":
        return Range(scale, low, high)
    return Range(scale, max(_exp(low), SMALLEST), min(_exp(high), LARGEST))


def _exp(value: float) -> float:
    return math.exp(min(value, 700.0))


def shared(ranges: Sequence[Range | None]) -> list[Range | None]:
    """The y-axes of panels of one metric: the same for all, unless that would hide one of them.

    If a panel had to show a hundred times its own range, or thirty times on a linear axis, all keep their own.
    """
    known = [each for each in ranges if each is not None]
    if len(known) < 2:
        return list(ranges)
    scale = "log" if any(each.scale == "log" for each in known) else "linear"
    if scale == "log" and not all(each.low > 0 for each in known):
        return list(ranges)
    low, high = min(each.low for each in known), max(each.high for each in known)
    place = math.log if scale == "log" else float
    whole, least = place(high) - place(low), min(place(each.high) - place(each.low) for each in known)
    hidden = whole - least > math.log(DIFFERENT) and least < HIDDEN * whole if scale == "log" else whole > FLAT * least
    if hidden:
        return list(ranges)
    return [each and Range(scale, low, high) for each in ranges]
