"""Double descent: the risk of least squares has a peak where the model just fits the training data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lightning_d2l.theory.curves import Curve, Question, measured_curves, vertical
from lightning_d2l.theory.problem import is_linear, loss_factor, split_size
from lightning_d2l.training.record import RunRecord


def minimum_norm_risk(n: int, d: int, variance: float, signal: float = 1.0) -> float:
    """The expected excess risk of minimum-norm least squares on n samples of d independent N(0, 1) features.

    `signal` is the squared norm of the true weights. NaN for |n - d| < 2, where the expectation is infinite
    (Hastie et al. 2019, section 3; Nakkiran 2019).
    """
    if n > d + 1:
        return variance * d / (n - d - 1)
    return signal * (1 - n / d) + variance * n / (d - n - 1) if n < d - 1 else math.nan


def double_descent(question: Question, runs: Sequence[RunRecord]) -> list[Curve]:
    """`minimum_norm_risk` plus the noise over data.n_train or data.d, and a line where n = d.

    The data must be high_dimensional with b = 0, the model linear without a bias.
    """
    curves = []
    for each in measured_curves(question, runs) if question.x in ("data.n_train", "data.d") else ():
        data, factor = each.config["data"], loss_factor(each.config)
        if not is_high_dimensional(each.config) or factor is None or not each.x:
            continue
        key, variance = question.x.partition(".")[2], data["noise"] ** 2
        x = list(range(int(each.x[0]), int(each.x[-1]) + 1))
        sizes = [{"n_train": data["n_train"], "d": data["d"], key: value} for value in x]
        risks = [minimum_norm_risk(s["n_train"], s["d"], variance, s["d"] * data["w"] ** 2) for s in sizes]
        y = [factor * (variance + risk) for risk in risks]
        curves += [each.curve("expected over data sets", x, y, metric) for metric in ("loss/val", "loss/test")]
        curves += vertical("n = d", data["d" if key == "n_train" else "n_train"], question, runs)
    return curves


def is_high_dimensional(config: Mapping[str, Any]) -> bool:
    """Whether a linear model without a bias is fitted to data=high_dimensional with b = 0."""
    return is_linear(config) and "d" in config["data"] and not config["data"]["b"] and not config["model"]["bias"]


def interpolation_threshold(question: Question, runs: Sequence[RunRecord]) -> list[Curve]:
    """A line where there are as many random features as training images (Belkin et al. 2019)."""
    sizes = {split_size(run.config["data"], "train") for run in runs}
    found = sizes.pop() if len(sizes) == 1 and question.x == "model.num_features" else None
    return vertical("features = training images", found, question, runs) if found else []
