"""The figure of a search: its trials as points, the best so far as steps, and all settings side by side.

No line joins trials, which have different settings. Parallel coordinates are those of Inselberg (1985): an axis for
each setting, and a line for each trial that crosses the axes at its values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lightning_d2l.config.escape import label
from lightning_d2l.config.metrics import higher_is_better
from lightning_d2l.config.text import cut, number, show
from lightning_d2l.studies import axes, frame, labels
from lightning_d2l.studies.palette import COLOURS, FAINT, GOOD
from lightning_d2l.studies.picture import question_of
from lightning_d2l.studies.points import Point
from lightning_d2l.studies.ranges import Range, Shown, geometric, have_positions, y_range
from lightning_d2l.studies.sources import SOURCE
from lightning_d2l.studies.statistics import kind_of
from lightning_d2l.studies.study import Study, superlative
from lightning_d2l.training.record import RunRecord
from lightning_d2l.training.ticks import LogNumbers, LogTicks, set_ticks

TRIAL = "trial="
"""The start of the names of the folders of a search's trials."""
FEWEST, SCATTERED = 9, 0.8
"""A sweep of at least so many settings, of which so large a part has an x of its own, looks like a search."""
MOST_AXES = 8  # of parallel coordinates, the metric not counted
MOST_NAMES = 6  # along an axis of names
MANY = 60  # trials, whose lines are paler
BLUE, ORANGE, RED = COLOURS[:3]


def is_search(study: Study, points: Sequence[Point], runs: Sequence[RunRecord]) -> bool:
    """Whether the runs are trials with settings of their own, chosen by a search or at random, and form no grid."""
    if not study.x or study.x == "epoch" or not have_positions([point.setting[study.x] for point in points]):
        return False
    if runs and all(run.folder.name.startswith(TRIAL) for run in runs):
        return True
    own = {show(point.setting[study.x]) for point in points}
    keys = [key for key in study.curves if key not in ("sweep", SOURCE)]
    return len(keys) > 0 and len(points) >= FEWEST and len(own) >= SCATTERED * len(points)


def draw_search(study: Study, points: Sequence[Point], runs: Sequence[RunRecord]) -> tuple[Figure, str]:
    """The figure of a search and its caption.

    There are three panels: `study.select` of each trial in the order of the search, with the best so far; the metrics
    against `study.x`; and parallel coordinates of all settings, without them if there is one key.
    """
    metrics = list(dict.fromkeys([m for m in study.metrics if m.partition("/")[0] == study.select.partition("/")[0]]))
    metrics = list(dict.fromkeys([*metrics, study.select]))
    order = {id(run): number for number, run in enumerate(runs)}
    trials = sorted((p for p in points if study.select in p.estimates), key=lambda p: min(order[id(r)] for r in p.runs))
    numbers = [min(order[id(run)] for run in point.runs) for point in trials]
    values = [point.estimates[study.select].value for point in trials]
    keys = [key for key in study.keys if len({show(point.setting[key]) for point in points}) > 1][:MOST_AXES]
    rows = 2 if len(keys) > 1 and len(trials) > 1 else 1
    figure, size = frame.blank(rows, 2)
    places = figure.add_gridspec(rows, 2)
    order_panel, key_panel = figure.add_subplot(places[0, 0]), figure.add_subplot(places[0, 1])
    found = [point.estimates[m].value for m in metrics for point in trials if m in point.estimates]
    middle = float(np.median(found)) if found else math.nan
    inner = [middle, *_best(study, values)[-1:]]
    ends = y_range(study.scale.get("y"), Shown(inner, [], [(v, middle) for v in found], kind=kind_of(study.select)))
    _draw_order(order_panel, study, numbers, values, ends)
    _draw_key(key_panel, study, metrics, trials, size, ends)
    lost = [number for number, run in enumerate(runs) if run.status == "diverged"]
    order_panel.plot(lost, [0.96] * len(lost), "x", color="black", transform=order_panel.get_xaxis_transform())
    stopped = [(i, run.metric(study.select)) for i, run in enumerate(runs) if run.state == "pruned"]
    pruned = [(i, value) for i, value in stopped if value is not None]
    hollow: dict[str, Any] = {"markersize": 4, "markerfacecolor": "none", "linestyle": "none", "zorder": 1.5}
    order_panel.plot([i for i, _ in pruned], [v for _, v in pruned], _marker(study.select), color=FAINT, **hollow)
    y = labels.quantity(study.select, runs[0].config)
    axes.name_axes(order_panel, {"trial": "trial"}, labels.axis_of(study.select, runs[0].config), size[1])
    axes.name_axes(key_panel, {study.x: labels.named(study.x)}, y if len(metrics) > 1 else "", size[1])
    if rows == 2:
        _draw_parallel(figure.add_subplot(places[1, :]), study, keys, trials, y)
    caption = _caption(study, runs, trials, rows > 1)
    frame.finish(figure, question_of(study), caption, _entries(metrics, rows > 1))
    return figure, caption


