"""Polynomial regression: the losses by degree and by number of samples, and their bias and variance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.polynomial import hermite_e

from lightning_d2l.theory.curves import Curve, Question, losses, measured_curves, noise_floor
from lightning_d2l.theory.decomposition import decompose
from lightning_d2l.theory.problem import loss_factor, noise_variance, split_size
from lightning_d2l.training.record import RunRecord


def capacity(question: Question, runs: Sequence[RunRecord]) -> list[Curve]:
    """The noise floor, and the expected losses of least squares with p features on n samples of a fixed design.

    From the true degree on, the training loss is sigma^2 (1 - p/n), and the loss on fresh labels at the same inputs is
    sigma^2 (1 + p/n) (Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, 7.4); on new inputs it is
    higher. x must be data.degree.
    """
    curves = noise_floor(question, runs)
    for each in measured_curves(question, runs, "data.degree"):
        found: dict[int, tuple[float, float]] = {}
        for run in each.runs:
            data, variance = run.config.get("data") or {}, noise_variance(run.config)
            n, degree, true = split_size(data, "train"), data.get("degree"), len(data.get("coefficients") or ()) - 1
            if variance and n and degree is not None and true <= degree < n:
                p = degree + 1
                found[degree] = (variance * (1 - p / n), variance * (1 + p / n))
        x = sorted(found)
        for metric in ("loss/train", "loss/val", "loss/test"):
            part, label = (0, "σ²(1 - p/n)") if metric == "loss/train" else (1, "σ²(1 + p/n)")
            curves.append(each.curve(f"{label}, fixed design", x, [found[degree][part] for degree in x], metric))
    return [curve for curve in curves if curve.x]


def best_polynomial_error(coefficients: Sequence[float], factorial: bool, degree: int) -> float:
    """The smallest E (f(x) - p(x))^2 over x ~ N(0, 1) among the polynomials p up to `degree`.

    The Hermite polynomials He_k are orthogonal under N(0, 1), with E He_k(x)^2 = k!. For f = sum_k c_k He_k the error
    is therefore the sum of c_k^2 k! over k > degree.
    """
    powers = [c / math.factorial(i) if factorial else c for i, c in enumerate(coefficients)]
    c = hermite_e.poly2herme(powers)
    return float(sum(c[k] ** 2 * math.factorial(k) for k in range(degree + 1, len(c))))


def _approximation(data: Mapping[str, Any], degree: int) -> float:
    return best_polynomial_error(data["coefficients"], data["factorial"], degree)


def learning_curve(question: Question, runs: Sequence[RunRecord]) -> list[Curve]:
    """The noise floor, and the limits of the losses of polynomials of each degree. x must be data.n_train.

    Below the true degree the limit is the noise plus `best_polynomial_error`. From the true degree on, it is that of
    `capacity`.
    """
    curves = noise_floor(question, runs)
    for each in measured_curves(question, runs, "data.n_train"):
        data, variance = each.config["data"], noise_variance(each.config)
        if "degree" not in data or not variance or not each.x:
            continue
        p, low, high = data["degree"] + 1, each.x[0], each.x[-1]
        if p < len(data["coefficients"]):
            limit = variance + (loss_factor(each.config) or 1.0) * _approximation(data, data["degree"])
            y, label = [limit] * len(each.x), "the best polynomial of the degree"
            curves += [each.curve(label, each.x, y, metric) for metric in losses(question)]
        elif high > p:
            n = np.geomspace(max(low, p + 1), high, 60)
            for metric in losses(question):
                sign = -1 if metric == "loss/train" else 1
                label = f"σ²(1 {'-' if sign < 0 else '+'} p/n), fixed design"
                curves.append(each.curve(label, n.tolist(), (variance * (1 + sign * p / n)).tolist(), metric))
    return curves


def bias_variance(question: Question, runs: Sequence[RunRecord]) -> list[Curve]:
    """The sum of bias^2, variance and noise, the bias of the best polynomial, and the variance for a fixed design.

    The sum, from `decompose`, should equal the test loss. The bias is the limit for many samples. Fresh labels at the
    training inputs cost sigma^2 p/n; new inputs cost more. x must be data.degree.
    """
    curves = []
    for each in measured_curves(question, runs, "data.degree"):
        data, variance = each.config["data"], noise_variance(each.config)
        n = split_size(data, "train")
        if not variance or not n:
            continue
        degrees, factor = [int(value) for value in each.x], loss_factor(each.config) or 1.0
        parts = {k: decompose([run for run in each.runs if run.setting("data.degree") == k]) for k in degrees}
        sums = {k: float(np.mean(found["loss/total"])) for k, found in parts.items() if found}
        curves.append(each.curve("bias² + variance + noise", list(sums), list(sums.values()), "loss/test"))
        low = [k for k in degrees if k < len(data["coefficients"]) - 1]
        bias = [factor * _approximation(data, k) for k in low]
        curves.append(each.curve("bias² of the best polynomial", low, bias, "loss/bias2"))
        high = [k for k in degrees if k not in low]
        y = [variance * (k + 1) / n for k in high]
        curves.append(each.curve("σ² p/n, fixed design", high, y, "loss/variance"))
    return [curve for curve in curves if curve.x]
