"""The axes of a panel with matplotlib: positions of values, scales, limits and words."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, NullLocator

from lightning_d2l.config.escape import label
from lightning_d2l.config.text import show
from lightning_d2l.studies import labels
from lightning_d2l.studies.frame import lines_of, width_of
from lightning_d2l.studies.palette import FAINT, INK
from lightning_d2l.studies.picture import Picture
from lightning_d2l.studies.ranges import Range
from lightning_d2l.training.ticks import LogNumbers, plain, set_ticks

MOST_NAMES = 40  # written below an axis
MOST_VALUES = 9  # each of so few values on a logarithmic axis has its tick
SIDE = 0.04  # of the width, left and right of the values
WORDS, TICKS, KEY = 10, 9, 7.5  # points


def place_x(panel: Axes, picture: Picture, width: float) -> dict[str, float]:
    """Set the x-axis of a panel of some width in inches; returns the positions of the values of x by their text."""
    marks = [each.curve.x[0] for shown in picture.panels for each in shown.theory if each.is_vertical]
    return place_values(panel, picture.x, picture.x_scale, picture.x_values, width, marks)


def place_values(
    panel: Axes, key: str, scale: str, values: Sequence[Any], width: float, marks: Sequence[float] = ()
) -> dict[str, float]:
    """Set the scale, limits and ticks of an x-axis for values of a key, and `marks` that are not far from them."""
    if scale == "names":
        return _place_names(panel, key, values, width)
    numbers = sorted(set(values))
    low, high = min(numbers, default=0.0), max(numbers, default=1.0)
    near = [mark for mark in marks if low <= mark <= high or (scale == "log" and low / 10 < mark < high * 10)]
    low, high = min([low, *near]), max([high, *near])
    positive = [value for value in numbers if value > 0]
    if scale != "linear":
        panel.set_xscale(scale, **({"linthresh": positive[0], "linscale": 0.5} if scale == "symlog" else {}))
    transform = panel.xaxis.get_transform()
    left, right = transform.transform([low, high])
    margin = SIDE * (right - left) or 0.3
    panel.set_xlim(*transform.inverted().transform([left - margin, right + margin]))
    if scale == "symlog" or (scale == "log" and len(numbers) <= MOST_VALUES and are_round(numbers)):
        _tick_values(panel, numbers, width)
    else:
        whole = all(isinstance(value, int) for value in numbers)
        set_ticks(panel.xaxis, scale, whole=whole)
        without_gap = whole and len(numbers) <= MOST_VALUES and high - low == len(numbers) - 1
        if len(numbers) == 1 or without_gap:
            panel.set_xticks(numbers, [plain(float(f"{value:.4g}")) for value in numbers])
    return {show(value): float(value) for value in values}


def are_round(numbers: Sequence[float]) -> bool:
    """Whether numbers are short enough for ticks: those that a person types rather than those that a search draws."""
    return all(float(f"{value:.5g}") == value for value in numbers)


def _place_names(panel: Axes, key: str, values: Sequence[Any], width: float) -> dict[str, float]:
    texts = labels.distinct([labels.value(key, value) for value in values])
    names = {show(value): label(text) for value, text in zip(values, texts, strict=True)}
    wide = max((width_of(name, TICKS) for name in names.values()), default=0.0) > 0.9 * width / max(len(names), 1)
    turned: dict[str, Any] = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if wide else {}
    step = 1 + len(names) // MOST_NAMES
    panel.set_xticks(range(0, len(names), step), list(names.values())[::step], **turned)
    panel.set_xlim(-0.6, len(names) - 0.4)
    return {text: float(position) for position, text in enumerate(names)}


def _tick_values(panel: Axes, numbers: Sequence[float], width: float) -> None:
    """Ticks at the values themselves, without those whose numbers would touch the one before."""
    kept: list[float] = []
    end = -math.inf
    middles = width * fractions(panel, [(value, panel.get_ylim()[0]) for value in numbers])[:, 0]
    texts = dict(zip(numbers, LogNumbers().format_ticks(numbers), strict=True))
    for value, middle in zip(numbers, middles.tolist(), strict=True):
        half = width_of(re.sub(r"[${}^\\]|times", "", texts[value]), TICKS) / 2
        if middle - half > end + 0.06:
            kept.append(value)
            end = middle + half
    panel.set_xticks(kept, [texts[value] for value in kept])
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_minor_formatter(NullFormatter())


def fractions(panel: Axes, points: Sequence[tuple[float, float]]) -> np.ndarray:
    """Points (n, 2) as parts of the width and height of their panel, whatever the layout of the figure."""
    placed = panel.transData.transform(np.asarray(points, dtype=np.float64).reshape(-1, 2))
    return np.asarray(panel.transAxes.inverted().transform(placed))


def set_y(panel: Axes, ends: Range | None) -> None:
    """Set the scale, limits and ticks of the y-axis."""
    panel.tick_params(labelsize=TICKS, color=FAINT, labelcolor=INK)
    panel.grid(axis="y", color="#000000", alpha=0.12, linewidth=0.7)
    panel.set_axisbelow(True)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
    if ends is None:
        panel.set_yticks([])
        panel.text(0.5, 0.5, "no values", transform=panel.transAxes, ha="center", color=FAINT)
        return
    if ends.scale == "log":
        panel.set_yscale("log", nonpositive="mask")
    panel.set_ylim(ends.low, ends.high)
    set_ticks(panel.yaxis, ends.scale)


def name_axes(panel: Axes, x: Mapping[str, str], y: str, height: float) -> None:
    """Write the words of the axes; `x` has those of the x-axis, and below them its key."""
    for key, words in x.items():
        panel.set_xlabel(label(words), fontsize=WORDS)
        if key != words:
            panel.annotate(
                label(key),
                xy=(0.5, 0),
                xycoords=panel.xaxis.label,
                xytext=(0, -2),
                textcoords="offset points",
                ha="center",
                va="top",
                fontsize=KEY,
                color=FAINT,
            )
    if y:
        panel.set_ylabel(lines_of(label(y), WORDS, height), fontsize=WORDS)