def _best(study: Study, values: Sequence[float]) -> list[float]:
    """The best value so far, at each trial."""
    if not values:
        return []
    best = np.maximum if higher_is_better(study.select) else np.minimum
    return [float(value) for value in best.accumulate(values)]


def _colour(metric: str) -> str:
    return {"train": BLUE, "val": ORANGE, "test": RED}.get(metric.rpartition("/")[2], BLUE)


def _marker(metric: str) -> str:
    return {"train": "o", "val": "s", "test": "^"}.get(metric.rpartition("/")[2], "o")


def _entries(metrics: Sequence[str], parallel: bool) -> list[Any]:
    found = [
        (Line2D([], [], color=_colour(m), marker=_marker(m), linestyle="none"), labels.split(m) or m) for m in metrics
    ]
    found.append((Line2D([], [], color=RED, linewidth=2), "best so far"))
    return [*found, *([(Line2D([], [], color="black", linewidth=2.4), "best trial")] if parallel else [])]


def _draw_order(panel: Axes, study: Study, numbers: Sequence[int], values: Sequence[float], ends: Range | None) -> None:
    """Draw each trial as a point, and the best so far as steps."""
    axes.set_y(panel, ends)
    panel.set_xlim(-0.5 - 0.03 * len(numbers), max(numbers, default=0) + 0.5 + 0.03 * len(numbers))
    set_ticks(panel.xaxis, "linear", whole=True)
    look: dict[str, Any] = {"linestyle": "none", "markersize": 5, "alpha": 0.75, "markeredgewidth": 0}
    panel.plot(numbers, values, _marker(study.select), color=_colour(study.select), **look)
    panel.step(numbers, _best(study, values), where="post", color=RED, linewidth=1.8)


def _draw_key(
    panel: Axes,
    study: Study,
    metrics: Sequence[str],
    trials: Sequence[Point],
    size: tuple[float, float],
    ends: Range | None,
) -> None:
    """Draw the metrics against the key along x, a point a trial."""
    axes.set_y(panel, ends)
    values = [point.setting[study.x] for point in trials]
    at = axes.place_values(panel, study.x, _scale(study, study.x, values), values, size[0])
    look: dict[str, Any] = {"linestyle": "none", "markersize": 5, "alpha": 0.75, "markeredgewidth": 0}
    for metric in metrics:
        there = [point for point in trials if metric in point.estimates]
        x = [at[show(point.setting[study.x])] for point in there]
        y = [point.estimates[metric].value for point in there]
        panel.plot(x, y, _marker(metric), color=_colour(metric), **look)


def _scale(study: Study, key: str, values: Sequence[Any]) -> str:
    """The scale of a key of a search, or without a key of its results: "names", "log" or "linear"."""
    if not have_positions(values):
        return "names"
    numbers = sorted(set(values))
    asked = study.scale.get("x") if key == study.x else None
    factor = 30 if key else 2  # most of the results lie near to the best one
    wide = numbers[0] > 0 and (numbers[-1] >= factor * numbers[0] or geometric(numbers)) if numbers else False
    return "log" if wide and asked != "linear" else "linear"


