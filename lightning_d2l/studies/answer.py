"""The answer of a study, in sentences computed from its points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lightning_d2l.config.text import number, show
from lightning_d2l.studies.diagnosis import DIVERGED, OVERFITTING, UNDERFITTING, WELL_FITTED
from lightning_d2l.studies.labels import listing, settings, split
from lightning_d2l.studies.points import Point, best_first, series_of
from lightning_d2l.studies.statistics import Estimate
from lightning_d2l.studies.study import Study, superlative
from lightning_d2l.theory.curves import numeric


@dataclass(frozen=True)
class Answer:
    """The best setting and the runner-up, both in sentences, a diagnosis for each curve, and warnings."""

    text: str
    best: Point | None
    runner_up: Point | None
    diagnosis: list[str]
    warnings: list[str]


def answer(study: Study, points: Sequence[Point]) -> Answer:
    """The setting with the best mean of `study.select`, and how certain that is.

    A setting most of whose runs diverged is never the best.
    """
    ranked = best_first(study.select, [point for point in points if not point.diverged])
    if not ranked:
        return Answer(f"No completed run has {study.select} yet.", None, None, diagnoses(study, points), [])
    best, runner_up = ranked[0], ranked[1] if len(ranked) > 1 else None
    text = _best(study, best) + _runner_up(study.select, best, runner_up) if runner_up else _alone(study, best)
    return Answer(text, best, runner_up, diagnoses(study, points), _warnings(study, best, points))


def _metrics(study: Study, best: Point) -> list[tuple[str, str]]:
    """The metric that decides, and the same on test data if there is one, each with its mean."""
    names = dict.fromkeys([study.select, study.select.replace("/val", "/test")])
    return [(name, mean_with_interval(best.estimates[name])) for name in names if name in best.estimates]


def _alone(study: Study, best: Point) -> str:
    values = "; ".join(f"{name} = {value}" for name, value in _metrics(study, best))
    only = f"Only {settings(best.setting)} has {study.select}" if best.setting else "Only one setting was run"
    return f"{only}: {values}."


def _best(study: Study, best: Point) -> str:
    (name, value), *test = _metrics(study, best)
    text = f"{settings(best.setting)} has the {superlative(name)} {name}, {value}"
    text += "".join(f"; its {name} is {value}" for name, value in test)
    if not study.select.endswith("/val"):
        text += f" (chosen on {split(study.select) or 'these'} data, since the runs have no validation metrics)"
    return f"{text}."


def _runner_up(metric: str, best: Point, second: Point) -> str:
    a, b = best.estimates[metric], second.estimates[metric]
    text = f" The runner-up, {settings(second.setting)}, has {mean_with_interval(b)}"
    if min(a.n, b.n) < 2:
        return f"{text}; without several seeds for both, the difference may be due to chance."
    if a.overlaps(b):
        return f"{text}: the intervals overlap, so the difference may be due to chance."
    return f"{text}: the intervals don't overlap."


def mean_with_interval(estimate: Estimate) -> str:
    """`0.0102 (95 % interval 0.0100 to 0.0104, Student t, n = 5)`."""
    if estimate.n < 2:
        return f"{number(estimate.mean)} (one run)"
    low, high = number(estimate.low), number(estimate.high)
    return f"{number(estimate.mean)} (95 % interval {low} to {high}, {estimate.method}, n = {estimate.n})"


def diagnoses(study: Study, points: Sequence[Point]) -> list[str]:
    """A line for each curve: at which x it underfits, fits well, overfits or diverges; ~ marks uncertain ones."""
    lines = []
    for series in series_of(study, points):
        parts = []
        for name in (UNDERFITTING, WELL_FITTED, OVERFITTING, DIVERGED):
            found = [point for point in series.points if point.diagnosis and point.diagnosis.name == name]
            marked = [f"{'~' if p.diagnosis and p.diagnosis.uncertain else ''}{_at(study, p)}" for p in found]
            if marked:
                parts.append(f"{name} at {study.x} {', '.join(marked)}" if study.x else f"{marked[0]}{name}")
        if parts:
            lines.append(f"{settings(series.setting)}: {'; '.join(parts)}" if series.setting else "; ".join(parts))
    return lines


def _at(study: Study, point: Point) -> str:
    return show(point.setting[study.x]) if study.x else ""


def _warnings(study: Study, best: Point, points: Sequence[Point]) -> list[str]:
    warnings = [text for key in study.keys if (text := _edge(key, best, points))]
    diverged, failed = best.count("diverged"), best.count("failed")
    if diverged or failed:
        lost = listing(f"{n} {word}" for n, word in ((diverged, "diverged"), (failed, "failed")) if n)
        warnings.append(f"Of the {len(best.runs)} runs of the best setting, {lost}; its mean is over the others.")
    if one := _one_data_set(points):
        warnings.append(one)
    few = {point.estimates[study.select].n for point in points if study.select in point.estimates}
    if len(few) > 1:
        warnings.append(f"The points have different numbers of runs, from {min(few)} to {max(few)}.")
    return warnings


def _one_data_set(points: Sequence[Point]) -> str | None:
    """A warning if all runs have the same generated data set, whose random deviations are in every mean."""
    nodes = [run.config.get("data") or {} for point in points for run in point.runs]
    seeds = {node.get("seed") for node in nodes}
    if len(seeds) == 1 and nodes and all("noise" in node for node in nodes) and any(len(p.runs) > 1 for p in points):
        return (
            f"All runs share one generated data set (data.seed={show(seeds.pop())}): the intervals include the spread "
            "from initialisation and shuffling, not from the data."
        )
    return None


def _edge(key: str, best: Point, points: Sequence[Point]) -> str | None:
    """A warning if the best value of a key is the smallest or largest of at least three; 0 is a natural limit."""
    values = [point.setting[key] for point in points]
    if not numeric(values) or len(set(values)) < 3 or key == "num_parameters":
        return None
    value = best.setting[key]
    if value == max(values):
        return f"The best {key}, {show(value)}, is the largest tried: the optimum may lie beyond it."
    if value == min(values) and value != 0:
        return f"The best {key}, {show(value)}, is the smallest tried: the optimum may lie below it."
    return None
