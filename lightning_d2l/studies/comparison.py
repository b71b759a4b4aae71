"""The comparison of two settings, over the replicates that they share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from lightning_d2l.config.text import number
from lightning_d2l.studies.points import Point, best_first
from lightning_d2l.studies.statistics import kind_of
from lightning_d2l.studies.study import superlative

MARGIN = 0.05
"""Two losses whose ratio lies within 1 ± this margin are equivalent; of accuracies, a difference of a fifth of it."""


@dataclass(frozen=True)
class Comparison:
    """How much another setting b differs from a, `effect` with its 95 % interval `low` to `high`.

    `effect` is the ratio b / a if `is_ratio`, else the difference b - a. `verdict` is "apart", "equivalent" or
    "undecided". In `wins` of `pairs` shared data sets (or runs) a is better. `p` is corrected for the number of
    comparisons. `more` replicates would decide, as far as these can tell; None if unknown or not needed.
    """

    verdict: str
    effect: float
    low: float
    high: float
    is_ratio: bool
    wins: int
    pairs: int
    p: float
    more: int | None
    text: str

    def __str__(self) -> str:
        return self.text


def compare(a: Point, b: Point, metric: str, settings_compared: int = 1) -> Comparison:
    """Compare setting b with a: paired over the replicates that both have, by Welch's test if there are none."""
    first = dict(zip(a.replicates.get(metric, []), a.values.get(metric, []), strict=True))
    second = dict(zip(b.replicates.get(metric, []), b.values.get(metric, []), strict=True))
    shared = [key for key in first if key in second]
    values = np.array([[first[key], second[key]] for key in shared]).reshape(-1, 2)
    is_ratio = kind_of(metric) == "positive" and bool((values > 0).all())
    with np.errstate(all="ignore"):
        differences = np.diff(np.log(values) if is_ratio else values, axis=1)[:, 0]
    n, sign = len(shared), -1 if superlative(metric) == "highest" else 1
    wins = int((sign * differences > 0).sum())
    effect = float(differences.mean()) if n else math.nan
    half = p = math.nan
    if n > 1:
        error = float(differences.std(ddof=1)) / math.sqrt(n)
        half = float(stdtrit(n - 1, 0.975)) * error
        p = min(2 * settings_compared * float(stdtr(n - 1, -abs(effect) / error)), 1.0) if error else float(not effect)
    low, high = effect - half, effect + half
    margin = math.log1p(MARGIN) if is_ratio else MARGIN / 5
    verdict = "apart" if p <= 0.05 else "equivalent" if max(abs(low), abs(high)) <= margin else "undecided"
    if is_ratio:
        effect, low, high = math.exp(effect), math.exp(low), math.exp(high)
    said = f"{number(effect)} times" if is_ratio else f"{effect:+.4g}"
    text = f"better in {wins} of {n}, {metric} {said} (95 % {number(low)} to {number(high)})"
    return Comparison(verdict, effect, low, high, is_ratio, wins, n, p, None, text)


def against_best(metric: str, points: Sequence[Point]) -> list[tuple[Point, Comparison]]:
    """The comparison of each other setting with the best one, in order of the metric: the runner-up comes first."""
    ranked = best_first(metric, points)
    return [(point, compare(ranked[0], point, metric, len(ranked) - 1)) for point in ranked[1:]]
