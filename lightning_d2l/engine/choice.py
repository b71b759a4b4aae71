"""Which loop trains a run: the fast one, or Lightning's own where something that was asked for needs it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.core.hooks import ModelHooks

from lightning_d2l.data.base import TensorDataModule
from lightning_d2l.modules.base import SupervisedModule

# Arguments of the Trainer that mean the same for both loops.
SHARED = {
    "accelerator", "precision", "max_epochs", "logger", "default_root_dir", "deterministic", "benchmark",
    "enable_progress_bar", "enable_model_summary", "enable_checkpointing", "log_every_n_steps", "num_sanity_val_steps",
    "use_distributed_sampler", "plugins", "inference_mode",
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
        return f"{type(module).__name__} has no objective(batch)"
    for name in HOOKS:
        if getattr(type(module), name, None) is not getattr(SupervisedModule, name, None):
            return f"{type(module).__name__}.{name}"
    if not isinstance(data, TensorDataModule):
        return f"the data of {type(data).__name__}, which are not tensors in memory,"
    if callbacks:
        return f"the callback {type(callbacks[0]).__name__}"
    defaults = {name: parameter.default for name, parameter in inspect.signature(pl.Trainer).parameters.items()}
    for name, value in (trainer or {}).items():
        if name == "precision" and value not in PRECISIONS:
            return f"trainer.precision={value}"
        if name not in SHARED and value != defaults[name] and not (name == "devices" and value == 1):
            return f"trainer.{name}={value}"
    return ""
