"""Linear regression without descent: the analytic solution (d2l 3.1.1.3)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_d2l.data.batches import Batches, as_input
from lightning_d2l.modules.losses import SQUARED_LOSSES
from lightning_d2l.nets.least_squares import ridge_solution
from lightning_d2l.nets.linear import LinearRegression
from lightning_d2l.scratch.linear_regression import LinearRegressionScratch

if TYPE_CHECKING:
    from lightning_d2l.modules.base import SupervisedModule
    from lightning_d2l.modules.loop import Step


class Exact(Optimizer):
    """Puts the optimum of a linear regression in place of its parameters, whatever they were.

    The optimum is that of the mean squared error of all training samples, as the loss weighs it, plus the penalties
    and the `weight_decay`; where it is not unique, that of least norm. `lr` is null: nothing descends.
    """

    def __init__(self, params: Iterable[Any], lr: None = None, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"weight_decay": weight_decay})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        raise NotImplementedError("an exact solution is not reached in steps")

    def solve(self, module: SupervisedModule, batches: Batches) -> list[Step]:
        """Solve for all the samples of `batches`; returns the one step that this is."""
        weight_decay = self.param_groups[0]["weight_decay"]
        x, y = as_input(batches.x, batches.dtype), batches.y
        weight, bias = optimum(module, x, y, weight_decay)
        with torch.no_grad():
            for parameter, value in zip(linear_parameters(module.net), (weight, bias), strict=True):
                if parameter is not None:
                    parameter.copy_(value)
            output = module.net(x)
        return [(module.loss(output, y), output, y)]


def linear_parameters(net: nn.Module) -> tuple[Tensor, Tensor | None]:
    """The weight (num_inputs, num_outputs) and bias (num_outputs,) of a linear regression, as views."""
    if isinstance(net, LinearRegressionScratch):
        return net.w, net.b
    assert isinstance(net, LinearRegression)
    return net.linear.weight.T, net.linear.bias


def optimum(module: SupervisedModule, x: Tensor, y: Tensor, weight_decay: float = 0.0) -> tuple[Tensor, Tensor]:
    """The weight (d, q) and bias (q,), in float64, that minimise a module's objective for x (n, d) and y (n, q).

    The network is a LinearRegression or LinearRegressionScratch, the loss a squared one. The objective is the loss
    plus weight_decay / 2 and l2 / 2 times the sum of the squared weights. Noise of variance s^2 on the inputs
    adds n s^2 (Bishop 1995), and dropout q of them q / (1 - q) times the sum of squares of each input (Srivastava
    et al. 2014), to what ridge regression multiplies w^2 by.
    """
    net, x, n = module.net, x.double(), len(x)
    ridge = y.numel() * (weight_decay + module.penalty["l2"]) / (2 * SQUARED_LOSSES[module.loss_name])
    penalty = x.new_full(x.shape[1:], ridge)
    if isinstance(net, LinearRegression):
        penalty += (net.dropout * x.square().sum(0) + n * net.input_noise**2) / (1 - net.dropout)
    return ridge_solution(x, y, penalty, bias=linear_parameters(net)[1] is not None)
