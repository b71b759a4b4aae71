"""What a run writes while it trains: its rows of metrics and its checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, Checkpoint
from torch import Tensor

from lightning_d2l import compat_lightning
from lightning_d2l.config.trainer import MONITORS, RUNNING
from lightning_d2l.engine.loop import require_finite, require_finite_metrics
from lightning_d2l.modules import foreign
from lightning_d2l.training.build import BuiltRun
from lightning_d2l.training.checkpoint import AtomicCheckpointIO, random_states, require_sound, set_random_states
from lightning_d2l.training.files import (
    BEST,
    BEST_BEFORE,
    LAST,
    MetricsFile,
    Row,
    remove_unfinished,
    replacing,
)
from lightning_d2l.training.folders import remove_empty

PLAIN = (bool, int, float, str, type(None))


class Recorder(Checkpoint):
    """At each logging point and at the end of a run: a row of metrics.csv, and the checkpoints last.ckpt and best.ckpt.

    A row holds every metric that was logged under a name with a slash, and the learning rate as `lr`. Best is the
    lowest `run.monitor`, or without one the last. Each row is also given to `run.rows` and `tell`. Checkpoints are
    written at most every `interval` seconds. `begin` is called before the first file is written. Of several processes
    the first one writes. Raises Diverged if a metric is not finite.

    A run may end within an epoch. Its last.ckpt then continues there, and its last row is that of a part of the epoch,
    which the row of the whole epoch replaces in a run that is resumed; with it goes the best.ckpt of that row.
    """

    def __init__(
        self, run: BuiltRun, interval: float, tell: Callable[[Row], None], begin: Callable[[], object]
    ) -> None:
        self.run, self.folder, self.points, self.rows = run, run.spec.folder, run.points, run.rows
        self.tell, self._begin = tell, begin
        self.file = MetricsFile(self.folder)
        self.io = AtomicCheckpointIO(interval, self.file.sync, self.folder)
        self.best: Row = {}
        self.began = False
        self._random_states: dict[str, Any] | None = None
        self._before_loaders: dict[str, Any] | None = None  # until the first checkpoint: loaders shuffle by them again
        self._validated: int | None = None  # the step of the last validation, since the last row
        self._within = False  # the run ends within an epoch

    def state_dict(self) -> dict[str, Any]:
        return {"best": dict(self.best), **(self._before_loaders or random_states())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best = dict(state["best"])
        self._random_states = state

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the hyperparameters that are plain values: others could not be loaded again without running code."""
        key = pl_module.CHECKPOINT_HYPER_PARAMS_KEY
        if key in checkpoint:
            checkpoint[key] = {name: value for name, value in dict(checkpoint[key]).items() if _is_plain(value)}

    def begin(self, epoch: int) -> None:
        """Let the folder hold a run with `epoch` finished epochs."""
        self._begin()
        self.began = True
        remove_unfinished(self.folder)
        self.rows[:] = self.file.cut_after(epoch)
        (self.folder / LAST).parent.mkdir(parents=True, exist_ok=True)
        if (self.folder / BEST_BEFORE).exists():
            (self.folder / BEST_BEFORE).replace(self.folder / BEST)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._random_states is not None:  # before the loaders begin, which may shuffle by these generators
            set_random_states(self._random_states)
        self._before_loaders = random_states()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._random_states is not None:
            for optimizer in trainer.optimizers:
                require_sound(optimizer)
        if compat_lightning.ends_here(trainer) and compat_lightning.within_epoch(compat_lightning.loop_states(trainer)):
            self._before_loaders = None
            self._stay()
            return
        if trainer.is_global_zero:
            self.begin(trainer.current_epoch)
        trainer.save_checkpoint(self.folder / LAST, weights_only=False)
        self._before_loaders = None
        self.io.flush()

    def _stay(self) -> None:
        """Keep what a run left that ended within an epoch, since no step is left to train."""
        self._begin()
        self.began = True
        self.rows[:] = self.file.rows()
        monitor = self.run.monitor
        self.best = min(self.rows, key=lambda row: row.get(monitor, math.inf)) if monitor else self.rows[-1]

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            self._validated = trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._within = not trainer.is_last_batch and compat_lightning.ends_here(trainer)
        if self._within:
            trainer.save_checkpoint(self.folder / LAST, weights_only=False)
            self.io.flush()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        ends = epoch == trainer.max_epochs or compat_lightning.ends_here(trainer)
        if epoch > self.points[-1] or (epoch not in self.points and not ends):
            return  # an epoch more is one of batch normalisation alone, for averaged weights
        measured = self._validated == trainer.global_step if ends else self._validated is not None
        if trainer.enable_validation and not measured:
            compat_lightning.validate_now(trainer)
        self._validated = None
        found = logged_metrics(trainer, self.run.supervised is not None)
        row: Row = trainer.strategy.broadcast({"epoch": epoch, "step": trainer.global_step, **found})
        self._write(trainer, row)

    def _write(self, trainer: pl.Trainer, row: Row) -> None:
        self.rows.append(row)
        if not trainer.is_global_zero:
            pass
        elif self.file.path.exists():
            self.file.append(row)
        else:  # its first row, or somebody has removed it
            self.file.write(self.rows)
        monitor = next((name for name in (self.run.monitor, *MONITORS[1:]) if name in row), None)
        if not self.best or monitor is None or row[monitor] < self.best.get(monitor, math.inf):
            if self._within and self.best and trainer.is_global_zero:
                with replacing(self.folder / BEST_BEFORE, new_folders=False) as file:
                    file.write((self.folder / BEST).read_bytes())
            self.best = row
            trainer.save_checkpoint(self.folder / BEST, weights_only=False)
        if not self._within:
            trainer.save_checkpoint(self.folder / LAST, weights_only=False)
        if trainer.is_global_zero:
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


