"""Checkpoints that are complete or absent, from which the same loop continues bit for bit."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor

from lightning_d2l import compat_lightning
from lightning_d2l.compat_torch import tree_map
from lightning_d2l.config.check import RequestError
from lightning_d2l.engine.loop import require_finite, require_finite_metrics
from lightning_d2l.training.files import BEST, LAST, MetricsFile, Row, remove_unfinished, replacing


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes through a temporary file beside the destination, at most every `interval` seconds.

    A younger checkpoint waits in memory for `flush`. Files are written in the order in which they were last saved, so
    that best.ckpt, saved before last.ckpt, is never older than the last.ckpt that refers to it.
    """

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self._waiting: dict[Path, dict[str, Any]] = {}
        self._written = time.monotonic() - interval

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        # Training changes these tensors in place, so a copy waits.
        copy = tree_map(lambda v: v.clone() if isinstance(v, Tensor) else v, checkpoint)
        others = {other: waiting for other, waiting in self._waiting.items() if other != Path(path)}
        self._waiting = {**others, Path(path): copy}  # one assignment: a signal here must not lose what waits

    def flush(self, *, even_if_young: bool = True) -> None:
        """Write what waits, unless the last writing was less than `interval` seconds ago."""
        if not even_if_young and time.monotonic() - self._written < self.interval:
            return
        for path in list(self._waiting):
            with replacing(path) as file:
                torch.save(self._waiting[path], file)
            del self._waiting[path]
        self._written = time.monotonic()


def load_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of plain values; raises RequestError if there is none or it holds anything else."""
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        if isinstance(checkpoint, dict) and "state_dict" in checkpoint:
            return checkpoint
    except FileNotFoundError:
        raise RequestError(f"{path}: no checkpoint there") from None
    except Exception as error:
        raise RequestError(f"{path}: not a file of plain weights, so it is not loaded") from error
    raise RequestError(f"{path}: holds no state_dict")


def finished_epochs(checkpoint: dict[str, Any]) -> int:
    """The number of epochs behind a checkpoint; raises RequestError if it does not hold it."""
    try:
        return compat_lightning.finished_epochs(checkpoint["loops"])
    except (KeyError, TypeError) as error:
        raise RequestError(f"the checkpoint lacks {error}, so a run can't continue from it") from error


def random_states() -> dict[str, Any]:
    """The states of all random generators of this process, as plain values."""
    name, keys, *rest = np.random.get_state(legacy=True)
    version, words, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
        "python": [version, torch.tensor(words), gauss],
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Put back what `random_states` returned."""
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words.tolist()), gauss))


class Recorder(Checkpoint):
    """At each of `points`, in epochs from 1: a row of metrics.csv, and the checkpoints last.ckpt and best.ckpt.

    A row holds every metric that was logged under a name with a slash. Best is the lowest `monitor`. Each row is also
    given to `tell`. Raises Diverged if a metric is not finite.
    """

    def __init__(
        self, folder: Path, io: AtomicCheckpointIO, points: list[int], monitor: str, tell: Callable[[Row], None]
    ) -> None:
        self.folder, self.io, self.points, self.monitor, self.tell = folder, io, points, monitor, tell
        self.file = MetricsFile(folder)
        self.best: Row = {}
        self._random_states: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"best": dict(self.best), **random_states()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best = dict(state["best"])
        self._random_states = state

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._random_states is not None:
            set_random_states(self._random_states)
        remove_unfinished(self.folder)
        self.file.cut_after(trainer.current_epoch)
        trainer.save_checkpoint(self.folder / LAST, weights_only=False)
        self.io.flush()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        if epoch not in self.points:
            return
        row: Row = {"epoch": epoch, "step": trainer.global_step, **logged_metrics(trainer)}
        self.file.append(row)
        if not self.best or row[self.monitor] < self.best[self.monitor]:
            self.best = row
            trainer.save_checkpoint(self.folder / BEST, weights_only=False)
        trainer.save_checkpoint(self.folder / LAST, weights_only=False)
        self.io.flush(even_if_young=False)
        self.tell(row)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.io.flush()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self.io.flush()


def logged_metrics(trainer: pl.Trainer) -> Row:
    """The metrics of the last epoch by name: those of each split, then all others; raises Diverged."""
    found = {name: value.item() for name, value in trainer.callback_metrics.items() if "/" in name}
    require_finite_metrics(found, trainer.global_step, next(iter(trainer.optimizers), None))
    order = {split: number for number, split in enumerate(("test", "train", "val"))}
    return dict(sorted(found.items(), key=lambda item: order.get(item[0].rpartition("/")[2], len(order))))


class LoggingPoints(Callback):
    """Lightning's own loop validates at `points` alone, and raises Diverged after an epoch, as the fast loop does."""

    def __init__(self, points: list[int]) -> None:
        self.points = points
        self._losses: list[Tensor] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._losses = []
        compat_lightning.validate_in_this_epoch(trainer, trainer.current_epoch + 1 in self.points)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if isinstance(outputs, dict) and "loss" in outputs:
            self._losses.append(outputs["loss"].detach())

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._losses:
            require_finite(self._losses, trainer.global_step, next(iter(trainer.optimizers), None))
