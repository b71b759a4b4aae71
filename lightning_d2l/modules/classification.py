"""Classification: cross-entropy and accuracy (d2l 3.4, 3.6)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lightning_d2l.modules.base import SupervisedModule
from lightning_d2l.modules.information import information_metrics

INFORMATION = ("surprisal", "entropy", "cross_entropy", "kl")  # in nats, and with "_bits" behind them in bits


class ClassificationModule(SupervisedModule):
    """Cross-entropy, in nats, of logits (n, num_classes) and classes (n,), and accuracy, in [0, 1].

    With `information` also the mean surprisal, entropy, cross-entropy and KL divergence of the predictions.
    """

    usual_loss = "cross_entropy"

    def __init__(self, *args: Any, information: bool = False, **settings: Any) -> None:
        super().__init__(*args, **settings)
        names = [*INFORMATION, *(f"{name}_bits" for name in INFORMATION)] if information else []
        self.metric_names = ("loss", "acc", *names)

    def measure(self, output: Tensor, y: Tensor) -> dict[str, Tensor]:
        metrics = super().measure(output, y) | {"acc": (output.argmax(1) == y).double().mean()}
        return metrics | information_metrics(output, y) if len(self.metric_names) > 2 else metrics
