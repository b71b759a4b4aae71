"""A model, a metric, a callback and a data set of your own, for docs/own-work.md."""

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_d2l import register


@register.model
class LeNet(nn.Module):
    """A convolutional network for images (n, 1, side, side) (LeCun et al. 1998; d2l 7.6)."""

    def __init__(self, num_inputs: int, num_outputs: int, channels: int = 6, kernel: int = 5, dropout: float = 0.0):
        super().__init__()
        side = int(num_inputs**0.5)
        features = 2 * channels * (((side // 2) - kernel + 1) // 2) ** 2
        self.layers = nn.Sequential(
            nn.Conv2d(1, channels, kernel, padding=kernel // 2),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(channels, 2 * channels, kernel),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(features, 84),
            nn.ReLU(),
            nn.Linear(84, num_outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


@register.model
class Logistic(pl.LightningModule):
    """A LightningModule as it would be written for any other project, with its own steps, metrics and optimizer."""

    def __init__(self, num_outputs: int, lr: float = 0.1):
        super().__init__()
        self.linear = nn.Linear(28 * 28, num_outputs)
        self.lr = lr

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(1))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        loss = functional.cross_entropy(self(x), y)
        self.log("train_loss", loss, on_epoch=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._evaluate(batch, "val")

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._evaluate(batch, "test")

    def _evaluate(self, batch: tuple[Tensor, Tensor], split: str) -> None:
        x, y = batch
        logits = self(x)
        self.log(f"{split}_loss", functional.cross_entropy(logits, y))
        self.log(f"{split}_acc", (logits.argmax(1) == y).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.lr)


@register.metric
def top2(output: Tensor, y: Tensor) -> Tensor:
    """The share of samples whose class is among the two most probable ones."""
    return (output.topk(2, dim=1).indices == y[:, None]).any(1)


@register.loss(task="regression")
def huber(output: Tensor, y: Tensor) -> Tensor:
    """Squared for small errors, absolute for large ones (Huber 1964)."""
    return functional.huber_loss(output, y)


@register.callback
class LargestWeight(pl.Callback):
    """Logs the largest absolute weight after each epoch."""

    def __init__(self, every: int = 1):
        self.every = every

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if (trainer.current_epoch + 1) % self.every == 0:
            largest = max(float(p.detach().abs().max()) for p in pl_module.parameters())
            pl_module.log("largest/weight", largest)


@register.data
def two_moons(n: int = 400, noise: float = 0.2, seed: int = 0) -> Mapping[str, Any]:
    """Two half circles, one for each class."""
    random = torch.Generator().manual_seed(seed)
    found = {}
    for split, size in {"train": n, "val": n, "test": n}.items():
        y = torch.arange(size) % 2
        angle = torch.pi * torch.rand(size, generator=random)
        x = torch.stack([angle.cos() + y, angle.sin() * (1 - 2 * y) + 0.5 * y], dim=1)
        found[split] = x + noise * torch.randn(size, 2, generator=random), y
    return found
