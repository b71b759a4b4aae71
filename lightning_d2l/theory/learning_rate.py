"""The largest stable learning rate: the mean square of the error of SGD on a linear regression, step by step.

For the minibatch Hessian H_B with mean H, the second moment C of the error e = w - w_best develops as

    C' = E[(I - lr H_B) C (I - lr H_B)] + lr^2 S = C - lr (H C + C H) + lr^2 (E[H_B C H_B] + S)

with the covariance S of the gradient at the optimum. It contracts as long as lr is below 1 over the spectral radius of
(H x I + I x H)^-1 E[H_B x H_B] (x: Kronecker; Defossez and Bach 2015), which for full batches is 2 over the largest
eigenvalue of H. Each step is assumed to draw a new batch, without replacement.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np

from lightning_d2l.theory.curves import Array, Curve, Measured, theory
from lightning_d2l.theory.problem import initial_bias, initial_std
from lightning_d2l.theory.regularisation import data_sets

DATA_SETS = 10


@dataclass(frozen=True)
class Descent:
    """SGD with batches of `batch_size` on the mean of factor (x w - y)^2, for x (n, d) and y (n,)."""

    x: Array
    y: Array
    factor: float
    batch_size: int

    @property
    def hessian(self) -> Array:
        """2 factor X^T X / n."""
        return np.asarray(2 * self.factor * self.x.T @ self.x / len(self.x))

    @property
    def spread(self) -> float:
        """The variance of a batch's mean of values of variance 1, drawn without replacement."""
        n = len(self.x)
        return (n - self.batch_size) / max(n - 1, 1) / self.batch_size

    def second_moment(self) -> Array:
        """E[H_B x H_B] (d^2, d^2)."""
        squares = np.einsum("ni,nj->nij", self.x, self.x).reshape(len(self.x), -1)
        whole = np.kron(self.hessian, self.hessian)
        single = (2 * self.factor) ** 2 * squares.T @ squares / len(self.x)
        return np.asarray(whole + self.spread * (single.reshape(whole.shape) - whole))

    def drift(self) -> Array:
        """H x I + I x H (d^2, d^2)."""
        eye = np.eye(self.x.shape[1])
        return np.kron(self.hessian, eye) + np.kron(eye, self.hessian)

    def limit(self) -> float:
        """The learning rate above which the mean square of the error grows."""
        return 1 / float(np.abs(np.linalg.eigvals(np.linalg.solve(self.drift(), self.second_moment()))).max())

    def expected_loss(self, lr: float, steps: int, start: Sequence[float] | float = 0.0) -> float:
        """The expected training loss after a number of steps, from initial weights of standard deviations `start`."""
        best = np.linalg.lstsq(self.x, self.y, rcond=None)[0]
        residuals = self.y - self.x @ best
        gradients = 2 * self.factor * self.x * residuals[:, None]
        noise = self.spread * gradients.T @ gradients / len(self.x)
        d = len(best)
        step = np.eye(d * d + 1)
        step[:-1, :-1] += lr**2 * self.second_moment() - lr * self.drift()
        step[:-1, -1] = lr**2 * noise.ravel()
        begin = np.append((np.outer(best, best) + np.square(start) * np.eye(d)).ravel(), 1.0)
        moment = (np.linalg.matrix_power(step, steps) @ begin)[:-1].reshape(d, d)
        return float(self.factor * (residuals**2).mean() + np.trace(self.hessian @ moment) / 2)


@theory(
    "optimizer.lr",
    assumes=[
        "linear data", "no folds", "linear", "few features", "n >= d", "clean inputs", "no dropout", "squared loss",
        "plain sgd", "constant rate", "whole training", "precise", "equal batches", "no decay", "no penalty",
        "normal start",
    ],
)  # fmt: skip
def learning_rate(each: Measured) -> Iterator[Curve]:
    """The stability limit, and below it the expected training loss, of plain SGD on few features.

    Both are means over generated data sets. An epoch visits each sample once, which leaves less noise than new batches
    in each step do: the band of the loss reaches down to that of full batches, which have none.
    """
    config, found = each.config, _descents(each.config)
    limits = [descent.limit() for descent in found]
    steps = config["trainer"]["max_epochs"] * math.ceil(len(found[0].x) / found[0].batch_size)
    weights = config["model"].get("bias", True)
    start = [initial_std(config) or 0.0] * (found[0].x.shape[1] - weights) + [initial_bias(config)] * weights
    below = [lr for lr in np.geomspace(each.x[0], each.x[-1], 25).tolist() if lr < min(limits)]
    losses = [fmean(descent.expected_loss(lr, steps, start) for descent in found) for lr in below]
    quiet = [replace(descent, batch_size=len(descent.x)) for descent in found]
    least = [fmean(descent.expected_loss(lr, steps, start) for descent in quiet) for lr in below]
    yield from each.lines("expected loss", below, losses, ["loss/train"], (least, losses))
    yield from each.lines("stability limit", [fmean(limits)] * 2, [1e-30, 1e30])


def _descents(config: Mapping[str, Any]) -> list[Descent]:
    """SGD on data sets like that of a run."""
    data = data_sets(config, DATA_SETS)
    x = np.concatenate([data.x, np.ones((*data.x.shape[:2], 1))], 2) if data.bias else data.x
    batch = min(config["data"]["batch_size"], x.shape[1])
    return [Descent(each, y, data.factor, batch) for each, y in zip(x, data.y, strict=True)]
