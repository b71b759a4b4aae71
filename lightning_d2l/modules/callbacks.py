"""Callbacks for any Trainer: Lightning's own, which ask for less here, and the norm of all gradients."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning import callbacks
from pytorch_lightning.callbacks.early_stopping import EarlyStoppingReason
from torch import Tensor
from torch.optim import Optimizer

from lightning_d2l import compat_lightning
from lightning_d2l.config.check import RequestError, nearest
from lightning_d2l.config.text import number
from lightning_d2l.modules.base import SupervisedModule
from lightning_d2l.modules.foreign import metric_name

log = logging.getLogger(__name__)
KEPT = "checkpoints/kept"  # where ModelCheckpoint writes, below the folder of the run


def runs_in_fast_loop(callback: pl.Callback) -> bool:
    """Whether a callback does the same where the minibatches up to a logging point are one step of Lightning."""
    if type(callback) is LearningRateMonitor:
        return callback.logging_interval == "epoch"
    if type(callback) in (EarlyStopping, ModelCheckpoint, callbacks.Timer):
        return compat_lightning.acts_at_epoch_ends(callback)
    return type(callback) in (ModelSummary, GradientNorm)


class EarlyStopping(callbacks.EarlyStopping):
    """Lightning's, for metrics of logging points: checks in epochs that end with a validation.

    A run that has stopped does not train when it is resumed, unless its new settings would not have stopped it.
    """

    current: float | None = None
    """The metric at the last check."""

    def check(self, metrics: Mapping[str, float], epoch: int) -> bool:
        """Whether to stop after an epoch, counted from 1, with its metrics: for a loop that has no Trainer."""
        if (value := metrics.get(self.monitor)) is None:  # a run that is `strict` has the metric
            return False
        self.current = value
        if self._counts(value):
            return False
        stop, message = compat_lightning.stopping_decision(self, torch.tensor(value, dtype=torch.float64))
        if stop:
            self.stopped_epoch, self.stopping_reason_message = epoch - 1, message
        return stop

    def _counts(self, value: float) -> bool:
        """Count a value that can't stop the run, as Lightning does in ten times as long; False if it might."""
        if not (math.isfinite(value) and self.stopping_threshold is self.divergence_threshold is None):
            return False
        reached, best = value - self.min_delta, self.best_score.item()
        if reached < best if self.mode == "min" else reached > best:
            self.best_score, self.wait_count = torch.tensor(value, dtype=torch.float64), 0
            return True
        if self.wait_count + 1 < self.patience:
            self.wait_count += 1
            return True
        return False

    @functools.cached_property
    def state_key(self) -> str:
        return super().state_key

    @property
    def reason(self) -> str:
        """Why the run has stopped, or an empty string."""
        of, now = self.monitor, "" if self.current is None else f" = {number(self.current)}"
        points = "1 logging point" if self.wait_count == 1 else f"{self.wait_count} logging points"
        by = f" by more than {abs(self.min_delta):g}" if self.min_delta else ""
        return {
            EarlyStoppingReason.NOT_STOPPED: "",
            EarlyStoppingReason.PATIENCE_EXHAUSTED: f"{of} did not improve{by} for {points}",
            EarlyStoppingReason.STOPPING_THRESHOLD: f"{of}{now} reached stopping_threshold={self.stopping_threshold}",
            EarlyStoppingReason.DIVERGENCE_THRESHOLD: f"{of}{now} passed divergence_threshold="
            f"{self.divergence_threshold}",
            EarlyStoppingReason.NON_FINITE_METRIC: f"{of}{now} is not finite",
        }[self.stopping_reason]

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.reason:
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        every = trainer.check_val_every_n_epoch
        validated = every is None or (trainer.current_epoch + 1) % every == 0
        if validated and compat_lightning.acts_at_epoch_ends(self):
            self._look(trainer)
            super().on_train_epoch_end(trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not (trainer.sanity_checking or compat_lightning.acts_at_epoch_ends(self)):
            self._look(trainer)
            super().on_validation_end(trainer, pl_module)

    def _look(self, trainer: pl.Trainer) -> None:
        value = find_metric(trainer, self.monitor)
        if value is not None:
            self.current = value.item()
        elif self.strict and not getattr(trainer, "fast_dev_run", False):
            logged = sorted(trainer.callback_metrics)
            raise RequestError(
                f"callbacks: EarlyStopping, monitor={self.monitor}: must be a metric that the module logs: "
                f"{', '.join(logged)}{nearest(self.monitor, logged)}"
            )

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"current": self.current}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        patience = self.patience
        super().load_state_dict(state_dict)
        self.patience, self.current = patience, state_dict.get("current")
        if not self._would_stop():
            self.stopping_reason, self.stopped_epoch = EarlyStoppingReason.NOT_STOPPED, 0
            self.stopping_reason_message = None

    def _would_stop(self) -> bool:
        """Whether the present settings too would have stopped the run where it has stopped."""
        thresholds = {
            EarlyStoppingReason.STOPPING_THRESHOLD: (self.stopping_threshold, 1),
            EarlyStoppingReason.DIVERGENCE_THRESHOLD: (self.divergence_threshold, -1),
        }
        if self.stopping_reason in thresholds:
            threshold, sign = thresholds[self.stopping_reason]
            if threshold is None or self.current is None:
                return threshold is not None
            return (threshold - self.current) * sign * (1 if self.mode == "min" else -1) > 0
        return self.stopping_reason is not EarlyStoppingReason.PATIENCE_EXHAUSTED or self.wait_count >= self.patience


