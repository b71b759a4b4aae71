"""Drawing the lines of a panel with matplotlib: measured ones with their bands and runs, and theory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from lightning_d2l.config.escape import label
from lightning_d2l.config.text import show
from lightning_d2l.studies.bands import band, quartiles
from lightning_d2l.studies.lines import Line, Predicted
from lightning_d2l.studies.palette import INK
from lightning_d2l.studies.picture import Panel
from lightning_d2l.studies.ranges import LARGEST

MOST_MARKERS = 20  # along a line, nearly
MOST_BARS = 100
MOST_BANDS = 4
"""Bands of more lines would hide each other: they have bars."""
ARROW = 0.1  # of the height of a panel
EDGE = 0.985, 0.015
"""Where runs beyond an axis have their triangles, as parts of its height."""


def draw_line(
    panel: Axes, shown: Panel, line: Line, x: str, at: Mapping[str, float], *, joined: bool, step: float = 0.0
) -> None:
    """Draw one measured line: with bands if `joined`, with error bars for names.

    `at` has the position of each value of the key `x`, from which the line is moved by `step`. An estimate that has no
    place on a logarithmic axis is not drawn, nor the line to it; an interval that reaches 0 or below is an arrow.
    """
    estimates = [(at[show(value)] + step, found) for value, found in line.estimates(x)]
    places = np.array([place for place, _ in estimates])
    numbers = [(found.value, *band(found), *quartiles(found)) for _, found in estimates]
    middle, low, high, q1, q3 = np.array(numbers).reshape(-1, 5).clip(-LARGEST, LARGEST).T
    if shown.is_log:
        middle, low, q1 = (np.where(each > 0, each, np.nan) for each in (middle, low, q1))
    beyond = {show(value) for value, _ in shown.overshooting(line, x)}
    open_above = np.array([show(value) in beyond for value, _ in line.estimates(x)], dtype=bool)
    low, high = (np.where(open_above, np.nan, each) for each in (low, high))
    look: dict[str, Any] = {
        "marker": line.marker, "markersize": 5.5, "markeredgecolor": "white", "markeredgewidth": 0.5,
        "label": label(line.label) or None, "zorder": 3,
    }  # fmt: skip
    if joined and len(places) != 1:
        every = max(1, round(len(places) / MOST_MARKERS))
        panel.plot(places, middle, color=line.colour, linewidth=1.7, markevery=every, **look)
        if len(shown.lines) <= MOST_BANDS:
            panel.fill_between(places, low, high, color=line.colour, alpha=0.16, linewidth=0)
        else:
            panel.vlines(places, low, high, color=line.colour, alpha=0.55, linewidth=1.2)
    else:
        every = 1
        _draw_bars(panel, places, np.array([middle, low, high]), line.colour, look)
    if not np.isnan(q1).all():
        panel.vlines(places[::every], q1[::every], q3[::every], color=line.colour, alpha=0.3, linewidth=5, zorder=2)
    for value, found in shown.open_ended(line, x):
        if show(value) not in beyond:
            _draw_arrow(panel, at[show(value)] + step, found.high, line.colour)
    for value, found in shown.overshooting(line, x):
        style = {"arrowstyle": "-|>", "color": line.colour, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
        place, start = at[show(value)] + step, max(found.low, panel.get_ylim()[0])
        panel.annotate("", xy=(place, panel.get_ylim()[1]), xytext=(place, start), arrowprops=style)
    _draw_runs(panel, shown, line, x, {text: place + step for text, place in at.items()})


def _draw_bars(panel: Axes, places: np.ndarray, values: np.ndarray, colour: str, look: Mapping[str, Any]) -> None:
    """Draw error bars, from values (3, n): middle, low and high; many of them without caps, as one line."""
    middle, low, high = values
    if len(places) <= MOST_BARS:
        reach = np.abs([low - middle, high - middle])
        panel.errorbar(places, middle, yerr=reach, color=colour, linestyle="none", capsize=4, **look)
        return
    panel.plot(places, middle, color=colour, linestyle="none", **look)
    bars = np.array([low, high, np.full(len(places), np.nan)]).T.ravel()
    panel.plot(np.repeat(places, 3), bars, color=colour, linewidth=1)


def _draw_arrow(panel: Axes, place: float, high: float, colour: str) -> None:
    """Draw the interval from 0 to `high` on a logarithmic axis: a bar at its end, and an arrow down from there."""
    panel.plot([place], [high], "_", color=colour, markersize=9, markeredgewidth=1.4, zorder=3)
    bottom, top = panel.get_ylim()
    tip = max(high * (bottom**ARROW / top**ARROW), bottom)
    style = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
    panel.annotate("", xy=(place, tip), xytext=(place, high), arrowprops=style)


def _draw_runs(panel: Axes, shown: Panel, line: Line, x: str, at: Mapping[str, float]) -> None:
    """Draw single runs as dots; triangles at the edge stand for those beyond the axis."""
    dots, ends = line.dots(x), shown.y_range
    if dots and ends is not None:
        inside = [(at[show(value)], y) for value, y in dots if ends.contains(y)]
        if inside:
            look: dict[str, Any] = {"markersize": 3, "alpha": 0.4, "markeredgewidth": 0, "linestyle": "none"}
            panel.plot(*zip(*inside, strict=True), line.marker, color=line.colour, zorder=2, **look)
    across = panel.get_xaxis_transform()
    for value, above in shown.beyond(line, x):
        marker, place = ("^", EDGE[0]) if above else ("v", EDGE[1])
        panel.plot(
            [at[show(value)]], [place], marker, color=line.colour, markersize=5, alpha=0.7, transform=across, zorder=2
        )


def draw_diverged(panel: Axes, lines: Sequence[Line], x: str, at: Mapping[str, float]) -> None:
    """Draw a cross where most runs diverged, at the top, in a row for each line, or one if they are the same runs."""
    across = panel.get_xaxis_transform()
    found = [([at[show(value)] for value in line.diverged(x)], line.colour) for line in lines]
    if len(lines) > 1 and all(line.points is lines[0].points for line in lines):
        found = [(found[0][0], INK)]
    for i, (lost, colour) in enumerate(found):
        if lost:
            look: dict[str, Any] = {"markersize": 6.5, "markeredgewidth": 1.6, "label": "diverged" if i == 0 else None}
            panel.plot(lost, [0.94 - 0.05 * i] * len(lost), "x", color=colour, transform=across, **look)


def draw_theory(panel: Axes, theory: Sequence[Predicted]) -> None:
    """Draw theory as thin dashed lines over the points; a value of x that it marks is a line over the whole height."""
    named: set[str] = set()
    for each in theory:
        curve, look = each.curve, {"color": each.colour, "linestyle": each.dash}
        name = label(curve.label) if curve.label not in named else None
        named.add(curve.label)
        if each.is_vertical:
            panel.axvline(curve.x[0], linewidth=1.2, zorder=1.5, label=name, **look)
            continue
        marker = "_" if len(curve.x) == 1 else ""
        panel.plot(curve.x, curve.y, marker=marker, markersize=14, linewidth=1.4, label=name, zorder=4, **look)
        if curve.low is not None and curve.high is not None:
            panel.fill_between(curve.x, curve.low, curve.high, color=each.colour, alpha=0.1, linewidth=0)
