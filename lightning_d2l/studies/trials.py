"""The figure of a search: its trials as points, the best so far as steps, and all settings side by side.

No line joins trials, which have different settings. Of many trials a part is drawn, and the caption says which.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lightning_d2l.config.metrics import higher_is_better
from lightning_d2l.config.text import show
from lightning_d2l.studies import axes, frame, labels
from lightning_d2l.studies.palette import COLOURS, FAINT
from lightning_d2l.studies.parallel import MOST_LINES, draw_parallel, scale_of
from lightning_d2l.studies.picture import question_of
from lightning_d2l.studies.points import Point
from lightning_d2l.studies.ranges import WIDE, Range, Shown, have_positions, y_range
from lightning_d2l.studies.sources import SOURCE
from lightning_d2l.studies.statistics import kind_of
from lightning_d2l.studies.study import Study, superlative
from lightning_d2l.training.record import RunRecord
from lightning_d2l.training.ticks import set_ticks

TRIAL = "trial="
"""The start of the names of the folders of a search's trials."""
FEWEST, SCATTERED = 9, 0.8
"""A sweep of at least so many settings, of which so large a part has an x of its own, looks like a search."""
MOST_AXES = 8  # of parallel coordinates, the metric not counted
MOST_DRAWN = 600
"""Trials that are points; of more, so many that lie evenly along the search, with the best and the worst."""
FEW = 300
"""More points are smaller, and an image in a page."""
BLUE, ORANGE, RED = COLOURS[:3]


def is_search(study: Study, points: Sequence[Point], runs: Sequence[RunRecord]) -> bool:
    """Whether the runs are trials with settings of their own, chosen by a search or at random, and form no grid."""
    if not study.x or study.x == "epoch" or not have_positions([point.setting[study.x] for point in points]):
        return False
    if runs and all(run.folder.name.startswith(TRIAL) for run in runs):
        return True
    own = {show(point.setting[study.x]) for point in points}
    keys = [key for key in study.curves if key not in ("sweep", SOURCE)]
    keys = [key for key in keys if len({show(point.setting[key]) for point in points}) > 1]
    return len(keys) > 0 and len(points) >= FEWEST and len(own) >= SCATTERED * len(points)


def drawn(study: Study, points: Sequence[Point], runs: Sequence[RunRecord]) -> dict[int, Point]:
    """The points of a search that have `study.select` and are drawn, at most MOST_DRAWN, by their place in the search.

    The best and the worst are always among them.
    """
    trials = _trials(study, points, runs)
    numbers = [*trials]
    kept = {*_evenly(numbers, MOST_DRAWN - 2)}
    if numbers:
        ranked = sorted(numbers, key=lambda number: trials[number].estimates[study.select].value)
        kept |= {ranked[0], ranked[-1]}
    return {number: trials[number] for number in numbers if number in kept}


def thinned(study: Study, points: Sequence[Point], runs: Sequence[RunRecord]) -> tuple[Sequence[Point], str]:
    """The points that a page shows, and the sentence that says so: all, but of a search with many those that are drawn.

    Of the trials without `study.select`, as of those that diverged, there are as many.
    """
    if len(points) <= MOST_DRAWN or not is_search(study, points, runs):
        return points, ""
    without = [number for number, point in enumerate(points) if study.select not in point.estimates]
    kept = {
        id(point)
        for point in [*drawn(study, points, runs).values(), *(points[i] for i in _evenly(without, MOST_DRAWN))]
    }
    shown = [point for point in points if id(point) in kept]
    few = f"{len(shown):,} of {len(points):,} trials are drawn, evenly along the search, with the best and the worst."
    return shown, few


def _trials(study: Study, points: Sequence[Point], runs: Sequence[RunRecord]) -> dict[int, Point]:
    """The points that have `study.select` by the number of their first run, in the order of the search."""
    order = {id(run): number for number, run in enumerate(runs)}
    found = {min(order[id(run)] for run in p.runs): p for p in points if study.select in p.estimates}
    return dict(sorted(found.items()))


