"""K-fold cross-validation: how often it chooses what is best on fresh data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from lightning_d2l.theory.curves import Curve, Measured, Question, noise_floor, theory
from lightning_d2l.training.record import RunRecord


def choices(question: Question, runs: Sequence[RunRecord]) -> dict[str, tuple[float, float]]:
    """For each data set (data.seed) the x that cross-validation chooses, and the best x on fresh data.

    The first has the lowest mean loss/val over the folds (and seeds), the second the lowest mean loss/test. An x of
    which a fold has no loss, as of a run that diverged, is none of them.
    """
    found = []
    for metric in ("loss/val", "loss/test"):
        losses: dict[str, dict[float, list[float]]] = {}
        for run in runs:
            if (loss := run.metric(metric)) is not None:
                of_set = losses.setdefault(str(run.setting("data.seed")), {})
                of_set.setdefault(run.setting(question.x), []).append(loss)
        found.append({name: _lowest(by_x) for name, by_x in losses.items()})
    chosen, best = found
    return {name: (chosen[name], best[name]) for name in chosen if name in best}


def _lowest(losses: Mapping[float, Sequence[float]]) -> float:
    """The x of the lowest mean loss among those with a loss of all folds."""
    folds = max(map(len, losses.values()))
    return min((x for x, values in losses.items() if len(values) == folds), key=lambda x: fmean(losses[x]))


@theory(assumes=["folds"], parts=[noise_floor])
def cross_validation(each: Measured) -> Iterator[Curve]:
    """The noise floor, and lines at the most frequent choice of cross-validation and the most frequent best x."""
    pairs, found = choices(each.question, each.runs).values(), dict[float, list[str]]()
    for position, name in enumerate(("chosen by cross-validation", "best on fresh data")) if pairs else ():
        value, times = Counter(pair[position] for pair in pairs).most_common(1)[0]
        found.setdefault(value, []).append(f"{name} ({times} of {len(pairs)})")
    for x, names in found.items():
        yield from each.vertical(", ".join(names), x, each.where)
