"""Parallel coordinates (Inselberg 1985): an axis for each setting, and a line for each trial that crosses the axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import MaxNLocator

from lightning_d2l.config.escape import label
from lightning_d2l.config.text import cut, number, show
from lightning_d2l.studies import axes, frame, labels
from lightning_d2l.studies.palette import FAINT, GOOD
from lightning_d2l.studies.points import Point
from lightning_d2l.studies.ranges import geometric, have_positions
from lightning_d2l.studies.study import Study, superlative
from lightning_d2l.training.ticks import LogNumbers, LogTicks

MOST_NAMES = 6  # along an axis of names
MANY = 60  # trials, whose lines are paler
MOST_LINES = 300
"""Trials that have a line, evenly by rank."""


def scale_of(study: Study, key: str, values: Sequence[Any]) -> str:
    """The scale of a key of a search, or without a key of its results: "names", "log" or "linear"."""
    if not have_positions(values):
        return "names"
    numbers = sorted(set(values))
    asked = study.scale.get("x") if key == study.x else None
    factor = 30 if key else 2  # most of the results lie near to the best one
    wide = numbers[0] > 0 and (numbers[-1] >= factor * numbers[0] or geometric(numbers)) if numbers else False
    return "log" if wide and asked != "linear" else "linear"


def draw_parallel(panel: Axes, study: Study, keys: Sequence[str], trials: Sequence[Point], y: str) -> None:
    """Draw an axis for each key and one for the metric, and lines for at most MOST_LINES trials, the better the darker.

    They are evenly chosen by rank; the best and the worst are among them.
    """
    trials = sorted(
        trials, key=lambda p: p.estimates[study.select].value, reverse=superlative(study.select) == "lowest"
    )
    ranks = np.unique(np.linspace(0, len(trials) - 1, min(len(trials), MOST_LINES)).round().astype(int))
    trials = [trials[rank] for rank in ranks]
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
    scale = scale_of(study, key, values)
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
