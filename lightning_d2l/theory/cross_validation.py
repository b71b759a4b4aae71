"""K-fold cross-validation: how often it chooses what is best on fresh data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from lightning_d2l.theory.curves import Curve, Measured, Question, theory
from lightning_d2l.training.record import RunRecord


def choices(question: Question, runs: Sequence[RunRecord]) -> dict[str, tuple[float, float]]:
    """For each data set (seed and data.seed) the x that cross-validation chooses, and the best x on fresh data.

    The first has the lowest mean loss/val over the folds, the second the lowest mean loss/test.
    """
    found = []
    for split in ("val", "test"):
        losses: dict[str, dict[float, list[float]]] = {}
        for run in runs:
            if (loss := run.metric(f"loss/{split}")) is not None:
                name = f"{run.setting('seed')},{run.setting('data.seed')}"
                losses.setdefault(name, {}).setdefault(run.setting(question.x), []).append(loss)
        means = {name: {x: sum(each) / len(each) for x, each in by_x.items()} for name, by_x in losses.items()}
        found.append({name: min(by_x, key=by_x.__getitem__) for name, by_x in means.items()})
    return {name: (chosen, found[1][name]) for name, chosen in found[0].items() if name in found[1]}


@theory(floor=True, together=True)
def cross_validation(each: Measured) -> Iterator[Curve]:
    """The noise floor, and lines at the most frequent choice of cross-validation and the most frequent best x."""
    pairs, found = choices(each.question, each.runs).values(), dict[float, list[str]]()
    for position, name in enumerate(("chosen by cross-validation", "best on fresh data")) if pairs else ():
        value, times = Counter(pair[position] for pair in pairs).most_common(1)[0]
        found.setdefault(value, []).append(f"{name} ({times} of {len(pairs)})")
    for x, names in found.items():
        yield from each.vertical("\n".join(names), x)
