"""What training a regression and a classification have in common."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_d2l.data.batches import Batch, Batches, Chunk, Chunks
from lightning_d2l.modules.loop import Sums, train_minibatches

OptimizerFactory = Callable[[list[dict[str, Any]]], Optimizer]


class Diverged(Exception):
    """The loss became infinite or not a number."""


class SupervisedModule(pl.LightningModule):
    """A network, a loss and an optimizer, trained on minibatches and measured on whole splits.

    One Lightning step runs all the minibatches up to the next of `logging_points` (numbers of epochs, from 1). With
    `automatic_optimization` Lightning itself runs a step a minibatch: slower, to the same bits. `evaluate` names
    the splits of the validation dataloaders. At a logging point `metrics` holds what was measured, by names such
    as "loss/train". Unless "train" is evaluated, its metrics are those of each minibatch before the step on it.
    """

    metric_names: tuple[str, ...]

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerFactory,
        logging_points: list[int],
        evaluate: list[str],
        automatic_optimization: bool = False,
    ) -> None:
        super().__init__()
        self.net, self.optimizer_factory = net, optimizer
        self.logging_points, self.evaluate = logging_points, evaluate
        self.automatic_optimization = automatic_optimization
        self.metrics: dict[str, float] = {}
        self._running: list[Sums] = []
        self._totals: dict[str, list[Sums]] = {}

    def loss(self, output: Tensor, y: Tensor) -> Tensor:
        """The mean loss over a minibatch of outputs (n, num_outputs) and targets, a scalar."""
        raise NotImplementedError

    def sums(self, output: Tensor, y: Tensor, loss: Tensor) -> Tensor:
        """Sums over the samples of a minibatch, one a metric: (len(metric_names),), given its mean loss."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.net(x)
        return output

    def objective(self, batch: Batch) -> tuple[Tensor, Sums]:
        """The mean loss of a minibatch, which training descends, and its sums and size, which metrics add up."""
        x, y = batch
        output = self.net(x)
        loss = self.loss(output, y)
        return loss, (self.sums(output.detach(), y, loss.detach()), len(y))

    def configure_optimizers(self) -> Optimizer:
        """Weight decay acts on weights, of two dimensions, and not on biases or slopes of activations."""
        parameters = list(self.net.parameters())
        weights = [p for p in parameters if p.dim() >= 2]
        others = [p for p in parameters if p.dim() < 2]
        groups: list[dict[str, Any]] = [{"params": weights}, {"params": others, "weight_decay": 0.0}]
        return self.optimizer_factory([group for group in groups if group["params"]])

    def on_train_epoch_start(self) -> None:
        loader = self.trainer.train_dataloader
        assert isinstance(loader, (Batches, Chunks))
        loader.set_epoch(self.trainer.current_epoch)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        if not self.automatic_optimization:
            self._train_chunk(batch)
            return None
        loss, sums = self.objective(batch)
        self._running.append(sums)
        return loss

    def _train_chunk(self, chunk: Chunk) -> None:
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, Optimizer)
        history = train_minibatches(self.objective, chunk, optimizer)
        self._require_finite(history, self.trainer.global_step)
        self._running = history[-len(history) // chunk.epochs :]
        # Lightning saw one epoch and no step of an optimizer. It stops by these counters and resumes from them.
        loop = self.trainer.fit_loop
        loop.epoch_progress.increment_by(chunk.epochs - 1)
        loop.epoch_loop.manual_optimization.optim_step_progress.increment_by(len(history))

    def _require_finite(self, history: list[Sums], steps_before: int) -> None:
        finite = torch.stack([sums[0] for sums, _ in history]).isfinite()
        if not finite.all():
            step = int(finite.logical_not().nonzero()[0])
            sums, n = history[step]
            raise self._diverged("the training loss", sums[0].item() / n, steps_before + step + 1)

    def _diverged(self, what: str, value: float, step: int) -> Diverged:
        lr = [group["lr"] for optimizer in self.trainer.optimizers for group in optimizer.param_groups]
        return Diverged(f"{what} is {value} at step {step} with optimizer.lr={lr[0] if lr else None}")

    def on_train_epoch_end(self) -> None:
        epoch = self.trainer.current_epoch + 1
        if self.automatic_optimization:
            self._require_finite(self._running, self.trainer.global_step - len(self._running))
        if epoch in self.logging_points:
            if "train" not in self.evaluate:
                self._totals["train"] = self._running
            self._report(epoch)
        self._running, self._totals = [], {}

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._totals.setdefault(self.evaluate[dataloader_idx], []).append(self.objective(batch)[1])

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._totals.setdefault("test", []).append(self.objective(batch)[1])

    def on_test_epoch_end(self) -> None:
        self._report(self.trainer.current_epoch)
        self._totals = {}

    def _report(self, epoch: int) -> None:
        """Turn the sums of every split into `metrics`, and log them with the epoch on the x-axis."""
        self.metrics = {}
        for split, history in sorted(self._totals.items()):
            totals = torch.stack([sums for sums, _ in history]).sum(0, dtype=torch.float64).tolist()
            n = sum(n for _, n in history)
            self.metrics |= {f"{m}/{split}": total / n for m, total in zip(self.metric_names, totals, strict=True)}
        for name, value in self.metrics.items():
            if not math.isfinite(value):
                raise self._diverged(name, value, self.trainer.global_step)
        self.log_dict({**self.metrics, "step": float(epoch)})  # Lightning hands "step" to the loggers as x
