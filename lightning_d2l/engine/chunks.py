"""One run by the fast loop: the minibatches up to the next logging point are one training step of Lightning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor

from lightning_d2l.compat_lightning import count_chunk
from lightning_d2l.config.trainer import RUNNING
from lightning_d2l.data.base import TensorDataModule
from lightning_d2l.data.batches import Batches
from lightning_d2l.engine import loop
from lightning_d2l.engine.batches import StackedBatches
from lightning_d2l.engine.exact import Exact
from lightning_d2l.engine.points import next_point
from lightning_d2l.engine.schedules import Schedule
from lightning_d2l.modules.base import SupervisedModule
from lightning_d2l.modules.schedule import parts

Epochs = Batches | StackedBatches
"""The minibatches of the epoch that was set."""


class Chunk:
    """A number of `epochs`, from the epoch `first` on (counted from 0): iterates over each one's minibatches."""

    def __init__(self, batches: Epochs, first: int, epochs: int) -> None:
        self.batches, self.first, self.epochs = batches, first, epochs

    def __iter__(self) -> Iterator[Epochs]:
        for epoch in range(self.first, self.first + self.epochs):
            self.batches.set_epoch(epoch)
            yield self.batches


class Chunks:
    """The epochs up to the next of `points` as the one item of a loader: Lightning's overhead is paid once for them."""

    def __init__(self, batches: Epochs, points: Sequence[int]) -> None:
        self.batches, self.points = batches, points
        self.sampler = batches  # whose `set_epoch` Lightning calls

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Chunk]:
        first = self.batches.epoch
        yield Chunk(self.batches, first, next_point(self.points, first) - first)


class ChunkedModule(pl.LightningModule):
    """Trains and validates a module as Lightning's own loop would, and logs the same metrics at the logging points.

    `points` are numbers of epochs, from 1. Checkpoints are the module's. Raises Diverged if a metric is not finite.
    """

    def __init__(self, module: SupervisedModule, data: TensorDataModule, points: Sequence[int]) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.module, self.data, self.points = module, data, points
        self.schedule: Schedule | None = None
        self._last_epoch: list[loop.Step] = []

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer, config = parts(self.module.configure_optimizers())
        if config is None:
            return optimizer
        assert self.module.scheduler is not None
        self.schedule = Schedule(config, self.module.scheduler)
        scheduler: Any = {name: config[name] for name in ("scheduler", "interval")}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

    def train_dataloader(self) -> Chunks:
        like = next(self.module.parameters())
        place = like.device, like.dtype
        self._evaluated = {split: self.data.evaluation_batches(split, *place) for split in self.data.evaluated}
        return Chunks(self.data.training_batches(*place, self.data.shuffle_seed), self.points)

    def training_step(self, chunk: Chunk, batch_idx: int) -> None:
        (optimizer,) = self.trainer.optimizers
        gradient = loop.backpropagation(self.module.objective, list(self.module.parameters()))
        optimizer_steps, steps, schedule = loop.quickest(optimizer), 0, self.schedule
        if schedule:
            optimizer_steps = schedule.after(optimizer if schedule.changes_momentum else optimizer_steps)
        for batches in chunk:
            if isinstance(optimizer, Exact):
                self._last_epoch = optimizer.solve(self.module, self.data.splits["train"])
            else:
                self._last_epoch = loop.train_minibatches(gradient, batches, optimizer_steps)
            steps += len(self._last_epoch)
            if schedule:
                schedule.end_epoch()
            loop.require_finite([loss for loss, _, _ in self._last_epoch], self.trainer.global_step + steps, optimizer)
        count_chunk(self.trainer, steps, chunk.epochs)

    @torch.no_grad()
    def on_train_epoch_end(self) -> None:
        metrics = {
            f"{name}/{split}": value
            for split, batches in self._evaluated.items()
            for name, value in split_metrics(self.module, batches).items()
        }
        if "train" not in self._evaluated:
            outputs, ys = (torch.cat(parts) for parts in list(zip(*self._last_epoch, strict=True))[1:])
            metrics |= {f"{name}/{RUNNING}": value for name, value in self.module.measured(outputs, ys).items()}
        weights = self.module.weights()
        metrics |= self.module.measure_parameters([w.detach() for w in weights], [w.grad for w in weights])
        loop.require_finite_metrics(metrics, self.trainer.global_step, self.trainer.optimizers[0])
        if self.schedule:
            rate = self.schedule.log(self.trainer.current_epoch + 1, metrics)
            metrics["lr"] = torch.tensor(rate, dtype=torch.float64)
        self.log_dict(metrics)
        self._last_epoch = []

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        return self.module.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return self.module.load_state_dict(*args, **kwargs)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint |= hyperparameters(self.module)


def hyperparameters(module: pl.LightningModule) -> dict[str, Any]:
    """What a checkpoint holds of a module for `load_from_checkpoint`."""
    return {module.CHECKPOINT_HYPER_PARAMS_KEY: dict(module.hparams), module.CHECKPOINT_HYPER_PARAMS_NAME: "kwargs"}


@torch.no_grad()
def split_metrics(module: SupervisedModule, batches: Batches) -> dict[str, Tensor]:
    """The metrics of a whole split, without dropout."""
    training = module.training
    module.eval()
    outputs, ys = zip(*((module(x), y) for x, y in batches), strict=True)
    module.train(training)
    return module.measured(torch.cat(outputs), torch.cat(ys))
