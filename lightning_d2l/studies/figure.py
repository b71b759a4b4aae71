"""The figure of a study: means or medians with their 95 % intervals, every run as a dot, theory dashed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lightning_d2l.config.escape import label
from lightning_d2l.config.text import cut, show
from lightning_d2l.config.trainer import RUNNING
from lightning_d2l.studies import axes, labels
from lightning_d2l.studies.axes import LARGEST, LONGEST_NAME
from lightning_d2l.studies.points import Point, Series, best_first, comparable, points_of, series_of
from lightning_d2l.studies.predicted import predicted
from lightning_d2l.studies.statistics import Estimate
from lightning_d2l.studies.study import Study, superlative
from lightning_d2l.theory.curves import Curve, numeric
from lightning_d2l.theory.theories import reasons
from lightning_d2l.training.record import RunRecord

COLOURS = ("#0072B2", "#E69F00", "#D55E00", "#CC79A7", "#009E73", "#56B4E9", "#000000", "#777777")
"""Of Okabe and Ito (2008), without yellow, which is too pale for a line."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
LINES: tuple[Any, ...] = ("-", (0, (7, 1, 1, 1)), (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)))  # theory is dashed
DARK = ("#333333", "#999999", "#666666")
"""For theory that belongs to several lines."""
SPLITS = ("train", "val", "test", RUNNING)
MOST_DOTS = 600
FEWEST = 4
"""Of fewer parts the runs themselves say more than an interval, which is not drawn."""
MOST_PANELS = 12
MOST_BARS = 100


def draw(study: Study, points: Sequence[Point], runs: Sequence[RunRecord]) -> tuple[Figure, str]:
    """The figure of a study, and its caption.

    There is a panel for each metric with a line for each curve, or, for at most three curves, a panel for each curve
    with a line for each split. More than eight curves are reduced to one: at each x the best setting. There are at
    most twelve panels.
    """
    if not study.x:
        study = dataclasses.replace(study, x="epoch")
        points = points_of(study, runs)
    theory = predicted(study, runs)
    series = series_of(study, points)
    isolated = len(series) > len(COLOURS)
    if isolated:
        series, theory = [_isolated(study, comparable(points))], [curve for curve in theory if not curve.where]
    metrics = [m for m in study.metrics if any(m in point.estimates for point in points)] or list(study.metrics)
    panels = _panels(study, series, metrics)[:MOST_PANELS]
    figure = Figure(figsize=(max(4.6 * len(panels), 5.6), 4.2), dpi=120, layout="constrained")
    drawn = list(figure.subplots(1, len(panels), squeeze=False).flat)
    for panel, (title, lines) in zip(drawn, panels, strict=True):
        _draw_panel(panel, study, lines, theory)
        shown = list(dict.fromkeys(line.metric for line in lines))
        split = labels.split(shown[0]) if len(shown) == 1 else ""
        quantity = labels.quantity(shown[0], runs[0].config) if shown else ""
        y = f"{quantity}, {split}" if split else quantity
        panel.set(xlabel=label(labels.axis(study.x)), ylabel=label(y), title=label(title))
        panel.title.set_fontsize(10)
    axes.share_y(drawn, [{line.metric.partition("/")[0] for line in lines} for _, lines in panels])
    for panel in drawn if len({_legend(panel) for panel in drawn}) > 1 else drawn[:1]:
        if panel.get_legend_handles_labels()[0]:
            panel.legend(fontsize=8)
    shaded = any(curve.low is not None for curve in theory)
    caption = _caption(study, points, isolated, f"theory{', with its own error shaded' * shaded}" if theory else "")
    return figure, " ".join([caption, *reasons(study.theory, study, runs)])


@dataclasses.dataclass(frozen=True)
class _Line:
    """The means or medians of a metric along a curve of the study."""

    label: str
    style: int
    metric: str
    series: Series

    @property
    def colour(self) -> str:
        return COLOURS[self.style % len(COLOURS)]


def _panels(study: Study, series: Sequence[Series], metrics: Sequence[str]) -> list[tuple[str, list[_Line]]]:
    """The titles of the panels and their lines."""
    of_base: dict[str, list[str]] = {}
    for metric in metrics:
        of_base.setdefault(metric.partition("/")[0], []).append(metric)
    named = [(_name(each.setting), each) for each in series]
    by_curve = study.panels == "curve" or (study.panels is None and len(series) <= 3 and len(metrics) > 1)
    if not by_curve or (len(of_base) > 1 and len(series) > 1):
        return [("", [_Line(name, i, metric, each) for i, (name, each) in enumerate(named)]) for metric in metrics]
    panels = []
    for name, each in named:
        for same in of_base.values():
            splits = [metric.rpartition("/")[2] for metric in same]
            styles = [SPLITS.index(split) if split in SPLITS else i for i, split in enumerate(splits)]
            lines = [_Line(labels.split(m) or m, style, m, each) for m, style in zip(same, styles, strict=True)]
            panels.append((name, lines))
    return panels


