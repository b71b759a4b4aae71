"""Closed forms to lay over a study's figure, by the name that its `theory` gives.

A theory is a function(study, runs) that returns curves; to add one, write it and put it into the table of theories.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lightning_d2l.studies.collect import Run
from lightning_d2l.studies.diagnosis import noise_variance, split_size
from lightning_d2l.studies.labels import show
from lightning_d2l.studies.study import Study, numeric


@dataclass(frozen=True)
class Curve:
    """A line over a figure: `x` and `y` (n,), in the figure's units.

    It is drawn where `metric` is, all metrics with an empty one, and beside the measured curves whose setting agrees
    with `where`, all of them with an empty one. Curves of equal label share a line of the legend.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    metric: str = ""
    where: Mapping[str, Any] = field(default_factory=dict)


Theory = Callable[[Study, Sequence[Run]], list[Curve]]


def noise_floor(study: Study, runs: Sequence[Run]) -> list[Curve]:
    """The loss of the true function: the variance of the noise, or half of it for a loss with the 1/2."""
    curves = []
    for where, members in by_curve(study, runs):
        x = x_values(study, members)
        floors = {floor for run in members if (floor := noise_variance(run.config))}
        if x and len(floors) == 1:
            y = [floors.pop()] * len(x)
            curves += [Curve("noise floor", x, y, metric, where) for metric in losses(study)]
    return curves


def capacity(study: Study, runs: Sequence[Run]) -> list[Curve]:
    """The noise floor, and the expected losses of least squares with p features on n samples of a fixed design.

    Training loss sigma^2 (1 - p/n), loss on fresh labels at the same inputs sigma^2 (1 + p/n), from the degree on
    that holds the true function (Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, 7.4). New
    inputs cost more than that. x must be data.degree.
    """
    curves = noise_floor(study, runs)
    if study.x != "data.degree":
        return curves
    for where, members in by_curve(study, runs):
        found: dict[int, tuple[float, float]] = {}
        for run in members:
            data, variance = run.config.get("data") or {}, noise_variance(run.config)
            n, degree, true = split_size(data, "train"), data.get("degree"), len(data.get("coefficients") or ()) - 1
            if variance and n and degree is not None and true <= degree < n:
                p = degree + 1
                found[degree] = (variance * (1 - p / n), variance * (1 + p / n))
        x = sorted(found)
        for metric in ("loss/train", "loss/val", "loss/test"):
            part, label = (0, "σ²(1 - p/n)") if metric == "loss/train" else (1, "σ²(1 + p/n)")
            curves.append(Curve(f"{label}, fixed design", x, [found[degree][part] for degree in x], metric, where))
    return [curve for curve in curves if curve.x]


THEORIES: dict[str, Theory] = {"noise_floor": noise_floor, "capacity": capacity}
"""Name to function."""


def by_curve(study: Study, runs: Sequence[Run]) -> Iterator[tuple[dict[str, Any], list[Run]]]:
    """The runs of each measured curve, with its setting."""
    groups: dict[tuple[str, ...], tuple[dict[str, Any], list[Run]]] = {}
    for run in runs:
        where = {key: run.get(key) for key in study.curves}
        groups.setdefault(tuple(map(show, where.values())), (where, []))[1].append(run)
    yield from groups.values()


def losses(study: Study) -> list[str]:
    """The losses of the splits among a study's metrics."""
    return [metric for metric in study.metrics if metric in ("loss/train", "loss/val", "loss/test")]


def linear(config: Mapping[str, Any]) -> bool:
    """Whether a run fits a linear model to data that a linear function made."""
    model = str((config.get("model") or {}).get("_target_"))
    return "w" in (config.get("data") or {}) and model.endswith((".LinearRegression", ".LinearRegressionScratch"))


def initial_std(config: Mapping[str, Any]) -> float | None:
    """The standard deviation of a linear model's first weights around 0; None if they are not normal or zero."""
    model = config["model"]
    if "std" in model:
        return float(model["std"])
    init = {"name": model["init"]} if isinstance(model["init"], str) else model["init"]
    return {"zeros": 0.0, "normal": float(init.get("std", 0.01))}.get(init["name"])


def plain_sgd(config: Mapping[str, Any]) -> bool:
    """Whether a run descends by SGD without momentum."""
    optimizer = config["optimizer"]
    return str(optimizer["_target_"]).endswith("SGD") and not optimizer.get("momentum")


def x_values(study: Study, runs: Sequence[Run]) -> list[float]:
    """The values of x among runs, if they are numbers, by size."""
    if study.x == "epoch":
        epochs = [row["epoch"] for row in runs[0].history]
        return [min(epochs), max(epochs)] if epochs else []
    values = [run.get(study.x) for run in runs] if study.x else []
    return sorted(set(values)) if numeric(values) else []
