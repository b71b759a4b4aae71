"""A study's picture: means over seeds with their 95 % band, every seed as a dot, the theory dashed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from lightning_d2l.studies import labels
from lightning_d2l.studies.collect import Run
from lightning_d2l.studies.diagnosis import DIVERGED
from lightning_d2l.studies.points import Point, Series, best_first, points_of, series_of
from lightning_d2l.studies.study import Study, higher_is_better, numeric
from lightning_d2l.studies.theory import THEORIES, Curve

# Okabe and Ito (2008), ordered so that neighbours differ in lightness too; the yellow is too pale for a line.
COLOURS = ("#0072B2", "#E69F00", "#000000", "#CC79A7", "#009E73", "#56B4E9", "#D55E00", "#777777")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
LINES: tuple[Any, ...] = ("-", (0, (7, 1, 1, 1)), (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)))  # dashes are the theory's
DARK = ("#333333", "#999999", "#666666")
"""Of theory that belongs to several lines."""
SPLIT_STYLE = {"train": 0, "val": 1, "test": 6}
MOST_CURVES = len(COLOURS)
MOST_DOTS = 600
WIDE = 20.0
"""Values that span more than this factor are drawn on a logarithmic scale."""


def draw(study: Study, points: Sequence[Point], runs: Sequence[Run]) -> tuple[Figure, str]:
    """The figure of a study, and its caption.

    A panel for each metric with a line for each curve; with up to three curves of several splits a panel for each
    curve with a line for each split. More than eight curves become one: at each x the best setting of the others.
    """
    if not study.x:
        study = dataclasses.replace(study, x="epoch")
        points = points_of(study, runs)
    theory = THEORIES[study.theory](study, runs) if study.theory else []
    series = series_of(study, points)
    isolated = len(series) > MOST_CURVES
    if isolated:
        series, theory = [_isolated(study, points)], [curve for curve in theory if not curve.where]
    metrics = [m for m in study.metrics if any(m in point.estimates for point in points)] or list(study.metrics)
    panels = _panels(study, series, metrics)
    figure = Figure(figsize=(max(4.6 * len(panels), 5.6), 4.2), dpi=120, layout="constrained")
    axes = list(figure.subplots(1, len(panels), squeeze=False).flat)
    config = runs[0].config
    for panel, (title, lines) in zip(axes, panels, strict=True):
        _draw_panel(panel, study, lines, theory)
        shown = list(dict.fromkeys(line.metric for line in lines))
        panel.set(xlabel=labels.axis(study.x), ylabel=_ylabel(shown, config), title=title)
        panel.title.set_fontsize(10)
    _share_y(axes, [{line.metric.partition("/")[0] for line in lines} for _, lines in panels])
    for panel in axes if len({_legend(panel) for panel in axes}) > 1 else axes[:1]:
        if panel.get_legend_handles_labels()[0]:
            panel.legend(fontsize=8)
    return figure, _caption(study, points, isolated, bool(theory))


@dataclasses.dataclass(frozen=True)
class _Line:
    label: str
    style: int
    metric: str
    series: Series


def _panels(study: Study, series: Sequence[Series], metrics: Sequence[str]) -> list[tuple[str, list[_Line]]]:
    """Titles of the panels with their lines."""
    bases = list(dict.fromkeys(metric.partition("/")[0] for metric in metrics))
    of_base = {base: [m for m in metrics if m.partition("/")[0] == base] for base in bases}
    names = [_name(s.setting) for s in series]
    by_curve = study.panels == "curve" or (study.panels is None and len(series) <= 3 and len(metrics) > 1)
    if by_curve and (len(bases) == 1 or len(series) == 1):
        return [
            (name, [_Line(labels.split(m) or m, _style(m, i), m, each) for i, m in enumerate(of_base[base])])
            for name, each in zip(names, series, strict=True)
            for base in bases
        ]
    return [
        (
            "",
            [_Line(name, i, metric, each) for i, (name, each) in enumerate(zip(names, series, strict=True))],
        )
        for metric in metrics
    ]


def _style(metric: str, position: int) -> int:
    return SPLIT_STYLE.get(metric.rpartition("/")[2], position)


def _name(setting: Mapping[str, Any]) -> str:
    """A curve's name: keys by their last part, and values alone where a word says enough."""
    return ", ".join(
        labels.show(v) if isinstance(v, str) else f"{k.rpartition('.')[2]} = {labels.show(v)}"
        for k, v in setting.items()
    )


