"""Changes, values and counts in the words of an answer."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from lightning_d2l.config.text import show
from lightning_d2l.studies.comparison import Comparison, compare
from lightning_d2l.studies.labels import listing
from lightning_d2l.studies.points import Point
from lightning_d2l.studies.study import superlative

NOUNS = {"loss": "loss", "acc": "accuracy", "gap": "gap", "norm": "norm of the weights", "zeros": "share of zeros"}
SPLITS = {"train": "training ", "val": "validation ", "test": "test "}
SHARES = ("acc", "acc_gap", "zeros")
"""Their differences are said in percentage points."""
NAMED = 5  # values in a list


def few(value: float) -> str:
    """Three significant digits: 0.0107, 12.3, 4,240, 1.2e6."""
    if not math.isfinite(value):
        return f"{value:g}"
    if value and (abs(value) >= 1e5 or abs(value) < 1e-4):
        digits, exponent = f"{value:.1e}".split("e")
        return f"{digits}e{int(exponent)}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{float(f'{value:.3g}'):,.0f}"


def noun(metric: str) -> str:
    """`test loss` for "loss/test"."""
    base, _, split = metric.partition("/")
    return f"{SPLITS.get(split, '')}{NOUNS[base]}" if base in NOUNS and split in (*SPLITS, "weights") else metric


def best_noun(metric: str) -> str:
    """`lowest test loss` for "loss/test", and `highest` for a metric of which more is better."""
    return f"{superlative(metric)} {noun(metric)}"


def value(point: Point, metric: str) -> float:
    """The typical value of a point's metric: its mean, or the median where the mean says nothing."""
    return point.estimates[metric].value


def at_most(point: Point, metric: str, limit: float) -> bool | None:
    """Whether a point's metric is at most a limit; None if its interval has values on both sides of it."""
    found = point.estimates[metric]
    return None if found.low <= limit < found.high else found.value <= limit


def a_list(values: Iterable[str]) -> str:
    """Values in words, cut if there are many: `1, 2 and 3`, or `1, 2, 3, 4, 5 and 7 more`."""
    shown = list(values)
    if len(shown) > NAMED + 1:
        shown = [*shown[:NAMED], f"{len(shown) - NAMED} more"]
    return listing(shown)


def chance(points: Iterable[Point]) -> str:
    """What may give another result than single runs did: `seeds`, or `data` where no seed changes anything."""
    return "data" if all("seed" in point.idle for point in points) else "seeds"


def sample(points: Iterable[Point]) -> str:
    """What a single number is of: a `run`, or the `data set` of several equal ones."""
    return "data set" if chance(points) == "data" else "run"


