"""Early stopping: gradient flow and ridge regression on many samples and features (Ali, Kolter and Tibshirani 2019)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from lightning_d2l.theory.curves import Curve, Question, losses, measured_curves, noise_floor, vertical
from lightning_d2l.theory.double_descent import is_high_dimensional
from lightning_d2l.theory.problem import initial_std, is_plain_sgd, loss_factor
from lightning_d2l.theory.regularisation import Array
from lightning_d2l.training.record import RunRecord


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


def early_stopping(question: Question, runs: Sequence[RunRecord]) -> list[Curve]:
    """The losses of gradient flow from 0 by epoch, the comparable ridge regression, and the best epoch to stop at.

    k epochs of full-batch gradient descent on the mean squared error approximate gradient flow up to the time 2 lr k.
    The risk of that is at most 1.69 times the one of ridge regression with lambda = 1 / (2 lr k). The data must be
    high_dimensional with b = 0, the model linear without a bias, its initial weights 0.
    """
    curves = noise_floor(question, runs)
    for each in measured_curves(question, runs, "epoch"):
        config, data = each.config, each.config["data"]
        if not each.x or not is_high_dimensional(config) or loss_factor(config) != 1:
            continue
        if not is_plain_sgd(config) or initial_std(config) != 0 or data["batch_size"] < data["n_train"]:
            continue
        x = np.unique(np.geomspace(max(each.x[0], 1), each.x[-1], 200).round()).tolist()
        times = [2 * config["optimizer"]["lr"] * k for k in x]
        problem = data["d"] / data["n_train"], data["noise"] ** 2, data["d"] * data["w"] ** 2
        flow = [shrunk_losses(lambda s, t=t: 1 - np.exp(-t * s), *problem) for t in times]  # type: ignore[misc]
        ridge = [shrunk_losses(lambda s, t=t: s / (s + 1 / t), *problem)[1] for t in times]  # type: ignore[misc]
        train, held_out = zip(*flow, strict=True)
        best = x[int(np.argmin(held_out))]
        curves.append(each.curve("ridge, λ = 1/(2 lr epoch)", x, ridge))
        curves += vertical(f"best stop in theory: epoch {best:.0f}", best, question, each.runs)
        for metric in losses(question):
            curves.append(each.curve("gradient flow", x, train if metric == "loss/train" else held_out, metric))
    return curves
