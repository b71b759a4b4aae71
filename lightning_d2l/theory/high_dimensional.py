"""Linear regression with many features: double descent, and early stopping compared with ridge regression."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from lightning_d2l.theory.curves import Array, Curve, Measured, theory
from lightning_d2l.theory.problem import initial_std, is_linear, is_plain_sgd, loss_factor, split_size


def minimum_norm_risk(n: int, d: int, variance: float, signal: float = 1.0) -> float:
    """The expected excess risk of minimum-norm least squares on n samples of d independent N(0, 1) features.

    `signal` is the squared norm of the true weights. NaN for |n - d| < 2, where the expectation is infinite
    (Hastie et al. 2019, section 3; Nakkiran 2019).
    """
    if n > d + 1:
        return variance * d / (n - d - 1)
    return signal * (1 - n / d) + variance * n / (d - n - 1) if n < d - 1 else math.nan


@theory("data.n_train", "data.d")
def double_descent(each: Measured) -> Iterator[Curve]:
    """`minimum_norm_risk` plus the noise over data.n_train or data.d, and a line at the peak, where n = d.

    The data must be high_dimensional with b = 0, the model linear without a bias.
    """
    data, factor = each.config["data"], loss_factor(each.config)
    if not _is_high_dimensional(each.config) or factor is None:
        return
    key, variance = each.question.x.partition(".")[2], data["noise"] ** 2
    x, y = range(int(each.x[0]), int(each.x[-1]) + 1), []
    for value in x:
        n, d = (value, data["d"]) if key == "n_train" else (data["n_train"], value)
        y.append(factor * (variance + minimum_norm_risk(n, d, variance, d * data["w"] ** 2)))
    yield from each.lines("expected over data sets", x, y, ["loss/val", "loss/test"])
    yield from each.vertical("n = d", data["d" if key == "n_train" else "n_train"])


def _is_high_dimensional(config: Mapping[str, Any]) -> bool:
    """Whether a linear model without a bias is fitted to data=high_dimensional with b = 0."""
    return is_linear(config) and "d" in config["data"] and not config["data"]["b"] and not config["model"]["bias"]


@theory("model.num_features", together=True)
def interpolation_threshold(each: Measured) -> Iterator[Curve]:
    """A line where there are as many random features as training images (Belkin et al. 2019)."""
    sizes = {split_size(run.config["data"], "train") for run in each.runs}
    if len(sizes) == 1 and (size := sizes.pop()):
        yield from each.vertical("features = training images", size)


def marchenko_pastur(ratio: float, nodes: int = 4000) -> tuple[Array, Array]:
    """Eigenvalues (nodes,) of X^T X / n and their weights (nodes,), in the limit of many samples n and features d.

    `ratio` is d / n; the entries of X are independent with variance 1. The weights sum to min(1, 1/ratio): for
    ratio > 1 the other eigenvalues are 0 (Marchenko and Pastur 1967). With s = 1 + ratio + 2 sqrt(ratio) cos(angle)
    the density is 2 sin^2(angle) / (pi s) per angle.
    """
    angle = (np.arange(nodes) + 0.5) * math.pi / nodes
    s = 1 + ratio + 2 * math.sqrt(ratio) * np.cos(angle)
    return s, 2 * np.sin(angle) ** 2 / s / nodes


def shrunk_losses(
    shrinkage: Callable[[Array], Array], ratio: float, variance: float, signal: float = 1.0
) -> tuple[float, float]:
    """Expected training loss and held-out loss (mean squared error) of a linear fit that shrinks singular directions.

    The fit is sum_i g(s_i) v_i u_i^T y / (n s_i)^(1/2) with the eigenvalues s_i of X^T X / n. `shrinkage` is g: 1 for
    least squares, s / (s + lambda) for ridge regression, 1 - exp(-t s) for gradient flow from 0. `ratio` is d / n,
    `signal` the squared norm of the true weights; in the limit of `marchenko_pastur`.
    """
    s, weight = marchenko_pastur(ratio)
    g = shrinkage(s)
    unfitted = float(weight @ (1 - g) ** 2)
    train = signal * float(weight @ (s * (1 - g) ** 2)) + variance * (1 - ratio * (float(weight.sum()) - unfitted))
    bias = signal * (unfitted + 1 - float(weight.sum()))
    return train, bias + variance * (1 + ratio * float(weight @ (g**2 / s)))


@theory("epoch", floor=True)
def early_stopping(each: Measured) -> Iterator[Curve]:
    """The losses of gradient flow from 0 by epoch, the comparable ridge regression, and the best epoch to stop at.

    k epochs of full-batch gradient descent on the mean squared error approximate gradient flow up to the time 2 lr k.
    The risk of that is at most 1.69 times the one of ridge regression with lambda = 1 / (2 lr k) (Ali, Kolter and
    Tibshirani 2019). The data must be high_dimensional with b = 0, the model linear without a bias, its initial
    weights 0.
    """
    config, data = each.config, each.config["data"]
    if not _is_high_dimensional(config) or loss_factor(config) != 1 or data["batch_size"] < data["n_train"]:
        return
    if not is_plain_sgd(config) or initial_std(config) != 0:
        return
    x = np.unique(np.geomspace(max(each.x[0], 1), each.x[-1], 200).round()).tolist()
    times = [2 * config["optimizer"]["lr"] * k for k in x]
    problem = data["d"] / data["n_train"], data["noise"] ** 2, data["d"] * data["w"] ** 2
    flow = [shrunk_losses(lambda s, t=t: 1 - np.exp(-t * s), *problem) for t in times]  # type: ignore[misc]
    ridge = [shrunk_losses(lambda s, t=t: s / (s + 1 / t), *problem)[1] for t in times]  # type: ignore[misc]
    train, held_out = zip(*flow, strict=True)
    best = x[int(np.argmin(held_out))]
    yield from each.lines("ridge, λ = 1/(2 lr epoch)", x, ridge)
    yield from each.vertical(f"best stop in theory: epoch {best:.0f}", best)
    for metric in each.question.losses:
        yield from each.lines("gradient flow", x, train if metric == "loss/train" else held_out, [metric])
