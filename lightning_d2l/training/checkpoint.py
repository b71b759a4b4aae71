"""Checkpoints that are complete or absent, from which the same loop continues bit for bit."""

from __future__ import annotations

import io
import random
import time
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_d2l import compat_lightning
from lightning_d2l.compat_torch import tree_map
from lightning_d2l.config.check import RequestError
from lightning_d2l.engine.loop import require_finite, require_finite_metrics
from lightning_d2l.training.build import BuiltRun
from lightning_d2l.training.fields import is_number
from lightning_d2l.training.files import BEST, LAST, MetricsFile, Row, read_bounded, remove_unfinished, replacing

LARGEST = 2**36  # bytes of a checkpoint


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes through a temporary file beside the destination, at most every `interval` seconds.

    A younger checkpoint waits in memory for `flush`. Files are written in the order in which they were last saved, so
    that best.ckpt, saved before last.ckpt, is never older than the last.ckpt that refers to it. `sync` is called before
    them: what a checkpoint counts on is on the disk earlier.
    """

    def __init__(self, interval: float, sync: Callable[[], None] = lambda: None) -> None:
        self.interval, self.sync = interval, sync
        self._waiting: dict[Path, dict[str, Any]] = {}
        self._written = time.monotonic() - interval

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        # Training changes these tensors in place, so a copy waits.
        copy = tree_map(lambda v: v.clone() if isinstance(v, Tensor) else v, checkpoint)
        others = {other: waiting for other, waiting in self._waiting.items() if other != Path(path)}
        self._waiting = {**others, Path(path): copy}  # one assignment: a signal here must not lose what waits

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return load_checkpoint(Path(path))

    def flush(self, *, even_if_young: bool = True) -> None:
        """Write what waits, unless the last writing was less than `interval` seconds ago; the folder must exist."""
        if not even_if_young and time.monotonic() - self._written < self.interval:
            return
        if self._waiting:
            self.sync()
        for path in list(self._waiting):
            write_checkpoint(self._waiting[path], path)
            del self._waiting[path]
        self._written = time.monotonic()


def write_checkpoint(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint whole; raises OSError, as for a full disk, where torch.save raises RuntimeError."""
    content = io.BytesIO()
    torch.save(checkpoint, content)
    with replacing(path, new_folders=False) as file:
        file.write(content.getbuffer())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of plain values; raises RequestError if there is none or it holds anything else."""
    try:
        content = read_bounded(path, LARGEST)
        _require_plain_archive(content)
        with warnings.catch_warnings(action="ignore"):  # such as of a damaged version of the format
            checkpoint = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise RequestError(f"{path}: no checkpoint there") from None
    except OSError as error:
        raise RequestError(f"{path}: can't be read ({error.strerror})") from error
    except Exception as error:
        raise RequestError(f"{path}: not a file of plain weights, so it is not loaded") from error
    weights = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
    if not isinstance(weights, dict):
        raise RequestError(f"{path}: holds no state_dict")
    if bad := [name for name, value in weights.items() if not isinstance(name, str) or not _is_plain(value)]:
        raise RequestError(f"{path}: {str(bad[0])[:80]!r} in its state_dict is not a tensor of numbers")
    return dict(checkpoint)


def _require_plain_archive(content: bytes) -> None:
    """Raise ValueError unless a file is an archive as torch.save writes it, which holds no more than its size."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > len(content):
            raise ValueError("compressed")


def _is_plain(value: Any) -> bool:
    """Whether a value is a tensor that holds each of its numbers."""
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_quantized:
        return False
    return value.device.type == "cpu" and value.nbytes <= value.untyped_storage().nbytes()


def require_weights_of(module: nn.Module, checkpoint: Mapping[str, Any], path: Path) -> None:
    """Raise RequestError unless the weights of a checkpoint have the names, shapes and types of a module's."""
    here, there = module.state_dict(), checkpoint["state_dict"]
    for name in [*here, *there]:
        if name not in here or name not in there or here[name].shape != there[name].shape:
            raise RequestError(f"{path}: the weights of another model ({str(name)[:80]!r} differs)")
        if here[name].dtype != there[name].dtype:
            types = f"{str(name)[:80]!r} is {there[name].dtype}, not {here[name].dtype}"
            raise RequestError(f"{path}: the weights of another model ({types})")


