"""What a theory is: it gives curves to draw over the figure of a study.

To add one, write a function with the decorator `theory` in the file of its topic and name it in theories.py. A theory
names what it assumes (assumptions.py), and gives curves for the runs of which that is true alone.
"""

from __future__ import annotations

import functools
import math
import numbers
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_d2l.config.check import flat
from lightning_d2l.config.text import show
from lightning_d2l.theory.assumptions import ASSUMPTIONS, RECORDED
from lightning_d2l.theory.problem import noise_variance
from lightning_d2l.training.record import RunRecord

Array = NDArray[np.float64]
LOSSES = ("loss/train", "loss/val", "loss/test")
HELD_OUT = ("loss/val", "loss/test")
PROBLEM = ("data", "model", "optimizer", "loss", "penalty", "scheduler")
"""The nodes of a configuration that the runs of one curve share, but for x, `REPLICATES` and `PLACES`."""
REPLICATES = ("data.seed", "data.test_seed", "data.fold")
LENGTH = "trainer.max_epochs"
PLACES = ("data.root", "data.source")
"""Where data are, which a resumed run knows and a new one finds; other data make other curves."""
MOST_REASONS = 3


@dataclass(frozen=True)
class Curve:
    """A theoretical line: `x` and `y` (n,), in the units of the figure.

    It is drawn where `metric` is drawn, over every metric if that is empty, and beside the measured curves whose
    setting agrees with `where`. Curves of equal label share an entry of the legend. `low` and `high` (n,) are the ends
    of the theory's own error, where it is an approximation.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    metric: str = ""
    where: Mapping[str, Any] = field(default_factory=dict)
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


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


@dataclass(frozen=True)
class Measured:
    """One measured curve of a study: its setting, its runs, and the values of x in ascending order.

    `all_runs` are those of the whole study. `x` is empty if the values aren't numbers. If x is the epoch, it holds the
    first and the last epoch that any of the runs logged.
    """

    question: Question
    where: Mapping[str, Any]
    runs: list[RunRecord]
    all_runs: Sequence[RunRecord]

    @functools.cached_property
    def x(self) -> list[float]:
        if self.question.x == "epoch":
            epochs = [row["epoch"] for run in self.runs for row in run.history]
            return [min(epochs), max(epochs)] if epochs else []
        values = [run.get(self.question.x) for run in self.runs] if self.question.x else []
        return sorted(set(values)) if numeric(values) else []

    @property
    def config(self) -> Mapping[str, Any]:
        """The configuration of the first run."""
        return self.runs[0].config

    def lines(
        self,
        label: str,
        x: Iterable[float],
        y: Iterable[float],
        metrics: Sequence[str] = ("",),
        band: tuple[Sequence[float], Sequence[float]] | None = None,
    ) -> list[Curve]:
        """A theoretical line for each metric beside this measured curve alone; `band` are the ends of its error."""
        x, y = list(x), list(y)
        return [Curve(label, x, y, metric, self.where, *(band or ())) for metric in metrics] if x else []

    def vertical(self, label: str, x: float, where: Mapping[str, Any] | None = None) -> Iterator[Curve]:
        """A vertical line through all measured values of the study's metrics, one for each kind of metric."""
        kinds: dict[str, list[str]] = {}
        for metric in self.question.metrics:
            kinds.setdefault(metric.partition("/")[0], []).append(metric)
        for metrics in kinds.values():
            values = [v for run in self.all_runs for metric in metrics if (v := run.metric(metric)) and v > 0]
            for metric in (metrics if len(kinds) > 1 else [""]) if values else []:
                yield Curve(label, [x, x], [min(values), max(values)], metric, where or {})


