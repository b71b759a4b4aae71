"""Checkpoints that are whole or absent, from which a run goes on to the same bits."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor
from torch.utils._pytree import tree_map

from lightning_d2l.config.check import RequestError
from lightning_d2l.modules.base import SupervisedModule
from lightning_d2l.training.files import BEST, LAST, MetricsFile, remove_unfinished, replacing


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes through a temporary file beside the destination, at most every `interval` seconds.

    What is younger waits in memory for `flush`. Files go out in the order in which they were saved last, so that
    best.ckpt, saved before last.ckpt, is never older than the last.ckpt that knows of it.
    """

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self._waiting: dict[Path, dict[str, Any]] = {}
        self._written = time.monotonic() - interval

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        # Training goes on with these tensors, so what waits is a copy.
        copy = tree_map(lambda v: v.clone() if isinstance(v, Tensor) else v, checkpoint)
        others = {other: waiting for other, waiting in self._waiting.items() if other != Path(path)}
        self._waiting = {**others, Path(path): copy}  # in one step: a signal here must not lose what waits

    def flush(self, *, even_if_young: bool = True) -> None:
        if not even_if_young and time.monotonic() - self._written < self.interval:
            return
        for path in list(self._waiting):
            with replacing(path) as file:
                torch.save(self._waiting[path], file)
            del self._waiting[path]
        self._written = time.monotonic()


def load_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of plain weights; raises RequestError if there is none or it is anything else."""
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        if isinstance(checkpoint, dict) and "state_dict" in checkpoint:
            return checkpoint
    except FileNotFoundError:
        raise RequestError(f"{path}: no checkpoint there") from None
    except Exception as error:
        raise RequestError(f"{path}: not a plain weights file, so it is not loaded") from error
    raise RequestError(f"{path}: holds no state_dict")


def finished_epochs(checkpoint: dict[str, Any]) -> int:
    """Epochs behind a checkpoint; its "epoch" can't tell none from one, since Lightning counts on after saving."""
    try:
        return int(checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
    except KeyError as error:
        raise RequestError(f"the checkpoint lacks {error}, so there is nothing to go on from") from error


def random_states() -> dict[str, Any]:
    """The states of all random generators of this process, as what a checkpoint may hold."""
    name, keys, *rest = np.random.get_state(legacy=True)
    version, words, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
        "python": [version, torch.tensor(words), gauss],
    }


class Recorder(Checkpoint):
    """At each logging point: a row of metrics.csv, and the checkpoints last.ckpt and best.ckpt.

    Best is the lowest `monitor`, the validation loss where there is one.
    """

    def __init__(self, folder: Path, io: AtomicCheckpointIO, monitor: str) -> None:
        self.folder, self.io, self.monitor = folder, io, monitor
        self.file = MetricsFile(folder)
        self.best: dict[str, float] = {}

    def state_dict(self) -> dict[str, Any]:
        return {"best": dict(self.best), **random_states()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best = dict(state["best"])
        self._random_states = state

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if (state := getattr(self, "_random_states", None)) is not None:
            torch.set_rng_state(state["torch"])
            if state["cuda"] and torch.cuda.is_available():
                torch.cuda.set_rng_state_all(state["cuda"])
            name, keys, *rest = state["numpy"]
            np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
            version, words, gauss = state["python"]
            random.setstate((version, tuple(words.tolist()), gauss))
        remove_unfinished(self.folder)
        self.file.cut_after(trainer.current_epoch)
        trainer.save_checkpoint(self.folder / LAST, weights_only=False)
        self.io.flush()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SupervisedModule)
        epoch = trainer.current_epoch + 1
        if epoch not in pl_module.logging_points:
            return
        row = {"epoch": epoch, "step": trainer.global_step, **pl_module.metrics}
        self.file.append(row)
        if not self.best or row[self.monitor] < self.best[self.monitor]:
            self.best = row
            trainer.save_checkpoint(self.folder / BEST, weights_only=False)
        trainer.save_checkpoint(self.folder / LAST, weights_only=False)
        self.io.flush(even_if_young=False)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.io.flush()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self.io.flush()
