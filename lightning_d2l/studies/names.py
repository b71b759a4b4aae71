"""The names of lines: at their ends where there is room, else in one legend for all panels; theory once.

Places are parts of a panel's width and height, so that they are known before the figure has a layout.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.lines import Line2D

from lightning_d2l.config.escape import label
from lightning_d2l.config.text import show
from lightning_d2l.studies.axes import fractions
from lightning_d2l.studies.bands import quartiles
from lightning_d2l.studies.frame import ENTRY, lines_of, width_of
from lightning_d2l.studies.lines import Predicted
from lightning_d2l.studies.palette import contrast
from lightning_d2l.studies.picture import Panel, Picture
from lightning_d2l.theory.curves import Array

Entry = tuple[Artist | tuple[Artist, ...], str]
MOST_AT_ENDS = 4  # lines of a panel that are named at their ends
LONGEST_AT_END = 24  # characters of such a name
LAST = 0.9  # of the width, where lines end that are named there
APART = 1.25  # heights of a letter between two names
MOVED = 1.6  # heights of a letter that a name may be away from its line
READABLE = 4.5  # contrast of text on white
MOST_SAMPLES = 4  # of the dashes of a theory, side by side in the legend
NEAR_MARK = 8.0  # points of a name along a vertical line
NEAR = 0.015  # of the width or height of a panel, to lines that such a name keeps free
SAMPLES = 24  # of a line between two of its points


def at_ends(
    panel: Axes, shown: Panel, x: str, at: Mapping[str, float], size: tuple[float, float]
) -> dict[str, float] | None:
    """The heights at which the names of a panel's lines stand beside their ends; None if there is no room for them.

    `at` has the positions of the values of `x`, `size` the width and height of the panel in inches.
    """
    named = [line for line in shown.lines if line.label]
    if len(named) > MOST_AT_ENDS or any(len(line.label) > LONGEST_AT_END for line in named):
        return None
    ends: dict[str, float] = {}
    for line in named:
        drawn = [(at[show(value)], found.value) for value, found in line.estimates(x)]
        drawn = [(place, y) for place, y in drawn if shown.y_range and shown.y_range.contains(y)]
        if len(drawn) < 2 or (end := fractions(panel, drawn[-1:])[0])[0] < LAST:
            return None
        ends[line.label] = float(end[1])
    letter = ENTRY / 72 / size[1]
    placed = spread(list(ends.values()), APART * letter)
    if any(abs(a - b) > MOVED * letter for a, b in zip(placed, ends.values(), strict=True)):
        return None
    return dict(zip(ends, placed, strict=True))


def spread(heights: Sequence[float], apart: float) -> list[float]:
    """Heights moved as little as is needed to lie `apart` from each other, in their order.

    Blocks of touching names stand around their mean (as in isotonic regression).
    """
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    blocks: list[list[float]] = []  # each: the mean of (height - position in the block), and its length
    for rank, i in enumerate(order):
        blocks.append([heights[i] - rank * apart, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (mean, count), (last, more) = blocks[-2], blocks.pop()
            blocks[-1] = [(mean * count + last * more) / (count + more), count + more]
    starts = [mean for mean, count in blocks for _ in range(int(count))]
    found = [0.0] * len(heights)
    for rank, i in enumerate(order):
        found[i] = starts[rank] + rank * apart
    return found


def write_at_ends(panel: Axes, shown: Panel, heights: Mapping[str, float]) -> None:
    """Write the names of lines beside their ends, right of the panel."""
    for line in shown.lines:
        if line.label:
            panel.annotate(
                label(line.label),
                xy=(1.0, heights[line.label]),
                xycoords="axes fraction",
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=ENTRY,
                color=readable(line.colour),
                annotation_clip=False,
            )


def readable(colour: str) -> str:
    """A colour, darkened as far as text on white needs it."""
    while contrast(colour) < READABLE:
        red, green, blue = to_rgb(colour)
        colour = to_hex((0.95 * red, 0.95 * green, 0.95 * blue))
    return colour


def entries(picture: Picture, *, lines: bool) -> list[Entry]:
    """The entries of the legend for all panels: the lines, if they have no names at their ends, and each theory once.

    The sample of a theory shows the dashes of its curves side by side.
    """
    found: dict[str, list[Artist]] = {}
    for line in (line for panel in picture.panels for line in panel.lines if lines and line.label):
        look: dict[str, Any] = {"color": line.colour, "marker": line.marker, "markersize": 5.5, "linewidth": 1.7}
        found.setdefault(line.label, []).append(Line2D([], [], label=line.style, **look))
    for each in (each for panel in picture.panels for each in panel.theory if not each.is_vertical):
        look = {"color": each.colour, "linestyle": each.dash, "linewidth": 1.5}
        found.setdefault(each.curve.label, []).append(Line2D([], [], label=f"{each.colour}{each.dash}", **look))
    return [(_samples(handles), name.replace(" - ", " \N{MINUS SIGN} ")) for name, handles in found.items()]


def _samples(handles: Sequence[Artist]) -> Artist | tuple[Artist, ...]:
    """The handle of an entry, of several that look different a tuple of them."""
    different = tuple({handle.get_label(): handle for handle in handles}.values())[:MOST_SAMPLES]
    return different[0] if len(different) == 1 else different


def name_marks(panel: Axes, shown: Panel, x: str, at: Mapping[str, float], size: tuple[float, float]) -> None:
    """Write the names of vertical lines along them, where they hide the fewest points."""
    marks = [each for each in shown.theory if each.is_vertical]
    if not marks or shown.y_range is None:
        return
    curves = [[(at[show(value)], found.value) for value, found in line.estimates(x)] for line in shown.lines]
    curves += [[*zip(each.curve.x, each.curve.y, strict=True)] for each in shown.theory if not each.is_vertical]
    taken = [place for curve in curves for place in _along(fractions(panel, curve))]
    taken += fractions(panel, [(at[show(value)], y) for line in shown.lines for value, y in line.dots(x)]).tolist()
    lost = [(at[show(value)], shown.y_range.high) for line in shown.lines for value in line.diverged(x)]
    taken += [(place, height) for place, _ in fractions(panel, lost).tolist() for height in (0.8, 0.86, 0.92, 0.96)]
    taken += [
        (place, height)
        for line in shown.lines
        for value, found in line.estimates(x)
        if not math.isnan(quartiles(found)[0])
        for place, height in _along(fractions(panel, [(at[show(value)], end) for end in quartiles(found)]))
    ]
    placed = [
        _placed(panel, marks, taken, size, upright=upright) for upright in (False, True)
    ]  # all names the same way
    for each, name in min(placed, key=lambda names: sum(name.hidden for _, name in names)):
        _write(panel, each, name)


def _along(places: Array) -> list[tuple[float, float]]:
    """Places (n, 2) along the line that joins them, close to each other."""
    if len(places) < 2:
        return [(float(x), float(y)) for x, y in places]
    along = np.arange(0, len(places) - 1 + 1e-9, 1 / SAMPLES)
    x, y = (np.interp(along, np.arange(len(places)), places[:, i]) for i in (0, 1))
    return list(zip(x.tolist(), y.tolist(), strict=True))


@dataclass(frozen=True)
class _Name:
    """A name beside a vertical line: how many points it hides, its text, and its place as parts of the panel."""

    hidden: int
    text: str
    place: float
    right: bool
    bottom: float
    upright: bool


def _placed(
    panel: Axes,
    marks: Sequence[Predicted],
    taken: Sequence[tuple[float, float]],
    size: tuple[float, float],
    *,
    upright: bool,
) -> list[tuple[Predicted, _Name]]:
    """The names of vertical lines where they hide the least, the lines themselves and each other included."""
    bottom = panel.get_ylim()[0]
    places = {id(each): float(fractions(panel, [(each.curve.x[0], bottom)])[0, 0]) for each in marks}
    taken, found = list(taken), list[tuple[Predicted, _Name]]()
    for each in marks:
        place = places[id(each)]
        if not -0.01 <= place <= 1.01:
            continue
        others = [
            (places[id(o)], float(height)) for o in marks if o is not each for height in np.linspace(0, 1, SAMPLES)
        ]
        points = np.reshape([*taken, *others], (-1, 2))
        text = label(", ".join(filter(None, [each.curve.label, each.line])))
        name = lines_of(text, NEAR_MARK, 0.94 * size[1] if upright else 0.45 * size[0])
        rows = name.split("\n")
        extent = max(width_of(row, NEAR_MARK) for row in rows) + 0.06, 1.4 * len(rows) * NEAR_MARK / 72
        width, height = (np.array(extent[::-1] if upright else extent) / size).tolist()
        choices = []
        for right in (True, False):
            left = place if right else place - width
            for low in np.linspace(0.02, max(0.98 - height, 0.02), SAMPLES).tolist():
                over = (points >= [left - NEAR, low - NEAR]) & (points <= [left + width + NEAR, low + height + NEAR])
                outside = left < 0 or left + width > 1
                choices.append((int(over.all(1).sum()) + 1000 * outside, not right, low))
        hidden, leftwards, low = min(choices)
        left = place - width if leftwards else place
        taken += [(left + width * i / 9, low + height * j / 9) for i in range(10) for j in range(10)]
        found.append((each, _Name(hidden, name, place, not leftwards, low, upright)))
    return found


def _write(panel: Axes, each: Predicted, name: _Name) -> None:
    panel.annotate(
        name.text,
        xy=(name.place, name.bottom),
        xycoords="axes fraction",
        xytext=(4 if name.right else -4, 0),
        textcoords="offset points",
        rotation=90 if name.upright else 0,
        ha="left" if name.right else "right",
        va="bottom",
        fontsize=NEAR_MARK,
        color=readable(each.colour),
        zorder=5,
    )
