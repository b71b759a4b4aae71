"""The private and unstable names of Lightning that this package uses; seen in pytorch-lightning 2.6.

tests/test_compat_lightning.py fails by name when one of them changes.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint, Timer
from pytorch_lightning.utilities.model_summary.model_summary import _format_summary_table
from torch import Tensor

LOOPS = ("fit_loop", "validate_loop", "test_loop", "predict_loop")
"""The loops whose states a checkpoint holds."""
CHATTY_LOGGERS = (
    "pytorch_lightning.utilities.rank_zero",
    "lightning_fabric.utilities.rank_zero",
    "lightning_fabric.utilities.distributed",
)
"""The Python loggers of Lightning's notices and advertisements."""


def trainer_of(module: pl.LightningModule) -> pl.Trainer | None:
    """The Trainer that a module is attached to, or None; the public property raises an error for none."""
    return module._trainer


def count_chunk(trainer: pl.Trainer, steps: int, epochs: int) -> None:
    """Count what one training step of a chunk did: so many optimizer steps in so many epochs.

    Lightning counts the chunk as one batch of one epoch and sees none of the optimizer steps; it stops by these
    counters, resumes from them, and hands their number to the loggers.
    """
    loop = trainer.fit_loop
    loop.epoch_loop.manual_optimization.optim_step_progress.increment_by(steps)
    loop.epoch_loop._batches_that_stepped += steps - 1
    loop.epoch_progress.increment_by(epochs - 1)


def loop_states(trainer: pl.Trainer) -> dict[str, Any]:
    """The states of the loops, as a checkpoint holds them."""
    return copy.deepcopy({name: getattr(trainer, name).state_dict() for name in LOOPS})


def continue_from(trainer: pl.Trainer, loops: Mapping[str, Any]) -> None:
    """Let `fit` continue where the loops of a checkpoint stopped."""
    trainer.fit_loop.load_state_dict(loops["fit_loop"])


def finished_epochs(loops: Mapping[str, Any]) -> int:
    """The number of epochs behind the loops of a checkpoint.

    A checkpoint's own "epoch" can't distinguish none from one, since Lightning counts on after saving. Raises
    KeyError if the loops lack it.
    """
    return int(loops["fit_loop"]["epoch_progress"]["current"]["processed"])


def progress_is_whole(loops: Mapping[str, Any]) -> bool:
    """Whether the loops of a checkpoint hold each counter from which `fit` continues; Lightning skips missing ones."""
    fit = loops["fit_loop"]
    return all(_is_progress(fit.get(name)) for name in ("epoch_progress", "epoch_loop.batch_progress")) and (
        _is_progress(fit.get("epoch_loop.state_dict"))
    )


def _is_progress(value: Any) -> bool:
    if isinstance(value, Mapping):
        return bool(value) and all(map(_is_progress, value.values()))
    return isinstance(value, int) and 0 <= value < 2**53


def validate_in_this_epoch(trainer: pl.Trainer, wanted: bool) -> None:
    """Let the epoch that begins end with a validation, or without one."""
    trainer.check_val_every_n_epoch = 1 if wanted else trainer.current_epoch + 2


def stopping_decision(stopper: EarlyStopping, value: Tensor) -> tuple[bool, str | None]:
    """Whether early stopping stops at a value of its metric, and Lightning's message; the stopper remembers the value.

    Its public methods need a Trainer, and members of an ensemble share one.
    """
    return stopper._evaluate_stopping_criteria(value)


def acts_at_epoch_ends(callback: Callback) -> bool:
    """Whether an EarlyStopping, ModelCheckpoint or Timer does nothing after a step or a validation."""
    if isinstance(callback, EarlyStopping):
        return callback._check_on_train_epoch_end is not False
    if isinstance(callback, ModelCheckpoint):
        per_step = callback._every_n_train_steps or callback._train_time_interval is not None
        return not per_step and callback._save_on_train_epoch_end is not False
    return isinstance(callback, Timer) and (callback._duration is None or callback._interval == "epoch")


def summary_table(
    summary_data: list[tuple[str, list[str]]],
    total_parameters: int,
    trainable_parameters: int,
    model_size: float,
    total_training_modes: dict[str, int],
    total_flops: int,
) -> str:
    """The table that ModelSummary prints."""
    of_model = total_parameters, trainable_parameters, model_size, total_training_modes, total_flops
    return _format_summary_table(*of_model, *summary_data)


def hold_back_steps(trainer: pl.Trainer, steps: int) -> None:
    """Set how many optimizer steps `fit` takes in all; -1 for any number.

    With a number, a Trainer that resumes after a whole epoch repeats parts of its loop.
    """
    trainer.fit_loop.epoch_loop.max_steps = steps


def ends_here(trainer: pl.Trainer) -> bool:
    """Whether `fit` ends after the present step or epoch, other than by its number of epochs."""
    by_steps = trainer.max_steps != -1 and trainer.global_step >= trainer.max_steps
    return by_steps or (trainer.should_stop and trainer.fit_loop._can_stop_early)


def validate_now(trainer: pl.Trainer) -> None:
    """Validate at the end of an epoch that Lightning itself ended without a validation."""
    trainer.validating = True
    try:
        trainer.fit_loop.epoch_loop.val_loop.run()
    finally:
        trainer.training = True
    trainer._logger_connector.epoch_end_reached()  # as it was before


def within_epoch(loops: Mapping[str, Any]) -> bool:
    """Whether the loops of a checkpoint stopped before the end of an epoch; raises KeyError if they lack it."""
    progress = loops["fit_loop"]["epoch_progress"]["current"]
    return int(progress["ready"]) > int(progress["processed"])


def without_anonymous(logger: Any) -> None:
    """Keep WandbLogger from passing its argument `anonymous` on: wandb warns of it, even where it is None."""
    logger._wandb_init.pop("anonymous", None)


def leave_signals(trainer: pl.Trainer) -> None:
    """Keep `fit` from installing handlers of signals.

    Lightning's own handler of SIGTERM waits for all processes within whatever they exchange at that moment, which may
    never end.
    """
    setattr(trainer._signal_connector, "register_signal_handlers", lambda: None)  # noqa: B010  a method
