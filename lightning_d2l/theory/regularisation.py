"""Closed forms of regularised linear regression, averaged over data sets of the documented generator.

The data sets are X (n, d) from N(0, 1) and y = X w + b + noise; see lightning_d2l.data.synthetic. Every expectation
over them is a mean over `DATA_SETS` draws of numpy's; given a data set the solution is exact, and so is its error on
new samples, sigma^2 + |w - w_true|^2 + (b - b_true)^2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_d2l.studies.collect import Run
from lightning_d2l.studies.diagnosis import loss_factor
from lightning_d2l.studies.study import Study
from lightning_d2l.theory.curves import Curve, Theory, by_curve, initial_std, linear, plain_sgd, x_values
from lightning_d2l.theory.mean_field import NUM_CLASSES

Array = NDArray[np.float64]
DATA_SETS = 200


@dataclass(frozen=True)
class DataSets:
    """Training samples x (m, n, d) and y (m, n) of m data sets, what they were made from, and the loss's factor.

    With `bias` the models have one, which is not penalised: it is solved for by subtracting the means.
    """

    x: Array
    y: Array
    w: Array
    b: float
    noise: float
    factor: float
    bias: bool

    def expected(self, weights: Array) -> dict[str, float]:
        """The mean metrics of a linear regression with weights (m, d), one row for each data set."""
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
        """x and y without what the bias fits."""
        if not self.bias:
            return self.x, self.y
        return self.x - self.x.mean(1, keepdims=True), self.y - self.y.mean(1, keepdims=True)


def data_sets(config: Mapping[str, Any], count: int = DATA_SETS) -> DataSets:
    """Draw data sets of a run's configuration, whose data are normal inputs with a linear function of them."""
    data, n = config["data"], config["data"]["n_train"]
    w = np.asarray(data["w"], dtype=np.float64)
    w = np.full(data["d"], w) if w.ndim == 0 else w
    rng = np.random.default_rng(0)
    x = rng.standard_normal((count, n, len(w)))
    y = x @ w + data["b"] + data["noise"] * rng.standard_normal((count, n))
    bias = bool(config["model"].get("bias", True))
    return DataSets(x, y, w, data["b"], data["noise"], loss_factor(config) or 1.0, bias)


def ridge_path(data: DataSets, penalties: Sequence[float]) -> list[Array]:
    """The weights (m, d) that minimise |X w + b - y|^2 + penalty |w|^2, of least norm, for each penalty."""
    x, y = data.centred()
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    s = np.where(s > 1e-10 * s[:, :1], s, 0.0)
    along = np.einsum("mnk,mn->mk", u, y)
    found = []
    for penalty in penalties:
        shrinkage = np.divide(s, s**2 + penalty, out=np.zeros_like(s), where=s > 0)
        found.append(np.einsum("mkd,mk->md", vt, shrinkage * along))
    return found