def _evenly(found: Sequence[int], most: int) -> Sequence[int]:
    """At most so many of the numbers, every second, third and so on."""
    return found[:: -(-len(found) // most) or 1]


def draw_search(study: Study, points: Sequence[Point], runs: Sequence[RunRecord]) -> tuple[Figure, str]:
    """The figure of a search and its caption.

    There are three panels: `study.select` of each trial in the order of the search, with the best so far; the metrics
    against `study.x`; and parallel coordinates of all settings, without them if there is one key.
    """
    metrics = list(dict.fromkeys([m for m in study.metrics if m.partition("/")[0] == study.select.partition("/")[0]]))
    metrics = list(dict.fromkeys([*metrics, study.select]))
    every = _trials(study, points, runs)
    values = {number: point.estimates[study.select].value for number, point in every.items()}
    chosen = drawn(study, points, runs)
    trials = [*chosen.values()]
    keys = [key for key in study.keys if len({show(point.setting[key]) for point in points}) > 1][:MOST_AXES]
    rows = 2 if len(keys) > 1 and len(trials) > 1 else 1
    figure, size = frame.blank(rows, 2)
    places = figure.add_gridspec(rows, 2)
    order_panel, key_panel = figure.add_subplot(places[0, 0]), figure.add_subplot(places[0, 1])
    found = [point.estimates[m].value for m in metrics for point in trials if m in point.estimates]
    middle = float(np.median(found)) if found else math.nan
    steps = _best(study, values)
    inner = [middle, *[*steps.values()][-1:]]
    wide = bool(found) and min(found) > 0 and max(found) > WIDE * min(found)
    ends = y_range(
        study.scale.get("y") or ("log" if wide else None),
        Shown(inner, [], [(v, middle) for v in found], kind=kind_of(study.select)),
    )
    _draw_order(order_panel, study, {number: values[number] for number in chosen}, steps, ends)
    _draw_key(key_panel, study, metrics, trials, size, ends)
    lost = _evenly([number for number, run in enumerate(runs) if run.status == "diverged"], MOST_DRAWN)
    order_panel.plot(lost, [0.96] * len(lost), "x", color="black", transform=order_panel.get_xaxis_transform())
    stopped = _evenly([number for number, run in enumerate(runs) if run.state == "pruned"], MOST_DRAWN)
    pruned = [(i, value) for i in stopped if (value := runs[i].metric(study.select)) is not None]
    hollow: dict[str, Any] = {"markersize": 4, "markerfacecolor": "none", "linestyle": "none", "zorder": 1.5}
    order_panel.plot([i for i, _ in pruned], [v for _, v in pruned], _marker(study.select), color=FAINT, **hollow)
    y = labels.quantity(study.select, runs[0].config)
    axes.name_axes(order_panel, {"trial": "trial"}, labels.axis_of(study.select, runs[0].config), size[1])
    axes.name_axes(key_panel, {study.x: labels.named(study.x)}, y if len(metrics) > 1 else "", size[1])
    if rows == 2:
        draw_parallel(figure.add_subplot(places[1, :]), study, keys, trials, y)
    caption = _caption(study, runs, len(trials) if len(trials) < len(every) else 0, rows > 1)
    frame.finish(figure, question_of(study), caption, _entries(metrics, rows > 1))
    return figure, caption


def _best(study: Study, values: Mapping[int, float]) -> dict[int, float]:
    """The best value so far, at each trial that improves it, and at the last one."""
    sign = -1 if higher_is_better(study.select) else 1
    found: dict[int, float] = {}
    best = math.inf
    for place, value in values.items():
        if sign * value < best:
            best = sign * value
            found[place] = value
    return found | dict.fromkeys([*values][-1:], sign * best)


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


def _draw_order(
    panel: Axes, study: Study, values: Mapping[int, float], steps: Mapping[int, float], ends: Range | None
) -> None:
    """Draw trials as points, and the best so far as steps."""
    axes.set_y(panel, ends)
    last = max(values, default=0)
    panel.set_xlim(-0.5 - 0.03 * last, 1.03 * last + 0.5)
    set_ticks(panel.xaxis, "linear", whole=True)
    panel.plot([*values], [*values.values()], _marker(study.select), color=_colour(study.select), **_look(len(values)))
    panel.step([*steps], [*steps.values()], where="post", color=RED, linewidth=1.8)


def _look(count: int) -> dict[str, Any]:
    """How points are drawn: the more, the smaller; of very many a page gets an image, and no element each."""
    many = count > FEW
    size = {"markersize": 3, "alpha": 0.5, "rasterized": True} if many else {"markersize": 5, "alpha": 0.75}
    return {"linestyle": "none", "markeredgewidth": 0, **size}


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
    at = axes.place_values(panel, study.x, scale_of(study, study.x, values), values, size[0])
    for metric in metrics:
        there = [point for point in trials if metric in point.estimates]
        x = [at[show(point.setting[study.x])] for point in there]
        y = [point.estimates[metric].value for point in there]
        panel.plot(x, y, _marker(metric), color=_colour(metric), **_look(len(x)))


def _caption(study: Study, runs: Sequence[RunRecord], drawn: int, parallel: bool) -> str:
    """The caption; `drawn` is how many trials are points, or 0 if each is."""
    completed = sum(run.completed for run in runs)
    states = {"pruned": "pruned (hollow)", "diverged": "diverged (crosses)", "failed": "failed"}
    counts = {words: sum(run.state == state for run in runs) for state, words in states.items()}
    lost = "".join(f", {count:,} {words}" for words, count in counts.items() if count)
    metric = labels.metric(study.select).removeprefix("the ")
    few = f"a point each; steps: the {superlative(study.select)} {metric} so far."
    many = f"of which {drawn:,} are drawn, evenly along the search, with the best and the worst; steps: the "
    many += f"{superlative(study.select)} {metric} of all so far."
    caption = f"{completed:,} trial{'s' * (completed != 1)}{lost}, {many if drawn else few}"
    lines = (
        f"lines for {MOST_LINES} trials, evenly by rank"
        if (drawn or completed) > MOST_LINES
        else "a line for each trial"
    )
    return caption + f" Below, {lines}; the darker, the better." * parallel
