"""Compose and check the configuration of a command line before Hydra acts on it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightning_d2l.config import registry
from lightning_d2l.config.check import RequestError, check, check_hydra, nearest, targets, unknown_key

_PACKAGE = Path(__file__).resolve().parents[1]
CONF = next(path for path in (_PACKAGE / "conf", _PACKAGE.parent / "conf") if path.is_dir())


def parse(overrides: list[str], *, multirun: bool) -> list[Override]:
    """Parse overrides such as `optimizer.lr=0.1` and refuse those that could run code.

    Raises RequestError on a syntax error, an unregistered `_target_`, and several values without a multirun.
    """
    parser = OverridesParser.create()
    parsed = []
    for text in overrides:
        try:
            override = parser.parse_override(text)
        except HydraException:
            raise RequestError(f"{text}: not of the form key=value (quote lists and blanks: 'key=[1, 2]')") from None
        key, value = override.key_or_group, override._value
        if override.is_sweep_override() and not multirun:
            raise RequestError(f"{text}: several values need -m before them, a list needs brackets: '{key}=[...]'")
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
    """The composed, checked configuration with its `hydra` node; for a multirun, that of its first job.

    `config_dir` is a folder of further options, as Hydra's `--config-dir`.

    Raises RequestError that names the key, the value and what is allowed.
    """
    parsed = parse(overrides, multirun=multirun)
    single = [_first_value(o) for o in parsed]
    if config_dir is not None:
        single.append(f"hydra.searchpath=[{quote('file://' + str(Path(config_dir).resolve()))}]")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        try:
            config = compose("train", single, return_hydra_config=True)
        except (HydraException, OmegaConfBaseException) as error:
            raise _explained(error, parsed) from error
    check_hydra(OmegaConf.to_container(config.hydra, resolve=False))  # type: ignore[arg-type]
    check(plain(config))
    return config


def plain(config: DictConfig) -> dict[str, Any]:
    """The run's own part of a configuration as nested dicts and lists of plain values, every reference resolved."""
    try:
        own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        return OmegaConf.to_container(own, resolve=True, throw_on_missing=True)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        raise RequestError(f"{error.full_key}: {str(error).splitlines()[0]}") from error


def quote(text: str) -> str:
    """Text as a quoted value of Hydra's override grammar."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _first_value(override: Override) -> str:
    if not override.is_sweep_override():
        return str(override.input_line)
    first = next(override.sweep_string_iterator())
    return f"{str(override.input_line).partition('=')[0]}={first}"


def _explained(error: Exception, parsed: list[Override]) -> RequestError:
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