def _isolated(study: Study, points: Sequence[Point]) -> Series:
    """At each x the point that is best by the metric that settings are chosen by."""
    best: dict[str, Point] = {}
    for point in best_first(study.select, points):
        best.setdefault(labels.show(point.setting[study.x]), point)
    order = list(dict.fromkeys(labels.show(point.setting[study.x]) for point in points))
    chosen = sorted(best, key=order.index)
    if numeric([point.setting[study.x] for point in points]):
        chosen.sort(key=lambda text: best[text].setting[study.x])
    return Series({}, [best[text] for text in chosen])


def _draw_panel(panel: Axes, study: Study, lines: Sequence[_Line], theory: Sequence[Curve]) -> None:
    xs = [point.setting[study.x] for line in lines for point in line.series.points]
    at = _places(panel, study, xs)
    shown: list[float] = []
    for line in lines:
        shown += _draw_line(panel, study, line, at)
    near = [y for curve in _draw_theory(panel, lines, theory) for y in curve.y if shown and y <= max(shown)]
    _scale_y(panel, study, shown + [y for y in near if y >= min(shown) / 3])
    panel.grid(alpha=0.3)
    panel.margins(x=0.04)


def _draw_line(panel: Axes, study: Study, line: _Line, at: Mapping[str, float]) -> list[float]:
    """Draw one curve; returns the values that must be seen."""
    colour, marker = COLOURS[line.style % len(COLOURS)], MARKERS[line.style % len(MARKERS)]
    points = [point for point in line.series.points if line.metric in point.estimates]
    x = [at[labels.show(point.setting[study.x])] for point in points]
    estimates = [point.estimates[line.metric] for point in points]
    means = [estimate.mean for estimate in estimates]
    label = line.label or None
    style = LINES[line.style % len(LINES)]
    panel.plot(x, means, linestyle=style, color=colour, marker=marker, markersize=5, label=label, zorder=3)
    low, high = ([getattr(e, side) for e in estimates] for side in ("low", "high"))
    panel.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
    if len(x) == 1 and estimates[0].n > 1:
        panel.errorbar(x, means, yerr=[[means[0] - low[0]], [high[0] - means[0]]], color=colour, capsize=4)
    dots = [(place, v) for place, point in zip(x, points, strict=True) for v in point.values[line.metric]]
    if len(dots) <= MOST_DOTS and any(estimate.n > 1 for estimate in estimates):
        panel.plot(*zip(*dots, strict=True), marker, color=colour, markersize=2.5, alpha=0.35, linestyle="none")
    diverged = [point for point in line.series.points if point.diagnosis and point.diagnosis.name == DIVERGED]
    if lost := [at[labels.show(point.setting[study.x])] for point in diverged]:
        top = panel.get_xaxis_transform()
        name = "diverged" if "diverged" not in _legend(panel) else None
        panel.plot(lost, [0.97] * len(lost), "x", color=colour, transform=top, markersize=7, label=name, clip_on=False)
    return [value for _, value in dots]


def _draw_theory(panel: Axes, lines: Sequence[_Line], theory: Sequence[Curve]) -> list[Curve]:
    """Draw the curves that belong to a line here: in its colour if to one of several, else dark; returns them."""
    owners: dict[tuple[str, tuple[float, ...], tuple[float, ...]], set[int]] = {}
    found: dict[tuple[str, tuple[float, ...], tuple[float, ...]], Curve] = {}
    for curve in theory:
        fitting = {line.style for line in lines if _belongs(curve, line)}
        if fitting:
            key = (curve.label, tuple(curve.x), tuple(curve.y))
            owners.setdefault(key, set()).update(fitting)
            found[key] = curve
    for key, curve in found.items():
        one = len(owners[key]) == 1 and len(lines) > 1
        colour = COLOURS[min(owners[key]) % len(COLOURS)] if one else DARK[[*found].index(key) % len(DARK)]
        name = curve.label if curve.label not in _legend(panel) else None
        at_one = "_" if len(curve.x) == 1 else ""
        panel.plot(curve.x, curve.y, "--", marker=at_one, color=colour, linewidth=1.6, label=name, zorder=4)
    return list(found.values())


def _belongs(curve: Curve, line: _Line) -> bool:
    agrees = all(labels.show(line.series.setting.get(k, v)) == labels.show(v) for k, v in curve.where.items())
    return agrees and curve.metric in ("", line.metric)


