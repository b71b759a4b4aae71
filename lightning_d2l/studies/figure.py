"""The figure of a study with matplotlib, from the values of its picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lightning_d2l.config.escape import label
from lightning_d2l.studies import axes, frame, names, regions, strokes
from lightning_d2l.studies.picture import Panel, Picture, picture_of
from lightning_d2l.studies.points import Point
from lightning_d2l.studies.study import Study
from lightning_d2l.studies.trials import draw_search, is_search
from lightning_d2l.training.panels import PAPER
from lightning_d2l.training.record import RunRecord

WIDTH_OF_NAMES = 0.6  # of the distance of two names on the x-axis, for the lines there
WIDTH_ALONE = 0.3  # half of an axis with a single number


def draw(study: Study, points: Sequence[Point], runs: Sequence[RunRecord]) -> tuple[Figure, str]:
    """The figure of a study, and its caption.

    Above the panels are the question and a legend, below them what the lines and bands are. See `picture_of` for the
    panels, and `draw_search` for the trials of a search, which no lines join.
    """
    with matplotlib.rc_context(PAPER):
        if is_search(study, points, runs):
            return draw_search(study, points, runs)
        picture = picture_of(study, points, runs)
        return draw_picture(picture), picture.caption


def draw_picture(picture: Picture) -> Figure:
    """The figure of a picture."""
    count, columns = len(picture.panels), picture.columns
    figure, drawn, size = frame.grid(math.ceil(count / columns), columns, count)
    at: dict[str, float] = {}
    for panel, shown in _pairs(drawn, picture):
        at = axes.place_x(panel, picture, size[0])
        axes.set_y(panel, shown.y_range)
        _draw_panel(panel, picture, shown, at)
    marked = regions.mark(drawn, picture, at, size)
    for i, panel in enumerate(drawn):
        _name_panel(panel, picture, i, size, marked)
    ends = [names.at_ends(panel, shown, picture.x, at, size) for panel, shown in _pairs(drawn, picture)]
    at_ends = picture.x_scale != "names" and all(each is not None for each in ends)
    for (panel, shown), heights in zip(_pairs(drawn, picture), ends, strict=True):
        names.name_marks(panel, shown, picture.x, at, size)
        if at_ends and heights:
            names.write_at_ends(panel, shown, heights)
    frame.finish(figure, picture.title, picture.note, names.entries(picture, lines=not at_ends))
    return figure


def _pairs(drawn: Sequence[Axes], picture: Picture) -> list[tuple[Axes, Panel]]:
    return list(zip(drawn, picture.panels, strict=True))


def _draw_panel(panel: Axes, picture: Picture, shown: Panel, at: dict[str, float]) -> None:
    joined = picture.x_scale != "names"
    width = WIDTH_OF_NAMES if not joined else WIDTH_ALONE if len(picture.x_values) == 1 else 0.0
    step = width / max(len(shown.lines), 1)  # values at a name, or at the only x, are drawn side by side
    for i, line in enumerate(shown.lines):
        aside = step * (i - (len(shown.lines) - 1) / 2)
        strokes.draw_line(panel, shown, line, picture.x, at, joined=joined, step=aside)
    strokes.draw_theory(panel, shown.theory)
    strokes.draw_diverged(panel, shown.lines, picture.x, at)


def _name_panel(panel: Axes, picture: Picture, i: int, size: tuple[float, float], above: float) -> None:
    """Write the title of a panel, and the words of its axes where no panel below or left of it has them.

    `above` is the height of what stands between the title and the panel in points.
    """
    shown = picture.panels[i]
    panel.set_title(label(shown.title), fontsize=axes.WORDS, loc="left", pad=6 + above)
    lowest = i + picture.columns >= len(picture.panels)
    repeats = i % picture.columns > 0 and picture.panels[i - 1].y == shown.y
    axes.name_axes(panel, {picture.x: picture.x_words} if lowest else {}, "" if repeats else shown.y, size[1])
