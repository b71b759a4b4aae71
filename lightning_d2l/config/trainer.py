"""The settings of the node `trainer`: the arguments of Lightning's Trainer that are plain data, and our own.

A rule says which kind of value a setting takes. Whether the Trainer accepts it, the Trainer says itself.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

from lightning_d2l.config.rules import (
    COUNT,
    FLAG,
    NOT_NEGATIVE,
    NULL,
    TEXT,
    Rule,
    Setting,
    choice,
    either,
    list_of,
    whole,
)

RUNNING = "train_running"
"""The split of metrics that are means over an epoch's minibatches, each before the step on it, with dropout on.

Those of the split "train" are over all training samples, with the weights at that point and without dropout.
"""
MONITORS = ("loss/val", f"loss/{RUNNING}", "loss/train")
"""The first of these that a run has at its logging points marks its best epoch, by the lowest value."""
NO_LIMIT = 10**9  # epochs of a run that only its steps, its time or a callback ends
USUAL_EPOCHS = 1000  # where nothing limits a run, as in Lightning

PRECISIONS: dict[str, str] = {
    **dict.fromkeys(("64-true", "64"), "float64"),
    **{"bf16-true": "bfloat16", "16-true": "float16"},
    **dict.fromkeys(("32-true", "32", "16-mixed", "16", "bf16-mixed", "bf16"), "float32"),
    **dict.fromkeys(("transformer-engine", "transformer-engine-float16"), "float32"),
}
"""The type of the parameters by the Trainer's precision."""

_FLAG_OR_NULL = either(FLAG, NULL)
_BATCHES = either(Rule("a number of batches, a share of them", NOT_NEGATIVE.accepts), NULL)
_DURATION = Rule(
    'a duration as "DD:HH:MM:SS" or {minutes: 5}',
    lambda v: TEXT.accepts(v) or (isinstance(v, Mapping) and len(v) > 0 and all(map(NOT_NEGATIVE.accepts, v.values()))),
)
_LIMIT = either(whole(1, NO_LIMIT), Rule("-1 (no limit)", lambda v: v == -1))

ARGUMENTS: dict[str, tuple[Any, Rule]] = {
    "accelerator": ("auto", choice("auto", "cpu", "gpu", "cuda", "mps")),
    "strategy": ("auto", TEXT),
    "devices": (1, either(whole(-1), Rule("auto or their numbers as text", TEXT.accepts), list_of(whole(0)))),
    "num_nodes": (1, COUNT),
    "precision": (
        "32-true",
        Rule(
            "one of 32-true, 64-true, 16-mixed, bf16-mixed, 16-true, bf16-true, transformer-engine, "
            "transformer-engine-float16 or null",
            lambda v: v is None or (isinstance(v, (str, int)) and str(v) in PRECISIONS and not isinstance(v, bool)),
        ),
    ),
    "fast_dev_run": (False, either(FLAG, whole(0))),
    "max_epochs": (10, either(_LIMIT, NULL)),
    "min_epochs": (None, either(whole(0, NO_LIMIT), NULL)),
    "max_steps": (-1, whole(-1)),
    "min_steps": (None, either(whole(0), NULL)),
    "max_time": (None, either(_DURATION, NULL)),
    "limit_train_batches": (None, _BATCHES),
    "limit_val_batches": (None, _BATCHES),
    "limit_test_batches": (None, _BATCHES),
    "limit_predict_batches": (None, _BATCHES),
    "overfit_batches": (0.0, Rule("a number of batches or a share of them", NOT_NEGATIVE.accepts)),
    "val_check_interval": (None, either(_BATCHES, _DURATION)),
    "check_val_every_n_epoch": (1, either(COUNT, NULL)),
    "num_sanity_val_steps": (None, either(whole(-1), NULL)),
    "log_every_n_steps": (None, either(whole(0), NULL)),
    "enable_checkpointing": (None, _FLAG_OR_NULL),
    "enable_progress_bar": (None, _FLAG_OR_NULL),
    "enable_model_summary": (None, _FLAG_OR_NULL),
    "accumulate_grad_batches": (1, COUNT),
    "gradient_clip_val": (None, either(NOT_NEGATIVE, NULL)),
    "gradient_clip_algorithm": (None, either(TEXT, NULL)),
    "deterministic": (None, either(FLAG, choice("warn"), NULL)),
    "benchmark": (None, _FLAG_OR_NULL),
    "inference_mode": (True, FLAG),
    "use_distributed_sampler": (True, FLAG),
    "profiler": (None, either(TEXT, NULL)),
    "detect_anomaly": (False, FLAG),
    "barebones": (False, FLAG),
    "sync_batchnorm": (False, FLAG),
    "reload_dataloaders_every_n_epochs": (0, whole(0)),
    "enable_autolog_hparams": (True, FLAG),
    "model_registry": (None, either(TEXT, NULL)),
}
"""Default and rule of each argument of the Trainer that is plain data."""
OBJECTS = ("logger", "callbacks", "plugins", "default_root_dir")
"""The other arguments: two are nodes of the configuration, and the last is the run's folder."""
OTHER_DEFAULTS = ("devices", "precision", "max_epochs")
"""The arguments whose default is not Lightning's."""

