"""Why a command line can't be composed, in a line that names what is allowed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hydra import compose
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightning_d2l.compat_hydra import IntervalSweep, Override, ValueType, missing_option, unmatched_key
from lightning_d2l.config.check import RequestError, flat, nearest, unknown_key
from lightning_d2l.config.options import CONF, LISTS, NAME, names
from lightning_d2l.config.registry import STUDY, TABLES

EVERYDAY = {
    "batch": "data.batch_size", "bs": "data.batch_size", "depth": "model.num_layers", "devices": "trainer.devices",
    "epoch": "trainer.max_epochs", "epochs": "trainer.max_epochs", "gpu": "trainer=gpu", "gpus": "trainer.devices",
    "hidden": "model.num_hiddens", "hidden_size": "model.num_hiddens", "hidden_units": "model.num_hiddens",
    "hiddens": "model.num_hiddens", "l2": "penalty.l2", "layers": "model.num_layers", "learning_rate": "optimizer.lr",
    "n": "data.n_train", "num_epochs": "trainer.max_epochs", "num_samples": "data.n_train",
    "num_train": "data.n_train", "samples": "data.n_train", "steps": "trainer.max_steps", "units": "model.num_hiddens",
    "wd": "optimizer.weight_decay", "width": "model.num_hiddens",
}  # fmt: skip
"""Names that people give to settings, and the full keys of these."""
OF_HYDRA = ("hydra.run.", "hydra.sweep.", "hydra.launcher.", "hydra.sweeper.")
PACKAGES = {
    "hydra/launcher": {
        "joblib": "hydra-joblib-launcher",
        "submitit_local": "hydra-submitit-launcher",
        "submitit_slurm": "hydra-submitit-launcher",
        "rq": "hydra-rq-launcher",
    },
    "hydra/sweeper": {"ax": "hydra-ax-sweeper", "nevergrad": "hydra-nevergrad-sweeper"},
}
"""The packages of Hydra's own plugins, by group and option."""


def first_value(override: Override) -> str:
    """The override with the first of its values; empty for a glob, since only Hydra's config loader can expand it."""
    if not override.is_sweep_override():
        return str(override.input_line)
    if override.value_type == ValueType.GLOB_CHOICE_SWEEP:
        return ""
    value = override.value()
    values = iter([value.start]) if isinstance(value, IntervalSweep) else override.sweep_string_iterator()
    if (first := next(values, None)) is None:
        raise RequestError(f"{override.input_line}: no value in it; a sweep needs at least one")
    return f"{str(override.input_line).partition('=')[0]}={first}"


def explained(error: Exception, parsed: list[Override]) -> RequestError:
    """The reason why Hydra can't compose a request, in one line."""
    if isinstance(error, HydraException) and (missing := missing_option(error)):
        group, _, option = missing[0].rpartition("/")
        options = list(missing[1]) or names(group)
        allowed = f" (allowed: {', '.join(options)})" if options else ""
        hint = nearest(option, options)
        if not hint and group in TABLES:
            hint = "; what a file of yours registers needs --plugin FILE"
        if package := PACKAGES.get(group, {}).get(option):
            hint = f"; it comes with pip install {package}"
        return RequestError(f"{group}={option}: unknown option{hint}{allowed}")
    if isinstance(error, OmegaConfBaseException) and error.full_key:
        return RequestError(f"{error.full_key}: {next(iter(str(error).splitlines()), 'wrong')}")
    if key := unmatched_key(error):
        return _unknown(key, parsed)
    empty = [
        o.key_or_group
        for o in parsed
        if not o.is_sweep_override() and o.value() is None and (CONF / o.key_or_group).is_dir()
    ]
    if empty:
        return RequestError(f"{empty[0]}=null: must be one of {', '.join(names(empty[0]))}")
    reason = " ".join(str(error).split())[:300]
    return RequestError(reason or f"{', '.join(str(o.input_line) for o in parsed)}: can't be composed")


def _unknown(key: str, parsed: list[Override]) -> RequestError:
    """Why there is no such key in the configuration: what is meant perhaps, and what is allowed."""
    groups = [path.name for path in CONF.iterdir() if path.is_dir()]
    config = _composed(parsed)
    parent, siblings = _siblings(key, config)
    if parent == "study" and (name := key.rpartition(".")[2]) in STUDY.rules and not any(map(_is_study, parsed)):
        return RequestError(f"{key}: there is no study; choose one first, such as study=capacity study.{name}=...")
    if not siblings and parent in groups:  # such as callbacks.early_stopping.patience without early_stopping
        options = names(parent)
        option = next((word for word in key.split(".")[1:2] if word in options), options[0])
        choice = f"{parent}=[{option}]" if parent in LISTS else f"{parent}={option}"
        return RequestError(f"{key}: {parent} is empty; choose an option first, such as {choice}")
    siblings = siblings or groups
    if options := _options_with(parent, key.rpartition(".")[2]):
        return RequestError(f"{key}: not a setting of the chosen {parent}, but of {', '.join(options)}")
    if meant := _elsewhere(key, config):
        return RequestError(f"{key}: unknown key; did you mean {' or '.join(meant)}?")
    return unknown_key(key, siblings if "." in key else sorted({*siblings, *groups}))


def _is_study(override: Override) -> bool:
    return str(override.key_or_group) == "study"


def _options_with(parent: str, name: str) -> list[str]:
    """The options of a group, such as hydra.launcher, in whose files a setting stands."""
    group = parent.replace(".", "/")
    found = [
        path
        for path in sorted((CONF / group).glob("*.yaml"))
        if re.search(rf"(?m)^(?:  )?{re.escape(name)}:", path.read_text())
    ]
    return [f"{group}={path.stem}" for path in found] if parent else []


def _elsewhere(key: str, config: Mapping[str, Any]) -> list[str]:
    """At most three full keys with the same last part, or what people call so; none for a key that is misspelt."""
    name = key.rpartition(".")[2]
    known = [full for full in flat(config) if not full.startswith("hydra.") or full.startswith(OF_HYDRA)]
    found = [full for full in known if full.rpartition(".")[2] == name and full != key]
    if not found and (full := EVERYDAY.get(name)):
        found = [full] if "=" in full or full in flat(config) else []  # such as trainer=gpu
    return found[:3]


def _composed(parsed: list[Override]) -> dict[str, Any]:
    """The configuration that the chosen options compose to, its references as they are; empty if they don't."""
    choices = [first_value(o) for o in parsed if (CONF / o.key_or_group).is_dir()]
    try:
        config = OmegaConf.to_container(compose(NAME, choices, return_hydra_config=True))
    except HydraException:
        return {}
    return {str(name): node for name, node in config.items()} if isinstance(config, dict) else {}


def _siblings(key: str, config: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The nearest group above `key` in the configuration, and the keys in it."""
    parts = key.split(".")[:-1]
    node: Any = config
    for depth, part in enumerate(parts):
        below = node.get(part)
        if not isinstance(below, Mapping):
            known = part in node
            parent = ".".join(parts[: depth + 1] if known else parts[:depth])
            return parent, [] if known else [str(name) for name in node if name != "_target_"]
        node = below
    return ".".join(parts), [str(name) for name in node if name != "_target_"]