def finished_epochs(checkpoint: Mapping[str, Any]) -> int:
    """The number of epochs behind a checkpoint; raises RequestError if it does not hold it."""
    try:
        epochs = compat_lightning.finished_epochs(checkpoint["loops"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise RequestError(f"the checkpoint lacks {error}, so a run can't continue from it") from error
    if not 0 <= epochs < 2**53:
        raise RequestError(f"the checkpoint has {epochs} finished epochs, so a run can't continue from it")
    return epochs


def require_sound(optimizer: Optimizer) -> None:
    """Raise ValueError unless an optimizer that was loaded has states of the types and shapes of its parameters."""
    for group in optimizer.param_groups:
        for name, default in optimizer.defaults.items():
            if not _same_kind(group.get(name), default):
                raise ValueError(f"its optimizer has {name}={str(group.get(name))[:80]}")
        for parameter in group["params"]:
            for name, value in optimizer.state.get(parameter, {}).items():
                fits = isinstance(value, Tensor) and value.is_floating_point() and value.layout == torch.strided
                fits = fits and (value.shape == parameter.shape or value.numel() == 1)
                if value is not None and not fits and not is_number(value):
                    raise ValueError(f"its optimizer has another {str(name)[:80]!r} than its parameters")


def _same_kind(value: Any, default: Any) -> bool:
    if isinstance(default, (tuple, list)):
        return isinstance(value, (tuple, list)) and len(value) == len(default) and all(map(is_number, value))
    if isinstance(default, bool) or default is None:
        return value is None or isinstance(value, bool)
    return is_number(value) or isinstance(value, Tensor)


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
    """At each logging point of a run: a row of metrics.csv, and the checkpoints last.ckpt and best.ckpt.

    A row holds every metric that was logged under a name with a slash. Best is the lowest `data.monitor`. Each row is
    also given to `run.rows` and `tell`. Checkpoints are written at most every `interval` seconds. `begin` is called
    before the first file is written. Raises Diverged if a metric is not finite.
    """

    def __init__(
        self, run: BuiltRun, interval: float, tell: Callable[[Row], None], begin: Callable[[], object]
    ) -> None:
        self.folder, self.points, self.rows = run.spec.folder, run.points, run.rows
        self.monitor, self.tell, self._begin = run.data.monitor, tell, begin
        self.file = MetricsFile(self.folder)
        self.io = AtomicCheckpointIO(interval, self.file.sync)
        self.best: Row = {}
        self.began = False
        self._random_states: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"best": dict(self.best), **random_states()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best = dict(state["best"])
        self._random_states = state

    def begin(self, epoch: int) -> None:
        """Let the folder hold a run with `epoch` finished epochs."""
        self._begin()
        self.began = True
        remove_unfinished(self.folder)
        self.rows[:] = self.file.cut_after(epoch)
        (self.folder / LAST).parent.mkdir(parents=True, exist_ok=True)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._random_states is not None:
            set_random_states(self._random_states)
            for optimizer in trainer.optimizers:
                require_sound(optimizer)
        self.begin(trainer.current_epoch)
        trainer.save_checkpoint(self.folder / LAST, weights_only=False)
        self.io.flush()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        if epoch not in self.points:
            return
        row: Row = {"epoch": epoch, "step": trainer.global_step, **logged_metrics(trainer)}
        self.rows.append(row)
        if self.file.path.exists():
            self.file.append(row)
        else:  # its first row, or somebody has removed it
            self.file.write(self.rows)
        if not self.best or row[self.monitor] < self.best[self.monitor]:
            self.best = row
            trainer.save_checkpoint(self.folder / BEST, weights_only=False)
        trainer.save_checkpoint(self.folder / LAST, weights_only=False)
        self.io.flush(even_if_young=False)
        self.tell(row)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.io.flush()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        try:
            self.io.flush()
        except OSError:
            if not isinstance(exception, OSError):  # the same disk, which is reported once
                raise


def logged_metrics(trainer: pl.Trainer) -> Row:
    """The metrics of the last epoch by name: those of each split, then all others; raises Diverged."""
    found = {name: value.item() for name, value in trainer.callback_metrics.items() if "/" in name}
    require_finite_metrics(found, trainer.global_step, next(iter(trainer.optimizers), None))
    order = {split: number for number, split in enumerate(("test", "train", "val"))}
    return dict(sorted(found.items(), key=lambda item: order.get(item[0].rpartition("/")[2], len(order))))


class LoggingPoints(Callback):
    """Lightning's own loop validates at `points` alone, and raises Diverged after an epoch, as the fast loop does."""

    def __init__(self, points: Sequence[int]) -> None:
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
