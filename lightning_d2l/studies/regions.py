"""Where along x the settings underfit, fit well and overfit, marked above a panel, and the generalisation gap in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from lightning_d2l.config.text import show
from lightning_d2l.config.trainer import RUNNING
from lightning_d2l.studies.axes import fractions
from lightning_d2l.studies.diagnosis import BEST_HERE, LEARNT, OVERFITTING, UNDERFITTING, WELL_FITTED
from lightning_d2l.studies.frame import width_of
from lightning_d2l.studies.lines import Line
from lightning_d2l.studies.palette import INK
from lightning_d2l.studies.picture import Panel, Picture
from lightning_d2l.studies.points import Point

COLOURS = {
    UNDERFITTING: "#3D6E96", WELL_FITTED: "#2E7049", BEST_HERE: "#2E7049", LEARNT: "#2E7049", OVERFITTING: "#A2502F",
}  # fmt: skip
OTHER = "#616161"
"""Of what has learnt nothing or diverged."""
SHADE = 0.07  # of a region in the panel
MOST = 4  # regions of a panel
FEWEST = 3  # points of a panel
LETTERS = 8.5  # points
BAR = 3.0  # points, of the bar between the words and the panel
APART = 0.08  # inches between two words
GAP = "generalisation gap"
LEAST_GAP = 0.2  # of the height of a panel
NEAR = 0.02  # of the width or height of a panel, which is kept free around the words of the gap


@dataclass(frozen=True)
class Region:
    """Neighbouring points with the same diagnosis: its name, and the ends, halfway to the next points."""

    name: str
    low: float
    high: float


def regions(points: Sequence[Point]) -> list[tuple[str, list[Point]]]:
    """Neighbours with the same diagnosis, in the order of the points; none if a diagnosis comes twice or none is known.

    A single point between others whose diagnosis may as well be that of a neighbour belongs to that neighbour.
    """
    if len(points) < FEWEST or any(point.diagnosis is None for point in points):
        return []
    found = [(point.diagnosis.name, point.diagnosis.or_else, point) for point in points if point.diagnosis]
    names = [name for name, _, _ in found]
    for i in range(1, len(found) - 1):
        name, other, _ = found[i]
        if name not in (names[i - 1], names[i + 1]) and other in (names[i - 1], names[i + 1]):
            names[i] = str(other)
    parts: list[tuple[str, list[Point]]] = []
    for name, (_, _, point) in zip(names, found, strict=True):
        if not parts or parts[-1][0] != name:
            parts.append((name, []))
        parts[-1][1].append(point)
    return parts if len({name for name, _ in parts}) == len(parts) <= MOST else []


def mark(drawn: Sequence[Axes], picture: Picture, at: Mapping[str, float], size: tuple[float, float]) -> float:
    """Mark the regions of every panel that shows training and held-out data of one curve, and the largest gap.

    `at` has the positions of the values of x, `size` the width and height of a panel in inches. Returns the height of
    the marks in points; there are none unless some panel has several regions.
    """
    if picture.x_scale == "names" or picture.x == "epoch":  # the least error over the epochs may overfit already
        return 0.0
    panels = [
        (panel, shown, pair) for panel, shown in zip(drawn, picture.panels, strict=True) if (pair := _pair(shown))
    ]
    parts = {id(shown): regions(pair[0].points) for _, shown, pair in panels}
    if not any(len(each) > 1 for each in parts.values()):
        return 0.0
    for panel, shown, _ in panels:
        _mark(panel, _placed(panel, parts[id(shown)], picture.x, at), size)
    largest: tuple[float, Axes, _Gap] | None = None
    for panel, shown, pair in panels:
        gap = _gap(panel, shown, pair, parts[id(shown)], picture.x, at, size)
        if gap and (largest is None or gap.length > largest[0]):
            largest = gap.length, panel, gap
    if largest:
        _write(*largest[1:])
    return BAR + 1.5 * LETTERS + 3


def _pair(shown: Panel) -> tuple[Line, Line] | None:
    """The lines of training and of held-out data in a panel of a single curve, of what its diagnoses are about."""
    if not shown.lines or any(line.points is not shown.lines[0].points for line in shown.lines):
        return None
    bases = {line.metric.partition("/")[0] for line in shown.lines}
    judged = {point.diagnosis.quantity for point in shown.lines[0].points if point.diagnosis}
    if {"acc" if name == "error" else name for name in judged} != bases:
        return None
    by_split = {line.metric.rpartition("/")[2]: line for line in shown.lines}
    train, held_out = by_split.get("train") or by_split.get(RUNNING), by_split.get("test") or by_split.get("val")
    return (train, held_out) if train and held_out else None


def _placed(panel: Axes, parts: Sequence[tuple[str, list[Point]]], x: str, at: Mapping[str, float]) -> list[Region]:
    """The regions with their ends as parts of the width of the panel."""
    if not parts:  # of a panel beside others that have regions
        return []
    bottom = panel.get_ylim()[0]
    first, last = (
        [float(fractions(panel, [(at[show(points[i].setting[x])], bottom)])[0, 0]) for _, points in parts]
        for i in (0, -1)
    )
    ends = [0.0, *((a + b) / 2 for a, b in zip(last[:-1], first[1:], strict=True)), 1.0]
    return [Region(name, *each) for (name, _), each in zip(parts, pairwise(ends), strict=True)]


def _mark(panel: Axes, found: Sequence[Region], size: tuple[float, float]) -> None:
    bar = BAR / 72 / size[1]
    for region in found:
        colour, width = COLOURS.get(region.name, OTHER), region.high - region.low
        look: dict[str, Any] = {"facecolor": colour, "linewidth": 0, "transform": panel.transAxes}
        panel.add_patch(Rectangle((region.low, 0), width, 1, alpha=SHADE, zorder=0, **look))
        panel.add_patch(Rectangle((region.low, 1.01), width, bar, clip_on=False, **look))
    words = [width_of(region.name, LETTERS) / size[0] for region in found]
    for region, middle in zip(found, _middles(found, words, APART / size[0]), strict=True):
        style: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": LETTERS, "annotation_clip": False}
        colour, place = COLOURS.get(region.name, OTHER), (middle, 1.01 + bar)
        panel.annotate(region.name, place, (0, 1.5), "axes fraction", textcoords="offset points", color=colour, **style)


def _middles(found: Sequence[Region], widths: Sequence[float], apart: float) -> list[float]:
    """Where the words stand: in the middle of their regions, moved aside as far as their neighbours need it."""
    middles = [(region.low + region.high) / 2 for region in found]
    left = 0.0
    for i, width in enumerate(widths):
        middles[i] = max(middles[i], left + width / 2)
        left = middles[i] + width / 2 + apart
    right = 1.0
    for i in range(len(widths) - 1, -1, -1):
        middles[i] = min(middles[i], right - widths[i] / 2)
        right = middles[i] - widths[i] / 2 - apart
    return middles


@dataclass(frozen=True)
class _Gap:
    """An arrow between two lines at some x, in the values of the axes, its length as a part of the panel, and words."""

    place: float
    ends: tuple[float, float]
    length: float
    right: bool
    middle: float


def _gap(
    panel: Axes,
    shown: Panel,
    pair: tuple[Line, Line],
    parts: Sequence[tuple[str, list[Point]]],
    x: str,
    at: Mapping[str, float],
    size: tuple[float, float],
) -> _Gap | None:
    """The largest gap among the points that overfit that is large enough and has room for words beside it."""
    over = {id(point) for name, points in parts if name == OVERFITTING for point in points}
    if not over or any(each.is_vertical for each in shown.theory):
        return None
    curves = [[*zip(each.curve.x, each.curve.y, strict=True)] for each in shown.theory]
    lines = [[(at[show(value)], found.value) for value, found in line.estimates(x)] for line in shown.lines]
    runs = [(at[show(value)], y) for line in shown.lines for value, y in line.dots(x)]
    taken = np.concatenate([fractions(panel, runs), *(_along(panel, each) for each in [*curves, *lines])])
    width, height = width_of("generalisation", LETTERS) / size[0], 2.5 * LETTERS / 72 / size[1]
    train, held_out = ({show(place): found for place, found in line.estimates(x)} for line in pair)
    found: list[_Gap] = []
    for point in pair[0].points:
        text = show(point.setting[x])
        if id(point) not in over or text not in train or text not in held_out:
            continue
        ends = train[text].value, held_out[text].value
        if shown.y_range is None or not all(map(shown.y_range.contains, ends)):
            continue
        (place, low), (_, high) = fractions(panel, [(at[text], end) for end in ends]).tolist()
        for right in (True, False):
            left = place + 0.015 if right else place - 0.015 - width
            middle = (low + high) / 2
            near = (taken >= [left - NEAR, middle - height / 2 - NEAR]) & (
                taken <= [left + width + NEAR, middle + height / 2 + NEAR]
            )
            if left >= 0 and left + width <= 1 and abs(high - low) >= LEAST_GAP and not near.all(axis=1).any():
                found.append(_Gap(at[text], ends, abs(high - low), right, middle))
    return max(found, key=lambda each: each.length, default=None)


def _along(panel: Axes, points: Sequence[tuple[float, float]]) -> np.ndarray:
    """Places (n, 2) close to each other along the line that joins points, as parts of the panel."""
    places = fractions(panel, points)
    if len(places) < 2:
        return places
    steps = np.linspace(0, len(places) - 1, 20 * len(places))
    return np.stack([np.interp(steps, np.arange(len(places)), places[:, i]) for i in (0, 1)], axis=1)


def _write(panel: Axes, gap: _Gap) -> None:
    arrow = {"arrowstyle": "<|-|>", "color": INK, "linewidth": 1.1, "shrinkA": 3, "shrinkB": 3, "mutation_scale": 9}
    panel.annotate("", (gap.place, gap.ends[0]), (gap.place, gap.ends[1]), arrowprops=arrow, zorder=6)
    place = float(fractions(panel, [(gap.place, gap.ends[0])])[0, 0])
    style: dict[str, Any] = {"ha": "left" if gap.right else "right", "va": "center", "fontsize": LETTERS, "color": INK}
    where = (place + (0.015 if gap.right else -0.015), gap.middle)
    panel.annotate(GAP.replace(" ", "\n"), where, xycoords="axes fraction", zorder=6, **style)
