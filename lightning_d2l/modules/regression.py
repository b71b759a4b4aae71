"""Regression: the squared loss (d2l 3.1.1.2)."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional

from lightning_d2l.modules.base import SupervisedModule
from lightning_d2l.modules.losses import GaussianNLL


class RegressionModule(SupervisedModule):
    """A loss of outputs and targets (n, 1); beside a Gaussian likelihood also the mean squared error."""

    usual_loss = "mse"

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.metric_names = ("loss", "mse") if isinstance(self.loss, GaussianNLL) else ("loss",)

    def measure(self, output: Tensor, y: Tensor) -> dict[str, Tensor]:
        return {**super().measure(output, y), "mse": functional.mse_loss(output, y)}
