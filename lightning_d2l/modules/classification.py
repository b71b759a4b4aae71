"""Classification: cross-entropy and accuracy (d2l 3.4, 3.6)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from lightning_d2l.modules.base import SupervisedModule


class ClassificationModule(SupervisedModule):
    """Cross-entropy, in nats, of logits (n, num_classes) and classes (n,), and accuracy, in [0, 1]."""

    metric_names = ("loss", "acc")

    def loss(self, output: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(output, y)

    def measure(self, output: Tensor, y: Tensor) -> dict[str, Tensor]:
        return {**super().measure(output, y), "acc": (output.argmax(1) == y).double().mean()}
