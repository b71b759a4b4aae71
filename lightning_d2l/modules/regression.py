"""Regression: the squared loss (d2l 3.1.1.2)."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional

from lightning_d2l.modules.base import SupervisedModule


class RegressionModule(SupervisedModule):
    """Squared loss of outputs and targets (n, 1): "mse", the mean of (y_hat - y)^2, or "half_mse", half of it.

    The half changes the reported loss and also halves the gradient, so the effective learning rate.
    """

    metric_names = ("loss",)

    def __init__(self, *args: Any, loss: str = "mse", **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.factor = {"mse": 1.0, "half_mse": 0.5}[loss]

    def loss(self, output: Tensor, y: Tensor) -> Tensor:
        loss = functional.mse_loss(output, y)
        return loss if self.factor == 1.0 else self.factor * loss
