"""Compose and check the configuration of a command line before Hydra acts on it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, ValueType
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightning_d2l.config import registry
from lightning_d2l.config.check import RequestError, check, check_hydra, check_sweep, nearest, targets, unknown_key

_PACKAGE = Path(__file__).resolve().parents[1]
CONF = next(path for path in (_PACKAGE / "conf", _PACKAGE.parent / "conf") if path.is_dir())
SWEEP = ("sweep", "study")  # nodes of a configuration that are the whole sweep's, and no setting of a run


def parse(overrides: list[str]) -> list[Override]:
    """Parse overrides such as `optimizer.lr=0.1` and refuse those that could run code.

    Raises RequestError on a syntax error and an unregistered `_target_`.
    """
    parser = OverridesParser.create()
    parsed = []
    for text in overrides:
        try:
            override = parser.parse_override(text)
        except HydraException:
            raise RequestError(f"{text}: not of the form key=value (quote lists and blanks: 'key=[1, 2]')") from None
        key, value = override.key_or_group, override._value
        value = {"_target_": value} if key.split(".")[-1] == "_target_" else value
        known = {
            *registry.MODELS,
            *registry.DATA,
            *registry.OPTIMIZERS,
            *registry.LOGGERS,
            *registry.HYDRA_TARGETS,
        }
        if unknown := [t for t in targets(value) if t.strip("'\"") not in known]:
            raise RequestError(f"{key}: _target_={unknown[0]} is not registered, so it is not run")
        if key.startswith("hydra.searchpath") and "pkg://" in text:
            raise RequestError(f"{text}: must be a folder; pkg:// would import a package")
        if value is None and (CONF / key).is_dir() and key != "experiment":
            raise RequestError(f"{text}: must be one of {', '.join(sorted(p.stem for p in (CONF / key).glob('*')))}")
        parsed.append(override)
    return parsed


def compose_checked(overrides: list[str], *, config_dir: str | None = None, multirun: bool = False) -> DictConfig:
    """The composed, checked configuration with its `hydra` node.

    For a multirun (or hydra.mode=MULTIRUN, which a study sets) each swept key has its first value, and the settings
    of the run are left for `sweeps` to check, job by job. `config_dir` is a folder of further options, as Hydra's
    `--config-dir`.

    Raises RequestError that names the key, the value and what is allowed.
    """
    parsed = parse(overrides)
    single = [text for o in parsed if (text := _first_value(o))]
    if config_dir is not None:
        single.append(f"hydra.searchpath=[{quote('file://' + str(Path(config_dir).resolve()))}]")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        try:
            config = compose("train", single, return_hydra_config=True)
        except yaml.YAMLError as error:
            raise RequestError(" ".join(str(error).split())[:300]) from error
        except (HydraException, OmegaConfBaseException) as error:
            raise explained(error, parsed) from error
    check_hydra(OmegaConf.to_container(config.hydra, resolve=False))  # type: ignore[arg-type]
    check_sweep({key: OmegaConf.to_container(config[key], resolve=True) for key in SWEEP if key in config})
    if multirun or is_multirun(config):
        return config
    if several := [o for o in parsed if o.is_sweep_override()]:
        key = several[0].key_or_group
        raise RequestError(
            f"{several[0].input_line}: several values need -m before them, a list needs brackets: '{key}=[...]'"
        )
    check(plain(config))
    return config


def is_multirun(config: DictConfig) -> bool:
    """Whether a composed configuration asks for a multirun by itself, as that of a study does."""
    return bool(config.hydra.mode == RunMode.MULTIRUN)


def command_of_run(config: Mapping[str, Any] | DictConfig, overrides: Sequence[str]) -> str:
    """The command that does a run with these overrides again by itself, even if a study made it one of many."""
    alone = ["hydra.mode=RUN"] if "study" in config else []
    return shlex.join(["python", "train.py", *overrides, *alone])


def plain(config: DictConfig) -> dict[str, Any]:
    """The run's own part of a configuration as nested dicts and lists of plain values, every reference resolved."""
    try:
        own = {str(key): config[key] for key in config if key not in ("hydra", *SWEEP)}
        nodes = {key: node for key, node in own.items() if OmegaConf.is_config(node)}
        return own | {k: OmegaConf.to_container(v, resolve=True, throw_on_missing=True) for k, v in nodes.items()}
    except OmegaConfBaseException as error:
        raise RequestError(f"{error.full_key}: {str(error).splitlines()[0]}") from error


def with_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded configuration, with what it lacks because it was recorded before there was such a setting."""
    choices = []
    for group in ("data", "model", "optimizer"):
        target = f"_target_: {config.get(group, {}).get('_target_')}"
        files = sorted((CONF / group).glob("*.yaml"))
        found = [file.stem for file in files if re.search(rf"{re.escape(target)}\b", file.read_text())]
        choices += [f"{group}={found[0]}"] if found else []
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return _merged(plain(compose("train", choices)), config)


def _merged(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults for what is not given; a node that is built from another `_target_` has none."""
    if defaults.get("_target_") != given.get("_target_"):
        return dict(given)
    both = {**defaults, **given}
    return {
        key: _merged(defaults[key], value)
        if isinstance(value, Mapping) and isinstance(defaults.get(key), Mapping)
        else value
        for key, value in both.items()
    }


def quote(text: str, mark: str = "'") -> str:
    """Text as a quoted value of Hydra's override grammar."""
    return mark + text.replace("\\", "\\\\").replace(mark, f"\\{mark}") + mark


def _first_value(override: Override) -> str:
    """The override with the first of its values; nothing for a glob, which takes Hydra's search path to expand."""
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
    """The one-line form of what Hydra says of a request it can't compose."""
    message = str(error).strip()
    if isinstance(error, MissingConfigException) and (found := re.search(r"Could not find '(.+?)/([^/']+)'", message)):
        group, option = found.groups()
        options = [line.strip() for line in message.splitlines() if line.startswith("\t") and "://" not in line]
        allowed = f" (allowed: {', '.join(options)})" if options else ""
        return RequestError(f"{group}={option}: unknown option{nearest(option, options)}{allowed}")
    if found := re.search(r"Could not override '(.+?)'", message):
        key = found[1].partition("@")[0]
        groups = [path.name for path in CONF.iterdir() if path.is_dir()]
        siblings = _siblings(key, parsed) or groups
        names = siblings if "." in key else sorted({*siblings, *groups})
        return unknown_key(key, names)
    return RequestError(" ".join(message.split())[:300])


def _siblings(key: str, parsed: list[Override]) -> list[str]:
    """The keys beside `key` in what the other choices of options compose to."""
    choices = [_first_value(o) for o in parsed if (CONF / o.key_or_group).is_dir()]
    try:
        config = compose("train", choices)
    except HydraException:
        return []
    parent = key.rpartition(".")[0]
    while parent and not OmegaConf.is_dict(OmegaConf.select(config, parent)):
        parent = parent.rpartition(".")[0]
    node = OmegaConf.select(config, parent) if parent else config
    return [str(name) for name in node if name != "_target_"]
