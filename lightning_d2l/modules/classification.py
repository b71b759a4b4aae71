"""Classification: cross-entropy and accuracy (d2l 3.4, 3.6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from lightning_d2l.modules.base import SupervisedModule
from lightning_d2l.modules.build import OptimizerFactory
from lightning_d2l.modules.information import information_metrics

INFORMATION = ("surprisal", "entropy", "cross_entropy", "kl")  # in nats, and with "_bits" behind them in bits


class ClassificationModule(SupervisedModule):
    """Cross-entropy, in nats, of logits (n, num_classes) and classes (n,), and accuracy, in [0, 1].

    With `information` also the mean surprisal, entropy, cross-entropy and KL divergence of the predictions.
    """

    usual_loss = "cross_entropy"
    task = "classification"

    def __init__(
        self,
        net: nn.Module | Mapping[str, Any],
        loss: str | None = None,
        optimizer: str | Mapping[str, Any] | OptimizerFactory = "sgd",
        *,
        information: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(net, loss, optimizer, information=information, **settings)
        self.information = information

    @property
    def metric_names(self) -> tuple[str, ...]:
        names = [*INFORMATION, *(f"{name}_bits" for name in INFORMATION)] if self.information else []
        return tuple(dict.fromkeys(("loss", "acc", *names, *self.metrics)))

    def targets(self, output: Tensor, y: Tensor) -> Tensor:
        if output.dim() != 2 or y.shape != output.shape[:1] or y.is_floating_point():
            raise ValueError(
                f"targets {tuple(y.shape)} of {y.dtype} don't fit the outputs {tuple(output.shape)} of "
                f"{type(self.net).__name__}: they must be classes (n,), and the outputs logits (n, num_classes)"
            )
        return y.long()

    def measure(self, output: Tensor, y: Tensor) -> dict[str, Tensor]:
        metrics = super().measure(output, y) | {"acc": (output.argmax(1) == y).double().mean()}
        return metrics | information_metrics(output, y) if self.information else metrics
