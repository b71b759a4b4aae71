"""The comparison of settings over the replicates that they share.

Two settings are compared by the differences of shared data sets or seeds (of folds within them): of the logarithms of
losses, so that the effect is a ratio, else of the values. Without shared replicates the test is Welch's. Accuracies of
m samples are rounded to 1/m: where their differences happen to be equal, they have the spread of that rounding. Seeds
that change nothing in either setting are not counted (see repeats.py).

Of a whole sweep the best setting is chosen on the data that the comparison uses: any two settings could have been that
pair. So p is that of the range of k equal settings (Tukey's), with k - r after r settings differ from the
best one, a step-down as Holm's. Few seeds tell little of the variance of one difference: it is drawn towards that of
all pairs of settings, as far as these vary no more than chance has it (the moderated t of Smyth 2004, Statistical
Applications in Genetics and Molecular Biology 3).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import digamma, ndtr, ndtri, polygamma, stdtr, stdtrit

from lightning_d2l.config.text import number
from lightning_d2l.studies.points import Point, best_first
from lightning_d2l.studies.repeats import SHARES_EQUAL, step_of, without
from lightning_d2l.studies.replicates import Layout, Replicate, Spread, layout_of, welch
from lightning_d2l.studies.statistics import kind_of
from lightning_d2l.studies.study import superlative

LEVEL, POWER = 0.05, 0.8
NORMAL = 1.959964
"""The 97.5 % quantile of the normal distribution."""
FARTHEST = 9.0  # from 0, where a normal value may be
MARGIN = 0.05
"""Two losses whose ratio lies within 1 ± this margin are equivalent; so are values that differ by less than this."""
MARGIN_OF_SHARES = 0.01
FEWEST_SETTINGS = 5
"""Pairs of fewer tell little of how much the variances vary."""
MOST_MORE = 10_000
"""Replicates that are asked for at most."""
MOST_NUMBERS = 10**7
"""Differences between all pairs of settings that are computed at most."""


@dataclass(frozen=True)
class Comparison:
    """How much another setting b differs from a, `effect` with its 95 % interval `low` to `high`.

    `effect` is the ratio b / a if `is_ratio`, else the difference b - a. `verdict` is "apart", "equivalent" (the
    interval lies within MARGIN) or "undecided". In `wins` of `pairs` shared data sets, or seeds, a is better. `p` is
    corrected for the number of comparisons. So many `more` pairs would decide with a probability of 80 %, if the effect
    is as large as it seems; None if that is unknown or not needed.
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


@dataclass(frozen=True, eq=False)
class _Difference:
    """b - a, of logarithms if `is_ratio`: its spread over shared parts, or over those of each without shared ones."""

    metric: str
    is_ratio: bool
    spread: Spread
    layout: Layout | None
    lonely: int = 0  # replicates of one of the two that the other lacks

    @property
    def pairs(self) -> int:
        return self.layout.clusters if self.layout else 0

    @property
    def p(self) -> float:
        """The two-sided p of no difference; NaN with one pair."""
        mean, error = self.spread.mean, self.spread.error
        if error == 0:
            return float(mean == 0)
        return 2 * float(stdtr(self.spread.freedom, -abs(mean) / error))


def compare(a: Point, b: Point, metric: str, settings_compared: int = 1) -> Comparison:
    """Compare setting b with a, of whose metric both have values.

    `p` is multiplied by the number of settings compared; the interval is that of this difference alone.
    """
    difference = _difference(a, b, metric)
    return _judged(difference, min(difference.p * settings_compared, 1.0), NORMAL)


