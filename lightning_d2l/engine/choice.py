"""Which loop trains a run: the fast one, or Lightning's own where something that was asked for needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.core.hooks import ModelHooks

from lightning_d2l.config.trainer import DEFAULTS
from lightning_d2l.data.base import TensorDataModule
from lightning_d2l.modules.base import SupervisedModule
from lightning_d2l.modules.build import named, needs_closure
from lightning_d2l.modules.callbacks import runs_in_fast_loop

# Arguments of the Trainer that mean the same for both loops, or nothing for the fast one.
SHARED = {
    "accelerator", "max_epochs", "logger", "default_root_dir", "deterministic", "benchmark", "plugins",
    "inference_mode", "enable_progress_bar", "enable_model_summary", "enable_checkpointing",
    "enable_autolog_hparams", "model_registry", "log_every_n_steps", "num_sanity_val_steps",
    "check_val_every_n_epoch", "limit_test_batches", "limit_predict_batches", "use_distributed_sampler",
    "sync_batchnorm",
}  # fmt: skip
PRECISIONS = ("32-true", "64-true", "32", "64", 32, 64, None)
# Methods that Lightning's own loop calls and the fast loop does not, or not once a minibatch.
HOOKS = (
    *(name for name in dir(ModelHooks) if not name.startswith("_")),
    "training_step", "validation_step", "configure_optimizers", "configure_callbacks", "configure_gradient_clipping",
    "optimizer_step", "optimizer_zero_grad", "lr_scheduler_step", "backward",
)  # fmt: skip


def needs_lightning(
    module: pl.LightningModule,
    data: pl.LightningDataModule,
    callbacks: Sequence[pl.Callback] = (),
    trainer: Mapping[str, Any] | None = None,
) -> str:
    """What needs Lightning's own loop, in a few words, or an empty string.

    The fast loop trains a SupervisedModule that adds no hooks, on tensors in memory, with one optimizer. `callbacks`
    are those that a person asked for, `trainer` the arguments of the Trainer by name.
    """
    if not isinstance(module, SupervisedModule):
        return f"{type(module).__name__}, which has no objective(batch),"
    for name in HOOKS:
        if getattr(type(module), name, None) is not getattr(SupervisedModule, name, None):
            return f"{type(module).__name__}.{name}"
    if not isinstance(data, TensorDataModule):
        return f"the data of {getattr(data, 'name', None) or type(data).__name__}, which are not tensors in memory,"
    if (described := module.hparams.get("optimizer")) and needs_closure(kind := named(described["_target_"])):
        return f"{kind.__name__}.step(closure)"
    for callback in callbacks:
        if not runs_in_fast_loop(callback):
            return f"the callback {type(callback).__name__}"
    for name, value in (trainer or {}).items():
        if name not in SHARED and value != DEFAULTS[name] and not _means_nothing(name, value):
            return f"trainer.{name}={str(value).lower() if isinstance(value, bool) else value}"
    return ""


def _means_nothing(name: str, value: Any) -> bool:
    """Whether a value of an argument of the Trainer that is not its default changes nothing in the fast loop."""
    if name == "precision":
        return value in PRECISIONS
    if name == "devices":
        return value == "1" or (isinstance(value, list) and len(value) == 1)
    if name in ("min_epochs", "min_steps"):  # no callback stops before a whole epoch
        return value in (0, 1)
    return name in ("fast_dev_run", "gradient_clip_algorithm") and not value
