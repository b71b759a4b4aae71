"""Mean, spread and 95 % interval over seeds."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from lightning_d2l.config.text import number
from lightning_d2l.studies.replicates import Replicate

BOOTSTRAP_FROM, BOOTSTRAP_TO = 20, 200
"""With fewer values the interval of a bootstrap is too narrow; with more it equals that of Student's t, and is slow."""
SAFE = 1e-100, 1e100
"""The squares of numbers between these, and their sums, neither overflow nor underflow."""


SHARES = ("acc", "zeros")
POSITIVE = ("loss", "norm", "gradient", "seconds", "num_parameters", "epochs_to_fit", "rmse", "mae", "mse")


@dataclass(frozen=True)
class Estimate:
    """The mean of n values, their standard deviation (n - 1 in the denominator), and the 95 % interval of the mean.

    `method` is "Student t", "bootstrap (BCa)", or "none" for a single value, with NaN as `std`, `low` and `high`.
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
        return number(self.mean) + (f" [{number(self.low)}, {number(self.high)}]" if self.n > 1 else "")

    def __str__(self) -> str:
        if self.n < 2:
            return f"{number(self.mean)} (one run)"
        interval = f"{number(self.low)} to {number(self.high)}"
        return f"{number(self.mean)} (95 % interval {interval}, {self.method}, n = {self.n})"

    def as_dict(self) -> dict[str, float | str | None]:
        """The values by their names in reports; None instead of NaN."""
        mean, std, low, high = (None if math.isnan(v) else v for v in (self.mean, self.std, self.low, self.high))
        return {"mean": mean, "std": std, "ci_low": low, "ci_high": high, "method": self.method, "n": self.n}

    def overlaps(self, other: Estimate) -> bool:
        """Whether the two intervals have a value in common; True if one of them is unknown."""
        return not (self.high < other.low or other.high < self.low)


def kind_of(metric: str) -> str:
    """What values a metric may have: "share" (0 to 1), "positive" or "real"."""
    base = metric.partition("/")[0].rpartition(".")[2]
    if base in SHARES:
        return "share"
    return "positive" if base in POSITIVE and not metric.endswith(("/bias2", "/variance")) else "real"


def estimate(values: Sequence[float], clusters: Sequence[Replicate] | None = None, kind: str = "real") -> Estimate:
    """Mean, standard deviation and interval of finite values (n,), n at least 1.

    For 20 to 200 values the interval is that of the bias-corrected and accelerated bootstrap (Efron 1987) of 9,999
    resamples with a fixed seed. For fewer or more values, and where the bootstrap has no interval, it is
    mean ± t s / sqrt(n) with Student's t. What is beyond the largest float is infinite.
    """
    x = np.asarray(values, dtype=np.float64)
    largest = float(np.abs(x).max())
    if largest == 0 or SAFE[0] <= largest <= SAFE[1]:
        return _estimate(x)
    exponent = math.frexp(largest)[1]
    found = _estimate(np.ldexp(x, -exponent))
    mean, std, low, high = (_scaled(value, exponent) for value in (found.mean, found.std, found.low, found.high))
    return Estimate(mean, std, low, high, found.method, found.n)


def _scaled(value: float, exponent: int) -> float:
    """value * 2^exponent, infinite where a float can't hold it."""
    try:
        return math.ldexp(value, exponent)
    except OverflowError:
        return math.copysign(math.inf, value)


def _estimate(x: np.ndarray) -> Estimate:
    mean, n = float(x.mean()), len(x)
    if n == 1:
        return Estimate(mean, math.nan, math.nan, math.nan, "none", 1)
    std = float(x.std(ddof=1))
    if BOOTSTRAP_FROM <= n <= BOOTSTRAP_TO:
        if np.ptp(x) == 0:
            return Estimate(mean, 0.0, mean, mean, "bootstrap (BCa)", n)
        from scipy.stats import bootstrap  # slow to import, and needed for many seeds only

        with warnings.catch_warnings():  # that an interval is not a number, which is handled here
            warnings.simplefilter("ignore")
            low, high = bootstrap((x,), np.mean, method="BCa", rng=np.random.default_rng(0)).confidence_interval
        if math.isfinite(low) and math.isfinite(high):
            return Estimate(mean, std, float(low), float(high), "bootstrap (BCa)", n)
    half = float(stdtrit(n - 1, 0.975)) * std / math.sqrt(n)
    return Estimate(mean, std, mean - half, mean + half, "Student t", n)
