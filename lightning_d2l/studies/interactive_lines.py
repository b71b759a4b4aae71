"""The panels of a picture as plain values for the script of a page: axes, lines, theory, and what a pointer is told."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lightning_d2l.config.text import cut, number, show
from lightning_d2l.studies import labels
from lightning_d2l.studies.bands import has_band
from lightning_d2l.studies.lines import Line, Predicted
from lightning_d2l.studies.palette import MARKERS
from lightning_d2l.studies.picture import Panel, Picture, shown
from lightning_d2l.studies.ranges import Range, y_range
from lightning_d2l.studies.statistics import Estimate
from lightning_d2l.studies.study import Study

MOST_POINTS = 1000  # of a line; of more, evenly chosen ones
MOST_NAMES = 40  # below an axis
LONGEST_NAME = 40
SYMBOLS = dict(
    zip(
        MARKERS,
        ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x", "triangle-left"),
        strict=True,
    )
)
"""The markers by the names of plotly.js."""
MARKS = dict(
    zip(
        MARKERS,
        (
            "M13 7a4 4 0 1 0 8 0a4 4 0 1 0 -8 0",
            "M13.5 3.5h7v7h-7z",
            "M17 2.5l4.5 8h-9z",
            "M17 2.5l4.5 4.5l-4.5 4.5l-4.5 -4.5z",
            "M17 11.5l4.5 -8h-9z",
            "M15.7 3h2.6v2.7h2.7v2.6h-2.7v2.7h-2.6v-2.7h-2.7v-2.6h2.7z",
            "M14 4l6 6M20 4l-6 6",
            "M12.5 7l8 4.5v-9z",
        ),
        strict=True,
    )
)
"""Their shapes in the legend."""
Place = Callable[[Any], int]
"""The number of a point in the page."""


@dataclass(frozen=True)
class Axis:
    """The x-axis of all panels: the values along it, which are numbers or names side by side by its scale."""

    key: str
    words: str
    scale: str
    values: Sequence[Any]

    @property
    def names(self) -> list[str] | None:
        """The values as names, where they have no positions as numbers."""
        return [self.text(value) for value in self.values] if self.scale == "names" else None

    def text(self, value: Any) -> str:
        return cut(labels.value(self.key, value), LONGEST_NAME)

    def position(self, value: Any) -> float:
        """The place of a value: itself, or its number among the names."""
        return [*map(show, self.values)].index(show(value)) if self.scale == "names" else float(value)

    @property
    def zero(self) -> float | None:
        """The place of 0 on a logarithmic axis: a step below the smallest positive value; None if it needs none."""
        positive = sorted({float(v) for v in self.values if v > 0})
        if not positive or not any(v == 0 for v in self.values):
            return None
        return positive[0] / (max(positive[1] / positive[0], 2.0) if len(positive) > 1 else 10.0)

    def as_values(self) -> dict[str, Any]:
        names = self.names
        key = self.key if self.key != self.words else ""
        found = {"label": self.words, "key": key, "names": names, "zero": None, "log": False, "can_log": False}
        if names is not None:
            return found | {
                "values": [*range(len(names))],
                "ticks": [*range(0, len(names), 1 + len(names) // MOST_NAMES)],
            }
        values = sorted({float(v) for v in self.values})
        can = sum(v > 0 for v in values) > 1 and values[0] >= 0
        return found | {
            "values": values,
            "ticks": [],
            "log": self.scale in ("log", "symlog") and can,
            "can_log": can,
            "zero": self.zero if can else None,
        }


def axis(picture: Picture) -> Axis:
    """The x-axis of a picture."""
    return Axis(picture.x, picture.x_words, picture.x_scale, picture.x_values)


@dataclass
class Entries:
    """The legend of a page: an entry for each name and look, which the lines of all panels share."""

    listed: list[dict[str, Any]] = field(default_factory=list)
    _known: dict[tuple[str, ...], int] = field(default_factory=dict)

    def of(self, name: str, colour: str, dash: Any, marker: str) -> int:
        """The number of an entry, which is added if it is new."""
        key = (name, "" if not marker else colour, marker)
        if key not in self._known:
            self._known[key] = len(self.listed)
            dashes = " ".join(show(2 * part) for part in dash[1]) if isinstance(dash, tuple) else ""
            self.listed.append({"name": name, "colour": colour, "dashes": dashes, "mark": MARKS.get(marker, "")})
        return self._known[key]


def panel(axis: Axis, each: Panel, entries: Entries, place_of: Place, *, join: bool) -> dict[str, Any]:
    """A panel as values; without `join` its points are not joined."""
    metrics = list(dict.fromkeys(line.metric for line in each.lines))
    found = _drawn(axis, each.lines, each.theory, each.y_range, entries, place_of, join)
    names = [line.label for line in each.lines if line.label]
    said = f"{each.title + ': ' if each.title else ''}{each.y} over {axis.words}"
    said += f", for {labels.listing(names)}." if names else "."
    return found | {"title": each.title, "y": each.y, "key": ", ".join(metrics), "said": said}


def panel_of_lines(
    axis: Axis, study: Study, lines: Sequence[Line], entries: Entries, place_of: Place
) -> dict[str, Any]:
    """A panel of lines without theory, for the errors beside a fitted function."""
    ends = y_range(study.scale.get("y"), shown(axis.key, lines))
    metrics = [line.metric for line in lines]
    quantity = labels.quantity(metrics[0], next(p.runs[0].config for line in lines for p in line.points))
    found = _drawn(axis, lines, [], ends, entries, place_of, join=True, spread=False)
    return found | {"y": quantity, "key": ", ".join(metrics)}


def _drawn(
    axis: Axis,
    lines: Sequence[Line],
    theory: Sequence[Predicted],
    ends: Range | None,
    entries: Entries,
    place_of: Place,
    join: bool,
    spread: bool = True,
) -> dict[str, Any]:
    """The lines and the ranges of y of a panel, linear and logarithmic; the latter is None without positive values."""
    other = {}
    for scale in ("linear", "log"):
        found = ends if ends and ends.scale == scale else y_range(scale, shown(axis.key, lines, theory))
        other[scale] = [found.low, found.high] if found and found.scale == scale else None
    step = 0.6 / len(lines) if spread and lines and axis.names is not None else 0.0
    drawn = []
    for i, line in enumerate(lines):
        name = line.label or labels.split(line.metric) or "measured"
        entry = entries.of(name, line.colour, "", line.marker)
        shift = step * (i - (len(lines) - 1) / 2)
        drawn.append(_line(axis, line, place_of, shift, join) | {"entry": entry, "name": name})
    drawn += [_theory(each, entries) for each in theory]
    is_log = ends is not None and ends.scale == "log"
    return {"lines": drawn, "log": is_log, "range": other["linear"] or [0, 1], "log_range": other["log"]}


def _line(axis: Axis, line: Line, place_of: Place, shift: float, join: bool) -> dict[str, Any]:
    """A measured line: estimates with their intervals where they are drawn, and every run as a dot."""
    drawn = {show(value) for value, _ in line.estimates(axis.key)}
    points = [p for p in line.points if not p.diverged and show(p.setting[axis.key]) in drawn]
    points = points[:: -(-len(points) // MOST_POINTS) or 1]
    estimates = [point.estimates[line.metric] for point in points]
    dots = line.dots(axis.key)
    lost = [point for point in line.points if point.diverged][:MOST_POINTS]

    def at(value: Any) -> float:
        return axis.position(value) + shift

    found: dict[str, Any] = {
        "colour": line.colour,
        "dash": "solid",
        "symbol": SYMBOLS[line.marker],
        "joined": join and axis.names is None and len(points) > 1,
        "at": [place_of(point) for point in points],
        "x": [at(point.setting[axis.key]) for point in points],
        "y": [each.value for each in estimates],
        "low": [each.low if has_band(each) else None for each in estimates],
        "high": [each.high if has_band(each) else None for each in estimates],
        "q1": [each.q1 if _has_quartiles(each) else None for each in estimates],
        "q3": [each.q3 if _has_quartiles(each) else None for each in estimates],
        "said": [told(line.metric, each) for each in estimates],
        "lost": {"x": [at(p.setting[axis.key]) for p in lost], "at": [place_of(p) for p in lost]},
    }
    if dots:
        found["dots"] = {"x": [at(value) for value, _ in dots], "y": [value for _, value in dots]}
    return found


def _has_quartiles(found: Estimate) -> bool:
    return found.statistic == "median" and has_band(found) and not math.isnan(found.q1)


def told(metric: str, found: Estimate) -> list[str]:
    """What a pointer at an estimate is told: mean or median, interval, and n."""
    if found.n < 2:
        return [f"{metric}: {number(found.value)}", "n = 1, so no interval"]
    words = [f"{metric}: {found.statistic} {number(found.value)}"]
    if found.has_interval:
        words.append(f"95 % interval {number(found.low)} to {number(found.high)}")
    design = f" ({found.design})" if found.design and found.design != f"n = {found.n}" else ""
    return [*words, f"n = {found.n}{design}"]


def _theory(each: Predicted, entries: Entries) -> dict[str, Any]:
    curve, dash = each.curve, each.dash if isinstance(each.dash, tuple) else (0, (4, 2))
    name = curve.label
    found: dict[str, Any] = {"theory": True, "name": name, "entry": entries.of(name, each.colour, dash, "")}
    found |= {"colour": each.colour, "dash": ",".join(f"{2 * part:g}px" for part in dash[1])}
    found |= {"x": [*map(float, curve.x)], "y": [*map(float, curve.y)], "low": None, "high": None}
    if curve.low is not None and curve.high is not None:
        found |= {"low": [*map(float, curve.low)], "high": [*map(float, curve.high)]}
    return found
