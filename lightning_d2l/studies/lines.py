"""The lines of a picture: measured ones, and the theory beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_d2l.config.text import show
from lightning_d2l.studies.palette import COLOURS, MARKERS, darker
from lightning_d2l.studies.points import Point
from lightning_d2l.studies.ranges import LARGEST
from lightning_d2l.studies.statistics import Estimate
from lightning_d2l.theory.curves import Curve

MOST_DOTS = 600
"""Single runs of a line that are drawn."""
MOST_IN_ALL = 2000
"""Of a picture."""
MOST_COLUMNS = 24
"""Values of x at which they are; dots at more would merge."""


@dataclass(frozen=True)
class Line:
    """The means or medians of a metric along a curve of the study.

    `style` is the number of its colour and marker, `label` is empty if it needs no name. `setting` has the values of
    the keys that make the curve, `points` its points in the order of x; at some the metric may be missing. Single runs
    are drawn where it is `dotted`.
    """

    label: str
    style: int
    metric: str
    setting: Mapping[str, Any]
    points: Sequence[Point]
    dotted: bool = True

    @property
    def colour(self) -> str:
        return COLOURS[self.style % len(COLOURS)]

    @property
    def marker(self) -> str:
        """The marker by matplotlib's name."""
        return MARKERS[self.style % len(MARKERS)]

    def estimates(self, x: str) -> list[tuple[Any, Estimate]]:
        """The values of x with the estimates there, without those of points that diverged and those beyond an axis."""
        measured = [(p.setting[x], p.estimates.get(self.metric)) for p in self.points if not p.diverged]
        return [(value, found) for value, found in measured if found and abs(found.value) <= LARGEST]

    def runs(self, x: str) -> list[tuple[Any, float]]:
        """The values of x with the values of single runs there."""
        return [
            (point.setting[x], value)
            for point in self.points
            for value in point.values.get(self.metric, ())
            if abs(value) <= LARGEST
        ]

    def dots(self, x: str) -> list[tuple[Any, float]]:
        """The single runs that are drawn: none where a point has one run, or where there are too many."""
        if not self.dotted:
            return []
        found, measured = self.runs(x), sum(self.metric in point.estimates for point in self.points)
        return found if measured < len(found) <= MOST_DOTS and measured <= MOST_COLUMNS else []

    def diverged(self, x: str) -> list[Any]:
        """The values of x at which most runs diverged."""
        return [point.setting[x] for point in self.points if point.diverged]


@dataclass(frozen=True)
class Predicted:
    """A theoretical curve in a panel.

    It has a darker shade of the measured line that it belongs to, whose label is `line`, or a dark colour of its own.
    The curves of a picture differ in their dashes.
    """

    curve: Curve
    colour: str
    line: str = ""
    dash: Any = "--"

    @property
    def is_vertical(self) -> bool:
        """Whether it marks a value of x."""
        return len(self.curve.x) > 1 and len(set(self.curve.x)) == 1


def beside(lines: Sequence[Line], theory: Sequence[Curve]) -> list[Predicted]:
    """The theory of the lines of a panel, equal curves once: in the shade of its line, or without one if of many."""
    found: dict[tuple[object, ...], tuple[Curve, dict[str, str]]] = {}
    for curve in theory:
        if owners := {line.colour: line.label for line in lines if _belongs(curve, line)}:
            key = (curve.label, tuple(curve.x), tuple(curve.y))
            found.setdefault(key, (curve, {}))[1].update(owners)
    drawn = []
    for curve, owners in found.values():
        colour, name = next(iter(owners.items())) if len(owners) == 1 < len(lines) else ("", "")
        drawn.append(Predicted(curve, colour and darker(colour), name))
    return drawn


def _belongs(curve: Curve, line: Line) -> bool:
    agrees = all(show(line.setting.get(k, v)) == show(v) for k, v in curve.where.items())
    return agrees and curve.metric in ("", line.metric)
