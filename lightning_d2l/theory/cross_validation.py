"""K-fold cross-validation: how often it chooses what is best on fresh data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import fmean

from lightning_d2l.theory.curves import Curve, Measured, Question, noise_floor, theory
from lightning_d2l.training.record import RunRecord


def choices(question: Question, runs: Sequence[RunRecord]) -> dict[str, tuple[float, float]]:
    """For each data set (seed and data.seed) the x that cross-validation chooses, and the best x on fresh data.

    The first has the lowest mean loss/val over the folds, the second the lowest mean loss/test.
    """
    found = []
    for metric in ("loss/val", "loss/test"):
        losses: dict[str, dict[float, list[float]]] = {}
        for run in runs:
            if (loss := run.metric(metric)) is not None:
                name = f"{run.setting('seed')},{run.setting('data.seed')}"
                losses.setdefault(name, {}).setdefault(run.setting(question.x), []).append(loss)
        found.append({name: min(by_x.items(), key=lambda item: fmean(item[1]))[0] for name, by_x in losses.items()})
    chosen, best = found
    return {name: (chosen[name], best[name]) for name in chosen if name in best}


@theory(assumes=["folds"], parts=[noise_floor])
def cross_validation(each: Measured) -> Iterator[Curve]:
    """The noise floor, and lines at the most frequent choice of cross-validation and the most frequent best x."""
    pairs, found = choices(each.question, each.runs).values(), dict[float, list[str]]()
    for position, name in enumerate(("chosen by cross-validation", "best on fresh data")) if pairs else ():
        value, times = Counter(pair[position] for pair in pairs).most_common(1)[0]
        found.setdefault(value, []).append(f"{name} ({times} of {len(pairs)})")
    for x, names in found.items():
        yield from each.vertical(", ".join(names), x, each.where)