@dataclass(frozen=True)
class Theory:
    """A theory: called with a question and runs it returns curves, and `reasons` says for which runs it has none.

    `lines` gives the lines beside one measured curve, whose x must be numbers. `assumes` are keys of ASSUMPTIONS.
    `keys` are the keys that may lie along x, by default any. With `together` the runs of all curves count as one.
    `parts` are theories that are drawn with it, each where its own assumptions hold.
    """

    lines: Callable[[Measured], Iterator[Curve]]
    assumes: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    together: bool = False
    parts: tuple[Theory, ...] = ()

    @property
    def name(self) -> str:
        return self.lines.__name__

    def __call__(self, question: Question, runs: Sequence[RunRecord]) -> list[Curve]:
        curves = [curve for part in self.parts for curve in part(question, runs)]
        measured, _ = self._measured(question, runs)
        return [*curves, *(line for each in measured for line in self.lines(each))]

    def reasons(self, question: Question, runs: Sequence[RunRecord]) -> list[str]:
        """For which runs the theory and its parts are not drawn, and why, a sentence each."""
        if self.keys and question.x not in self.keys:
            return [f"Theory {self.name} is not drawn: it is for {' or '.join(self.keys)} along x, not {question.x}."]
        _, lost = self._measured(question, runs)
        found = [reason for part in self.parts for reason in part.reasons(question, runs)]
        for reason, number in lost.most_common(MOST_REASONS):
            runs_lost = "" if number == len(runs) else f" for {number} of {len(runs)} runs"
            found.append(f"Theory {self.name} is not drawn{runs_lost}: {reason}.")
        return found

    @property
    def assumed(self) -> list[str]:
        """What the theory assumes, in words."""
        return [ASSUMPTIONS[name].text for name in self.assumes]

    def broken(self, config: Mapping[str, Any]) -> str:
        """The first assumption that a run breaks, and the setting that breaks it; empty where all hold."""
        for name in self.assumes:
            if setting := ASSUMPTIONS[name].broken(config):
                return f"it assumes {ASSUMPTIONS[name].text}, and these have {setting}"
        return ""

    def _measured(self, question: Question, runs: Sequence[RunRecord]) -> tuple[list[Measured], Counter[str]]:
        """The measured curves without the values of x at which a run breaks an assumption, and how many runs why."""
        lost: Counter[str] = Counter()
        groups: dict[tuple[str, ...], Measured] = {}
        for run in runs if not self.keys or question.x in self.keys else ():
            where = {} if self.together else {key: run.get(key) for key in question.curves}
            setting = tuple(map(show, where.values()))
            groups.setdefault(setting, Measured(question, where, [], runs)).runs.append(run)
        found = []
        for each in groups.values():
            places = ["" if question.x == "epoch" else show(run.get(question.x)) for run in each.runs]
            spoilt: dict[str, str] = {}
            for run, place in zip(each.runs, places, strict=True):
                if reason := self.broken({**run.config, RECORDED: run.fields.get("data")}):
                    spoilt.setdefault(place, reason)
            kept = [run for run, place in zip(each.runs, places, strict=True) if place not in spoilt]
            lost.update(spoilt[place] for place in places if place in spoilt)
            varied = (question.x, *(question.curves if self.together else ()))
            measured = Measured(question, each.where, kept, runs)
            if kept and (differing := self._differing(kept, varied)):
                lost[f"the runs of one curve differ in {differing}"] += len(kept)
            elif kept and not measured.x:
                lost[f"the values of {question.x} are no numbers"] += len(kept)
            elif kept:
                found.append(measured)
        return found, lost

    def _differing(self, runs: Sequence[RunRecord], varied: Sequence[str]) -> str:
        """A key of the problem, or of the length of a training that matters, that runs of one curve differ in."""
        if found := _differing(runs, varied):
            return found
        lengths = {show((run.config.get("trainer") or {}).get("max_epochs")) for run in runs}
        matters = {"whole training", "optimum"} & {*self.assumes} and not {"epoch", LENGTH} & {*varied}
        return LENGTH if matters and len(lengths) > 1 else ""


def _differing(runs: Sequence[RunRecord], varied: Sequence[str]) -> str:
    """A key of the problem that runs of one curve have different values of, or an empty string."""
    first = {name: runs[0].config.get(name) for name in PROBLEM}
    free = {*varied, *REPLICATES, *PLACES}
    for run in runs[1:]:
        node = {name: run.config.get(name) for name in PROBLEM}
        if free.issuperset(_unlike(first, node)):  # without a list of all settings, for a hundred thousand runs
            continue
        here, there = flat(first), flat(node)
        for key in sorted(here.keys() | there.keys()):
            allowed = any(key == name or key.startswith(f"{name}.") for name in free)
            if not allowed and here.get(key) != there.get(key):
                return key
    return ""


def _unlike(here: Mapping[str, Any], there: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """The keys at which two configurations have different values, those of nodes that one of them lacks included."""
    for key in here if here.keys() == there.keys() else dict.fromkeys([*here, *there]):
        mine, other = here.get(key), there.get(key)
        if mine is other or mine == other:
            continue
        if isinstance(mine, dict) and isinstance(other, dict):
            yield from _unlike(mine, other, f"{above}{key}.")
        else:
            yield f"{above}{key}"


def theory(
    *keys: str, assumes: Sequence[str] = (), together: bool = False, parts: Sequence[Theory] = ()
) -> Callable[[Callable[[Measured], Iterator[Curve]]], Theory]:
    """Make a `Theory` of the function that gives its lines."""
    return lambda lines: Theory(lines, tuple(assumes), keys, together, tuple(parts))


@theory(assumes=["generated", "squared loss"])
def noise_floor(each: Measured) -> Iterator[Curve]:
    """The expected loss of the true function: the variance of the noise times the factor of the loss."""
    floors = {floor for run in each.runs if (floor := noise_variance(run.config))}
    if len(floors) == 1:
        yield from each.lines("noise floor", each.x, [*floors] * len(each.x), each.question.losses)


def numeric(values: Sequence[Any]) -> bool:
    """Whether all values are finite numbers, which have a position on an axis."""
    return all((type(v) in (int, float) or _is_real(v)) and math.isfinite(v) for v in values)


def _is_real(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
