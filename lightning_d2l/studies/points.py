"""The points of a study: each setting with its runs and the estimates of its metrics over seeds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lightning_d2l.config.text import show
from lightning_d2l.studies.diagnosis import DIVERGED, Case, Diagnosis, case_of, diagnose, lowest_of
from lightning_d2l.studies.repeats import idle_of, independent
from lightning_d2l.studies.replicates import Replicate, given, layout_of, replicates_of
from lightning_d2l.studies.sources import SOURCE, main_source
from lightning_d2l.studies.statistics import Estimate, estimate, estimates_of
from lightning_d2l.studies.study import Study, superlative
from lightning_d2l.theory.curves import numeric
from lightning_d2l.theory.decomposition import PARTS, decompose
from lightning_d2l.training.record import RunRecord

WHOLE = "loss/test"


@dataclass
class Point:
    """A setting of a study, its runs, and what the completed ones measured.

    `values` has the value of each completed run, by the name of the metric, and `replicates` which repetition it is.
    `idle` names what changes nothing here, "seed" or "data": runs that differ in it alone are one sample.
    """

    setting: dict[str, Any]
    runs: list[RunRecord] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)
    replicates: dict[str, list[Replicate]] = field(default_factory=dict)
    estimates: dict[str, Estimate] = field(default_factory=dict)
    idle: tuple[str, ...] = ()
    case: Case = field(default_factory=Case)
    diagnosis: Diagnosis | None = None
    rows: list[dict[str, float]] = field(default_factory=list)  # the metrics of each completed run
    repetitions: list[Replicate] = field(default_factory=list)  # which repetition each of the rows is

    @property
    def diverged(self) -> bool:
        """Whether most of the runs diverged."""
        return self.diagnosis is not None and self.diagnosis.name == DIVERGED

    @property
    def sampled(self) -> list[RunRecord]:
        """The completed runs, without those that repeat an earlier one."""
        completed = [run for run in self.runs if run.completed]
        return [completed[i] for i in independent(self.repetitions, self.idle)[0]] if self.idle else completed

    def count(self, state: str) -> int:
        return sum(run.state == state for run in self.runs)

    def as_dict(self) -> dict[str, Any]:
        """The point in reports as plain values."""
        return {
            "setting": self.setting,
            "metrics": {name: estimate.as_dict() for name, estimate in self.estimates.items()},
            "diagnosis": self.diagnosis.name if self.diagnosis else None,
            "or_else": self.diagnosis.or_else if self.diagnosis else None,
            "diagnosed": self.diagnosis.as_dict() if self.diagnosis else None,
        }


@dataclass(frozen=True)
class Series:
    """The points of one curve, in the order of x."""

    setting: Mapping[str, Any]
    points: list[Point]


def points_of(study: Study, runs: Sequence[RunRecord]) -> list[Point]:
    """Every setting of the runs with its estimates and diagnosis, ordered by curve and then by x."""
    found: dict[tuple[str, ...], Point] = {}
    metrics = dict.fromkeys([*study.metrics, study.select, *(name for run in runs for name in run.metric_names)])
    for run, replicate in _distinct(study, runs):
        for setting, values in _observations(study, run, [*metrics]):
            point = found.setdefault(tuple(map(show, setting.values())), Point(setting))
            point.runs.append(run)
            if run.completed:
                point.rows.append(values)
                point.repetitions.append(replicate)
            for name, value in values.items():
                point.values.setdefault(name, []).append(value)
                point.replicates.setdefault(name, []).append(replicate)
    points = _in_order(study, list(found.values()))
    for point in points:
        point.idle = idle_of(point.repetitions, point.rows)
    _estimate(study, points)
    for point in points:
        point.case = case_of(point.runs, point.rows, point.repetitions, point.idle)
    rivals = _rivals(points)
    for point in points:
        lowest, alone = rivals[point.setting.get(SOURCE)]
        point.diagnosis = diagnose(point.case, lowest, alone=alone)
    return points


def _distinct(study: Study, runs: Sequence[RunRecord]) -> list[tuple[RunRecord, Replicate]]:
    """The runs with the replicates that they are; of several with equal configurations and seeds one, if possible one
    that completed: its repetition tells nothing new."""
    found: dict[tuple[object, ...], list[tuple[RunRecord, Replicate]]] = {}
    for run, replicate in zip(runs, replicates_of(runs, study.replicates), strict=True):
        same = found.setdefault((replicate, *(show(run.get(key)) for key in study.keys if key != "epoch")), [])
        twin = next((i for i, (other, _) in enumerate(same) if other.config == run.config), None)
        if twin is None:
            same.append((run, replicate))
        elif run.completed and not same[twin][0].completed:
            same[twin] = run, replicate
    kept = {id(run): replicate for same in found.values() for run, replicate in same}
    return [(run, kept[id(run)]) for run in runs if id(run) in kept]


def _estimate(study: Study, points: Sequence[Point]) -> None:
    """Estimate each metric at every point, by the same statistic for all, which those that diverged do not decide."""
    diverged = {id(p) for p in points if 2 * sum(run.status == "diverged" for run in p.runs) >= len(p.runs)}
    for metric in dict.fromkeys(name for point in points for name in point.values):
        having = [point for point in points if metric in point.values]
        judged = [id(point) not in diverged for point in having]
        each = [_sampled(point, metric) for point in having]
        values, replicates = [found[0] for found in each], [found[1] for found in each]
        for point, found in zip(having, estimates_of(metric, values, replicates, judged), strict=True):
            shared = given(metric, point.runs, point.replicates[metric])
            fixed = " and ".join(filter(None, [shared, found.given]))
            equal = len(point.values[metric]) if point.idle and found.n == 1 else 0
            design = f"{equal} equal runs" if equal else found.design
            point.estimates[metric] = dataclasses.replace(found, given=fixed, design=design)
    parts = [name for name in study.metrics if name in PARTS] if study.x != "epoch" else []
    for point in points if parts else ():
        if not (completed := point.sampled):
            continue
        layout = layout_of(tuple(independent(point.repetitions, point.idle)[1]))
        decomposed = decompose(completed, layout.part)
        for name in parts if decomposed else ():  # the runs of a point have them together
            found = estimate(decomposed[name], None, "real" if name == PARTS[0] else "mean is positive", "mean")
            shared = given(name, point.runs, point.repetitions)
            point.estimates[name] = dataclasses.replace(found, n=len(completed), design=layout.design, given=shared)
            point.values[name], point.replicates[name] = [found.mean], [Replicate()]
        if decomposed and (whole := point.estimates.get(WHOLE)):  # the parts add up to its mean, and to no median
            found = estimate(*_sampled(point, WHOLE), "positive", "mean")
            point.estimates[WHOLE] = dataclasses.replace(found, given=whole.given)


def _sampled(point: Point, metric: str) -> tuple[list[float], list[Replicate]]:
    """The values of a metric, one of those that repeat each other, with the replicates that they are."""
    values = point.values[metric]
    if not point.idle:
        return values, point.replicates[metric]
    places, replicates = independent(point.replicates[metric], point.idle)
    return [values[i] for i in places], replicates


def _rivals(points: Sequence[Point]) -> dict[str | None, tuple[float | None, bool]]:
    """The lowest loss of the points, and whether at most one measured any, by their source of data; there is one, None,
    unless the data differ.
    """
    found: dict[str | None, list[Case]] = {point.setting.get(SOURCE): [] for point in points}
    for point in points:
        if point.case.main:
            found[point.setting.get(SOURCE)].append(point.case)
    return {source: (lowest_of(cases), len(cases) < 2) for source, cases in found.items()}


def run_diagnoses(runs: Sequence[RunRecord], points: Sequence[Point]) -> Iterator[Diagnosis | None]:
    """The diagnosis of each run, compared with the same settings as the points."""
    rivals = {source: found for source, found in _rivals(points).items() if found[0] is not None}
    alone_there = {id(p.runs[0]): p for p in points if len(p.runs) == 1 and "epoch" not in p.setting}
    for run in runs:
        if id(run) in alone_there:  # its diagnosis is that of its setting
            yield alone_there[id(run)].diagnosis
            continue
        case = case_of([run], [_final(run, run.metric_names)] if run.completed else [])
        lowest, alone = rivals.get(run.source or None) or rivals.get(None) or (None, True)
        yield diagnose(case, lowest, alone=alone)


def series_of(study: Study, points: Sequence[Point]) -> list[Series]:
    """The points of every curve."""
    curves: dict[tuple[str, ...], Series] = {}
    for point in points:
        setting = {key: point.setting[key] for key in study.curves}
        curves.setdefault(tuple(map(show, setting.values())), Series(setting, [])).points.append(point)
    return list(curves.values())


def summarised(metric: str, points: Sequence[Point]) -> str:
    """The metric, and that its medians are shown where they are: `loss/test, median`."""
    medians = any(p.estimates[metric].statistic == "median" for p in points if metric in p.estimates)
    return f"{metric}, median" if medians else metric


def best_first(metric: str, points: Sequence[Point]) -> list[Point]:
    """The points that have the metric, best first: the highest accuracy, the lowest of any other metric."""
    sign = -1 if superlative(metric) == "highest" else 1
    return sorted((p for p in points if metric in p.estimates), key=lambda p: sign * p.estimates[metric].value)


def comparable(points: Sequence[Point]) -> list[Point]:
    """The points whose losses may be compared: all, or, if the data differ, those on the data of most runs."""
    if not any(SOURCE in point.setting for point in points):
        return list(points)
    main = main_source(run for point in points for run in point.runs)
    return [point for point in points if point.setting[SOURCE] == main]


def _final(run: RunRecord, metrics: Sequence[str]) -> dict[str, float]:
    return {name: value for name in metrics if (value := run.metric(name)) is not None} if run.completed else {}


def _observations(
    study: Study, run: RunRecord, metrics: Sequence[str]
) -> Iterator[tuple[dict[str, Any], dict[str, float]]]:
    """The setting of a run with its metrics; if x is the epoch, one for each logging point of a completed run."""
    setting = {key: run.get(key) for key in study.keys if key != "epoch"}
    if study.x != "epoch":
        yield setting, _final(run, metrics)
    elif run.completed:
        *before, last = run.history or [run.fields["metrics"]["final"]]
        for row in before:
            yield {"epoch": row["epoch"], **setting}, {k: v for k, v in row.items() if "/" in k and math.isfinite(v)}
        yield {"epoch": last.get("epoch", 0), **setting}, _final(run, metrics)


def _in_order(study: Study, points: list[Point]) -> list[Point]:
    """Points in ascending order of numbers, and in the order of the runs for names."""
    ranks: dict[str, dict[str, int]] = {}
    for key in study.keys:
        values = [point.setting[key] for point in points]
        ordered = sorted(values) if numeric(values) else values
        ranks[key] = {text: rank for rank, text in enumerate(dict.fromkeys(map(show, ordered)))}
    keys = [*study.curves, *([study.x] if study.x else [])]
    return sorted(points, key=lambda point: [ranks[key][show(point.setting[key])] for key in keys])
