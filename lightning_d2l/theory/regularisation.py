"""Closed forms of regularised linear regression, averaged over data sets of the documented generator.

A data set is X (n, d) from N(0, 1) and y = X w + b + noise; see lightning_d2l.data.synthetic. The expectation over data
sets is the mean over at most `DATA_SETS` of them. For each data set the solution is exact, and so is its error on new
samples, sigma^2 + |w - w_true|^2 + (b - b_true)^2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lightning_d2l.theory.curves import HELD_OUT, Array, Curve, Measured, theory
from lightning_d2l.theory.problem import initial_std, loss_factor

DATA_SETS = 200
FEW_DATA_SETS = 20
"""Where a data set needs an eigenvalue decomposition."""
MOST_NUMBERS = 4_000_000
"""In the inputs of all data sets, of which there are fewer where these are large."""
PROBLEM = ("linear data", "no folds", "linear", "squared loss")
"""What all formulas of regularised linear regression assume."""
Expected = Mapping[str, tuple[float, float]]
"""The expected value of each metric and its standard error, since it is a mean over `DATA_SETS`."""


@dataclass(frozen=True)
class DataSets:
    """Training samples x (m, n, d) and y (m, n) of m data sets, the parameters of their generator, and the loss factor.

    With `bias` the models have a bias, which is not penalised: subtracting the means solves for it.
    """

    x: Array
    y: Array
    w: Array
    b: float
    noise: float
    factor: float
    bias: bool

    def expected(self, weights: Array) -> dict[str, tuple[float, float]]:
        """The mean metrics of linear regressions with weights (m, d), a row a data set, and their standard errors."""
        b = self.y.mean(1) - np.einsum("md,md->m", self.x.mean(1), weights) if self.bias else np.zeros(len(weights))
        residuals = np.einsum("mnd,md->mn", self.x, weights) + b[:, None] - self.y
        error = self.noise**2 + ((weights - self.w) ** 2).sum(1) + (b - self.b) ** 2
        single = {
            "loss/train": self.factor * (residuals**2).mean(1),
            "loss/val": self.factor * error,
            "loss/test": self.factor * error,
            "norm/weights": np.linalg.norm(weights, axis=1),
            "zeros/weights": (weights == 0).mean(1),
        }
        return {
            name: (float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else 0.0)
            for name, values in single.items()
        }

    def centred(self) -> tuple[Array, Array]:
        """x and y, minus their means if a bias fits these."""
        if not self.bias:
            return self.x, self.y
        return self.x - self.x.mean(1, keepdims=True), self.y - self.y.mean(1, keepdims=True)


def data_sets(config: Mapping[str, Any], count: int = DATA_SETS) -> DataSets:
    """Draw data sets like that of a run, which must consist of normal inputs and a linear function of them."""
    data, n = config["data"], config["data"]["n_train"]
    w = np.asarray(data["w"], dtype=np.float64)
    w = np.full(data["d"], w) if w.ndim == 0 else w
    rng, count = np.random.default_rng(0), min(count, max(10, MOST_NUMBERS // (n * len(w))))
    x = rng.standard_normal((count, n, len(w)))
    y = x @ w + data["b"] + data["noise"] * rng.standard_normal((count, n))
    bias = bool(config["model"].get("bias", True))
    return DataSets(x, y, w, data["b"], data["noise"], loss_factor(config) or 1.0, bias)


def ridge_path(data: DataSets, penalties: Sequence[float]) -> list[Array]:
    """For each penalty the weights (m, d) of least norm that minimise |X w + b - y|^2 + penalty |w|^2."""
    x, y = data.centred()
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    s = np.where(s > 1e-10 * s[:, :1], s, 0.0)
    along = np.einsum("mnk,mn->mk", u, y)
    kept = [np.divide(s, s**2 + penalty, out=np.zeros_like(s), where=s > 0) for penalty in penalties]
    return [np.einsum("mkd,mk->md", vt, shrinkage * along) for shrinkage in kept]


def elastic_net(data: DataSets, l1: float, l2: float, tolerance: float = 1e-10, sweeps: int = 10_000) -> Array:
    """The weights (m, d) that minimise the loss + l1 |w|_1 + l2 / 2 |w|^2.

    Coordinate descent (Friedman, Hastie and Tibshirani 2010): with the other weights fixed, the best value of a weight
    is its least-squares value, which the L1 penalty moves towards 0 and the L2 penalty divides.
    """
    x, y = data.centred()
    n, scale = x.shape[1], 2 * data.factor
    gram, along = np.einsum("mni,mnj->mij", x, x) / n, np.einsum("mni,mn->mi", x, y) / n
    weights: Array = np.zeros_like(along)
    for _ in range(sweeps):
        before = weights.copy()
        for j in range(weights.shape[1]):
            own = gram[:, j, j]
            wanted = along[:, j] - np.einsum("mi,mi->m", gram[:, j], weights) + own * weights[:, j]
            kept = np.maximum(np.abs(wanted) - l1 / scale, 0)
            weights[:, j] = np.sign(wanted) * kept / (own + l2 / scale)
        if np.abs(weights - before).max() <= tolerance:
            break
    return weights


def dropout_ridge(data: DataSets, p: float) -> Array:
    """The weights (m, d) that minimise |X w + b - y|^2 + p / (1 - p) sum_j |x_j|^2 w_j^2, for n > d."""
    x, y = data.centred()
    penalty = p / (1 - p) * (data.x**2).sum(1)
    gram = np.einsum("mni,mnj->mij", x, x) + penalty[:, :, None] * np.eye(x.shape[2])
    return np.asarray(np.linalg.solve(gram, np.einsum("mni,mn->mi", x, y)[:, :, None])[:, :, 0])


def decayed(data: DataSets, decay: float, lr: float, steps: int, std: float) -> Expected:
    """The expected metrics of gradient descent with weight decay from weights N(0, std^2) and a bias of 0.

    For the parameters p, weights and bias, the objective has the Hessian H = 2 factor A^T A / n + decay D, with the
    samples A and 1 on the diagonal of D at each weight. After t steps p is p* + (I - lr H)^t (p_0 - p*) with the ridge
    solution p*. Minibatches do not change the directions in which the samples say nothing, which are what is left.
    """
    n, d = data.x.shape[1:]
    found = []
    for x, y in zip(data.x, data.y, strict=True):
        a = np.column_stack([x, np.ones(n)]) if data.bias else x
        s, v = np.linalg.eigh(2 * data.factor * a.T @ a / n + decay * np.diag(np.arange(a.shape[1]) < d))
        s = np.where(s > 1e-10 * s[-1], s, 0.0)
        left = (1 - lr * s) ** steps
        reached = np.divide(1 - left, s, out=np.zeros_like(s), where=s > 0)
        mean = v @ (reached * (v.T @ (2 * data.factor * a.T @ y / n)))  # p* - (I - lr H)^t p*
        rest = std * (v * left) @ v[:d].T  # what the initial weights leave
        true = np.append(data.w, data.b)[: a.shape[1]]
        error = data.noise**2 + (0 if data.bias else data.b**2) + ((mean - true) ** 2).sum() + (rest**2).sum()
        train = ((a @ mean - y) ** 2).mean() + ((a @ rest) ** 2).sum() / n
        norm = math.sqrt((mean[:d] ** 2).sum() + (rest[:d] ** 2).sum())
        found.append((data.factor * train, data.factor * error, data.factor * error, norm))
    means, errors = np.mean(found, 0).tolist(), (np.std(found, 0, ddof=1) / math.sqrt(len(found))).tolist()
    return dict(zip(("loss/train", *HELD_OUT, "norm/weights"), zip(means, errors, strict=True), strict=True))


@theory(
    "optimizer.weight_decay",
    assumes=[
        *PROBLEM, "clean inputs", "no dropout", "no penalty", "plain sgd", "constant rate", "whole training",
        "precise", "normal start", "bias starts at 0", "small steps", "quiet steps",
    ],
)  # fmt: skip
def decayed_initialisation(each: Measured) -> Iterator[Curve]:
    """Ridge regression plus the remainder of the initialisation after the steps of SGD.

    With fewer samples than features, d - n directions of the weights have no gradient: weight decay alone shrinks
    them, from N(0, std^2) by 1 - lr lambda in each step. What is left has the norm (d - n)^(1/2) std (1 - lr
    lambda)^steps, and somewhat more with a bias, which does not decay.
    """
    config, data = each.config, data_sets(each.config, FEW_DATA_SETS)
    n = data.x.shape[1]
    steps = config["trainer"]["max_epochs"] * math.ceil(n / config["data"]["batch_size"])
    std, lr = initial_std(config) or 0.0, config["optimizer"]["lr"]
    expected = [decayed(data, decay, lr, steps, std) for decay in each.x]
    yield from _lines("ridge + what is left of the initialisation", each, expected)


@theory(
    "optimizer.weight_decay",
    assumes=[*PROBLEM, "clean inputs", "no dropout", "no penalty", "l2 decay", "precise"],
    parts=[decayed_initialisation],
)
def weight_decay(each: Measured) -> Iterator[Curve]:
    """Ridge regression, the optimum that weight decay leads to, whether or not a descent has come there."""
    yield from _lines("ridge, solved exactly", replace(each, where={}), _ridge(each))


def _ridge(each: Measured) -> list[Expected]:
    data = data_sets(each.config)
    penalties = [decay * data.x.shape[1] / (2 * data.factor) for decay in each.x]
    return [data.expected(w) for w in ridge_path(data, penalties)]


@theory("model.input_noise", assumes=[*PROBLEM, "no dropout", "no decay", "no penalty", "n > d", "optimum"])
def input_noise(each: Measured) -> Iterator[Curve]:
    """Ridge regression with the penalty n sigma^2, to which training with input noise is equivalent (Bishop 1995)."""
    data = data_sets(each.config)
    path = ridge_path(data, [data.x.shape[1] * sigma**2 for sigma in each.x])
    yield from _lines("ridge, λ = n σ²", each, [data.expected(weights) for weights in path])


@theory("model.dropout", assumes=[*PROBLEM, "clean inputs", "no decay", "no penalty", "n > d", "optimum"])
def dropout_linear(each: Measured) -> Iterator[Curve]:
    """Ridge regression weighted by the squared inputs, to which dropout of the inputs is equivalent.

    With inverted dropout p the penalty is p / (1 - p) sum_j |x_j|^2 w_j^2 (Srivastava et al. 2014).
    """
    data = data_sets(each.config)
    expected = [data.expected(dropout_ridge(data, p)) for p in each.x]
    yield from _lines("ridge, weighted by |xⱼ|² p/q, q = 1 - p", each, expected)


@theory("penalty.lambda", assumes=[*PROBLEM, "clean inputs", "no dropout", "no decay", "solved", "few features"])
def l1_l2(each: Measured) -> Iterator[Curve]:
    """The expected error and share of zero weights of Lasso, ridge and elastic net."""
    data, penalty = data_sets(each.config), each.config["penalty"]
    penalties = [(strength * penalty["l1"], strength * penalty["l2"]) for strength in each.x]
    yield from _lines("expected over data sets", each, [data.expected(elastic_net(data, *p)) for p in penalties])


def _lines(label: str, each: Measured, expected: Sequence[Expected]) -> Iterator[Curve]:
    """A line for each of the study's metrics that has an expected value; the band is 2 standard errors of it."""
    for metric in each.question.metrics:
        if metric in expected[0]:
            means, errors = np.array([values[metric] for values in expected]).T
            band = (means - 2 * errors).clip(0).tolist(), (means + 2 * errors).tolist()
            yield from each.lines(label, each.x, means.tolist(), [metric], band)
