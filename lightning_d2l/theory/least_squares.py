"""Closed forms of least squares: double descent, early stopping, learning curves, bias and variance, folds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.polynomial import hermite_e
from numpy.typing import NDArray

from lightning_d2l.studies.collect import Run
from lightning_d2l.studies.decomposition import TOTAL, decompose
from lightning_d2l.studies.diagnosis import loss_factor, noise_variance, split_size
from lightning_d2l.studies.study import Study
from lightning_d2l.theory.curves import (
    Curve,
    Theory,
    by_curve,
    initial_std,
    linear,
    losses,
    noise_floor,
    plain_sgd,
    x_values,
)  # fmt: skip

Array = NDArray[np.float64]


def minimum_norm_risk(n: int, d: int, variance: float, signal: float = 1.0) -> float:
    """The expected excess risk of minimum-norm least squares on n samples of d independent N(0, 1) features.

    `signal` is the true weights' squared norm. NaN at |n - d| < 2, where the expectation is infinite
    (Hastie et al. 2019, section 3; Nakkiran 2019).
    """
    if n > d + 1:
        return variance * d / (n - d - 1)
    return signal * (1 - n / d) + variance * n / (d - n - 1) if n < d - 1 else math.nan


def double_descent(study: Study, runs: Sequence[Run]) -> list[Curve]:
    """`minimum_norm_risk` plus the noise over data.n_train or data.d, and a line where n = d.

    For data=high_dimensional with b = 0, on a linear model without bias.
    """
    curves = []
    for where, members in by_curve(study, runs):
        config, values = members[0].config, x_values(study, members)
        data, factor = config["data"], loss_factor(config)
        if study.x not in ("data.n_train", "data.d") or not _without_bias(config) or factor is None or not values:
            continue
        key, variance = study.x.partition(".")[2], data["noise"] ** 2
        x = list(range(int(values[0]), int(values[-1]) + 1))
        sizes = [{"n_train": data["n_train"], "d": data["d"], key: value} for value in x]
        risks = [minimum_norm_risk(s["n_train"], s["d"], variance, s["d"] * data["w"] ** 2) for s in sizes]
        y = [factor * (variance + risk) for risk in risks]
        curves += [Curve("expected over data sets", x, y, metric, where) for metric in ("loss/val", "loss/test")]
        curves += _vertical("n = d", data["d" if key == "n_train" else "n_train"], study, runs)
    return curves


def _without_bias(config: Mapping[str, Any]) -> bool:
    """Whether a linear model without bias learns from data=high_dimensional with b = 0."""
    return linear(config) and "d" in config["data"] and not config["data"]["b"] and not config["model"]["bias"]


def interpolation_threshold(study: Study, runs: Sequence[Run]) -> list[Curve]:
    """A line where the random features are as many as the training images (Belkin et al. 2019)."""
    sizes = {split_size(run.config["data"], "train") for run in runs}
    found = sizes.pop() if len(sizes) == 1 and study.x == "model.num_features" else None
    return _vertical("features = training images", found, study, runs) if found else []


def best_polynomial_error(coefficients: Sequence[float], factorial: bool, degree: int) -> float:
    """E (f(x) - p(x))^2 over x ~ N(0, 1) for the polynomial p up to `degree` that makes it smallest.

    With He_k the Hermite polynomials, orthogonal under N(0, 1) with E He_k(x)^2 = k!, and f = sum_k c_k He_k, that is
    the sum of c_k^2 k! over k > degree.
    """
    powers = [c / math.factorial(i) if factorial else c for i, c in enumerate(coefficients)]
    c = hermite_e.poly2herme(powers)
    return float(sum(c[k] ** 2 * math.factorial(k) for k in range(degree + 1, len(c))))


def learning_curve(study: Study, runs: Sequence[Run]) -> list[Curve]:
    """Over data.n_train: the noise floor, and what polynomials of each degree tend to.

    Below the true degree the limit is the noise plus `best_polynomial_error`. From the true degree on, with p features
    on n samples, sigma^2 (1 - p/n) in training and, for fresh labels at the same inputs, sigma^2 (1 + p/n) (Hastie,
    Tibshirani and Friedman, The Elements of Statistical Learning, 7.4); new inputs cost more.
    """
    curves = noise_floor(study, runs)
    for where, members in by_curve(study, runs):
        data, variance = members[0].config["data"], noise_variance(members[0].config)
        if study.x != "data.n_train" or "degree" not in data or not variance:
            continue
        p, n = data["degree"] + 1, np.array(x_values(study, members))
        if p < len(data["coefficients"]):
            limit = variance + (loss_factor(members[0].config) or 1.0) * _approximation(data, data["degree"])
            label = "the best polynomial of the degree"
            curves += [Curve(label, list(n), [limit] * len(n), metric, where) for metric in losses(study)]
            continue
        if n[-1] <= p:
            continue
        n = np.geomspace(max(n[0], p + 1), n[-1], 60)
        for metric in losses(study):
            sign = -1 if metric == "loss/train" else 1
            label = f"σ²(1 {'-' if sign < 0 else '+'} p/n), fixed design"
            curves.append(Curve(label, list(n), list(variance * (1 + sign * p / n)), metric, where))
    return curves


def bias_variance(study: Study, runs: Sequence[Run]) -> list[Curve]:
    """Over data.degree: bias^2 + variance + noise, the best polynomial's bias, and the variance of a fixed design.

    The sum, of `decompose`, is to equal the test loss. The bias is the limit of many samples; sigma^2 p/n is what
    fresh labels at the training inputs cost, and new inputs cost more.
    """
    curves = []
    for where, members in by_curve(study, runs):
        data, variance = members[0].config["data"], noise_variance(members[0].config)
        n = split_size(data, "train")
        if study.x != "data.degree" or not variance or not n:
            continue
        degrees, factor = [int(v) for v in x_values(study, members)], loss_factor(members[0].config) or 1.0
        parts = {k: decompose([run for run in members if run.setting(study.x) == k]) for k in degrees}
        sums = {k: found[TOTAL].mean for k, found in parts.items() if found}
        curves.append(Curve("bias² + variance + noise", list(sums), list(sums.values()), "loss/test", where))
        low = [k for k in degrees if k < len(data["coefficients"]) - 1]
        bias = [factor * _approximation(data, k) for k in low]
        curves.append(Curve("bias² of the best polynomial", low, bias, "loss/bias2", where))
        high = [k for k in degrees if k not in low]
        label = "σ² p/n, fixed design"
        curves.append(Curve(label, high, [variance * (k + 1) / n for k in high], "loss/variance", where))
    return [curve for curve in curves if curve.x]


def _approximation(data: Mapping[str, Any], degree: int) -> float:
    return best_polynomial_error(data["coefficients"], data["factorial"], degree)


def marchenko_pastur(ratio: float, nodes: int = 4000) -> tuple[Array, Array]:
    """Eigenvalues (nodes,) of X^T X / n in the limit of many samples n and features d = ratio n, and their weights.

    The entries of X are independent with variance 1. The weights sum to min(1, 1/ratio): with ratio > 1 the other
    eigenvalues are 0 (Marchenko and Pastur 1967). With s = 1 + ratio + 2 sqrt(ratio) cos(angle) the density is
    2 sin^2(angle) / (pi s) per angle.
    """
    angle = (np.arange(nodes) + 0.5) * math.pi / nodes
    s = 1 + ratio + 2 * math.sqrt(ratio) * np.cos(angle)
    return s, 2 * np.sin(angle) ** 2 / s / nodes


def shrunk_losses(
    shrinkage: Callable[[Array], Array], ratio: float, variance: float, signal: float = 1.0
) -> tuple[float, float]:
    """Expected training loss and held-out loss (mean squared error) of a linear fit that shrinks singular directions.

    The fit is sum_i g(s_i) v_i u_i^T y / (n s_i)^(1/2), s_i the eigenvalues of X^T X / n: g = 1 is least squares,
    s / (s + lambda) ridge regression, 1 - exp(-t s) gradient flow from 0 (Ali, Kolter and Tibshirani 2019).
    `ratio` is d/n, `signal` the true weights' squared norm; in the limit of `marchenko_pastur`.
    """
    s, weight = marchenko_pastur(ratio)
    g = shrinkage(s)
    unfitted = float(weight @ (1 - g) ** 2)
    train = signal * float(weight @ (s * (1 - g) ** 2)) + variance * (1 - ratio * (float(weight.sum()) - unfitted))
    bias = signal * (unfitted + 1 - float(weight.sum()))
    return train, bias + variance * (1 + ratio * float(weight @ (g**2 / s)))


def early_stopping(study: Study, runs: Sequence[Run]) -> list[Curve]:
    """Over the epoch: gradient flow from 0, ridge regression of the same shrinkage, and the best epoch to stop at.

    k epochs of full-batch gradient descent on the mean squared error are gradient flow up to the time 2 lr k, whose
    risk ridge with lambda = 1 / (2 lr k) comes close to (Ali, Kolter and Tibshirani 2019, 1.69 times at worst). For
    data=high_dimensional with b = 0, on a linear model without bias whose weights start at 0.
    """
    curves = noise_floor(study, runs)
    for where, members in by_curve(study, runs):
        config, epochs = members[0].config, x_values(study, members)
        data = config["data"]
        if study.x != "epoch" or not epochs or not _without_bias(config) or loss_factor(config) != 1:
            continue
        if not plain_sgd(config) or initial_std(config) != 0 or data["batch_size"] < data["n_train"]:
            continue
        lr = config["optimizer"]["lr"]
        x = np.unique(np.geomspace(max(epochs[0], 1), epochs[-1], 200).round())
        problem = data["d"] / data["n_train"], data["noise"] ** 2, data["d"] * data["w"] ** 2
        flow = [shrunk_losses(lambda s, t=2 * lr * k: 1 - np.exp(-t * s), *problem) for k in x]  # type: ignore[misc]
        ridge = [shrunk_losses(lambda s, t=2 * lr * k: s / (s + 1 / t), *problem)[1] for k in x]  # type: ignore[misc]
        train, held_out = zip(*flow, strict=True)
        best = float(x[int(np.argmin(held_out))])
        curves.append(Curve("ridge, λ = 1/(2 lr epoch)", list(x), ridge, "", where))
        curves += _vertical(f"best stop in theory: epoch {best:.0f}", best, study, members)
        for metric in losses(study):
            y = train if metric == "loss/train" else held_out
            curves.append(Curve("gradient flow", list(x), list(y), metric, where))
    return curves


def choices(study: Study, runs: Sequence[Run]) -> dict[str, tuple[float, float]]:
    """For each data set (seed and data.seed): the x that K-fold cross-validation chooses, and the best on fresh data.

    The first has the lowest mean over folds of loss/val, the second of loss/test.
    """
    found = []
    for split in ("val", "test"):
        losses: dict[str, dict[float, list[float]]] = {}
        for run in runs:
            if (loss := run.metric(f"loss/{split}")) is not None:
                name = f"{run.setting('seed')},{run.setting('data.seed')}"
                losses.setdefault(name, {}).setdefault(run.setting(study.x), []).append(loss)
        means = {name: {x: sum(each) / len(each) for x, each in by_x.items()} for name, by_x in losses.items()}
        found.append({name: min(by_x, key=by_x.__getitem__) for name, by_x in means.items()})
    return {name: (chosen, found[1][name]) for name, chosen in found[0].items() if name in found[1]}


def cross_validation(study: Study, runs: Sequence[Run]) -> list[Curve]:
    """The noise floor, and where cross-validation's choice and the best on fresh data lie in most data sets."""
    curves = noise_floor(study, runs)
    pairs, found = choices(study, runs).values(), dict[float, list[str]]()
    for position, name in enumerate(("chosen by cross-validation", "best on fresh data")) if pairs else ():
        value, times = Counter(pair[position] for pair in pairs).most_common(1)[0]
        found.setdefault(value, []).append(f"{name} ({times} of {len(pairs)})")
    return curves + [line for x, names in found.items() for line in _vertical("\n".join(names), x, study, runs)]


def _vertical(label: str, x: float, study: Study, runs: Sequence[Run]) -> list[Curve]:
    """A vertical line across the values of the study's metrics: of each kind of metric, since each has its own axis."""
    kinds: dict[str, list[str]] = {}
    for metric in study.metrics:
        kinds.setdefault(metric.partition("/")[0], []).append(metric)
    curves = []
    for metrics in kinds.values():
        values = [v for run in runs for metric in metrics if (v := run.metric(metric)) is not None and v > 0]
        for metric in (metrics if len(kinds) > 1 else [""]) if values else []:
            curves.append(Curve(label, [x, x], [min(values), max(values)], metric))
    return curves


THEORIES: dict[str, Theory] = {
    "double_descent": double_descent,
    "interpolation_threshold": interpolation_threshold,
    "learning_curve": learning_curve,
    "bias_variance": bias_variance,
    "early_stopping": early_stopping,
    "cross_validation": cross_validation,
}