def _draw_parallel(panel: Axes, study: Study, keys: Sequence[str], trials: Sequence[Point], y: str) -> None:
    """Draw an axis for each key and one for the metric, and a line for each trial, the better the darker."""
    trials = sorted(
        trials, key=lambda p: p.estimates[study.select].value, reverse=superlative(study.select) == "lowest"
    )
    results = [point.estimates[study.select].value for point in trials]
    columns = [_positions(study, key, [point.setting[key] for point in trials]) for key in keys]
    columns.append(_positions(study, "", results))
    heights = np.array([heights for heights, _ in columns])
    goodness = np.linspace(0.08, 1.0, len(trials))
    lines = [np.column_stack([np.arange(len(columns)), heights[:, i]]) for i in range(len(trials))]
    colours = matplotlib.colormaps[GOOD](goodness)
    alpha = 0.75 if len(lines) <= MANY else 0.4
    panel.add_collection(LineCollection(lines[:-1], colors=colours[:-1], linewidths=1.3, alpha=alpha))
    panel.plot(*lines[-1].T, color="black", linewidth=2.4, marker="o", markersize=5)
    for i, (_, ticks) in enumerate(columns):
        panel.axvline(i, color="#444444", linewidth=1)
        for height, text in ticks:
            panel.plot([i - 0.012, i + 0.012], [height, height], color="#444444", linewidth=1)
            box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8}
            panel.annotate(
                text, (i, height), (-5, 0), textcoords="offset points", ha="right", va="center", fontsize=8, bbox=box
            )
    for i, key in enumerate([*keys, study.select]):
        words = frame.lines_of(label(labels.named(key) if i < len(keys) else y), axes.WORDS, 1.6)
        place: dict[str, Any] = {
            "xycoords": ("data", "axes fraction"),
            "textcoords": "offset points",
            "ha": "center",
            "va": "top",
        }
        panel.annotate(words, (i, 0), (0, -6), fontsize=axes.WORDS, **place)
        below = -8 - axes.WORDS * frame.SPACING * (words.count("\n") + 1)
        panel.annotate(label(key), (i, 0), (0, below), fontsize=axes.KEY, color=FAINT, **place)
    panel.set(xlim=(-0.45, len(columns) - 0.8), ylim=(-0.04, 1.04))
    panel.axis("off")


def _positions(study: Study, key: str, values: Sequence[Any]) -> tuple[list[float], list[tuple[float, str]]]:
    """The height of each value on its axis, from 0 to 1, and ticks there with their texts."""
    scale = _scale(study, key, values)
    if scale == "names":
        names = list(dict.fromkeys(map(show, values)))
        at = {text: i / max(len(names) - 1, 1) for i, text in enumerate(names)}
        shown = names if len(names) <= MOST_NAMES else names[:: math.ceil(len(names) / MOST_NAMES)]
        return [at[show(v)] for v in values], [(at[n], label(cut(labels.value(key, n), 16))) for n in shown]
    low, high = float(min(values)), float(max(values))
    if low == high:
        return [0.5] * len(values), [(0.5, number(low))]
    place = math.log if scale == "log" else float
    if scale == "log":
        ticks = LogTicks().tick_values(low, high)
    elif len(set(values)) <= MOST_NAMES and axes.are_round(values):
        ticks = sorted(set(values))
    else:
        ticks = [tick for tick in MaxNLocator(5).tick_values(low, high) if low <= tick <= high]
    texts = LogNumbers().format_ticks(ticks)
    span = place(high) - place(low)
    heights = [(place(float(value)) - place(low)) / span for value in values]
    return heights, [((place(t) - place(low)) / span, text) for t, text in zip(ticks, texts, strict=True)]


def _caption(study: Study, runs: Sequence[RunRecord], trials: Sequence[Point], parallel: bool) -> str:
    completed = sum(run.completed for run in runs)
    states = {"pruned": "pruned (hollow)", "diverged": "diverged (crosses)", "failed": "failed"}
    counts = {words: sum(run.state == state for run in runs) for state, words in states.items()}
    lost = "".join(f", {count} {words}" for words, count in counts.items() if count)
    metric = labels.metric(study.select).removeprefix("the ")
    caption = f"{completed} trial{'s' * (completed != 1)}{lost}, a point each; "
    caption += f"steps: the {superlative(study.select)} {metric} so far."
    return caption + " Below, a line for each trial; the darker, the better." * parallel
