"""The caption of a study's picture: what its lines and bands are, and over how many runs."""

from __future__ import annotations

from collections.abc import Sequence

from lightning_d2l.studies import labels
from lightning_d2l.studies.bands import has_band
from lightning_d2l.studies.points import Point
from lightning_d2l.studies.study import Study, superlative
from lightning_d2l.theory.curves import numeric

MOST_NAMED = 3  # metrics with medians


def caption_of(study: Study, points: Sequence[Point], isolated: bool) -> str:
    """What the lines and bands of a picture are; `isolated` says that at each x only the best setting is shown."""
    caption = _of_estimates(study, points).replace(" x ", " \N{MULTIPLICATION SIGN} ")  # 20 data sets x 5 folds
    if not isolated:
        return caption
    keys, metric = labels.listing(map(labels.named, study.curves)), labels.metric(study.select).removeprefix("the ")
    return f"At each {labels.named(study.x)} the {keys} with the {superlative(study.select)} {metric}. {caption}"


def _of_estimates(study: Study, points: Sequence[Point]) -> str:
    drawn = {m: [p.estimates[m] for p in points if m in p.estimates] for m in study.metrics}
    estimates = [found for each in drawn.values() for found in each]
    counts = sorted({estimate.n for estimate in estimates})
    if not counts:
        return "No setting has a value of these metrics."
    if counts[-1] < 2:
        repeated = any(len(values) > 1 for point in points for values in point.values.values())
        return f"{'Repeated runs are equal' if repeated else 'One run for each point'}, so there are no intervals."
    n = f"n = {counts[0]}" if len(counts) == 1 else f"n = {counts[0]} to {counts[-1]}"
    designs, fixed = {e.design for e in estimates}, list(dict.fromkeys(e.given for e in estimates if e.given))
    over = f"{designs.pop() if len(designs) == 1 else 'runs'} ({n})"
    joined = numeric([point.setting[study.x] for point in points])
    lines, interval = ("Lines", "Bands") if joined else ("Large markers", "Bars")
    medians = [m for m, each in drawn.items() if any(e.statistic == "median" for e in each)]
    what = "mean" if not medians else "median"
    if 0 < len(medians) < len([m for m, each in drawn.items() if each]):
        which = labels.listing(map(labels.metric, medians)) if len(medians) <= MOST_NAMED else f"{len(medians)} metrics"
        what = f"median of {which}, mean of the others,"
    caption = f"{lines}: {what} over {over}."
    if any(map(has_band, estimates)):
        given = f", given {labels.listing(fixed)}" if fixed else ""
        caption += f" {interval}: 95 % confidence intervals{given}."
        caption += " Thick bars: quartiles." if medians else ""
    elif any(e.clusters > 1 for e in estimates):
        caption += " So few have no band: their intervals are in summary.csv."
    return caption


def methods_of(study: Study, points: Sequence[Point]) -> str:
    """How the intervals that are drawn were computed, and what that assumes; empty without any."""
    drawn = [point.estimates[m] for m in study.metrics for point in points if m in point.estimates]
    methods = dict.fromkeys(each.method for each in drawn if has_band(each) and each.method != "all equal")
    return f"Intervals: {'; '.join(methods)}." if methods else ""
