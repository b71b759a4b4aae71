"""Which settings of a study are shown side by side: the best of each curve, and one on each side of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from lightning_d2l.studies.diagnosis import OVERFITTING, UNDERFITTING
from lightning_d2l.studies.points import Point, Series, best_first, series_of
from lightning_d2l.studies.ranges import have_positions
from lightning_d2l.studies.study import Study

MOST_ROWS = 3  # of settings, of a curve each
MOST_FITS = 100  # of a setting that is shown side by side


def beside(study: Study, points: Sequence[Point], having: Collection[int]) -> list[Series]:
    """The settings to show, at most three of each of at most three curves, of the points whose id is in `having`.

    Where numbers lie along x these are the best setting, and on each side of it the middle one of those that underfit
    or the furthest that overfits; if the best is the last, the furthest and one between. Of names they are the worst,
    the middle and the best.
    """
    rows = [Series(each.setting, [p for p in each.points if id(p) in having]) for each in series_of(study, points)]
    rows = [row for row in rows if row.points]
    if len(rows) > MOST_ROWS:
        first = {id(best_first(study.select, row.points)[0]) for row in rows if best_first(study.select, row.points)}
        order = [id(point) for point in best_first(study.select, points) if id(point) in first][:MOST_ROWS]
        rows = [row for row in rows if any(id(point) in order for point in row.points)] or rows[:MOST_ROWS]
    return [Series(row.setting, _three(study, row.points)) for row in rows]


def _three(study: Study, points: Sequence[Point]) -> list[Point]:
    ranked = best_first(study.select, [point for point in points if not point.diverged])
    if len(points) <= 3 or not ranked:
        return list(points[:3])
    if not have_positions([point.setting[study.x] for point in points]):
        kept = {id(point) for point in (ranked[0], ranked[len(ranked) // 2], ranked[-1])}
        return [point for point in points if id(point) in kept]
    best = next(i for i, point in enumerate(points) if point is ranked[0])
    below, above = points[:best], points[best + 1 :]
    if below and above:
        return [_typical(below), points[best], _typical(above[::-1])]
    far = 0 if below else len(points) - 1
    kept = {far, (far + best) // 2, best}
    return [point for i, point in enumerate(points) if i in kept]


def _typical(points: Sequence[Point]) -> Point:
    """Of points from the furthest on the one that shows best what is wrong on this side of the best point."""
    names = [point.diagnosis.name if point.diagnosis else "" for point in points]
    kind = next((name for name in names if name in (UNDERFITTING, OVERFITTING)), "")
    of_kind = [point for point, name in zip(points, names, strict=True) if name == kind] or [points[0]]
    return of_kind[len(of_kind) // 2 if kind == UNDERFITTING else 0]
