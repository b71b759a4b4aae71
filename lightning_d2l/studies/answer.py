"""The answer of a study, in sentences computed from its points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lightning_d2l.config.text import show
from lightning_d2l.studies.diagnosis import NAMES
from lightning_d2l.studies.labels import listing, settings, short, split
from lightning_d2l.studies.points import Point, best_first, comparable, series_of
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

    A setting most of whose runs diverged is never the best. If the data differ, those of most runs count.
    """
    ranked = best_first(study.select, [point for point in comparable(points) if not point.diverged])
    diagnoses = list(_diagnoses(study, points))
    if not ranked:
        return Answer(f"No completed run has {study.select} yet.", None, None, diagnoses, [])
    best, runner_up = ranked[0], ranked[1] if len(ranked) > 1 else None
    names = [name for name in (study.select, study.select.replace("/val", "/test")) if name in best.estimates]
    values = {name: str(best.estimates[name]) for name in names}  # the metric that decides, and the same on test data
    if runner_up:
        text = _best(study, best, values) + _runner_up(study.select, best, runner_up)
    else:
        only = f"Only {settings(best.setting)} has {study.select}" if best.setting else "Only one setting was run"
        text = f"{only}: {'; '.join(f'{name} = {value}' for name, value in values.items())}."
    return Answer(text, best, runner_up, diagnoses, list(_warnings(study, best, points)))


def _best(study: Study, best: Point, values: dict[str, str]) -> str:
    (name, value), *test = values.items()
    text = f"{settings(best.setting)} has the {superlative(name)} {name}, {value}"
    text += "".join(f"; its {name} is {value}" for name, value in test)
    if not study.select.endswith("/val"):
        text += f" (chosen on {split(study.select) or 'these'} data, since the runs have no validation metrics)"
    return f"{text}."


def _runner_up(metric: str, best: Point, second: Point) -> str:
    a, b = best.estimates[metric], second.estimates[metric]
    text = f" The runner-up, {settings(second.setting)}, has {b}"
    if min(a.n, b.n) < 2:
        return f"{text}; without several seeds for both, the difference may be due to chance."
    if a.overlaps(b):
        return f"{text}: the intervals overlap, so the difference may be due to chance."
    return f"{text}: the intervals don't overlap."


def _diagnoses(study: Study, points: Sequence[Point]) -> Iterator[str]:
    """A line for each curve: at which x it underfits, fits well, overfits or diverges; ~ marks uncertain ones."""
    for series in series_of(study, points):
        parts = []
        for name in NAMES:
            found = [(point, d) for point in series.points if (d := point.diagnosis) and d.name == name]
            if found and study.x:
                at = ", ".join(d.mark + short(point.setting[study.x]) for point, d in found)
                parts.append(f"{name} at {study.x} {at}")
            elif found:
                parts.append(found[0][1].short)
        if parts:
            yield (f"{settings(series.setting)}: " if series.setting else "") + "; ".join(parts)


def _warnings(study: Study, best: Point, points: Sequence[Point]) -> Iterator[str]:
    for key in study.keys:
        values, value = [point.setting[key] for point in points], best.setting[key]
        if not numeric(values) or len(set(values)) < 3 or key == "num_parameters":
            continue
        if value == max(values):
            yield f"The best {key}, {short(value)}, is the largest tried: the optimum may lie beyond it."
        elif value == min(values) and value != 0:  # 0 is a natural limit
            yield f"The best {key}, {short(value)}, is the smallest tried: the optimum may lie below it."
    if lost := [f"{n} {status}" for status in ("diverged", "failed") if (n := best.count(status))]:
        yield f"Of the {len(best.runs)} runs of the best setting, {listing(lost)}; its mean is over the others."
    data = [run.config.get("data") or {} for point in points for run in point.runs]
    seeds = {show(node.get("seed")) for node in data}
    if len(seeds) == 1 and all("noise" in node for node in data) and any(len(point.runs) > 1 for point in points):
        yield (
            f"All runs share one generated data set (data.seed={seeds.pop()}): the intervals include the spread "
            "from initialisation and shuffling, not from the data."
        )
    counts = {point.estimates[study.select].n for point in points if study.select in point.estimates}
    if len(counts) > 1:
        yield f"The points have different numbers of runs, from {min(counts)} to {max(counts)}."