def _name(setting: Mapping[str, Any]) -> str:
    """The name of a curve: keys by their last part, and text values without a key."""
    named = (
        labels.words(k, v) if isinstance(v, str) else f"{k.rpartition('.')[2]} = {show(v)}" for k, v in setting.items()
    )
    return ", ".join(cut(words, LONGEST_NAME) for words in named)


def _isolated(study: Study, points: Sequence[Point]) -> Series:
    """At each x the point that is best by `study.select`."""
    best: dict[str, Point] = {}
    for point in best_first(study.select, points):
        best.setdefault(show(point.setting[study.x]), point)
    texts = dict.fromkeys(show(point.setting[study.x]) for point in points)
    chosen = [best[text] for text in texts if text in best]
    if numeric([point.setting[study.x] for point in chosen]):
        chosen.sort(key=lambda point: point.setting[study.x])
    return Series({}, chosen)


def _draw_panel(panel: Axes, study: Study, lines: Sequence[_Line], theory: Sequence[Curve]) -> None:
    xs = [point.setting[study.x] for line in lines for point in line.series.points]
    at = axes.place(panel, study.x, study.scale.get("x"), xs)
    names = not axes.have_positions(xs)
    shown: list[float] = []
    for i, line in enumerate(lines):
        step = 0.6 / len(lines) if names else 0.0  # values at a name are drawn side by side
        x = {text: position + step * (i - (len(lines) - 1) / 2) for text, position in at.items()}
        shown += _draw_line(panel, study, line, x, joined=not names)
    drawn = [] if names else _draw_theory(panel, lines, theory)
    near = [y for curve in drawn for y in curve.y if shown and y <= max(shown)]
    _draw_diverged(panel, study, lines, at)
    axes.scale_y(panel, study.scale.get("y"), shown + [y for y in near if y >= min(shown) / 10])
    if panel.get_yscale() == "log":
        for drawn_line in panel.lines:  # an estimate that is not positive has no place, and no cliff leads to it
            y = np.asarray(drawn_line.get_ydata(), float)
            drawn_line.set_ydata(np.where(y > 0, y, np.nan))
    panel.grid(alpha=0.3)
    if not names:
        panel.margins(x=0.04)


def _draw_line(panel: Axes, study: Study, line: _Line, at: Mapping[str, float], *, joined: bool) -> list[float]:
    """Draw one curve, with bands for numeric x, with error bars for names; returns the values of all runs drawn.

    The estimate of a point that diverged is not drawn, nor what lies beyond the ends of an axis.
    """
    measured = [(at[show(p.setting[study.x])], p) for p in line.series.points if line.metric in p.estimates]
    dots = [(x, value) for x, point in measured for value in point.values[line.metric] if abs(value) <= LARGEST]
    estimates = {x: point.estimates[line.metric] for x, point in measured if not point.diverged}
    estimates = {x: found for x, found in estimates.items() if abs(found.value) <= LARGEST}
    x, marker = list(estimates), MARKERS[line.style % len(MARKERS)]
    numbers = [(e.value, *_interval(e), *_quartiles(e)) for e in estimates.values()]
    values, low, high, q1, q3 = np.array(numbers).reshape(-1, 5).clip(-LARGEST, LARGEST).T
    look: dict[str, Any] = {"marker": marker, "markersize": 5, "label": label(line.label) or None, "zorder": 3}
    if joined and len(x) != 1:
        panel.plot(x, values, color=line.colour, linestyle=LINES[line.style % len(LINES)], **look)
        panel.fill_between(x, low, high, color=line.colour, alpha=0.18, linewidth=0)
        panel.fill_between(x, q1, q3, color=line.colour, alpha=0.08, linewidth=0)
    else:
        _draw_bars(panel, x, np.array([values, low, high]), line.colour, look)
        panel.vlines(x, q1, q3, color=line.colour, alpha=0.2, linewidth=6)
    if dots and len(dots) <= MOST_DOTS and len(dots) > len(measured):
        panel.plot(*zip(*dots, strict=True), marker, color=line.colour, markersize=2.5, alpha=0.35, linestyle="none")
    return [value for _, value in dots]


def _interval(found: Estimate) -> tuple[float, float]:
    """The interval that is drawn around a mean or a median."""
    return (found.low, found.high) if found.clusters >= FEWEST else (math.nan, math.nan)


def _is_drawn(found: Estimate) -> bool:
    return found.has_interval and found.clusters >= FEWEST


def _quartiles(found: Estimate) -> tuple[float, float]:
    """The quartiles that are drawn around a median."""
    is_drawn = found.statistic == "median" and found.clusters >= FEWEST
    return (found.q1, found.q3) if is_drawn else (math.nan, math.nan)