class LoggingPoints(Callback):
    """Lightning's own loop stops and validates as the fast loop does: at `points`, and by steps after a resume too.

    It raises Diverged after an epoch with a loss that is not finite. Without `validates` the Trainer's settings say
    when to validate.
    """

    def __init__(self, points: Sequence[int], *, validates: bool = True) -> None:
        self.points, self.validates = points, validates
        self._losses: list[Tensor] = []
        self._steps = -1

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._steps = trainer.max_steps
        compat_lightning.hold_back_steps(trainer, -1)  # while a checkpoint is read

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        compat_lightning.hold_back_steps(trainer, self._steps)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._losses = []
        if self.validates:
            compat_lightning.validate_in_this_epoch(trainer, trainer.current_epoch + 1 in self.points)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if isinstance(outputs, dict) and "loss" in outputs:
            self._losses.append(outputs["loss"].detach())

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._losses:
            over_all = trainer.strategy.reduce(torch.stack(self._losses), reduce_op="sum")  # processes
            require_finite(list(over_all), trainer.global_step, next(iter(trainer.optimizers), None))


def logged_metrics(trainer: pl.Trainer, ours: bool = True) -> Row:
    """The metrics of the last epoch by name: those of each split, then all others; raises Diverged.

    With `ours` they are those of a SupervisedModule, all of which must be finite; of another module the losses must be.
    """
    found = {name: value.item() for name, value in trainer.callback_metrics.items()}
    if ours:
        found = {name: value for name, value in found.items() if "/" in name or name == "lr"}
    else:
        found = foreign.named(found)
    checked = {name: value for name, value in found.items() if ours or name.startswith("loss/")}
    require_finite_metrics(checked, trainer.global_step, next(iter(trainer.optimizers), None))
    order = {split: number for number, split in enumerate(("test", RUNNING, "train", "val"))}
    last = len(order)
    return dict(sorted(found.items(), key=lambda item: (order.get(item[0].rpartition("/")[2], last), item[0] == "lr")))


def remove_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of a run that was to leave none."""
    for path in (LAST, BEST, BEST_BEFORE):
        (folder / path).unlink(missing_ok=True)
    remove_empty([(folder / LAST).parent])


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(name, PLAIN) and _is_plain(item) for name, item in value.items())
    return type(value) in PLAIN
