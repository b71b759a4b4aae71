"""Closed forms of regularised linear regression, averaged over data sets of the documented generator.

A data set is X (n, d) from N(0, 1) and y = X w + b + noise; see lightning_d2l.data.synthetic. The expectation over data
sets is the mean over `DATA_SETS` of them. For each data set the solution is exact, and so is its error on new samples,
sigma^2 + |w - w_true|^2 + (b - b_true)^2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lightning_d2l.theory.curves import Array, Curve, Measured, theory
from lightning_d2l.theory.problem import initial_std, is_linear_regression, is_plain_sgd, loss_factor

DATA_SETS = 200


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

    def expected(self, weights: Array) -> dict[str, float]:
        """The mean metrics of linear regressions with weights (m, d), a row for each data set."""
        b = self.y.mean(1) - np.einsum("md,md->m", self.x.mean(1), weights) if self.bias else np.zeros(len(weights))
        residuals = np.einsum("mnd,md->mn", self.x, weights) + b[:, None] - self.y
        error = self.noise**2 + ((weights - self.w) ** 2).sum(1) + (b - self.b) ** 2
        new = float(self.factor * error.mean())
        return {
            "loss/train": float(self.factor * (residuals**2).mean()),
            "loss/val": new,
            "loss/test": new,
            "norm/weights": float(np.linalg.norm(weights, axis=1).mean()),
            "zeros/weights": float((weights == 0).mean()),
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
    rng = np.random.default_rng(0)
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


@theory("optimizer.weight_decay")
def weight_decay(each: Measured) -> Iterator[Curve]:
    """Ridge regression, and ridge regression plus the remainder of the initialisation after the steps of SGD.

    With fewer samples than features, d - n directions of the weights have no gradient: weight decay alone shrinks
    them, from N(0, std^2) by 1 - lr lambda in each step. Their d - n squares of std (1 - lr lambda)^steps add to the
    squared norm of the ridge solution, and to its squared error, since the inputs have variance 1. The other
    directions have converged.
    """
    config = each.config
    if not is_linear_regression(config):
        return
    data = data_sets(config)
    n, d = data.x.shape[1:]
    ridge = [data.expected(w) for w in ridge_path(data, [decay * n / (2 * data.factor) for decay in each.x])]
    yield from _lines("ridge, solved exactly", replace(each, where={}), ridge)
    std, lr = initial_std(config), config["optimizer"]["lr"]
    if not is_plain_sgd(config) or not std or n >= d:
        return
    steps = config["trainer"]["max_epochs"] * math.ceil(n / config["data"]["batch_size"])
    decayed = []
    for decay, found in zip(each.x, ridge, strict=True):
        rest = (d - n) * (std * (1 - lr * decay) ** steps) ** 2
        losses = {name: found[name] + data.factor * rest for name in ("loss/val", "loss/test")}
        decayed.append({**found, **losses, "norm/weights": math.hypot(found["norm/weights"], math.sqrt(rest))})
    yield from _lines("ridge + what is left of the initialisation", each, decayed)


@theory("model.input_noise")
def input_noise(each: Measured) -> Iterator[Curve]:
    """Ridge regression with the penalty n sigma^2, to which training with input noise is equivalent (Bishop 1995)."""
    if is_linear_regression(each.config):
        data = data_sets(each.config)
        path = ridge_path(data, [data.x.shape[1] * sigma**2 for sigma in each.x])
        yield from _lines("ridge, λ = n σ²", each, [data.expected(weights) for weights in path])


@theory("model.dropout")
def dropout_linear(each: Measured) -> Iterator[Curve]:
    """Ridge regression weighted by the squared inputs, to which dropout of the inputs is equivalent.

    With inverted dropout p the penalty is p / (1 - p) sum_j |x_j|^2 w_j^2 (Srivastava et al. 2014).
    """
    if is_linear_regression(each.config):
        data = data_sets(each.config)
        expected = [data.expected(dropout_ridge(data, p)) for p in each.x]
        yield from _lines("ridge, weighted by |xⱼ|² p/q, q = 1 - p", each, expected)


@theory("penalty.lambda")
def l1_l2(each: Measured) -> Iterator[Curve]:
    """The expected error and share of zero weights of Lasso, ridge and elastic net."""
    if is_linear_regression(each.config):
        data, penalty = data_sets(each.config), each.config["penalty"]
        penalties = [(strength * penalty["l1"], strength * penalty["l2"]) for strength in each.x]
        yield from _lines("expected over data sets", each, [data.expected(elastic_net(data, *p)) for p in penalties])


def _lines(label: str, each: Measured, expected: Sequence[Mapping[str, float]]) -> Iterator[Curve]:
    """A line for each of the study's metrics that has an expected value."""
    for metric in each.question.metrics:
        if metric in expected[0]:
            yield from each.lines(label, each.x, [values[metric] for values in expected], [metric])
