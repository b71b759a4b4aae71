"""The analytic solution of a model that is linear in its parameters (d2l 3.1.1.3)."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from lightning_d2l.config.registry import SQUARED_LOSSES
from lightning_d2l.data.batches import Batch, as_batch, as_input
from lightning_d2l.engine.loop import Step
from lightning_d2l.modules.base import SupervisedModule
from lightning_d2l.nets.least_squares import Solution, elastic_net, solve
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

    @torch.no_grad()
    def solve(self, module: SupervisedModule, samples: Batch) -> list[Step]:
        """Solve for all training samples (x, y), of which no number is rounded to the precision of the module.

        Returns the loss, outputs and targets as those of one step, and leaves the `Solution` as `module.solution`.
        """
        module.solution = optimum(module, *samples, self.param_groups[0]["weight_decay"])
        for parameter, value in zip(linear_parameters(module.net), module.solution[:2], strict=True):
            if parameter is not None:
                parameter.copy_(value)
        like = next(module.parameters())
        x, y = (t.to(like.device) for t in as_batch(samples, like.dtype))
        output = module(x)
        return [(module.loss(output, y), output, y)]


def linear_parameters(net: nn.Module) -> tuple[Tensor, Tensor | None]:
    """The weight (num_features, num_outputs) and bias (num_outputs,) of a net that is linear in them, as views."""
    if isinstance(net, LinearRegressionScratch):
        return net.w, net.b
    assert isinstance(net, LinearRegression | RandomFeatures)
    return net.linear.weight.T, net.linear.bias


@torch.no_grad()
def optimum(module: SupervisedModule, x: Tensor, y: Tensor, weight_decay: float = 0.0) -> Solution:
    """The weight (d, q) and bias (q,) that minimise a module's objective, computed in float64 whatever its precision.

    The network is one of `linear_parameters`, the loss a squared one, x (n, ...), y (n, q), or classes (n,). The
    objective is the loss plus weight_decay / 2 and l2 / 2 times the sum of the squared weights, plus l1 times that of
    their sizes. Noise of variance s^2 on the inputs adds n s^2 (Bishop 1995), and dropout q of them q / (1 - q) times
    the sum of squares of each input (Srivastava et al. 2014), to what ridge regression multiplies w^2 by.
    """
    net = module.net
    x = as_input(x, torch.float64)
    if module.transform is not None:
        x = copy.deepcopy(module.transform).cpu().double()(x)
    if isinstance(net, RandomFeatures):
        x = copy.deepcopy(net).cpu().double().features(x)
    weight, bias = linear_parameters(net)
    if not y.is_floating_point():
        y = functional.one_hot(y, weight.shape[1]).double()
    scale = y.numel() / SQUARED_LOSSES[module.loss_name]  # from the mean loss to the sum of squares
    ridge, l1 = scale * (weight_decay + module.penalty["l2"]) / 2, scale * module.penalty["l1"]
    penalty: float | Tensor = ridge
    if isinstance(net, LinearRegression) and (net.dropout or net.input_noise):
        penalty = ridge + (net.dropout * x.square().sum(0) + len(x) * net.input_noise**2) / (1 - net.dropout)
    if l1:
        return elastic_net(x, y, l1, penalty, bias is not None)
    return solve(x, y, penalty, bias is not None)