OWN: dict[str, Rule] = {
    "log_every_n_epochs": whole(1, NO_LIMIT),
    "evaluate": list_of(choice("train", "val", "test"), min_length=0),
    "engine": choice("auto", "fast", "lightning"),
    "checkpoint_every_n_seconds": NOT_NEGATIVE,
    "save_predictions": FLAG,
}
TRAINER: dict[str, Setting] = {**{name: rule for name, (_, rule) in ARGUMENTS.items()}, **OWN}
FREE = ("max_epochs", "max_steps", "max_time", "checkpoint_every_n_seconds", "enable_progress_bar")
"""The settings that may differ when a run is resumed."""
DEFAULTS: dict[str, Any] = {name: default for name, (default, _) in ARGUMENTS.items()}


def parameter_type(settings: Mapping[str, Any]) -> str:
    """The name of the type of the parameters, such as "float64"."""
    precision = settings["precision"]
    return "float32" if precision is None else PRECISIONS[str(precision)]


def arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Lightning's own arguments among the settings of the node `trainer`, by name."""
    return {name: settings[name] for name in DEFAULTS}


def changed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Lightning's own arguments that are not at their defaults, by name."""
    return {name: settings[name] for name, default in DEFAULTS.items() if settings[name] != default}


def number_of_epochs(settings: Mapping[str, Any], batches: int) -> int:
    """The number of epochs that a run takes at most, where the training data have so many minibatches an epoch.

    It is `NO_LIMIT` where only time or a callback ends the run.
    """
    limit, steps = settings["max_epochs"], settings["max_steps"]
    if settings["fast_dev_run"]:
        return 1
    if limit is None:
        limit = USUAL_EPOCHS if steps == -1 and settings["max_time"] is None else -1
    epochs = NO_LIMIT if limit == -1 else int(limit)
    if steps != -1:
        of_one = steps_of_epoch(settings, batches) if _processes(settings) else 1
        epochs = min(epochs, max(1, math.ceil(steps / of_one)))
    return epochs


def steps_of_epoch(settings: Mapping[str, Any], batches: int) -> int:
    """The optimizer's steps of an epoch; of one process, where only the machine tells how many there are."""
    limit = settings["overfit_batches"] or settings["limit_train_batches"]
    taken = math.ceil(batches / (_processes(settings) or 1))
    if limit is not None:
        taken = int(taken * limit) if isinstance(limit, float) else min(taken, int(limit))
    return max(1, math.ceil(taken / int(settings["accumulate_grad_batches"])))


def logging_interval(settings: Mapping[str, Any]) -> int:
    """Epochs between two logging points: a multiple of those between two validations."""
    every, validated = int(settings["log_every_n_epochs"]), int(settings["check_val_every_n_epoch"] or 1)
    return math.ceil(every / validated) * validated


def _processes(settings: Mapping[str, Any]) -> int:
    """The number of devices; 0 where only the machine tells it."""
    devices = settings["devices"]
    return len(devices) if isinstance(devices, list) else max(devices, 0) if isinstance(devices, int) else 0


PROCESSES = 8
"""On a processor: so many processes may train one run, or as many as there are cores."""


def wrong(settings: Mapping[str, Any]) -> str:
    """What a run can't do that the Trainer accepts, in one line, or an empty string."""
    if settings["num_nodes"] != 1:
        return f"trainer.num_nodes={settings['num_nodes']}: must be 1; a run trains on one machine"
    devices, most = str(settings["devices"]), max(PROCESSES, os.cpu_count() or 1)
    if settings["accelerator"] in ("auto", "cpu") and devices.isdigit() and int(devices) > most:
        return f"trainer.devices={devices}: must be at most {most}; each is a process on this machine"
    for word in ("spawn", "fork", "notebook"):
        if word in settings["strategy"]:
            allowed = settings["strategy"].replace(f"_{word}", "")
            return f"trainer.strategy={settings['strategy']}: must be {allowed}; this program starts the processes"
    for name in ("limit_train_batches", "max_steps"):
        if settings[name] == 0:
            return f"trainer.{name}=0: must be above 0; nothing would be trained"
    return ""
