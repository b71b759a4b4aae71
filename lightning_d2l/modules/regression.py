"""Regression: the squared loss (d2l 3.1.1.2)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from lightning_d2l.modules.base import SupervisedModule
from lightning_d2l.modules.losses import GaussianNLL


class RegressionModule(SupervisedModule):
    """A loss of outputs (n, q) and targets (n, q), or (n,) where q is 1.

    A Gaussian likelihood is reported beside the mean squared error.
    """

    usual_loss = "mse"
    task = "regression"

    @property
    def metric_names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(("loss", *["mse"] * isinstance(self.loss, GaussianNLL), *self.metrics)))

    def targets(self, output: Tensor, y: Tensor) -> Tensor:
        if y.shape != output.shape:
            if y.numel() != output.numel() or len(y) != len(output):
                raise ValueError(
                    f"targets {tuple(y.shape)} don't fit the outputs {tuple(output.shape)} of {type(self.net).__name__}"
                )
            y = y.reshape(output.shape)
        # In mixed precision the outputs have fewer digits than the targets, and the loss is computed in float32.
        return y.to(torch.float32 if torch.is_autocast_enabled(output.device.type) else output.dtype)

    def measure(self, output: Tensor, y: Tensor) -> dict[str, Tensor]:
        return {**super().measure(output, y), "mse": functional.mse_loss(output, y)}