@dataclass(frozen=True)
class Change:
    """How a metric changes from one setting to another."""

    before: Point
    after: Point
    metric: str
    comparison: Comparison
    comparisons: int = 1

    @property
    def apart(self) -> bool:
        """Whether the two differ significantly."""
        return self.comparison.verdict == "apart"

    @property
    def higher(self) -> bool:
        """Whether the metric is told to be higher afterwards."""
        return self.apart and self.comparison.effect > (1 if self.comparison.is_ratio else 0)

    @property
    def lower(self) -> bool:
        return self.apart and not self.higher

    @property
    def better(self) -> bool:
        return self.higher if superlative(self.metric) == "highest" else self.lower

    @property
    def worse(self) -> bool:
        return self.apart and not self.better

    @property
    def same(self) -> bool:
        """Whether the two are told to be equal within the margin of a comparison."""
        return self.comparison.verdict == "equivalent"

    @property
    def values(self) -> str:
        """`0.0107 to 0.0121`."""
        return f"{few(value(self.before, self.metric))} to {few(value(self.after, self.metric))}"

    @property
    def size(self) -> str:
        """`3.2-fold (95 % 2.9 to 3.5, n = 10)` or `by 12 % (...)`, for a ratio; `by 0.021 (...)` for a difference."""
        c = self.comparison
        if not c.is_ratio:
            sign, points = (1 if c.effect >= 0 else -1), self.metric.partition("/")[0] in SHARES
            factor, unit = (100, " points") if points else (1, "")
            middle, *ends = (sign * factor * end for end in (c.effect, c.low, c.high))
            text = _percent if points else few
            return f"by {text(middle)}{unit}{self._interval(*map(text, sorted(ends)))}"
        effect, low, high = (c.effect, c.low, c.high) if c.effect >= 1 else map(_inverse, (c.effect, c.high, c.low))
        if effect >= 2:
            return f"{_times(effect)}-fold{self._interval(_times(low), _times(high))}"
        sign = 1 if c.effect >= 1 else -1
        percents = sorted(sign * 100 * (v - 1) for v in (c.effect, c.low, c.high))
        middle = sign * 100 * (c.effect - 1)
        return f"by {_percent(middle)} %{self._interval(_percent(percents[0]), f'{_percent(percents[-1])} %')}"

    @property
    def n(self) -> int:
        """The number of pairs that are compared, or without pairs of values at the smaller of the two settings."""
        return self.comparison.pairs or min(p.estimates[self.metric].n for p in (self.before, self.after))

    def _interval(self, low: str, high: str) -> str:
        if self.n < 2:
            return f" (one {sample([self.before, self.after])} each)"
        return f" (95 % {low} to {high}, n = {self.n})" if math.isfinite(self.comparison.low) else ""

    def moves(self, what: str = "") -> str:
        """`raises the test loss 40-fold (95 % 25 to 60, n = 20)`, or that it doesn't, or that this may be chance."""
        name = what or noun(self.metric)
        c = self.comparison
        if self.apart:
            return f"{'raises' if self.higher else 'lowers'} the {name} {self.size}"
        if c.effect == (1 if c.is_ratio else 0):
            return f"has no effect on the {name} ({few(value(self.before, self.metric))})"
        if self.same:
            return f"hardly changes the {name} ({self.values})"
        up = c.effect > (1 if c.is_ratio else 0)
        return f"{'raises' if up else 'lowers'} the {name} {self.size}, which {self.doubt}"

    @property
    def doubt(self) -> str:
        """Why the change may not be there; empty if the two differ significantly."""
        c, nothing = self.comparison, 1 if self.comparison.is_ratio else 0
        if self.apart:
            return ""
        if self.n < 2:
            return f"other {chance([self.before, self.after])} may not repeat"
        several = self.comparisons > 1 and (c.low > nothing or c.high < nothing)
        return f"may be chance, as one of {self.comparisons} comparisons" if several else "may be chance"

    @property
    def interval(self) -> str:
        """`3.2-fold, 95 % 2.9 to 3.5, n = 10`."""
        return self.size.replace(" (", ", ").rstrip(")")


def change(before: Point, after: Point, metric: str, comparisons: int = 1) -> Change:
    """The change of a metric between two settings, one of so many comparisons."""
    return Change(before, after, metric, compare(before, after, metric, comparisons), comparisons)


def _inverse(ratio: float) -> float:
    return 1 / ratio if ratio else math.inf


def _times(ratio: float) -> str:
    """Two significant digits."""
    return f"{ratio:.2g}" if ratio < 100 else few(float(f"{ratio:.2g}"))


def _percent(value: float) -> str:
    return f"{value:.2g}" if abs(value) < 99.5 else f"{value:.0f}"


def compressed(values: Iterable[float], tried: Iterable[float]) -> str:
    """Some of the values tried, with runs of neighbours as ranges: `1, 4 to 8 and 11`."""
    order = sorted(set(tried))
    places = sorted(order.index(value) for value in set(values))
    parts: list[list[int]] = []
    for place in places:
        if parts and place == parts[-1][-1] + 1:
            parts[-1].append(place)
        else:
            parts.append([place])
    texts = [[show(order[place]) for place in part] for part in parts]
    return a_list(text[0] if len(text) == 1 else f"{text[0]} {'to' if len(text) > 2 else 'and'} {text[-1]}"
                  for text in texts)  # fmt: skip
