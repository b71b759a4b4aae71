"""Parallel coordinates of the settings of a search, or of a sweep over three or more keys, as plain values."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from lightning_d2l.config.text import cut, number, show
from lightning_d2l.studies import labels
from lightning_d2l.studies.interactive_fits import rounded
from lightning_d2l.studies.points import Point, best_first, comparable
from lightning_d2l.studies.ranges import geometric, have_positions
from lightning_d2l.studies.study import Study, superlative

FEWEST_KEYS = 3
MOST_KEYS = 10
MOST_LINES = 500
MOST_TICKS = 100
LONGEST_NAME = 24
WIDE = 20.0
CLOSEST = 0.06  # of an axis, between two ticks whose texts do not overlap


def as_values(study: Study, points: Sequence[Point]) -> dict[str, Any] | None:
    """The axes and lines of the settings that have the metric of the study; None for fewer than three keys."""
    keys = [key for key in study.keys if key != "epoch" and len({show(p.setting[key]) for p in points}) > 1]
    ranked = best_first(study.select, [point for point in comparable(points) if not point.diverged])
    if len(keys) < FEWEST_KEYS or len(ranked) < 2 or study.x == "epoch":
        return None
    shown = ranked[:: -(-len(ranked) // MOST_LINES)]
    measured = [point.estimates[study.select].value for point in shown]
    axes = [_axis(labels.named(key), key, [p.setting[key] for p in shown]) for key in keys[:MOST_KEYS]]
    axes.append(_axis(study.select, "", measured))
    highest = superlative(study.select) == "highest"
    every = "" if len(shown) == len(ranked) else f" {len(shown)} of {len(ranked)} settings are drawn, evenly by rank."
    return {
        "axes": axes,
        "colours": axes[-1]["values"],
        "scale": "Cividis",
        "reversed": highest,
        "said": [
            f"{study.select} {number(value)}: {labels.settings({k: p.setting[k] for k in keys})}"
            for p, value in zip(shown, measured, strict=True)
        ],
        "caption": f"A line for each setting, coloured by {study.select}: the darker, the better.{every} Drag along an "
        "axis to keep the settings of a range, click the axis to keep all; drag a name to move its axis.",
    }


def _axis(label: str, key: str, values: Sequence[Any]) -> dict[str, Any]:
    """An axis: positions of the values, ticks and their texts, of numbers that differ by factors logarithmic."""
    label = cut(label, LONGEST_NAME)
    if not have_positions(values):
        texts = list(dict.fromkeys(map(show, values)))
        place_of = {text: place for place, text in enumerate(texts)}
        names = [cut(labels.value(key, text), LONGEST_NAME) for text in texts]
        ends = [-0.2, len(texts) - 0.8]
        return _described(label, [place_of[show(v)] for v in values], ends, list(range(len(texts))), names)
    unique = sorted({float(value) for value in values})
    wide = unique[0] > 0 and (geometric(unique) or unique[-1] > WIDE * unique[0])
    at = math.log10 if wide else float
    low, high = at(unique[0]), at(unique[-1])
    margin = 0.03 * (high - low) or 0.5
    gaps = [at(b) - at(a) for a, b in itertools.pairwise(unique)]
    few = min(gaps, default=1.0) > CLOSEST * (high - low)
    marks = unique if few else _round_numbers(unique[0], unique[-1], wide)
    # The brush moves in steps from tick to tick: the values themselves, of which the round ones are named.
    between = [] if few else unique[:: -(-len(unique) // MOST_TICKS)]
    ticks = sorted({*marks, *between})
    named = {*marks}
    texts = [f"{tick:.4g}" if tick in named else "" for tick in ticks]
    places = rounded([at(float(value)) for value in values])
    return _described(label, places, [low - margin, high + margin], rounded([at(tick) for tick in ticks]), texts)


def _described(
    label: str, values: Sequence[Any], ends: Sequence[float], ticks: Sequence[Any], texts: Sequence[str]
) -> dict[str, Any]:
    return {"label": label, "values": values, "range": rounded(ends), "ticks": ticks, "texts": _unique(texts)}


def _unique(texts: Sequence[str]) -> list[str]:
    """Texts with blanks behind those that come twice: plotly.js takes ticks of equal text for one."""
    found: dict[str, None] = {}
    for text in texts:
        while text in found:
            text += " "  # noqa: PLW2901
        found[text] = None
    return list(found)


def _round_numbers(low: float, high: float, logarithmic: bool) -> list[float]:
    """Round numbers between two numbers: 1, 2 and 5 times powers of ten on a logarithmic axis, else equal steps."""
    if logarithmic:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        factors = (1,) if len(powers) > 4 else (1, 2, 5)
        return [mark for p in powers for f in factors if low <= (mark := f * 10.0**p) <= high] or [low, high]
    step = 10.0 ** math.floor(math.log10((high - low) / 2))
    step *= next((f for f in (1, 2, 5) if (high - low) / (f * step) <= 8), 10)
    first = math.ceil(low / step)
    return [round(i * step, 12) for i in range(first, math.floor(high / step) + 1)] or [low, high]