def elastic_net(data: DataSets, l1: float, l2: float, tolerance: float = 1e-10, sweeps: int = 10_000) -> Array:
    """The weights (m, d) that minimise the loss + l1 |w|_1 + l2 / 2 |w|^2.

    Coordinate descent (Friedman, Hastie and Tibshirani 2010): the best value of one weight, the others held, is its
    least-squares value moved towards 0 by the L1 penalty and divided down by the L2 penalty.
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
    solved: Array = np.linalg.solve(gram, np.einsum("mni,mn->mi", x, y)[:, :, None])[:, :, 0]
    return solved


def _regressions(
    study: Study, runs: Sequence[Run], key: str
) -> Iterator[tuple[dict[str, Any], list[float], Mapping[str, Any]]]:
    """Setting, values of x and configuration of each curve to which the closed forms apply, if `key` is along x."""
    for where, members in by_curve(study, runs) if study.x == key else ():
        x, config = x_values(study, members), members[0].config
        if x and linear(config) and loss_factor(config) is not None:
            yield where, x, config


def weight_decay(study: Study, runs: Sequence[Run]) -> list[Curve]:
    """The ridge path, and beside it what is left of the initialisation after a number of steps of SGD.

    With fewer samples than features, d - n directions of the weights never see a gradient: from N(0, std^2) weight
    decay alone shrinks them, by 1 - lr lambda a step. Their d - n squares of std (1 - lr lambda)^steps add to the
    squared norm of the ridge solution, and to its squared error, since the inputs have variance 1; the other
    directions have reached it. x must be optimizer.weight_decay.
    """
    curves: list[Curve] = []
    for where, x, config in _regressions(study, runs, "optimizer.weight_decay"):
        data = data_sets(config)
        n, d = data.x.shape[1:]
        path = ridge_path(data, [decay * n / (2 * data.factor) for decay in x])
        ridge = [data.expected(weights) for weights in path]
        curves += _curves("ridge, solved exactly", study, x, ridge, {})
        std, lr = initial_std(config), config["optimizer"]["lr"]
        if not plain_sgd(config) or not std or n >= d:
            continue
        steps = config["trainer"]["max_epochs"] * math.ceil(n / config["data"]["batch_size"])
        left = [(d - n) * (std * (1 - lr * decay) ** steps) ** 2 for decay in x]
        decayed = [
            {
                **found,
                "loss/val": found["loss/val"] + data.factor * rest,
                "loss/test": found["loss/test"] + data.factor * rest,
                "norm/weights": math.hypot(found["norm/weights"], math.sqrt(rest)),
            }
            for found, rest in zip(ridge, left, strict=True)
        ]
        curves += _curves("ridge + what is left of the initialisation", study, x, decayed, where)
    return curves


def input_noise(study: Study, runs: Sequence[Run]) -> list[Curve]:
    """Ridge regression with the penalty n sigma^2, which training with input noise comes to (Bishop 1995).

    x must be model.input_noise.
    """
    curves: list[Curve] = []
    for where, x, config in _regressions(study, runs, "model.input_noise"):
        data = data_sets(config)
        path = ridge_path(data, [data.x.shape[1] * sigma**2 for sigma in x])
        curves += _curves("ridge, λ = n σ²", study, x, [data.expected(weights) for weights in path], where)
    return curves


def dropout_linear(study: Study, runs: Sequence[Run]) -> list[Curve]:
    """Ridge regression weighted by the inputs' squares, which dropout of the inputs comes to (Srivastava et al. 2014).

    With inverted dropout p the penalty is p / (1 - p) sum_j |x_j|^2 w_j^2. x must be model.dropout.
    """
    curves: list[Curve] = []
    for where, x, config in _regressions(study, runs, "model.dropout"):
        data = data_sets(config)
        expected = [data.expected(dropout_ridge(data, p)) for p in x]
        curves += _curves("ridge, weighted by |xⱼ|² p/q, q = 1 - p", study, x, expected, where)
    return curves


def l1_l2(study: Study, runs: Sequence[Run]) -> list[Curve]:
    """The expected error and share of zero weights of Lasso, ridge and elastic net. x must be penalty.lambda."""
    curves: list[Curve] = []
    for where, x, config in _regressions(study, runs, "penalty.lambda"):
        data, penalty = data_sets(config), config["penalty"]
        penalties = [(strength * penalty["l1"], strength * penalty["l2"]) for strength in x]
        expected = [data.expected(elastic_net(data, l1, l2)) for l1, l2 in penalties]
        curves += _curves("expected over data sets", study, x, expected, where)
    return curves


def random_labels(study: Study, runs: Sequence[Run]) -> list[Curve]:
    """Training accuracy 1 of a network that fits every label, and chance on test data (Zhang et al. 2017)."""
    curves = []
    for where, members in by_curve(study, runs):
        x = x_values(study, members)
        if study.x == "data.label_noise" and x:
            curves.append(Curve("every label fitted", x, [1.0] * len(x), "acc/train", where))
            curves.append(Curve("chance", x, [1 / NUM_CLASSES] * len(x), "acc/test", where))
    return curves


def _curves(
    label: str, study: Study, x: Sequence[float], expected: Sequence[Mapping[str, float]], where: Mapping[str, Any]
) -> list[Curve]:
    """A curve of each of the study's metrics that is expected."""
    metrics = [metric for metric in study.metrics if metric in expected[0]]
    return [Curve(label, x, [each[metric] for each in expected], metric, where) for metric in metrics]


THEORIES: dict[str, Theory] = {
    "weight_decay": weight_decay,
    "input_noise": input_noise,
    "dropout_linear": dropout_linear,
    "l1_l2": l1_l2,
    "random_labels": random_labels,
}
