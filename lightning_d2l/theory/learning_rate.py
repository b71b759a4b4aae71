"""How large a learning rate may be: the mean square of SGD's error on a linear regression, step by step.

For the minibatch Hessian H_B with mean H, the error e = w - w_best has the covariance, and second moment, C:

    C' = E[(I - lr H_B) C (I - lr H_B)] + lr^2 S = C - lr (H C + C H) + lr^2 (E[H_B C H_B] + S)

with the covariance S of the gradient in the optimum. It contracts as long as lr is below 1 over the spectral radius of
(H x I + I x H)^-1 E[H_B x H_B] (x: Kronecker; Defossez and Bach 2015), which for full batches is 2 / the largest
eigenvalue of H. Batches are taken to be drawn anew, without replacement, at every step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightning_d2l.studies.collect import Run
from lightning_d2l.studies.diagnosis import loss_factor
from lightning_d2l.studies.study import Study
from lightning_d2l.theory.curves import Curve, Theory, by_curve, initial_std, linear, plain_sgd, x_values
from lightning_d2l.theory.regularisation import Array, data_sets

DATA_SETS = 10
MOST_FEATURES = 32
"""The matrices are d^2 x d^2."""


@dataclass(frozen=True)
class Descent:
    """SGD with batches of `batch_size` on the mean of factor (x w - y)^2 over x (n, d) and y (n,)."""

    x: Array
    y: Array
    factor: float
    batch_size: int

    @property
    def hessian(self) -> Array:
        """2 factor X^T X / n."""
        found: Array = 2 * self.factor * self.x.T @ self.x / len(self.x)
        return found

    @property
    def best(self) -> Array:
        """The least-squares weights (d,)."""
        found: Array = np.linalg.lstsq(self.x, self.y, rcond=None)[0].astype(np.float64)
        return found

    @property
    def spread(self) -> float:
        """The variance of the mean of a batch, of samples' values of variance 1: 1/B without replacement."""
        n = len(self.x)
        return (n - self.batch_size) / (n - 1) / self.batch_size

    def second_moment(self) -> Array:
        """E[H_B x H_B] (d^2, d^2)."""
        squares = np.einsum("ni,nj->nij", self.x, self.x).reshape(len(self.x), -1)
        whole = np.kron(self.hessian, self.hessian)
        single = (2 * self.factor) ** 2 * squares.T @ squares / len(self.x)
        found: Array = whole + self.spread * (single.reshape(whole.shape) - whole)
        return found

    def drift(self) -> Array:
        """H x I + I x H (d^2, d^2)."""
        eye = np.eye(self.x.shape[1])
        return np.kron(self.hessian, eye) + np.kron(eye, self.hessian)

    def limit(self) -> float:
        """The learning rate from which on the mean square of the error grows."""
        return 1 / float(np.abs(np.linalg.eigvals(np.linalg.solve(self.drift(), self.second_moment()))).max())

    def expected_loss(self, lr: float, steps: int, start: float = 0.0) -> float:
        """The expected training loss after a number of steps, from weights of standard deviation `start` around 0."""
        best, h = self.best, self.hessian
        residuals = self.y - self.x @ best
        gradients = 2 * self.factor * self.x * residuals[:, None]
        noise = self.spread * gradients.T @ gradients / len(self.x)
        d = len(best)
        step = np.eye(d * d + 1)
        step[:-1, :-1] += lr**2 * self.second_moment() - lr * self.drift()
        step[:-1, -1] = lr**2 * noise.ravel()
        begin = np.append((np.outer(best, best) + start**2 * np.eye(d)).ravel(), 1.0)
        moment = (np.linalg.matrix_power(step, steps) @ begin)[:-1].reshape(d, d)
        return float(self.factor * (residuals**2).mean() + np.trace(h @ moment) / 2)


def learning_rate(study: Study, runs: Sequence[Run]) -> list[Curve]:
    """The stability limit, and up to it the expected training loss, of plain SGD on few features.

    Both are means over data sets of the documented generator. x must be optimizer.lr.
    """
    curves: list[Curve] = []
    for where, members in by_curve(study, runs) if study.x == "optimizer.lr" else ():
        x, config = x_values(study, members), members[0].config
        found = _descents(config)
        if not found or not x:
            continue
        limits = [descent.limit() for descent in found]
        limit = sum(limits) / len(limits)
        steps = config["trainer"]["max_epochs"] * math.ceil(len(found[0].x) / found[0].batch_size)
        start = initial_std(config)
        below = [lr for lr in np.geomspace(min(x), max(x), 25).tolist() if lr < min(limits)]
        if start is not None:
            losses = [sum(each.expected_loss(lr, steps, start) for each in found) / len(found) for lr in below]
            curves.append(Curve("expected loss", below, losses, "loss/train", where))
        curves.append(Curve("stability limit", [limit, limit], [1e-30, 1e30], "", where))
    return curves


def _descents(config: Mapping[str, Any]) -> list[Descent]:
    """SGD on data sets like a run's, or none where the theory doesn't hold."""
    if (
        not linear(config)
        or not plain_sgd(config)
        or config["optimizer"]["weight_decay"]
        or loss_factor(config) is None
    ):
        return []
    data = data_sets(config, DATA_SETS)
    x = np.concatenate([data.x, np.ones((*data.x.shape[:2], 1))], 2) if data.bias else data.x
    if x.shape[2] > MOST_FEATURES:
        return []
    batch = min(config["data"]["batch_size"], x.shape[1])
    return [Descent(each, y, data.factor, batch) for each, y in zip(x, data.y, strict=True)]


THEORIES: dict[str, Theory] = {"learning_rate": learning_rate}
