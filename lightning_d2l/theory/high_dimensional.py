"""Linear regression with many features: double descent, and early stopping compared with ridge regression."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from lightning_d2l.theory.curves import HELD_OUT, Array, Curve, Measured, noise_floor, theory
from lightning_d2l.theory.problem import loss_factor, split_size

PROBLEM = ("high-dimensional", "b = 0", "no folds", "linear", "no bias", "clean inputs", "no dropout", "squared loss")
"""What all formulas of linear regression with many features assume."""
MOST_NUMBERS = 4_000_000
"""In the matrices that are drawn to see how far the limit of many samples is off."""


def minimum_norm_risk(n: int, d: int, variance: float, signal: float = 1.0) -> float:
    """The expected excess risk of minimum-norm least squares on n samples of d independent N(0, 1) features.

    `signal` is the squared norm of the true weights. NaN for |n - d| < 2, where the expectation is infinite
    (Hastie et al. 2019, section 3; Nakkiran 2019).
    """
    if n > d + 1:
        return variance * d / (n - d - 1)
    return signal * (1 - n / d) + variance * n / (d - n - 1) if n < d - 1 else math.nan


@theory("data.n_train", "data.d", assumes=[*PROBLEM, "solved", "no decay", "no penalty"])
def double_descent(each: Measured) -> Iterator[Curve]:
    """The expected loss of minimum-norm least squares by samples or features, and a line at its peak, n = d.

    The expectation is exact: the inputs are independent and normal.
    """
    data, factor = each.config["data"], loss_factor(each.config) or 1.0
    key, variance = each.question.x.partition(".")[2], data["noise"] ** 2
    x, y = range(int(each.x[0]), int(each.x[-1]) + 1), []
    for value in x:
        n, d = (value, data["d"]) if key == "n_train" else (data["n_train"], value)
        y.append(factor * (variance + minimum_norm_risk(n, d, variance, d * data["w"] ** 2)))
    yield from each.lines("expected over data sets", x, y, HELD_OUT)
    yield from each.vertical("n = d", data["d" if key == "n_train" else "n_train"])


@theory(
    "model.num_features",
    assumes=["random features", "squared loss", "solved", "no decay", "no penalty"],
)
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
    shrinkage: Callable[[Array], Array],
    ratio: float,
    variance: float,
    signal: float = 1.0,
    spectrum: tuple[Array, Array] | None = None,
) -> tuple[float, float]:
    """Expected training loss and held-out loss (mean squared error) of a linear fit that shrinks singular directions.

    The fit is sum_i g(s_i) v_i u_i^T y / (n s_i)^(1/2) with the eigenvalues s_i of X^T X / n. `shrinkage` is g: 1 for
    least squares, s / (s + lambda) for ridge regression, 1 - (1 - r s)^k for k steps of gradient descent from 0.
    `ratio` is d / n, `signal` the squared norm of the true weights. The `spectrum` is that of `marchenko_pastur`, the
    limit of many samples, or the eigenvalues and weights of one design.
    """
    s, weight = spectrum or marchenko_pastur(ratio)
    g = shrinkage(s)
    unfitted = float(weight @ (1 - g) ** 2)
    train = signal * float(weight @ (s * (1 - g) ** 2)) + variance * (1 - ratio * (float(weight.sum()) - unfitted))
    bias = signal * (unfitted + 1 - float(weight.sum()))
    return train, bias + variance * (1 + ratio * float(weight @ (g**2 / s)))


def designs(n: int, d: int, most: int = 40) -> list[tuple[Array, Array]]:
    """Eigenvalues above 0 of X^T X / n and their weights 1 / d, of 4 or more drawn designs X (n, d), at most `most`."""
    rng, found = np.random.default_rng(0), list[tuple[Array, Array]]()
    for _ in range(max(4, min(most, MOST_NUMBERS // (n * d)))):
        x = rng.standard_normal((n, d))
        s = np.linalg.eigvalsh((x.T @ x if d <= n else x @ x.T) / n)
        found.append((np.asarray(s, dtype=np.float64), np.full(len(s), 1 / d)))
    return found


@theory(
    "epoch",
    assumes=[
        *PROBLEM, "plain sgd", "full batches", "zero start", "no decay", "no penalty", "constant rate",
        "whole training", "precise", "stable",
    ],
    parts=[noise_floor],
)  # fmt: skip
def early_stopping(each: Measured) -> Iterator[Curve]:
    """Training and held-out loss of gradient descent by epoch, the best epoch, and those of ridge regression.

    k epochs of full-batch gradient descent at the rate lr shrink the direction of eigenvalue s by 1 - (1 - 2 lr s)^k,
    gradient flow in the limit of small lr. The risk of that is at most 1.69 times the one of ridge regression with
    lambda = 1 / (2 lr k) (Ali, Kolter and Tibshirani 2019). The losses are those in the limit of many samples and
    features; the band is twice the standard deviation of the losses of single designs of this size, around their mean.
    """
    config, data = each.config, each.config["data"]
    factor = loss_factor(config) or 1.0
    x = np.unique(np.geomspace(max(each.x[0], 1), each.x[-1], 100).round()).tolist()
    rate = 2 * factor * config["optimizer"]["lr"]
    n, d = data["n_train"], data["d"]
    problem: tuple[float, float, float] = d / n, data["noise"] ** 2, d * data["w"] ** 2

    def losses(k: float, spectrum: tuple[Array, Array] | None = None) -> tuple[float, float]:
        return shrunk_losses(lambda s: 1 - (1 - rate * s) ** k, *problem, spectrum=spectrum)

    ridge = [factor * shrunk_losses(lambda s, t=rate * k: s / (s + 1 / t), *problem)[1] for k in x]  # type: ignore[misc]
    flow = factor * np.array([losses(k) for k in x])
    finite = factor * np.array([[losses(k, design) for k in x] for design in designs(n, d)])
    reach = 2 * finite.std(0, ddof=1)
    low, high = np.minimum(flow, finite.mean(0) - reach), np.maximum(flow, finite.mean(0) + reach)
    lowest = int(np.argmin(flow[:, 1]))
    around = range(int(x[max(lowest - 1, 0)]), int(x[min(lowest + 1, len(x) - 1)]) + 1)
    best = min(around, key=lambda k: losses(k)[1])
    yield from each.lines("ridge, λ = 1/(2 lr epoch)", x, ridge)
    yield from each.vertical(f"best stop in theory: epoch {best}", best)
    for metric in each.question.losses:
        part = int(metric != "loss/train")
        band = low[:, part].tolist(), high[:, part].tolist()
        yield from each.lines("gradient flow", x, flow[:, part].tolist(), [metric], band)
