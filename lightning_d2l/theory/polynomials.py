"""Polynomial regression: the losses by degree and by number of samples, and their bias and variance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.polynomial import hermite_e

from lightning_d2l.theory.curves import LOSSES, Curve, Measured, noise_floor, theory
from lightning_d2l.theory.decomposition import decompose
from lightning_d2l.theory.problem import loss_factor, noise_variance, split_size

LEAST_SQUARES = (
    "polynomial", "squared loss", "linear", "clean inputs", "no dropout", "solved", "no decay", "no penalty", "64 bits"
)  # fmt: skip
"""What all formulas of least squares on polynomials assume."""


@theory("data.degree", assumes=LEAST_SQUARES, parts=[noise_floor])
def capacity(each: Measured) -> Iterator[Curve]:
    """The noise floor, and the expected losses of least squares with p features on n samples of a fixed design.

    From the true degree on, the training loss is sigma^2 (1 - p/n), and the loss on fresh labels at the same inputs is
    sigma^2 (1 + p/n) (Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, 7.4); on new inputs it is
    higher.
    """
    found: dict[int, tuple[float, float]] = {}  # sigma^2 and p/n by degree
    for run in each.runs:
        data, variance = run.config.get("data") or {}, noise_variance(run.config)
        n, degree, true = split_size(data, "train"), data.get("degree"), len(data.get("coefficients") or ()) - 1
        if variance and n and degree is not None and true <= degree < n:
            found[degree] = (variance, (degree + 1) / n)
    x = sorted(found)
    for metric in LOSSES:
        yield from _fixed_design(each, metric, x, *np.array([found[degree] for degree in x]).reshape(-1, 2).T)


def _fixed_design(each: Measured, metric: str, x: Sequence[float], variance: Any, ratio: Any) -> list[Curve]:
    """The expected loss for variances sigma^2 and ratios p/n of the same length as x."""
    sign, label = (-1, "-") if metric == "loss/train" else (1, "+")
    return each.lines(f"σ²(1 {label} p/n), fixed design", x, (variance * (1 + sign * ratio)).tolist(), [metric])


def best_polynomial_error(coefficients: Sequence[float], factorial: bool, degree: int) -> float:
    """The smallest E (f(x) - p(x))^2 over x ~ N(0, 1) among the polynomials p up to `degree`.

    The Hermite polynomials He_k are orthogonal under N(0, 1), with E He_k(x)^2 = k!. For f = sum_k c_k He_k the error
    is therefore the sum of c_k^2 k! over k > degree.
    """
    powers = [c / math.factorial(i) if factorial else c for i, c in enumerate(coefficients)]
    c = hermite_e.poly2herme(powers)
    return float(sum(c[k] ** 2 * math.factorial(k) for k in range(degree + 1, len(c))))


def _squared_bias(config: Mapping[str, Any], degree: int) -> float:
    """The part of the loss that is left to the best polynomial of a degree."""
    data = config["data"]
    return (loss_factor(config) or 1.0) * best_polynomial_error(data["coefficients"], data["factorial"], degree)


@theory("data.n_train", assumes=LEAST_SQUARES, parts=[noise_floor])
def learning_curve(each: Measured) -> Iterator[Curve]:
    """The noise floor, and the limits of the losses of polynomials of each degree.

    Below the true degree the limit is the noise plus `best_polynomial_error`. From the true degree on, it is that of
    `capacity`.
    """
    data, variance, losses = each.config["data"], noise_variance(each.config), each.question.losses
    if not variance:
        return
    p, low, high = data["degree"] + 1, each.x[0], each.x[-1]
    if p < len(data["coefficients"]):
        limit = variance + _squared_bias(each.config, data["degree"])
        yield from each.lines("the best polynomial of the degree", each.x, [limit] * len(each.x), losses)
    elif high > p:
        n = np.geomspace(max(low, p + 1), high, 60)
        for metric in losses:
            yield from _fixed_design(each, metric, n.tolist(), variance, p / n)


@theory("data.degree", assumes=["generated", "squared loss"])
def sum_of_parts(each: Measured) -> Iterator[Curve]:
    """The sum of bias^2, variance and noise, from `decompose`, which should equal the test loss of any model."""
    parts = {k: decompose([run for run in each.runs if run.setting("data.degree") == k]) for k in each.x}
    sums = {k: float(np.mean(found["loss/total"])) for k, found in parts.items() if found}
    yield from each.lines("bias² + variance + noise", sums, sums.values(), ["loss/test"])


@theory("data.degree", assumes=LEAST_SQUARES, parts=[sum_of_parts])
def bias_variance(each: Measured) -> Iterator[Curve]:
    """The bias of the best polynomial, and the variance for a fixed design.

    The bias is the limit for many samples. Fresh labels at the training inputs cost sigma^2 p/n; new inputs cost more.
    """
    data, variance = each.config["data"], noise_variance(each.config)
    n = split_size(data, "train") or 0
    degrees = [int(value) for value in each.x if value + 1 < n]  # from p = n on the samples are interpolated
    if not variance:
        return
    low = [k for k in degrees if k < len(data["coefficients"]) - 1]
    bias = [_squared_bias(each.config, k) for k in low]
    yield from each.lines("bias² of the best polynomial", low, bias, ["loss/bias2"])
    high = degrees[len(low) :]
    yield from each.lines("σ² p/n, fixed design", high, [variance * (k + 1) / n for k in high], ["loss/variance"])
