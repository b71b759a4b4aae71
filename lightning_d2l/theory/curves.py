"""What a theory is: it gives curves to draw over the figure of a study.

To add one, write a function with the decorator `theory` in the file of its topic and name it in theories.py. A theory
gives no curves for runs to which it doesn't apply.
"""

from __future__ import annotations

import functools
import math
import numbers
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_d2l.config.text import show
from lightning_d2l.theory.problem import noise_variance
from lightning_d2l.training.record import RunRecord

Array = NDArray[np.float64]
LOSSES = ("loss/train", "loss/val", "loss/test")


@dataclass(frozen=True)
class Curve:
    """A theoretical line: `x` and `y` (n,), in the units of the figure.

    It is drawn where `metric` is drawn, over every metric if that is empty, and beside the measured curves whose
    setting agrees with `where`. Curves of equal label share an entry of the legend.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    metric: str = ""
    where: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Question:
    """What a theory needs to know of a study: the key along x, the keys of its curves, and its metrics."""

    x: str
    curves: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()

    @property
    def losses(self) -> list[str]:
        """The losses of the splits among the metrics."""
        return [metric for metric in self.metrics if metric in LOSSES]


Theory = Callable[[Question, Sequence[RunRecord]], list[Curve]]


@dataclass(frozen=True)
class Measured:
    """One measured curve of a study: its setting, its runs, and the values of x in ascending order.

    `all_runs` are those of the whole study. `x` is empty if the values aren't numbers. If x is the epoch, it holds the
    first and the last logged epoch.
    """

    question: Question
    where: Mapping[str, Any]
    runs: list[RunRecord]
    all_runs: Sequence[RunRecord]

    @functools.cached_property
    def x(self) -> list[float]:
        if self.question.x == "epoch":
            epochs = [row["epoch"] for row in self.runs[0].history]
            return [min(epochs), max(epochs)] if epochs else []
        values = [run.get(self.question.x) for run in self.runs] if self.question.x else []
        return sorted(set(values)) if numeric(values) else []

    @property
    def config(self) -> Mapping[str, Any]:
        """The configuration of the first run."""
        return self.runs[0].config

    def lines(self, label: str, x: Iterable[float], y: Iterable[float], metrics: Sequence[str] = ("",)) -> list[Curve]:
        """A theoretical line for each metric, to draw beside this measured curve alone."""
        x, y = list(x), list(y)
        return [Curve(label, x, y, metric, self.where) for metric in metrics] if x else []

    def vertical(self, label: str, x: float) -> Iterator[Curve]:
        """A vertical line through all measured values of the study's metrics, one for each kind of metric."""
        kinds: dict[str, list[str]] = {}
        for metric in self.question.metrics:
            kinds.setdefault(metric.partition("/")[0], []).append(metric)
        for metrics in kinds.values():
            values = [v for run in self.all_runs for metric in metrics if (v := run.metric(metric)) and v > 0]
            for metric in (metrics if len(kinds) > 1 else [""]) if values else []:
                yield Curve(label, [x, x], [min(values), max(values)], metric)


def theory(
    *keys: str, floor: bool = False, together: bool = False
) -> Callable[[Callable[[Measured], Iterator[Curve]]], Theory]:
    """Make a theory of a function that gives the lines beside one measured curve, whose x must be numbers.

    `keys` are the keys that may lie along x, by default any. With `floor` the noise floor is drawn too. With `together`
    the runs of all curves count as one.
    """

    def decorate(lines: Callable[[Measured], Iterator[Curve]]) -> Theory:
        @functools.wraps(lines)
        def curves(question: Question, runs: Sequence[RunRecord]) -> list[Curve]:
            found = noise_floor(question, runs) if floor else []
            groups: dict[tuple[str, ...], Measured] = {}
            for run in runs if not keys or question.x in keys else ():
                where = {} if together else {key: run.get(key) for key in question.curves}
                setting = tuple(map(show, where.values()))
                groups.setdefault(setting, Measured(question, where, [], runs)).runs.append(run)
            return [*found, *(line for each in groups.values() if each.x for line in lines(each))]

        return curves

    return decorate


@theory()
def noise_floor(each: Measured) -> Iterator[Curve]:
    """The expected loss of the true function: the variance of the noise times the factor of the loss."""
    floors = {floor for run in each.runs if (floor := noise_variance(run.config))}
    if len(floors) == 1:
        yield from each.lines("noise floor", each.x, [*floors] * len(each.x), each.question.losses)


def numeric(values: Sequence[Any]) -> bool:
    """Whether all values are finite numbers, which have a position on an axis."""
    return all(isinstance(v, numbers.Real) and not isinstance(v, bool) and math.isfinite(v) for v in values)