def _draw_bars(panel: Axes, x: Sequence[float], values: np.ndarray, colour: str, look: dict[str, Any]) -> None:
    """Draw error bars, from values (3, n): middle, low and high; many of them without caps, as one line."""
    middle, low, high = values
    if len(x) <= MOST_BARS:
        reach = np.abs([low - middle, high - middle])
        panel.errorbar(x, middle, yerr=reach, color=colour, linestyle="none", capsize=4, **look)
        return
    panel.plot(x, middle, color=colour, linestyle="none", **look)
    panel.plot(np.repeat(x, 3), np.array([low, high, np.full(len(x), np.nan)]).T.ravel(), color=colour, linewidth=1)


def _draw_diverged(panel: Axes, study: Study, lines: Sequence[_Line], at: Mapping[str, float]) -> None:
    """Draw a cross where most runs diverged, at the top, in a row for each curve."""
    for i, line in enumerate(lines):
        if lost := [at[show(point.setting[study.x])] for point in line.series.points if point.diverged]:
            name = None if "diverged" in _legend(panel) else "diverged"
            y, top = [0.97 - 0.04 * i] * len(lost), panel.get_xaxis_transform()
            panel.plot(lost, y, "x", color=line.colour, transform=top, label=name)


def _draw_theory(panel: Axes, lines: Sequence[_Line], theory: Sequence[Curve]) -> list[Curve]:
    """Draw the theory of the lines in this panel: in the colour of its line, or dark if it belongs to all."""
    found: dict[tuple[object, ...], tuple[Curve, set[str]]] = {}  # equal curves once, with the colours of their lines
    for curve in theory:
        if colours := {line.colour for line in lines if _belongs(curve, line)}:
            key = (curve.label, tuple(curve.x), tuple(curve.y))
            found.setdefault(key, (curve, set()))[1].update(colours)
    for position, (curve, colours) in enumerate(found.values()):
        colour = min(colours) if len(colours) == 1 and len(lines) > 1 else DARK[position % len(DARK)]
        name = curve.label if label(curve.label) not in _legend(panel) else None
        marker = "_" if len(curve.x) == 1 else ""
        panel.plot(
            curve.x, curve.y, "--", marker=marker, color=colour, linewidth=1.6, label=name and label(name), zorder=4
        )
        if curve.low is not None and curve.high is not None:
            panel.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.12, linewidth=0)
    return [curve for curve, _ in found.values()]


def _belongs(curve: Curve, line: _Line) -> bool:
    agrees = all(show(line.series.setting.get(k, v)) == show(v) for k, v in curve.where.items())
    return agrees and curve.metric in ("", line.metric)


def _legend(panel: Axes) -> tuple[str, ...]:
    return tuple(panel.get_legend_handles_labels()[1])


def _caption(study: Study, points: Sequence[Point], isolated: bool, theory: str) -> str:
    drawn = {m: [p.estimates[m] for p in points if m in p.estimates] for m in study.metrics}
    estimates = [found for each in drawn.values() for found in each]
    counts = sorted({estimate.n for estimate in estimates})
    caption = "One run for each point, so there are no intervals."
    if counts and counts[-1] > 1:
        n = f"n = {counts[0]}" if len(counts) == 1 else f"n = {counts[0]} to {counts[-1]}"
        designs, fixed = {e.design for e in estimates}, list(dict.fromkeys(e.given for e in estimates if e.given))
        over = f"{designs.pop() if len(designs) == 1 else 'runs'} ({n})"
        joined = numeric([point.setting[study.x] for point in points])
        lines, interval = ("Lines", "Bands") if joined else ("Large markers", "Bars")
        methods = labels.listing(dict.fromkeys(e.method for e in estimates if _is_drawn(e)) or ["none"])
        methods += f"; given {labels.listing(fixed)}" if fixed else ""
        medians = [m for m, each in drawn.items() if any(e.statistic == "median" for e in each)]
        what = "mean" if not medians else "median"
        if 0 < len(medians) < len([m for m, each in drawn.items() if each]):
            what = f"median of {labels.listing(medians)}, mean of the others,"
        caption = f"{lines}: {what} over {over}."
        if any(map(_is_drawn, estimates)):
            caption += f" {interval}: its 95 % interval ({methods})."
            caption += f" Pale {interval.lower()}: quartiles." if medians else ""
        elif any(e.clusters > 1 for e in estimates):
            caption += " So few have no band: their intervals are in summary.csv."
        caption += " Small dots: single runs."
    if isolated:
        best = f"{superlative(study.select)} {study.select}"
        caption = f"At each {study.x} the setting of {labels.listing(study.curves)} with the {best}. {caption}"
    caption += f" Dashed: {theory}." if theory else ""
    if any(abs(value) > LARGEST for p in points for name in study.metrics for value in p.values.get(name, ())):
        caption += f" Values beyond {LARGEST:g} are not drawn."
    return caption + (" Crosses: diverged." if any(point.diverged for point in points) else "")
