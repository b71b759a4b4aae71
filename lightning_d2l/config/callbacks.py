"""The settings of each callback, by `_target_`: those of Lightning's signatures that are plain data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from lightning_d2l.config.rules import (
    COUNT,
    FLAG,
    FRACTION,
    NOT_NEGATIVE,
    NULL,
    POSITIVE,
    REAL,
    TEXT,
    Rule,
    Settings,
    choice,
    either,
    list_of,
    real,
    whole,
)

_OURS, _LIGHTNING = "lightning_d2l.modules.callbacks.", "pytorch_lightning.callbacks."
EARLY_STOPPING = f"{_OURS}EarlyStopping"
MODEL_CHECKPOINT = f"{_OURS}ModelCheckpoint"
STOCHASTIC_WEIGHT_AVERAGING = f"{_OURS}StochasticWeightAveraging"
TIMER = f"{_LIGHTNING}Timer"
DEVICE_STATS = f"{_LIGHTNING}DeviceStatsMonitor"
BATCH_SIZE_FINDER = f"{_LIGHTNING}BatchSizeFinder"
LR_FINDER = f"{_LIGHTNING}LearningRateFinder"
FINDERS = {BATCH_SIZE_FINDER, LR_FINDER}
"""Callbacks that change a setting before the run, which is recorded."""
OBSERVERS = {
    MODEL_CHECKPOINT, DEVICE_STATS,
    *(f"{_OURS}{name}" for name in ("LearningRateMonitor", "ModelSummary", "GradientNorm")),
}  # fmt: skip
"""Callbacks that leave the training as it is."""

UNITS = ("weeks", "days", "hours", "minutes", "seconds")
LONGEST_NAME = 150  # characters of a file's name, before metrics are filled in
_NAME = re.compile(r"(?:[^{}/\\]|\{[\w/]+(?::\d{0,2}(?:\.\d{1,2})?[defg]?)?\})+")
_CLOCK = re.compile(r"\d+:\d\d:\d\d:\d\d")


def _is_duration(value: Any) -> bool:
    if isinstance(value, Mapping):
        return bool(value) and all(name in UNITS and NOT_NEGATIVE.accepts(n) for name, n in value.items())
    return isinstance(value, str) and bool(_CLOCK.fullmatch(value))


def _is_inside(value: Any) -> bool:
    return TEXT.accepts(value) and value.isprintable() and not PurePath(value).is_absolute() and ".." not in value


_DURATION = Rule("DD:HH:MM:SS, or numbers of weeks, days, hours, minutes and seconds by these names", _is_duration)
_FOLDER = Rule(
    "a relative path without .., below the run's folder, other than checkpoints, where best.ckpt and last.ckpt are",
    lambda v: _is_inside(v) and PurePath(v).parts not in ((), ("checkpoints",)),
)
_FILE = Rule(
    "a name without / and \\, in which {epoch}, {step} and metrics such as {loss/val:.2f} are filled in",
    lambda v: isinstance(v, str) and v.isprintable() and len(v) <= LONGEST_NAME and bool(_NAME.fullmatch(v)),
)
_MODE = choice("min", "max")
_EVERY = either(whole(0), NULL)

CALLBACKS: dict[str, Settings] = {
    EARLY_STOPPING: Settings(
        {
            "monitor": TEXT,
            "min_delta": NOT_NEGATIVE,
            "patience": whole(0),
            "verbose": FLAG,
            "mode": _MODE,
            "strict": FLAG,
            "check_finite": FLAG,
            "stopping_threshold": either(REAL, NULL),
            "divergence_threshold": either(REAL, NULL),
            "check_on_train_epoch_end": either(FLAG, NULL),
            "log_rank_zero_only": FLAG,
        }
    ),
    f"{_OURS}LearningRateMonitor": Settings(
        {
            "logging_interval": either(choice("epoch", "step"), NULL),
            "log_momentum": FLAG,
            "log_weight_decay": FLAG,
        }
    ),
    MODEL_CHECKPOINT: Settings(
        {
            "dirpath": either(_FOLDER, NULL),
            "filename": either(_FILE, NULL),
            "monitor": either(TEXT, NULL),
            "verbose": FLAG,
            "save_last": either(FLAG, choice("link"), NULL),
            "save_top_k": whole(-1),
            "save_on_exception": FLAG,
            "save_weights_only": FLAG,
            "mode": _MODE,
            "auto_insert_metric_name": FLAG,
            "every_n_train_steps": _EVERY,
            "train_time_interval": either(_DURATION, NULL),
            "every_n_epochs": _EVERY,
            "save_on_train_epoch_end": either(FLAG, NULL),
            "enable_version_counter": FLAG,
        }
    ),
    f"{_OURS}ModelSummary": Settings({"max_depth": whole(-1)}),
    TIMER: Settings(
        {"duration": either(_DURATION, NULL), "interval": choice("step", "epoch"), "verbose": FLAG},
    ),
    STOCHASTIC_WEIGHT_AVERAGING: Settings(
        {
            "swa_lrs": either(POSITIVE, list_of(POSITIVE)),
            "swa_epoch_start": either(whole(1), real("[0, 1]")),
            "annealing_epochs": whole(0),
            "annealing_strategy": choice("cos", "linear"),
            "device": either(TEXT, NULL),
        }
    ),
    f"{_OURS}GradientNorm": Settings({"norm_type": POSITIVE}),
    DEVICE_STATS: Settings({"cpu_stats": either(FLAG, NULL)}),
    BATCH_SIZE_FINDER: Settings(
        {
            "mode": choice("power", "binsearch"),
            "steps_per_trial": COUNT,
            "init_val": COUNT,
            "max_trials": COUNT,
            "batch_arg_name": TEXT,
            "margin": FRACTION,
            "max_val": COUNT,
        }
    ),
    LR_FINDER: Settings(
        {
            "min_lr": POSITIVE,
            "max_lr": POSITIVE,
            "num_training_steps": COUNT,
            "mode": choice("exponential", "linear"),
            "early_stop_threshold": either(POSITIVE, NULL),
            "update_attr": FLAG,
            "attr_name": Rule("text", lambda v: isinstance(v, str)),
        }
    ),
}
