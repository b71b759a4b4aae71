"""What an answer rule is: a function that answers the question of one study from its points, in sentences with numbers.

To add one, write a function with the decorator `rule` in the file of its topic and name it in table.py. A rule is asked
only if the runs have the axis and the metrics that it needs; otherwise the study gets the answer of a plain sweep.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lightning_d2l.config.text import show
from lightning_d2l.studies.answers.words import a_list, chance, sample
from lightning_d2l.studies.labels import settings, short
from lightning_d2l.studies.points import Point, Series, best_first, comparable, series_of
from lightning_d2l.studies.predicted import predicted
from lightning_d2l.studies.study import Study
from lightning_d2l.theory.curves import Curve, numeric
from lightning_d2l.theory.decomposition import PARTS

Verdict = Literal["yes", "no", "undecided", ""]
MOST_CURVES = 6
"""Each gets a sentence; the others are counted."""
OF_SEVERAL = ", which two data sets or more give"
OPENINGS = {"yes": "Yes: ", "no": "No: ", "undecided": "Undecided: ", "": ""}


@dataclass(frozen=True)
class Said:
    """The verdict on a question, "" if the question isn't one for yes or no, and sentences with the numbers.

    `best` is the setting that the answer recommends; None leaves the choice to `study.select`.
    """

    verdict: Verdict
    text: str
    best: Point | None = None


@dataclass(frozen=True)
class Asked:
    """A study with its points, without those on other data than most."""

    study: Study
    points: Sequence[Point]

    @functools.cached_property
    def series(self) -> list[Series]:
        """The curves, each in the order of x."""
        return series_of(self.study, self.points)

    @functools.cached_property
    def theory(self) -> list[Curve]:
        """The theoretical curves of the study; none where the theory does not apply."""
        return predicted(self.study, [run for point in self.points for run in point.runs])

    def measured(self, *metrics: str) -> Iterator[tuple[Series, list[Point]]]:
        """The first curves with their points that have the metrics and did not diverge, at least two of them."""
        for series in self.series[:MOST_CURVES]:
            points = [p for p in series.points if not p.diverged and all(metric in p.estimates for metric in metrics)]
            if len(points) > 1:
                yield series, points

    def line(self, label: str, metric: str = "", where: Mapping[str, Any] | None = None) -> dict[float, float]:
        """The values by x of the theoretical curve whose label begins so; empty if there is none."""
        for curve in self.theory:
            same = all(show((where or {}).get(key, value)) == show(value) for key, value in curve.where.items())
            if same and curve.label.startswith(label) and (not metric or curve.metric in ("", metric)):
                return dict(zip(curve.x, curve.y, strict=True))
        return {}

    def vertical(self, label: str) -> float | None:
        """The x of the vertical theoretical line whose label begins so."""
        return next(iter(self.line(label)), None)

    def level(self, label: str, metric: str = "") -> float | None:
        """The value of the horizontal theoretical line whose label begins so."""
        return next(iter(self.line(label, metric).values()), None)

    def x(self, point: Point) -> float:
        return float(point.setting[self.study.x])

    def shown(self, point: Point) -> str:
        """The value of x as text: `3`."""
        return short(point.setting[self.study.x])

    def at(self, point: Point) -> str:
        """`data.degree=3`."""
        return settings({self.study.x: point.setting[self.study.x]})

    def without(self, point: Point, what: str) -> str:
        """`without dropout` where x is 0, else `at 0.2`."""
        return f"without{what and ' '}{what}" if self.x(point) == 0 else f"at {self.shown(point)}"

    def curve(self, series: Series) -> str:
        """`with data.noise=0.1, ` before a sentence, nothing if there is one curve."""
        return f"with {settings(series.setting)}, " if series.setting and len(self.series) > 1 else ""

    def best(self, metric: str, points: Sequence[Point]) -> list[Point]:
        """The points that did not diverge, best first."""
        return best_first(metric, [point for point in points if not point.diverged])

    def said(
        self, verdict: Verdict, sentences: Sequence[str], more: str = "", best: Point | None = None
    ) -> Said | None:
        """Sentences on the curves, the first after the verdict, then one on the whole; None without sentences.

        One run for each point decides nothing. Points that diverged are counted, unless x is the learning rate.
        """
        if not sentences:
            return None
        single = all(found.n < 2 for point in self.points for found in point.estimates.values())
        verdict, (first, *others) = "undecided" if single and verdict else verdict, sentences
        opening = OPENINGS[verdict]
        words = [f"{opening}{first}" if opening else _capital(first), *map(_capital, others)]
        left = len(self.series) - MOST_CURVES
        rest = [f"summary.csv has {left} more curves."] if left > 0 else []
        if single:
            one, other = sample(self.points), chance(self.points)
            rest.append(f"Each number is of one {one}: other {other} may give others.")
        if self.study.x != "optimizer.lr" and (lost := [point for point in self.points if point.diverged]):
            where = a_list(dict.fromkeys(self.at(point) for point in lost))
            verb = "is" if len(lost) == 1 else "are"
            rest.append(f"{len(lost)} of {len(self.points)} settings diverged and {verb} left out: {where}.")
        return Said(
            verdict, " ".join([*(f"{sentence}." for sentence in words), *([more] if more else []), *rest]), best
        )


def unanimous(verdicts: Sequence[str], deciding: Verdict = "") -> Verdict:
    """The verdict on which all curves agree, or that one of them decides; else undecided."""
    if deciding and deciding in verdicts:
        return deciding
    for verdict in ("yes", "no"):
        if verdicts and set(verdicts) == {verdict}:
            return "yes" if verdict == "yes" else "no"
    return "undecided"


def _capital(words: str) -> str:
    """A sentence that begins with a capital letter, or with a setting or a number as it is."""
    first = words.partition(" ")[0]
    return words if len(first) == 1 or set(first) & set("=._0123456789") else words[:1].upper() + words[1:]


Say = Callable[[Asked], Said | None]


@dataclass(frozen=True)
class Rule:
    """A rule and what it needs: a key along x whose values are numbers, metrics, and keys of curves."""

    say: Say
    x: str
    metrics: tuple[str, ...]
    curves: tuple[str, ...] = ()
    needs: str = "settings that these runs lack"

    def lacks(self, study: Study, points: Sequence[Point]) -> str:
        """What the rule needs and the study doesn't have, in words; empty if it has everything."""
        if study.x != self.x:
            return f"{self.x} along x"
        if lost := [key for key in self.curves if key not in study.curves]:
            return f"{lost[0]} among the curves"
        if lost := [metric for metric in self.metrics if not any(metric in point.estimates for point in points)]:
            return f"{lost[0]}{OF_SEVERAL * (lost[0] in PARTS)}"
        values = [point.setting[self.x] for point in points]
        if not numeric(values):
            return f"numbers as {self.x}"
        return "" if len({show(value) for value in values}) > 1 else f"at least two values of {self.x}"

    def __call__(self, study: Study, points: Sequence[Point]) -> Said | None:
        """The answer; None where the points that did not diverge are too few for one."""
        return self.say(Asked(study, comparable(points)))


def rule(x: str, *metrics: str, curves: Sequence[str] = (), needs: str = Rule.needs) -> Callable[[Say], Rule]:
    """Make a rule of a function that answers from the points of a study; `needs` says when it can't."""
    return lambda say: Rule(say, x, metrics, tuple(curves), needs)