def find_metric(trainer: pl.Trainer, name: str) -> Tensor | None:
    """A logged metric by its name, or by the name that a record gives it, under which it is then logged too."""
    logged = trainer.callback_metrics
    if name not in logged:
        for value in [value for own, value in logged.items() if metric_name(own) == name]:
            logged[name] = value
    return logged.get(name)


class LearningRateMonitor(callbacks.LearningRateMonitor):
    """Lightning's, also for a Trainer without loggers; logs the rate of an epoch's last step as the metric `lr` too."""

    _rate: float | None = None

    def on_train_start(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        if trainer.loggers:
            super().on_train_start(trainer, *args, **kwargs)

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        super().on_train_batch_start(trainer, *args, **kwargs)
        self._forget(trainer)
        self._rate = rate_of(trainer.optimizers[0]) if trainer.optimizers else None

    def on_train_epoch_start(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        super().on_train_epoch_start(trainer, *args, **kwargs)
        self._forget(trainer)

    def _forget(self, trainer: pl.Trainer) -> None:
        """Take Lightning's names, such as lr-SGD/pg1, from the metrics of the run: the loggers have them."""
        for name in self.lrs:
            for suffix in ("", "-momentum", "-weight_decay"):
                trainer.callback_metrics.pop(f"{name}{suffix}", None)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        module = inner(pl_module)
        logs_rate = isinstance(module, SupervisedModule) and module.scheduler is not None
        if self._rate is not None and not logs_rate:
            precision = torch.float32 if pl_module.device.type == "mps" else torch.float64
            pl_module.log("lr", torch.tensor(self._rate, dtype=precision))


def rate_of(optimizer: Optimizer) -> float:
    """The learning rate of an optimizer's first group of parameters; 0 for one that takes no steps."""
    return float(optimizer.param_groups[0].get("lr") or 0.0)


class ModelCheckpoint(callbacks.ModelCheckpoint):
    """Lightning's, which writes into `dirpath` below the Trainer's folder, and takes an interval as DD:HH:MM:SS.

    Raises ValueError if the name of a metric would bring a slash into that of a file.
    """

    def __init__(self, dirpath: str | None = None, **settings: Any) -> None:
        interval, name = settings.pop("train_time_interval", None), settings.get("filename") or ""
        if "/" in name and settings.get("auto_insert_metric_name", True):
            raise ValueError(f"filename={name}: must come with auto_insert_metric_name=false, since names have no /")
        super().__init__(train_time_interval=None if interval is None else duration(interval), **settings)
        self.below = dirpath or KEPT

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.dirpath = str(Path(trainer.default_root_dir, self.below))
        super().setup(trainer, pl_module, stage)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero and self.dirpath is not None:
            Path(self.dirpath).mkdir(parents=True, exist_ok=True)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.monitor:
            find_metric(trainer, self.monitor)
        super().on_train_epoch_end(trainer, pl_module)


def duration(value: str | Mapping[str, float]) -> timedelta:
    """A time from "DD:HH:MM:SS", or from numbers of weeks, days, hours, minutes and seconds."""
    if isinstance(value, str):
        days, hours, minutes, seconds = map(int, value.split(":"))
        return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    return timedelta(**value)


class ModelSummary(callbacks.ModelSummary):
    """Lightning's, in the log of the run, and of the module that the fast loop trains."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_fit_start(trainer, inner(pl_module))

    @staticmethod
    def summarize(*args: Any, **kwargs: Any) -> None:
        log.info("\n%s", compat_lightning.summary_table(*args, **kwargs))


class GradientNorm(callbacks.Callback):
    """Logs the norm of all gradients together, of an epoch's last step and before any clipping, as `gradient/total`."""

    def __init__(self, norm_type: float = 2.0) -> None:
        self.norm_type = float(norm_type)
        self._last: Tensor | None = None

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        self._last = self._norm(pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        pl_module.log("gradient/total", self._norm(pl_module) if self._last is None else self._last)

    def _norm(self, module: pl.LightningModule) -> Tensor:
        gradients = [p.grad.detach() for p in module.parameters() if p.grad is not None]
        norms = [torch.linalg.vector_norm(g, self.norm_type) for g in gradients] or [torch.zeros(1)]
        total: Tensor = torch.linalg.vector_norm(torch.stack(norms), self.norm_type)
        return total


class StochasticWeightAveraging(callbacks.StochasticWeightAveraging):
    """Lightning's, which takes whole numbers as rates, and tells whether the module has the averaged weights."""

    averaged = False

    def __init__(self, swa_lrs: float | list[float], **settings: Any) -> None:
        super().__init__([float(lr) for lr in swa_lrs] if isinstance(swa_lrs, list) else float(swa_lrs), **settings)

    def transfer_weights(  # type: ignore[override]
        self, src_pl_module: pl.LightningModule, dst_pl_module: pl.LightningModule
    ) -> None:
        super().transfer_weights(src_pl_module, dst_pl_module)
        self.averaged = True


def inner(module: pl.LightningModule) -> pl.LightningModule:
    """The module that a module of the fast loop trains, or the module itself."""
    trained = getattr(module, "module", None)
    return trained if isinstance(trained, pl.LightningModule) else module
