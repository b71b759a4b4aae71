"""What a theory is: a function(question, runs) that returns curves to draw over the figure of a study.

To add one, write the function in the file of its topic and name it in theories.py. A theory returns no curves for
runs to which it doesn't apply.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from lightning_d2l.config.text import show
from lightning_d2l.theory.problem import noise_variance
from lightning_d2l.training.record import RunRecord


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


class Question(Protocol):
    """What a theory needs to know of a study: the key along x, the keys of its curves, and its metrics."""

    @property
    def x(self) -> str: ...
    @property
    def curves(self) -> tuple[str, ...]: ...
    @property
    def metrics(self) -> tuple[str, ...]: ...


Theory = Callable[[Question, Sequence[RunRecord]], list[Curve]]


@dataclass(frozen=True)
class Measured:
    """The runs of one measured curve, its setting, and the values of x in ascending order, none if x isn't numeric.

    If x is the epoch, its values are the first and the last logged epoch.
    """

    where: Mapping[str, Any]
    runs: Sequence[RunRecord]
    x: list[float]

    @property
    def config(self) -> Mapping[str, Any]:
        """The configuration of the first run."""
        return self.runs[0].config

    def curve(self, label: str, x: Sequence[float], y: Sequence[float], metric: str = "") -> Curve:
        """A theoretical line to draw beside this measured curve alone."""
        return Curve(label, list(x), list(y), metric, self.where)


def measured_curves(question: Question, runs: Sequence[RunRecord], x: str | None = None) -> Iterator[Measured]:
    """The measured curves of a study; none if its x isn't the key `x`."""
    groups: dict[tuple[str, ...], tuple[dict[str, Any], list[RunRecord]]] = {}
    for run in runs if x in (None, question.x) else ():
        where = {key: run.get(key) for key in question.curves}
        groups.setdefault(tuple(map(show, where.values())), (where, []))[1].append(run)
    for where, members in groups.values():
        yield Measured(where, members, x_values(question, members))


def x_values(question: Question, runs: Sequence[RunRecord]) -> list[float]:
    """The values of x among runs as described in `Measured`."""
    if question.x == "epoch":
        epochs = [row["epoch"] for row in runs[0].history]
        return [min(epochs), max(epochs)] if epochs else []
    values = [run.get(question.x) for run in runs] if question.x else []
    return sorted(set(values)) if numeric(values) else []


def numeric(values: Sequence[Any]) -> bool:
    """Whether all values are numbers, which have a position on an axis."""
    return all(isinstance(value, numbers.Real) and not isinstance(value, bool) for value in values)


def losses(question: Question) -> list[str]:
    """The losses of the splits among a study's metrics."""
    return [metric for metric in question.metrics if metric in ("loss/train", "loss/val", "loss/test")]


def noise_floor(question: Question, runs: Sequence[RunRecord]) -> list[Curve]:
    """The expected loss of the true function: the variance of the noise times the factor of the loss."""
    curves = []
    for each in measured_curves(question, runs):
        floors = {floor for run in each.runs if (floor := noise_variance(run.config))}
        if each.x and len(floors) == 1:
            y = [floors.pop()] * len(each.x)
            curves += [each.curve("noise floor", each.x, y, metric) for metric in losses(question)]
    return curves


def vertical(label: str, x: float, question: Question, runs: Sequence[RunRecord]) -> list[Curve]:
    """A vertical line through the measured values of the study's metrics, one for each kind of metric."""
    kinds: dict[str, list[str]] = {}
    for metric in question.metrics:
        kinds.setdefault(metric.partition("/")[0], []).append(metric)
    curves = []
    for metrics in kinds.values():
        values = [v for run in runs for metric in metrics if (v := run.metric(metric)) is not None and v > 0]
        for metric in (metrics if len(kinds) > 1 else [""]) if values else []:
            curves.append(Curve(label, [x, x], [min(values), max(values)], metric))
    return curves