def against_best(metric: str, points: Sequence[Point]) -> list[tuple[Point, Comparison]]:
    """The comparison of each other setting with the best one, in order of the metric: the runner-up comes first.

    Of 100 sweeps in which no setting has an effect, at most five tell any apart. The intervals hold together too.
    """
    ranked = best_first(metric, points)
    each = [_difference(ranked[0], point, metric) for point in ranked[1:]]
    each = _moderated(each, ranked, metric)
    left, largest = len(ranked), 0.0
    found: dict[int, Comparison] = {}
    for i in sorted(range(len(each)), key=lambda i: (math.isnan(each[i].p), each[i].p)):
        own = each[i].p
        largest = max(largest, own if math.isnan(own) else _p_of_range(float(-ndtri(own / 2)), left))
        reach = _largest_of_range(left - left % -max(left // 100, 1))  # of up to 1 % more: they are cached
        found[i] = _judged(each[i], largest if own <= 1 else math.nan, reach)
        left -= found[i].verdict == "apart"
    return [(point, found[i]) for i, point in enumerate(ranked[1:])]


def _p_of_range(z: float, k: int) -> float:
    """The probability that of k standard normal values two differ by more than z sqrt(2); 2 (1 - Phi(z)) for two."""
    if not z < FARTHEST:
        return 0.0
    reach = z * math.sqrt(2)
    x = np.linspace(-FARTHEST, FARTHEST + reach, 400)  # the largest value
    others = (k - 1) * np.log(np.maximum(ndtr(x) - ndtr(x - reach), 1e-300))
    inside = k * np.exp(others - x**2 / 2) / math.sqrt(2 * math.pi)
    return min(max(1 - float(np.trapezoid(inside, x)), 0.0), k * (k - 1) * float(ndtr(-z)), 1.0)


@functools.lru_cache(maxsize=1024)
def _largest_of_range(k: int) -> float:
    """The z that differences of k equal settings exceed in 5 % of sweeps."""
    low, high = NORMAL, float(-ndtri(LEVEL / (k * (k - 1))))  # of one pair, and of as many independent ones
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if _p_of_range(middle, k) > LEVEL else (low, middle)
    return high


def _values(point: Point, metric: str, idle: Collection[str]) -> dict[Replicate, float]:
    """The value of each replicate, without what is idle: the mean if several runs are the same one."""
    found: dict[Replicate, list[float]] = {}
    for replicate, value in zip(point.replicates.get(metric, ()), point.values.get(metric, ()), strict=True):
        found.setdefault(without(replicate, idle) if idle else replicate, []).append(value)
    return {replicate: sum(values) / len(values) for replicate, values in found.items()}


def _difference(a: Point, b: Point, metric: str) -> _Difference:
    idle = {*a.idle} & {*b.idle}
    first, second = _values(a, metric, idle), _values(b, metric, idle)
    is_ratio = kind_of(metric) == "positive" and all(v > 0 for each in (first, second) for v in each.values())
    shared = tuple(key for key in first if key in second)
    with np.errstate(all="ignore"):
        x, y = (np.array([each[key] for key in shared]) for each in (first, second))
        layout = layout_of(shared) if shared else None
        if layout and (layout.clusters > 1 or min(len(first), len(second)) < 2 or len(shared) > 1):
            spread = layout.spread(np.log(y) - np.log(x) if is_ratio else y - x)
            spread = _with_rounding(metric, spread, [*x, *y], layout.clusters)
            return _Difference(metric, is_ratio, spread, layout, len(first) + len(second) - 2 * len(shared))
        ends = []
        for each in (first, second):
            values = np.array(list(each.values()))
            ends.append(layout_of(tuple(each)).spread(np.log(values) if is_ratio else values))
        both = [*first.values(), *second.values()]
        spread = _with_rounding(metric, welch(*ends), both, min(len(first), len(second)))
    return _Difference(metric, is_ratio, spread, None)


def _with_rounding(metric: str, spread: Spread, values: Sequence[float], count: int) -> Spread:
    """The spread of a difference of shares over `count` parts, not below that of their rounding where all are equal."""
    if count < 2 or not spread.mean or kind_of(metric) != "share" or spread.error * math.sqrt(count) > SHARES_EQUAL:
        return spread
    return replace(spread, error=max(spread.error, step_of(values) / math.sqrt(6 * count)))


def _moderated(each: Sequence[_Difference], ranked: Sequence[Point], metric: str) -> list[_Difference]:
    """The differences with variances that are drawn towards those of all pairs of settings."""
    plain = [d for d in each if d.layout and not d.layout.crossed and d.pairs > 1]
    if len(plain) < 2 or (prior := _prior(ranked, metric, plain[0].is_ratio)) is None:
        return list(each)
    variance, freedom, most = prior
    drawn, found = {id(d) for d in plain}, []
    for difference in each:
        spread = difference.spread
        if id(difference) in drawn and difference.is_ratio == plain[0].is_ratio:
            own, count = spread.freedom, difference.pairs
            weight = 1.0 if math.isinf(freedom) else freedom / (freedom + own)
            total = weight * variance + (1 - weight) * count * spread.error**2
            limited = min(own + freedom, max(most, own))
            spread = replace(spread, error=math.sqrt(total / count), freedom=limited)
        found.append(replace(difference, spread=spread))
    return found


def _prior(points: Sequence[Point], metric: str, is_ratio: bool) -> tuple[float, float, float] | None:
    """What all pairs of settings say of the variance of a difference, and what degrees of freedom that has.

    The variance and its weight in degrees of freedom follow from the mean and the variance of the logarithms of the
    pairs' variances (Smyth 2004, section 6.2). The third number are the degrees of freedom of all values together.
    """
    idle = set[str].intersection(*({*point.idle} for point in points))
    columns: dict[str, int] = {}
    rows: list[dict[int, float]] = []
    for point in points:
        values = _values(point, metric, idle)
        layout = layout_of(tuple(values))
        x = np.array(list(values.values()))
        names = [r.data if layout.unit == "data set" else r.seed for r in values]
        means = layout.means(np.log(x) if is_ratio and (x > 0).all() else x)
        parts = dict(zip(layout.part.tolist(), names, strict=True))
        rows.append({columns.setdefault(parts[i], len(columns)): float(mean) for i, mean in enumerate(means)})
    table = np.full((len(rows), len(columns)), np.nan)
    for i, row in enumerate(rows):
        table[i, list(row)] = list(row.values())
    table = table[:, np.isfinite(table).sum(0) > len(rows) // 2]  # parts that most settings have
    table = table[np.isfinite(table).all(1)]
    k, n = table.shape
    if k < FEWEST_SETTINGS or n < 2:
        return None
    table = table[: max(math.isqrt(MOST_NUMBERS // n), FEWEST_SETTINGS)]
    k = len(table)
    with np.errstate(all="ignore"):
        centred = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
        products = centred @ centred.T / (n - 1)
        squares = np.diag(products)
        variances = (squares[:, None] + squares - 2 * products).clip(0)[np.triu_indices(k, 1)]
    variances = variances[variances > 1e-12 * variances.max(initial=0)]
    if len(variances) < 3 or not np.isfinite(variances).all():
        return None
    half = (n - 1) / 2
    logs = np.log(variances) - digamma(half) + math.log(half)
    excess = float(logs.var(ddof=1) - polygamma(1, half))
    most = float((k - 1) * (n - 1))
    if excess <= 0:
        return float(variances.mean()), math.inf, most
    prior = _inverse_trigamma(excess)
    return float(np.exp(logs.mean() + digamma(prior) - math.log(prior))), 2 * prior, most


def _inverse_trigamma(y: float) -> float:
    """The x whose trigamma is y, by Newton's method as in the appendix of Smyth 2004."""
    x = 0.5 + 1 / y
    for _ in range(50):
        value = float(polygamma(1, x))
        step = value * (1 - value / y) / float(polygamma(2, x))
        x += step
        if -step < 1e-8 * x:
            break
    return x


def _judged(difference: _Difference, p: float, z: float) -> Comparison:
    """The comparison that a difference makes; its interval reaches as far as z standard errors of a normal value."""
    spread, metric, is_ratio = difference.spread, difference.metric, difference.is_ratio
    mean = spread.mean
    with np.errstate(all="ignore"):
        reach = -float(stdtrit(spread.freedom, ndtr(-z))) * spread.error if spread.error else spread.error
        margin = math.log1p(MARGIN) if is_ratio else MARGIN_OF_SHARES if kind_of(metric) == "share" else MARGIN
        low, high = mean - reach, mean + reach
        if kind_of(metric) == "share":  # no difference of two shares is larger
            low, high = max(low, -1.0), min(high, 1.0)
        verdict = "apart" if p <= LEVEL else "equivalent" if max(abs(low), abs(high)) <= margin else "undecided"
        more = _more(difference, margin, z) if verdict == "undecided" else None
        effect, low, high = (float(np.exp(v)) if is_ratio else v for v in (mean, low, high))
    sign = -1 if superlative(metric) == "highest" else 1
    wins = int((sign * spread.parts > 0).sum())
    text = _text(difference, effect, low, high, wins)
    return Comparison(verdict, effect, low, high, is_ratio, wins, difference.pairs, p, more, text)


def _more(difference: _Difference, margin: float, z: float) -> int | None:
    """How many more pairs would tell the two apart, or show that they are equivalent, whichever is fewer."""
    mean, n = abs(difference.spread.mean), difference.pairs
    deviation = difference.spread.error * math.sqrt(max(n, 1))
    if not math.isfinite(deviation) or not math.isfinite(mean) or n < 2:
        return None
    reach = (z + float(ndtri(POWER))) * deviation
    times = min(reach / distance for distance in (mean, margin - mean) if distance > 0)
    if times > math.sqrt(n + MOST_MORE):
        return None
    return max(math.ceil(times**2) - n, 1)


def _text(difference: _Difference, effect: float, low: float, high: float, wins: int) -> str:
    metric, pairs = difference.metric, difference.pairs
    said = f"{number(effect)} times" if difference.is_ratio else f"{effect:+.4g}"
    size = f"{metric} {said}" + (f" (95 % {number(low)} to {number(high)})" if math.isfinite(high - low) else "")
    if not difference.layout:
        return f"nothing is shared; {size}"
    units = difference.layout.unit + ("s" if pairs != 1 else "")
    alone = f"; without a partner: {difference.lonely}" if difference.lonely else ""
    if not difference.spread.parts.any():
        return f"equal in {'all ' if pairs > 1 else 'the '}{pairs} {units}{alone}"
    return f"better in {wins} of {pairs} {units}, {size}{alone}"
