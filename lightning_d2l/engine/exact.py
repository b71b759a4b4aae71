"""The analytic solution of a model that is linear in its parameters (d2l 3.1.1.3)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from lightning_d2l.config.registry import SQUARED_LOSSES
from lightning_d2l.data.batches import Batches, as_input
from lightning_d2l.engine.loop import Step
from lightning_d2l.modules.base import SupervisedModule
from lightning_d2l.nets.least_squares import elastic_net_solution, ridge_solution
from lightning_d2l.nets.linear import LinearRegression
from lightning_d2l.nets.random_features import RandomFeatures
from lightning_d2l.scratch.linear_regression import LinearRegressionScratch


class Exact(Optimizer):
    """Replaces the parameters by the optimum, whatever their values are.

    It minimises the mean squared error of all training samples, times the factor of the loss, plus the penalties and
    the `weight_decay`; where it is not unique, it is the one of least norm. `lr` has no effect.
    """

    def __init__(self, params: Iterable[Any], lr: float | None = None, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"weight_decay": weight_decay})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        raise NotImplementedError("an exact solution takes no steps; the fast loop (trainer.engine=auto) solves for it")

    def solve(self, module: SupervisedModule, batches: Batches) -> list[Step]:
        """Solve for all the samples of `batches`; returns the loss, outputs and targets as those of one step."""
        x, y = as_input(batches.x, batches.dtype), batches.y
        x = x if module.transform is None else module.transform(x)
        weight, bias = optimum(module, x, y, self.param_groups[0]["weight_decay"])
        with torch.no_grad():
            for parameter, value in zip(linear_parameters(module.net), (weight, bias), strict=True):
                if parameter is not None:
                    parameter.copy_(value)
            output = module.net(x)
        return [(module.loss(output, y), output, y)]


def linear_parameters(net: nn.Module) -> tuple[Tensor, Tensor | None]:
    """The weight (num_features, num_outputs) and bias (num_outputs,) of a net that is linear in them, as views."""
    if isinstance(net, LinearRegressionScratch):
        return net.w, net.b
    assert isinstance(net, LinearRegression | RandomFeatures)
    return net.linear.weight.T, net.linear.bias


def optimum(module: SupervisedModule, x: Tensor, y: Tensor, weight_decay: float = 0.0) -> tuple[Tensor, Tensor]:
    """The weight (d, q) and bias (q,), in float64, that minimise a module's objective.

    The network is one of `linear_parameters`, the loss a squared one, x (n, ...), y (n, q), or classes (n,). The
    objective is the loss plus weight_decay / 2 and l2 / 2 times the sum of the squared weights, plus l1 times that of
    their sizes. Noise of variance s^2 on the inputs adds n s^2 (Bishop 1995), and dropout q of them q / (1 - q) times
    the sum of squares of each input (Srivastava et al. 2014), to what ridge regression multiplies w^2 by.
    """
    net = module.net
    with torch.no_grad():
        x = (net.features(x) if isinstance(net, RandomFeatures) else x).double()
    weight, bias = linear_parameters(net)
    if not y.is_floating_point():
        y = functional.one_hot(y, weight.shape[1]).double()
    scale = y.numel() / SQUARED_LOSSES[module.loss_name]  # from the mean loss to the sum of squares
    ridge, l1 = scale * (weight_decay + module.penalty["l2"]) / 2, scale * module.penalty["l1"]
    penalty = x.new_full(x.shape[1:], ridge)
    if isinstance(net, LinearRegression):
        penalty += (net.dropout * x.square().sum(0) + len(x) * net.input_noise**2) / (1 - net.dropout)
    if l1:
        return elastic_net_solution(x, y, l1, penalty, bias is not None)
    return ridge_solution(x, y, penalty if isinstance(net, LinearRegression) else ridge, bias is not None)
