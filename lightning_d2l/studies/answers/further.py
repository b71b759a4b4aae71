"""What to run next: overrides with which the same sweep would tell more."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lightning_d2l.config.text import show
from lightning_d2l.studies.comparison import Comparison
from lightning_d2l.studies.points import Point
from lightning_d2l.studies.study import Study
from lightning_d2l.theory.curves import numeric
from lightning_d2l.training.record import RunRecord

FEW_SEEDS, MOST_SEEDS = 5, 100
MOST_RUNS = 2000
GRID = {"hydra/sweeper": "grid"}
SHARES = ("dropout", "label_noise", "momentum", "beta1", "beta2", "fold")
"""Ends of keys whose values have an upper limit."""


def further(
    study: Study, points: Sequence[Point], best: Point, others: Sequence[tuple[Point, Comparison]], verdict: str
) -> Mapping[str, str]:
    """Overrides by key: more seeds where chance decides, values beyond the best one at an end, or values near it.

    Empty where none of these would help, as for a decided question.
    """
    if study.x == "epoch":
        last = max(point.setting["epoch"] for point in points)
        return {"trainer.max_epochs": show(2 * last)} if best.setting["epoch"] == last else {}
    n = max(point.estimates[study.select].n for point in points if study.select in point.estimates)
    close = bool(others) and others[0][1].verdict == "undecided"
    if verdict in ("yes", "no"):
        return {}
    if n < 2 or verdict == "undecided":
        return _seeds(study, points, 2)
    if study.name:  # its question is not which setting is the best
        return {}
    for key in study.keys:
        if beyond := _beyond([point.setting[key] for point in points], best.setting[key], key):
            return {key: beyond}
    if close:
        return _seeds(study, points, 1 + (others[0][1].more or n) / n)
    for key in study.keys:
        if between := _between([point.setting[key] for point in points], best.setting[key]):
            return {key: between}
    return {}


def repeated(best: Point) -> Mapping[str, str]:
    """Overrides that repeat the best trial of a search with several seeds."""
    return {**{key: show(value) for key, value in best.setting.items()}, **GRID, "seed": f"range({FEW_SEEDS})"}


def _seeds(study: Study, points: Sequence[Point], times: float) -> dict[str, str]:
    """So many times as many seeds, at least five.

    The seed of a study is that of its data too. Elsewhere it is that of data that are generated, folded or solved for,
    unless only `seed` was varied.
    """
    runs = [run for point in points for run in point.runs]
    if idle := {name for point in points for name in point.idle}:
        return _data_sets(runs) if idle == {"seed"} else {}
    nodes = [run.config.get("data") or {} for run in runs]
    seeds, sets, folds = ({show(run.get(key)) for run in runs} for key in ("seed", "data.seed", "data.fold"))
    solved = all(str((run.config.get("optimizer") or {}).get("_target_")).endswith(".Exact") for run in runs)
    drawn = all("noise" in node for node in nodes) or ((solved or len(folds) > 1) and all("seed" in n for n in nodes))
    fixed = len(seeds) == 1 if not study.name else len(folds) > len(sets) == 1 < len(seeds)
    key = "data.seed" if drawn and fixed else "seed"
    before = len(sets if key == "data.seed" else seeds)
    most = min(MOST_SEEDS, MOST_RUNS * before // len(runs))
    count = min(max(math.ceil(times * before), FEW_SEEDS), most)
    return {key: f"range({count})"} if count > before else {}


def _data_sets(runs: Sequence[RunRecord]) -> dict[str, str]:
    """Several data sets where seeds change nothing, one seed each; empty if the data have no seed."""
    if any("seed" not in (run.config.get("data") or {}) for run in runs):
        return {}
    sets = {show(run.get("data.seed")) for run in runs}
    return {"data.seed": f"range({max(FEW_SEEDS, 2 * len(sets))})", "seed": show(runs[0].get("seed"))}


def _beyond(values: Sequence[Any], best: Any, key: str) -> str:
    """The best of at least three numbers if it is their first or last, and two values beyond; else empty."""
    found = sorted(set(values)) if numeric(values) else []
    if len(found) < 3 or best not in (found[0], found[-1]) or key.rpartition(".")[2] in SHARES or best == 0:
        return ""
    if key in ("num_parameters", "seconds"):
        return ""
    ordered = found if best == found[-1] else found[::-1]
    a, b = float(ordered[-2]), float(ordered[-1])
    whole = all(isinstance(value, int) for value in found)
    if a > 0 and b > 0 and max(a, b) / min(a, b) >= 1.5:
        more = [b * b / a, b * (b / a) ** 2]
    else:
        more = [b + (b - a), b + 2 * (b - a)]
    if any(value < 0 <= min(a, b) for value in more) or (whole and any(value < 1 for value in more)):
        return ""
    texts = [show(best), *(show(round(value)) if whole else f"{value:.3g}" for value in more)]
    return ",".join(dict.fromkeys(texts))


def _between(values: Sequence[Any], best: Any) -> str:
    """The best of at least three numbers with the middles to its neighbours; empty at an end or between integers."""
    found = sorted(set(values)) if numeric(values) else []
    if len(found) < 3 or best in (found[0], found[-1]):
        return ""
    at = found.index(best)
    low, middle, high = (float(found[i]) for i in (at - 1, at, at + 1))
    geometric = low > 0 and high / low > 4
    pairs = ((low, middle), (middle, high))
    near = [math.sqrt(a * b) if geometric else (a + b) / 2 for a, b in pairs]
    if all(isinstance(value, int) for value in found):
        near = [round(value) for value in near]
    texts = dict.fromkeys([show(near[0]) if isinstance(near[0], int) else f"{near[0]:.3g}", show(best)])
    texts |= dict.fromkeys([show(near[1]) if isinstance(near[1], int) else f"{near[1]:.3g}"])
    return ",".join(texts) if len(texts) == 3 else ""
