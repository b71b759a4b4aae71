"""The mean or median over replicates, its 95 % interval, and the rule that says which of the two is meant.

The interval of a mean is Student's, over independent parts (see replicates.py): on the scale of the values where they
may have any sign, of their logarithm where they are positive, of their logit where they are shares. On the last two the
interval is the exponential, or the inverse logit, of log(mean) ± t s / (sqrt(c) mean), and never leaves the possible
values. It is that of the arithmetic mean.

It is right if the sum over c parts is near to normal. Cochran's rule (Sampling Techniques, 1977, 2.15) asks for
c > 25 G^2 with the skewness G; of fewer than five parts four times as many are asked here. Few values don't show their
skewness; their spread does: for a lognormal G = (e^(s^2) + 2) sqrt(e^(s^2) - 1) with the standard deviation s of the
logarithms. Positive values that break the rule, or the largest of which is more than five times their median, are
summarised by their median. So are values of any kind whose own skewness has c < 50 G^2 and is not chance. The interval
of a median lies between order statistics, whatever the distribution (Hettmansperger and Sheather 1986); fewer than six
parts have none at 95 %, and there the logarithms are taken to be symmetric.

Fewer than thirty parts may hide the skewness that they have, for which no interval of a mean holds. The name of the
method then says what is assumed: "Student t, if symmetric".
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import bdtr, expit, logit, ndtri, stdtrit

from lightning_d2l.config.text import number
from lightning_d2l.studies.replicates import Array, Layout, Replicate, Spread, layout_of

SAFE = 1e-100, 1e100  # the squares of numbers between these, and their sums, neither overflow nor underflow
SHARES = ("acc", "zeros", "f1", "auroc", "ece")  # and topK
POSITIVE = ("loss", "norm", "gradient", "seconds", "num_parameters", "epochs_to_fit", "rmse", "mae", "mse", "brier")
ROUNDING = 1e-6  # by which a share in single precision may be above 1
COCHRAN = 25.0
MEASURED = 50.0  # the same constant for a skewness that is estimated from the values, and may be too low
SHOWN = 30  # parts from which on a skewness that matters shows
FEW = 5
LARGEST_RATIO = 5.0  # of the largest positive value to the median, from which the mean says little
FEWEST_ORDERED = 6  # of fewer parts the smallest and largest have less than 95 % between them


@dataclass(frozen=True)
class Estimate:
    """What n values say of their mean or median: `value`, with the 95 % interval from `low` to `high`.

    `mean` is over independent parts, `std` the standard deviation of all values (n - 1 in the denominator); `median`
    and the quartiles `q1` and `q3` are of the parts, of which there are `clusters`. `statistic` is "mean" or "median".
    `method` names the interval and what it assumes, such as "Student t of logs, if symmetric"; it is "none" where there
    is none, with NaN as `low` and `high`, and "all equal" for one of no length, which says nothing of chance. `design`
    says how the values repeat the setting, "10 data sets x 5 folds", and `given` what all of them share.
    """

    mean: float
    std: float
    low: float
    high: float
    method: str
    n: int
    clusters: int = 0
    statistic: str = "mean"
    median: float = math.nan
    q1: float = math.nan
    q3: float = math.nan
    design: str = ""
    given: str = ""

    @property
    def value(self) -> float:
        """What is drawn and said: the mean, or the median where the interval of the mean means nothing."""
        return self.median if self.statistic == "median" else self.mean

    @property
    def has_interval(self) -> bool:
        """Whether there is an interval."""
        return not math.isnan(self.low)

    @property
    def half_width(self) -> float:
        """Half the length of the interval; 0 if there is none."""
        return (self.high - self.low) / 2 if self.has_interval else 0.0

    @property
    def short(self) -> str:
        """`0.0102 [0.0100, 0.0104]`."""
        return number(self.value) + (f" [{number(self.low)}, {number(self.high)}]" if self.low < self.high else "")

    def __str__(self) -> str:
        if self.n < 2:
            return f"{number(self.value)} ({self.design or 'one run'})"
        what = ["median"] if self.statistic == "median" else []
        if self.low == self.high:
            what += [self.method]
        elif self.has_interval:
            what += [f"95 % interval {number(self.low)} to {number(self.high)}", self.method]
        else:
            what += ["no interval"]
        what += [f"given {self.given}"] if self.given and self.has_interval else []
        return f"{number(self.value)} ({', '.join([*what, self.design or f'n = {self.n}'])})"

    def as_dict(self) -> dict[str, float | str | None]:
        """The values by their names in reports; None instead of NaN."""
        numbers = {"mean": self.mean, "std": self.std, "ci_low": self.low, "ci_high": self.high}
        numbers |= {"value": self.value, "median": self.median, "q1": self.q1, "q3": self.q3}
        words = {"method": self.method, "statistic": self.statistic, "design": self.design, "given": self.given}
        counts = {"n": self.n, "clusters": self.clusters}
        return {name: None if math.isnan(v) else v for name, v in numbers.items()} | words | counts

    def overlaps(self, other: Estimate) -> bool:
        """Whether the two intervals have a value in common; True if one of them is unknown."""
        return not (self.high < other.low or other.high < self.low)


NO_ESTIMATE: dict[str, float | str | None] = dict.fromkeys(Estimate(0, 0, 0, 0, "", 0).as_dict()) | {"n": 0}
"""`Estimate.as_dict` where nothing was measured."""


def kind_of(metric: str) -> str:
    """What values a metric may have: "share" (0 to 1), "positive" or "real"."""
    base = metric.partition("/")[0].rpartition(".")[2]
    if base in SHARES or (base.startswith("top") and base[3:].isdigit()):
        return "share"
    return "positive" if base in POSITIVE and not metric.endswith(("/bias2", "/variance")) else "real"


def means_little(
    values: Sequence[float], clusters: Sequence[Replicate] | None = None, kind: str = "positive", settings: int = 1
) -> bool:
    """Whether the interval of the mean means nothing, by the rule above, so that the median is told instead.

    `settings` is how many are judged, at any of which chance may look like skewness. The folds of a data set have none.
    """
    layout, x = _layout(clusters, len(values)), np.asarray(values, dtype=np.float64)
    c = layout.clusters
    if c < 2 or not np.isfinite(x).all():
        return False
    with np.errstate(all="ignore"):
        x = layout.means(_scaled_down(x)[0])
        if np.ptp(x) == 0:
            return False
        rarely = 20 if layout.crossed else 1  # medians of crossed data sets and seeds are given the seeds
        if c >= FEWEST_ORDERED and _is_skewed(x, rarely * settings):
            return True
        if kind != "positive" or (x < 0).any():
            return False
        s2 = float(np.log(x).var(ddof=1))
        skewness = (math.exp(s2) + 2) * math.sqrt(math.expm1(s2)) if s2 < 100 else math.inf  # NaN if a value is 0
        asked = COCHRAN if c >= FEW else 4 * COCHRAN
        return bool(not asked * skewness**2 <= c or x.max() > LARGEST_RATIO * np.median(x))


def _is_skewed(x: Array, settings: int) -> bool:
    """Whether n values have a skewness G with 50 G^2 > n, larger than chance has it at 5 % in any of the settings."""
    n, z = len(x), x - x.mean()
    if (variance := float((z**2).mean())) == 0:
        return False
    g = math.sqrt(n * (n - 1)) / (n - 2) * float((z**3).mean()) / variance**1.5
    error = math.sqrt(6 * n * (n - 1) / ((n - 2) * (n + 1) * (n + 3)))
    return bool(abs(g) > max(math.sqrt(n / MEASURED), -float(ndtri(0.025 / settings)) * error))


def estimate(
    values: Sequence[float],
    clusters: Sequence[Replicate] | None = None,
    kind: str = "real",
    statistic: str | None = None,
) -> Estimate:
    """The mean or median of values (n,), n at least 1, with its interval.

    Parameters
    ----------
    values : finite numbers (n,)
    clusters : the replicate of each value; without them all values are independent
    kind : "real", "positive" or "share" (0 to 1), see `kind_of`. Values outside are taken for real numbers. Of
        "mean is positive" the single values may have any sign.
    statistic : "mean" or "median"; by default the one that `means_little` says

    What is beyond the largest float is infinite. If a value is not finite there is no interval.
    """
    if len(values) == 1:
        return _of_one(float(values[0]), kind, statistic or "mean")
    x, layout = np.asarray(values, dtype=np.float64), _layout(clusters, len(values))
    if kind == "share" and (np.abs(x - 0.5) <= 0.5 + ROUNDING).all():
        x = x.clip(0, 1)
    elif kind == "share" or (kind == "positive" and (x < 0).any()):
        kind = "real"
    if statistic is None:
        statistic = "median" if means_little(values, clusters, kind) else "mean"
    with np.errstate(all="ignore"):
        if not np.isfinite(x).all():
            mean, median, none = float(x.mean()), float(np.median(layout.means(x))), math.nan
            return Estimate(mean, none, none, none, "none", len(x), layout.clusters, statistic, median)
        small, exponent = _scaled_down(x) if kind != "share" else (x, 0)
        found = _estimate(small, layout, kind, statistic)
        names = ("mean", "std", "low", "high", "median", "q1", "q3") if exponent else ()
        scaled: dict[str, Any] = {name: float(np.ldexp(getattr(found, name), exponent)) for name in names}
    return replace(found, **scaled) if scaled else found


def _of_one(value: float, kind: str, statistic: str) -> Estimate:
    """The estimate of a single value."""
    if kind == "share" and abs(value - 0.5) <= 0.5 + ROUNDING:
        value = min(max(value, 0.0), 1.0)
    end, design = (value, "one run") if math.isfinite(value) else (math.nan, "")
    return Estimate(value, math.nan, math.nan, math.nan, "none", 1, 1, statistic, value, end, end, design)


def estimates_of(
    metric: str, values: Sequence[Sequence[float]], clusters: Sequence[Sequence[Replicate]], judged: Sequence[bool]
) -> list[Estimate]:
    """The estimates of a metric at several settings, all means, or all medians if one of the `judged` asks for it.

    So a curve has one meaning, and settings are compared by the same statistic.
    """
    kind = "real" if any(min(each) < 0 for each in values) else kind_of(metric)
    each = list(zip(values, clusters, strict=True))
    count = sum(judged)
    rough = any(means_little(*found, kind, count) for found, judge in zip(each, judged, strict=True) if judge)
    return [estimate(*found, kind, "median" if rough else "mean") for found in each]


def _layout(clusters: Sequence[Replicate] | None, n: int) -> Layout:
    return layout_of(tuple(clusters) if clusters is not None else (Replicate(),) * n)


def _scaled_down(x: Array) -> tuple[Array, int]:
    """x / 2^exponent, with squares that a float can hold, and the exponent."""
    largest = float(np.abs(x).max())
    if largest == 0 or SAFE[0] <= largest <= SAFE[1]:
        return x, 0
    exponent = math.frexp(largest)[1]
    return np.ldexp(x, -exponent), exponent


def _estimate(x: Array, layout: Layout, kind: str, statistic: str) -> Estimate:
    spread = layout.spread(x)
    q1, median, q3 = (float(q) for q in np.quantile(spread.parts, (0.25, 0.5, 0.75)))
    std = 0.0 if np.ptp(x) == 0 else float(x.std(ddof=1))
    is_median = statistic == "median"
    find = _interval_of_median if is_median else _interval_of_mean
    low, high, method = find(spread, kind) if layout.clusters > 1 else (math.nan, math.nan, "none")
    if method.startswith("Student") and layout.clusters < SHOWN:
        method += ", if symmetric"
    given = "the seeds" if is_median and layout.crossed else layout.given
    end = (len(x), layout.clusters, statistic, median, q1, q3, layout.design, given)
    return Estimate(spread.mean, std, low, high, method, *end)


def _interval_of_mean(spread: Spread, kind: str) -> tuple[float, float, str]:
    mean, reach = spread.mean, float(stdtrit(spread.freedom, 0.975)) * spread.error
    if not spread.error:
        return mean, mean, "all equal"
    if kind in ("positive", "mean is positive") and mean > 0:
        factor = np.exp(reach / mean)
        return float(mean / factor), float(mean * factor), "Student t of logs"
    if kind == "share" and 0 < mean < 1:
        at, reach = logit(mean), reach / (mean * (1 - mean))
        return float(expit(at - reach)), float(expit(at + reach)), "Student t of logits"
    return mean - reach, mean + reach, "Student t"


def _interval_of_median(spread: Spread, kind: str) -> tuple[float, float, str]:
    x = np.sort(spread.parts)
    n = len(x)
    if x[0] == x[-1]:
        return float(x[0]), float(x[0]), "all equal"
    if n < FEWEST_ORDERED and kind == "positive" and x[0] > 0:
        logs = np.log(x)
        reach = float(stdtrit(n - 1, 0.975)) * float(logs.std(ddof=1)) / math.sqrt(n)
        return float(np.exp(logs.mean() - reach)), float(np.exp(logs.mean() + reach)), "Student t of logs"
    if n < FEWEST_ORDERED - 1:
        return math.nan, math.nan, "none"
    rank, share = _ranks(n)
    low, high = (x[i] + share * (x[j] - x[i]) for i, j in ((rank, rank + 1), (-rank - 1, -rank - 2)))
    return float(low), float(high), "order statistics"


@functools.lru_cache(maxsize=1024)
def _ranks(n: int) -> tuple[int, float]:
    """The rank d from 0 and the share w with which order statistics d and d + 1 make the lower end of the interval.

    Interpolated as by Hettmansperger and Sheather, Statistics & Probability Letters 4 (1986), equation 3.
    """

    def held(d: int) -> float:
        """The probability that the median lies between the d-th smallest and the d-th largest value."""
        return 1 - 2 * float(bdtr(d - 1, n, 0.5))

    d = max((d for d in range(1, n // 2 + 1) if held(d) >= 0.95), default=1)
    if held(d) < 0.95 or d == n // 2:
        return d - 1, 0.0
    part = (held(d) - 0.95) / (held(d) - held(d + 1))
    return d - 1, (n - d) * part / (d + (n - 2 * d) * part)
