"""The points of a study: each setting with its runs and the estimates of its metrics over seeds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lightning_d2l.config.text import show
from lightning_d2l.studies.diagnosis import DIVERGED, Diagnosis, Errors, diagnose, floor_of
from lightning_d2l.studies.statistics import Estimate, estimate
from lightning_d2l.studies.study import Study, superlative
from lightning_d2l.theory.curves import numeric
from lightning_d2l.theory.decomposition import PARTS, decompose
from lightning_d2l.training.record import RunRecord


@dataclass
class Point:
    """A setting of a study, its runs, and what the completed ones measured.

    `values` has the value of each completed run, by the name of the metric.
    """

    setting: dict[str, Any]
    runs: list[RunRecord] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)
    estimates: dict[str, Estimate] = field(default_factory=dict)
    diagnosis: Diagnosis | None = None

    @property
    def diverged(self) -> bool:
        """Whether most of the runs diverged."""
        return self.diagnosis is not None and self.diagnosis.name == DIVERGED

    def count(self, status: str) -> int:
        return sum(run.status == status for run in self.runs)

    def mean(self, metric: str) -> float | None:
        return self.estimates[metric].mean if metric in self.estimates else None


@dataclass(frozen=True)
class Series:
    """The points of one curve, in the order of x."""

    setting: Mapping[str, Any]
    points: list[Point]


def points_of(study: Study, runs: Sequence[RunRecord]) -> list[Point]:
    """Every setting of the runs with its estimates and diagnosis, ordered by curve and then by x."""
    found: dict[tuple[str, ...], Point] = {}
    metrics = _measured(study, runs)
    for run in runs:
        for setting, values in _observations(study, run, metrics):
            point = found.setdefault(tuple(map(show, setting.values())), Point(setting))
            point.runs.append(run)
            for name, value in values.items():
                point.values.setdefault(name, []).append(value)
    points = _in_order(study, list(found.values()))
    for point in points:
        point.estimates = {name: estimate(values) for name, values in point.values.items()}
        _decompose(study, point)
    errors = [_errors(point) for point in points]
    fallback = floor_of(errors)
    for point, each in zip(points, errors, strict=True):
        point.diagnosis = diagnose(each, fallback)
    return points


def _decompose(study: Study, point: Point) -> None:
    """Add the parts of the test loss that the study asks for, which the runs of a point have together."""
    wanted = [name for name in study.metrics if name in PARTS] if study.x != "epoch" else []
    found = decompose(point.runs) if wanted else {}
    for name in wanted if found else ():
        point.estimates[name] = estimate(found[name])
        point.values[name] = [point.estimates[name].mean]


def run_diagnoses(runs: Sequence[RunRecord], points: Sequence[Point]) -> list[Diagnosis | None]:
    """The diagnosis of each run, with the same floor as the points."""
    lowest = floor_of([_errors(point) for point in points])
    return [diagnose(_errors(_alone(run)), lowest) for run in runs]


def _alone(run: RunRecord) -> Point:
    values = {name: value for name in run.metric_names if (value := run.metric(name)) is not None}
    estimates = {name: estimate([value]) for name, value in values.items()} if run.completed else {}
    return Point({}, [run], {name: [value] for name, value in values.items()}, estimates)


def series_of(study: Study, points: Sequence[Point]) -> list[Series]:
    """The points of every curve."""
    curves: dict[tuple[str, ...], Series] = {}
    for point in points:
        setting = {key: point.setting[key] for key in study.curves}
        key = tuple(map(show, setting.values()))
        curves.setdefault(key, Series(setting, [])).points.append(point)
    return list(curves.values())


def best_first(metric: str, points: Sequence[Point]) -> list[Point]:
    """The points that have the metric, best mean first: the highest accuracy, the lowest of any other metric."""
    sign = -1 if superlative(metric) == "highest" else 1
    return sorted((p for p in points if metric in p.estimates), key=lambda p: sign * p.estimates[metric].mean)


def _measured(study: Study, runs: Sequence[RunRecord]) -> list[str]:
    """The metrics of the study, then the other ones of the runs."""
    return list(dict.fromkeys([*study.metrics, study.select, *(name for run in runs for name in run.metric_names)]))


def _observations(
    study: Study, run: RunRecord, metrics: Sequence[str]
) -> Iterator[tuple[dict[str, Any], dict[str, float]]]:
    """The setting of a run with its metrics; if x is the epoch, one for each logging point."""
    setting = {key: run.get(key) for key in study.keys if key != "epoch"}
    final = {name: value for name in metrics if (value := run.metric(name)) is not None} if run.completed else {}
    if study.x != "epoch":
        yield setting, final
        return
    rows = run.history if run.completed else []
    last = rows[-1]["epoch"] if rows else (run.fields.get("metrics") or {}).get("final", {}).get("epoch", 0)
    for row in [*rows[:-1], {"epoch": last}]:
        values = final if row["epoch"] == last else {k: v for k, v in row.items() if "/" in k and math.isfinite(v)}
        if run.completed:
            yield {"epoch": row["epoch"], **setting}, values


def _in_order(study: Study, points: list[Point]) -> list[Point]:
    """Points in ascending order of numbers, and in the order of the runs for names."""
    ranks: dict[str, dict[str, int]] = {}
    for key in study.keys:
        values = [point.setting[key] for point in points]
        ordered = sorted(values) if numeric(values) else values
        ranks[key] = {text: rank for rank, text in enumerate(dict.fromkeys(map(show, ordered)))}
    keys = [*study.curves, *([study.x] if study.x else [])]
    return sorted(points, key=lambda point: [ranks[key][show(point.setting[key])] for key in keys])


def _errors(point: Point) -> Errors:
    """The losses that decide the diagnosis of a point."""
    completed = [run for run in point.runs if run.completed]
    best = [value for run in completed if (value := run.metric("best.loss/val")) is not None]
    held_out = "val" if "loss/val" in point.estimates else "test"
    lowest = point.mean(f"loss/{held_out}")
    if best and held_out == "val" and lowest is not None:
        lowest = min(sum(best) / len(best), lowest)
    return Errors(
        train=point.estimates.get("loss/train"),
        held_out=point.estimates.get(f"loss/{held_out}"),
        split=held_out,
        best_held_out=lowest,
        configs=[run.config for run in completed],
        diverged=point.count("diverged") / len(point.runs),
    )
