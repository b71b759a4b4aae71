"""Settings that are searched before a run: the learning rate and the batch size, by Lightning's Tuner.

A search trains a copy. The run then trains from its beginning, as one for which the value was given.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import math
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.tuner.tuning import Tuner

from lightning_d2l.config.callbacks import FINDERS, LR_FINDER
from lightning_d2l.config.check import RequestError
from lightning_d2l.config.text import number
from lightning_d2l.training.build import build
from lightning_d2l.training.spec import RunSpec

log = logging.getLogger(__name__)
NO_LIMIT = 10**9  # epochs: the searches count steps
RATES = ("lr", "learning_rate")


def finders(config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The callbacks that search a setting, by name; those of the batch size first, with which a rate is searched."""
    found = {name: node for name, node in (config.get("callbacks") or {}).items() if node["_target_"] in FINDERS}
    return dict(sorted(found.items(), key=lambda item: item[1]["_target_"] == LR_FINDER))


def search(spec: RunSpec, trainer: Mapping[str, Any]) -> dict[str, Any]:
    """Search what the callbacks of a run ask for; returns the values by full key, such as "optimizer.lr".

    `trainer` has the arguments of the Trainer. Nothing is written into the run's folder. Raises RequestError if there
    is no such setting, or no value is found.
    """
    found: dict[str, Any] = {}
    for name, node in finders(spec.config).items():
        settings = {key: value for key, value in node.items() if key != "_target_"}
        find = _rate if node["_target_"] == LR_FINDER else _batch_size
        key, value, used = find(name, settings, RunSpec(with_found(spec.config, found), spec.folder), trainer)
        before = _value(spec.config, key)
        log.info(
            "%s  %s = %s, %s", name, key, number(value),
            f"searched before the run ({key}={number(before)} was given)" if used else f"not used: {key}={before}",
        )  # fmt: skip
        found |= {key: value} if used else {}
    return found


def with_found(config: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with the values that were found, by full key; raises RequestError for a key that it lacks."""
    changed = copy.deepcopy(dict(config))
    for key, value in found.items():
        group, _, name = key.partition(".")
        if not isinstance(changed.get(group), dict) or name not in changed[group]:
            raise RequestError(f"found: {key[:80]} is no setting of the run")
        changed[group][name] = value
    return changed


def _value(config: Mapping[str, Any], key: str) -> Any:
    group, _, name = key.partition(".")
    return config[group][name]


def _key(name: str, config: Mapping[str, Any], groups: tuple[str, ...], settings: tuple[str, ...]) -> str:
    """The full key of the first of `settings` that one of the groups has."""
    for group in groups:
        for setting in settings:
            if setting in (config.get(group) or {}):
                return f"{group}.{setting}"
    raise RequestError(f"callbacks.{name}: neither {' nor '.join(groups)} has a setting {' or '.join(settings)}")


def _rate(name: str, settings: dict[str, Any], spec: RunSpec, trainer: Mapping[str, Any]) -> tuple[str, float, bool]:
    """The key of the learning rate, the one that Lightning suggests, and whether to use it."""
    if settings["min_lr"] >= settings["max_lr"]:
        raise RequestError(f"callbacks.{name}.min_lr={settings['min_lr']}: must be below max_lr={settings['max_lr']}")
    attribute, used = settings.pop("attr_name"), settings.pop("update_attr")
    own = (attribute,) if attribute else RATES
    key = _key(name, spec.config, ("optimizer", "model"), own)
    if key == "optimizer.lr" and spec.config["optimizer"]["lr"] is None:
        raise RequestError(f"callbacks.{name}: must come with an optimizer that takes steps, not with optimizer=exact")
    built, steps = build(spec), settings.pop("num_training_steps")
    with _tuner(trainer) as tuner:
        result = tuner.lr_find(built.module, datamodule=built.data, num_training=steps, update_attr=False, **settings)
        value = None if result is None else result.suggestion()
    if value is None or not math.isfinite(value):
        raise RequestError(
            f"callbacks.{name}: no learning rate was found in {steps} steps from min_lr={settings['min_lr']} to "
            f"max_lr={settings['max_lr']}; num_training_steps must leave at least two losses after the first ten"
        )
    return key, float(value), used


def _batch_size(
    name: str, settings: dict[str, Any], spec: RunSpec, trainer: Mapping[str, Any]
) -> tuple[str, int, bool]:
    """The key of the batch size, the largest that fits, and that it is used."""
    key = _key(name, spec.config, ("data", "model"), (settings["batch_arg_name"],))
    built = build(spec)
    with _tuner(trainer) as tuner:
        value = tuner.scale_batch_size(built.module, datamodule=built.data, **settings)
    if value is None:
        raise RequestError(f"callbacks.{name}: no batch size was found")
    return key, int(value), True


@contextlib.contextmanager
def _tuner(arguments: Mapping[str, Any]) -> Iterator[Tuner]:
    """A Tuner whose files are temporary and whose messages, one for each trial, are not shown."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
            own = {"max_epochs": NO_LIMIT, "logger": False, "enable_checkpointing": False, "default_root_dir": folder}
            yield Tuner(pl.Trainer(**{**arguments, **own}))
    finally:
        logging.disable(before)
