"""The analytic solution of a linear regression, which a run is compared with (d2l 3.1.1.3)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from lightning_d2l.config.optimizers import ADAM_W
from lightning_d2l.config.registry import SQUARED_LOSSES
from lightning_d2l.config.text import number
from lightning_d2l.data.base import TensorDataModule
from lightning_d2l.engine.exact import linear_parameters, optimum
from lightning_d2l.modules.base import SupervisedModule
from lightning_d2l.nets.least_squares import Solution
from lightning_d2l.nets.linear import LinearRegression
from lightning_d2l.scratch.linear_regression import LinearRegressionScratch

MOST_ROUNDING = 0.01
"""The share by which rounding may raise a loss without a line."""


class Optimum:
    """The exact solution for a module on its training data, and the distance of the initial parameters from it."""

    def __init__(self, module: SupervisedModule, data: TensorDataModule, weight_decay: float) -> None:
        self.solution = optimum(module, *data.splits["train"], weight_decay)
        self.weight, self.bias = self.solution[:2]
        self.at_start = self.distance(module)

    @torch.no_grad()
    def distance(self, module: SupervisedModule) -> float:
        """The Euclidean distance of a module's weights and bias from the solution."""
        pairs = zip(linear_parameters(module.net), (self.weight, self.bias), strict=True)
        return math.sqrt(sum(float((p.cpu().double() - q).square().sum()) for p, q in pairs if p is not None))

    def rounding(self, data: TensorDataModule, loss: float, rounded: float) -> float:
        """By which share rounding the solution raises its `loss` on the training data to that of `rounded` parameters.

        A loss below 1e-6 times the mean square of the targets counts as that much, since a perfect fit has none.
        """
        return (rounded - loss) / max(loss, 1e-6 * data.splits["train"][1].square().mean().item())

    @torch.no_grad()
    def losses(self, module: SupervisedModule, data: TensorDataModule) -> dict[str, float]:
        """The solution's loss on every split, by names such as "loss/train"."""
        return {
            f"loss/{split}": module.loss(x.double() @ self.weight + self.bias, y).item()
            for split, (x, y) in sorted(data.splits.items())
        }


def exact_optimum(module: SupervisedModule, data: TensorDataModule, optimizer: dict[str, Any]) -> Optimum | None:
    """The optimum that training approaches, or None if it has no closed form."""
    if not isinstance(data, TensorDataModule):
        return None
    linear = isinstance(module.net, (LinearRegression, LinearRegressionScratch))
    decay = optimizer.get("weight_decay", 0.0)
    decoupled = decay and optimizer["_target_"] == ADAM_W  # AdamW's decay is not the gradient of a penalty
    if not linear or decoupled or module.loss_name not in SQUARED_LOSSES:
        return None
    return Optimum(module, data, decay)


def recorded(solution: Solution) -> dict[str, float]:
    """What run.json holds of a solution: its rank, the full rank, the number of weights, the condition number."""
    return {
        "rank": solution.rank,
        "full_rank": solution.full_rank,
        "columns": len(solution.w),
        "condition": solution.condition,
    }


def numerical_lines(found: Mapping[str, float]) -> list[str]:
    """Lines on a solution of less than full rank, or rounded too much, from what is `recorded` of it."""
    rank, full, columns = (int(found[name]) for name in ("rank", "full_rank", "columns"))
    lines = []
    if rank < full:
        lines.append(f"exact: rank {rank} of {columns} columns, within rounding; the solution is the one of least norm")
    if found.get("rounding", 0) > MOST_ROUNDING:
        raised = number(1 + found["rounding"])
        lines.append(f"exact: rounded parameters have {raised} times its loss/train; try trainer.precision=64-true")
    return lines
