"""Fitted functions of one variable, which a page shows over the data beside the errors of their settings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lightning_d2l.config.text import cut
from lightning_d2l.studies import labels
from lightning_d2l.studies.points import Point

DIGITS = 5
LONGEST = 100


@dataclass(frozen=True)
class Fit:
    """The fitted functions of runs of one setting on a grid (runs, n), the first of which is shown with its data.

    The others may be fitted to data that `differ`. `further` are the functions of more runs, for a figure.
    """

    point: Point
    runs: Sequence[str]
    outputs: Sequence[Sequence[float]]
    x: Sequence[float]
    y: Sequence[float]
    differ: bool = True
    further: Sequence[Sequence[float]] = ()


@dataclass(frozen=True)
class Fitted:
    """The fitted functions of a study's runs on a grid (n,), and the true function there if it is known.

    `truth` is empty for data of an unknown function. `reason` says why some have no fits, or none has.
    """

    grid: Sequence[float] = ()
    truth: Sequence[float] = ()
    fits: Sequence[Fit] = field(default_factory=list)
    names: tuple[str, str] = ("x", "y")  # of the input and the target
    reason: str = ""


def rounded(values: Sequence[float]) -> list[float | None]:
    """Numbers with as many digits as a picture shows; None for those that are not finite, which JSON does not have."""
    return [float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None for value in values]


def as_values(found: Fitted, curves: Sequence[dict[str, Any]], points: Sequence[Sequence[Point]]) -> dict[str, Any]:
    """What the page's script draws, from the curves of the errors and the points of each of them.

    The curves have their panels and their places along x; each place gets its fitted function.
    """
    data: list[dict[str, Any]] = []
    numbers: dict[tuple[tuple[float, ...], tuple[float, ...]], int] = {}
    fits = {id(fit.point): fit for fit in found.fits}
    for curve, along in zip(curves, points, strict=True):
        for place, point in zip(curve["places"], along, strict=True):
            if not (fit := fits.get(id(point))):
                place["fit"] = None
                continue
            number = numbers.setdefault((tuple(fit.x), tuple(fit.y)), len(data))
            if number == len(data):
                data.append({"x": rounded(fit.x), "y": rounded(fit.y)})
            first, *others = map(rounded, fit.outputs)
            place["fit"] = {"y": first, "others": others, "data": number, "run": cut(fit.runs[0], LONGEST)}
    targets = sorted(y for fit in found.fits for y in fit.y if math.isfinite(y))
    shown = [*targets, *(y for y in found.truth if math.isfinite(y))] or [0.0, 1.0]
    margin = 0.15 * (max(shown) - min(shown)) or 1.0
    several = max((len(fit.runs) for fit in found.fits), default=0)
    dashed = " Dashed: the true function." if len(found.truth) else ""
    to_what = "each fitted to its own data" if any(fit.differ for fit in found.fits) else "fitted to the same data"
    thin = f" Thin: up to {several - 1} more {'run' if several == 2 else 'runs'}, {to_what}." if several > 1 else ""
    lost = f" {found.reason}" if found.reason else ""
    return {
        "grid": rounded(found.grid),
        "truth": rounded(found.truth) or None,
        "range": rounded([min(shown) - margin, max(shown) + margin]),
        "input": found.names[0],
        "output": found.names[1],
        "data": data,
        "curves": list(curves),
        "said": "Drag the slider, or choose it and press the arrow keys. On the left is the fitted function, on the "
        f"right are its errors. Thick: the run that is named below, over its training data.{dashed}{thin}{lost}",
    }


def sentence(point: Point, metrics: Sequence[str]) -> list[str]:
    """The estimates at a point, a phrase each."""
    having = [metric for metric in metrics if metric in point.estimates]
    return [f"{labels.split(metric) or metric} {point.estimates[metric].short}" for metric in having]