def _places(panel: Axes, study: Study, xs: Sequence[Any]) -> dict[str, float]:
    """Where each value of x lies, by its text; sets the axis' scale and ticks."""
    texts = list(dict.fromkeys(map(labels.show, xs)))
    if not numeric(xs):
        panel.set_xticks(range(len(texts)), texts, rotation=30 if max(map(len, texts), default=0) > 8 else 0)
        return {text: float(place) for place, text in enumerate(texts)}
    values = sorted(set(xs))
    scale = study.scale.get("x") or ("log" if _geometric(values) else "linear")
    positive = [value for value in values if value > 0]
    if scale == "log" and positive:
        if len(positive) == len(values):
            panel.set_xscale("log")
        else:
            panel.set_xscale("symlog", linthresh=positive[0], linscale=0.5)
        if len(values) <= 9:
            panel.set_xticks(values, [labels.show(value) for value in values])
            panel.xaxis.set_minor_formatter(NullFormatter())
    elif all(isinstance(value, int) for value in values):
        if len(values) <= 12 and values == list(range(values[0], values[-1] + 1)):
            panel.set_xticks(values)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    return {labels.show(value): float(value) for value in xs}


def _geometric(values: Sequence[float]) -> bool:
    """Whether numbers are spread by factors rather than by steps: a wide range, its middle near the small end."""
    positive = [value for value in values if value > 0]
    if min(values, default=-1) < 0 or len(positive) < 3 or positive[-1] / positive[0] < WIDE:
        return False
    middle = positive[len(positive) // 2]
    return middle < (positive[0] + positive[-1]) / 4


def _scale_y(panel: Axes, study: Study, shown: Sequence[float]) -> None:
    """A logarithmic axis where it belongs, and limits that no wide band stretches."""
    finite = [value for value in shown if math.isfinite(value)]
    if not finite:
        return
    low, high = min(finite), max(finite)
    scale = study.scale.get("y") or ("log" if low > 0 and high > WIDE * low else "linear")
    if scale == "log" and high > 0:
        low = min(value for value in finite if value > 0)
        panel.set_yscale("log", nonpositive="clip")
        stretch = max((high / low) ** 0.07, 1.1)
        panel.set_ylim(low / stretch, high * stretch)
        return
    margin = 0.07 * (high - low) or 0.1 * abs(high) or 1.0
    panel.set_ylim(low - margin, high + margin)


def _share_y(axes: Sequence[Axes], bases: Sequence[set[str]]) -> None:
    """Panels of the same metric show the same range."""
    for base in {b for each in bases for b in each}:
        same = [panel for panel, each in zip(axes, bases, strict=True) if base in each]
        log = any(panel.get_yscale() == "log" for panel in same)
        if log and not all(panel.get_ylim()[0] > 0 for panel in same):
            continue
        low, high = min(p.get_ylim()[0] for p in same), max(p.get_ylim()[1] for p in same)
        for panel in same:
            panel.set_yscale("log" if log else "linear")
            panel.set_ylim(low, high)


def _ylabel(metrics: Sequence[str], config: Mapping[str, Any]) -> str:
    name = labels.quantity(metrics[0], config) if metrics else ""
    return f"{name}, {labels.split(metrics[0])}" if len(metrics) == 1 and labels.split(metrics[0]) else name


def _legend(panel: Axes) -> tuple[str, ...]:
    return tuple(panel.get_legend_handles_labels()[1])


def _caption(study: Study, points: Sequence[Point], isolated: bool, theory: bool) -> str:
    estimates = [e for p in points for name, e in p.estimates.items() if name in study.metrics]
    counts = sorted({estimate.n for estimate in estimates})
    parts = []
    if isolated:
        word = "highest" if higher_is_better(study.select) else "lowest"
        others = labels.listing(study.curves)
        parts.append(f"At each {study.x} the setting of {others} with the {word} {study.select}.")
    if counts and counts[-1] > 1:
        n = f"n = {counts[0]}" if len(counts) == 1 else f"n = {counts[0]} to {counts[-1]}"
        methods = _methods(e.method for e in estimates if e.n > 1)
        parts.append(f"Lines: mean over runs ({n}). Bands: its 95 % interval ({methods}).")
        parts.append("Small dots: single runs.")
    else:
        parts.append("One run a point, so there is no interval.")
    if theory:
        parts.append("Dashed: theory.")
    if any(p.diagnosis and p.diagnosis.name == DIVERGED for p in points):
        parts.append("Crosses: diverged.")
    return " ".join(parts)


def _methods(names: Iterable[str]) -> str:
    return labels.listing(dict.fromkeys(names))
