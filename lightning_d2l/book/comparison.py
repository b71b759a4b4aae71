"""What is said of a published number and ours: reproduced, differs, or too noisy to say; and the same of theory.

The median of our runs is compared with the median of the published ones. The standard error of a median of n runs with
standard deviation s is 1.2533 s / sqrt(n), as of normal numbers; positive quantities are compared by their logarithms.
Two medians are equivalent, "reproduced", if the 90 % interval of their difference lies within the margin of the row
(two one-sided tests of 5 % each), and so do the widths from the 5th to the 95th percentile, within a factor of 2 (3 for
heavy tails), from 20 runs on.
They differ if they are not equivalent and a 99.9 % interval excludes 0. Otherwise the runs, ours or the published ones,
are too few or too noisy to say: neither more noise nor fewer runs make a row easier to reproduce.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from lightning_d2l.book.quantity import WIDTH, Quantity

REPRODUCED, DIFFERS, TOO_NOISY = "reproduced", "differs", "too noisy to say"
EQUALS_THEORY, NOT_THEORY, AS_COMPUTED = "equals theory", "differs from theory", "as computed"
ERROR_OF_MEDIAN = math.sqrt(math.pi / 2)  # of the mean's, for normal numbers
ERROR_OF_WIDTH = 0.883  # times 1 / sqrt(n): of the logarithm of that distance, from the density at both percentiles
WIDTHS_FROM = 20  # runs
SURE = 0.999


@dataclass(frozen=True)
class Difference:
    """An estimated difference, its standard error with its degrees of freedom, and the margin of equivalence."""

    value: float
    error: float
    freedom: float
    margin: float

    def half_width(self, level: float) -> float:
        """Half of the two-sided interval of a level, by Student's t."""
        return float(stats.t.ppf((1 + level) / 2, self.freedom)) * self.error if self.error else 0.0

    @property
    def equivalent(self) -> bool:
        return abs(self.value) + self.half_width(0.9) <= self.margin

    @property
    def told_apart(self) -> bool:
        return abs(self.value) > self.half_width(SURE)


@dataclass(frozen=True)
class Comparison:
    """The verdict on the published number, and on the closed form, an empty string where there is none of the two.

    `z` is the difference of the medians in its standard errors; `error` is that of our median and `published_error`
    that of the published one, relative for quantities that are compared by their logarithms.
    """

    verdict: str
    theory_verdict: str
    median: float | None = None
    error: float | None = None
    published_error: float | None = None
    z: float | None = None


def compare(quantity: Quantity, values: Sequence[float]) -> Comparison:
    """Compare the values of several seeds with what was published and with theory, as the docstring above says."""
    if not values:
        raise ValueError("values: must be those of at least one seed")
    theory = of_theory(quantity, values)
    if not all(map(math.isfinite, values)) or (quantity.log and min(values) <= 0):
        return Comparison(DIFFERS, NOT_THEORY if quantity.theory is not None else "")
    median = float(np.median(np.asarray(values, dtype=float)))
    if quantity.published is None:
        return Comparison(DIFFERS if theory == NOT_THEORY else theory or of_range(quantity, values), theory, median)
    medians = of_medians(quantity, values)
    differences = [medians, *of_widths(quantity, values)]
    if all(each.equivalent for each in differences):
        verdict = REPRODUCED
    else:
        wrong = any(each.told_apart and not each.equivalent for each in differences)
        verdict = DIFFERS if wrong else TOO_NOISY
    ours, theirs = errors(quantity, values)
    z = medians.value / medians.error if medians.error else None
    return Comparison(verdict, theory, median, ours, theirs, z)


def of_medians(quantity: Quantity, values: Sequence[float]) -> Difference:
    """Our median less the published one; the degrees of freedom are Welch's."""
    assert quantity.published is not None
    scale = np.log if quantity.log else np.asarray
    value = float(np.median(scale(values)) - scale(quantity.published))
    ours, theirs = errors(quantity, values)
    parts = [(ours, len(values)), (theirs, quantity.runs if quantity.runs > 1 else math.inf)]
    error = math.hypot(ours, theirs)
    if len(values) == 1 and ours:
        return Difference(value, error, 1.0, quantity.tolerance)
    below = sum((part / error) ** 4 / (n - 1) for part, n in parts if part and math.isfinite(error))
    return Difference(value, error, 1 / below if below else math.inf, quantity.tolerance)


def errors(quantity: Quantity, values: Sequence[float]) -> tuple[float, float]:
    """The standard errors of our median and of the published one.

    A few runs that happen to agree are no more certain than published ones: our runs count as spread at least as much.
    """
    scale = np.log if quantity.log else np.asarray
    with np.errstate(over="ignore", invalid="ignore"):
        own = float(np.std(scale(values), ddof=1)) if len(values) > 1 else 0.0
    own = own if math.isfinite(own) else math.inf
    spread = own if quantity.spread is None else quantity.spread
    ours = ERROR_OF_MEDIAN * max(own, spread) / math.sqrt(len(values))
    return ours, ERROR_OF_MEDIAN * spread / math.sqrt(quantity.runs) if quantity.runs > 1 else spread


def of_widths(quantity: Quantity, values: Sequence[float]) -> list[Difference]:
    """The logarithm of the ratio of the widths of 5th to 95th percentile, ours to the published; none if not known."""
    if quantity.band is None or len(values) < WIDTHS_FROM or quantity.spread is None:
        return []
    low, high = np.quantile(np.log(values) if quantity.log else np.asarray(values), [0.05, 0.95])
    if high <= low:
        return [Difference(-math.inf, 0.0, math.inf, math.log(quantity.widths))]
    error = ERROR_OF_WIDTH * math.sqrt(1 / len(values) + 1 / quantity.runs)
    return [Difference(math.log((high - low) / WIDTH / quantity.spread), error, math.inf, math.log(quantity.widths))]


def of_theory(quantity: Quantity, values: Sequence[float]) -> str:
    """Whether the mean is within the accuracy of the closed form, with its whole 95 % interval; "" without one."""
    if quantity.theory is None:
        return ""
    found = np.asarray(values, dtype=float)
    if not np.isfinite(found).all():
        return NOT_THEORY
    n, std = len(found), float(found.std(ddof=1)) if len(found) > 1 else 0.0
    half = float(stats.t.ppf(0.975, n - 1)) * std / math.sqrt(n) if n > 1 else 0.0
    allowed = quantity.accuracy * (abs(quantity.theory) or 1.0)
    distance = abs(float(found.mean()) - quantity.theory)
    if distance + half <= allowed:
        return EQUALS_THEORY
    return NOT_THEORY if distance - half > allowed else TOO_NOISY


def of_range(quantity: Quantity, values: Sequence[float]) -> str:
    """Whether the mean is in the computed range."""
    low, high = quantity.computed_band or (-math.inf, math.inf)
    return AS_COMPUTED if low <= float(np.mean(values)) <= high else DIFFERS
