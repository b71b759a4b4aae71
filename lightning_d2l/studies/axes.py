"""Positions of values on the axes of a figure: scales, ticks and limits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullFormatter

from lightning_d2l.config.escape import label
from lightning_d2l.config.text import cut, show
from lightning_d2l.studies import labels
from lightning_d2l.theory.curves import numeric

WIDE = 20.0
"""Values that span more than this factor get a logarithmic scale."""
MOST_NAMES = 40  # written below an axis
LONGEST_NAME = 30  # characters of one of them
SMALLEST, LARGEST = 1e-300, 1e300
"""The ends of an axis; matplotlib has no ticks beyond."""


def place(panel: Axes, key: str, scale: str | None, xs: Sequence[Any]) -> dict[str, float]:
    """Set the scale and ticks of the x axis; returns the position of each value of the key, by its text."""
    if not have_positions(xs):
        names = {show(value): label(cut(labels.words(key, value), LONGEST_NAME)) for value in xs}
        rotation = 30 if max(map(len, names.values()), default=0) > 8 else 0
        step = 1 + len(names) // MOST_NAMES
        panel.set_xticks(range(0, len(names), step), list(names.values())[::step], rotation=rotation)
        panel.set_xlim(-0.6, len(names) - 0.4)
        return {text: float(position) for position, text in enumerate(names)}
    values = sorted(set(xs))
    scale = scale or ("log" if geometric(values) else "linear")
    positive = [value for value in values if value > 0]
    if scale == "log" and positive:
        symmetric = {"linthresh": positive[0], "linscale": 0.5} if len(positive) < len(values) else {}
        panel.set_xscale("symlog" if symmetric else "log", **symmetric)
        if len(values) <= 9:
            panel.set_xticks(values, [show(value) for value in values])
            panel.xaxis.set_minor_formatter(NullFormatter())
    elif all(isinstance(value, int) for value in values):
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(values) == 1:
            panel.set_xticks(values)
    return {show(value): float(value) for value in xs}


def have_positions(xs: Sequence[Any]) -> bool:
    """Whether all values are numbers that an axis can have; other values are names side by side."""
    return numeric(xs) and all(abs(x) <= LARGEST for x in xs)


def geometric(values: Sequence[float]) -> bool:
    """Whether sorted numbers differ by factors rather than by steps: the range is wide, most are near its lower end."""
    positive = [value for value in values if value > 0]
    if min(values, default=-1) < 0 or len(positive) < 3 or positive[-1] / positive[0] < 8:
        return False
    return positive[len(positive) // 2] < (positive[0] + positive[-1]) / 4


def scale_y(panel: Axes, scale: str | None, shown: Sequence[float]) -> None:
    """Set the scale of the y axis, and limits that the values determine, not the intervals."""
    finite = [value for value in shown if math.isfinite(value)]
    if not finite:
        return
    low, high = min(finite), max(finite)
    scale = scale or ("log" if low > 0 and high > WIDE * low else "linear")
    if scale == "log" and high > 0:
        low = min(value for value in finite if value > 0)
        panel.set_yscale("log", nonpositive="clip")
        stretch = max(math.exp(0.07 * (math.log(high) - math.log(low))), 1.1)
        panel.set_ylim(max(low / stretch, SMALLEST), min(high * stretch, LARGEST))
        return
    margin = 0.07 * (high - low) or 0.1 * abs(high) or 1.0
    panel.set_ylim(low - margin, high + margin)


def share_y(axes: Sequence[Axes], bases: Sequence[set[str]]) -> None:
    """Give panels of the same metric the same range."""
    for base in {b for each in bases for b in each}:
        same = [panel for panel, each in zip(axes, bases, strict=True) if base in each]
        log = any(panel.get_yscale() == "log" for panel in same)
        if log and not all(panel.get_ylim()[0] > 0 for panel in same):
            continue
        low, high = min(p.get_ylim()[0] for p in same), max(p.get_ylim()[1] for p in same)
        for panel in same:
            panel.set_yscale("log" if log else "linear")
            panel.set_ylim(low, high)
