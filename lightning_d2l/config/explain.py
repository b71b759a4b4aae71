"""Why a command line can't be composed, in a line that names what is allowed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

from hydra import compose
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightning_d2l.compat_hydra import IntervalSweep, Override, ValueType, missing_option, unmatched_key
from lightning_d2l.config.check import RequestError, flat, nearest, unknown_key
from lightning_d2l.config.everyday import EVERYDAY, FIRST, OPTIONS, is_key, meant, normal, option_hint
from lightning_d2l.config.options import CONF, NAME, names
from lightning_d2l.config.program import COMMANDS
from lightning_d2l.config.registry import STUDY, TABLES

OF_WORDS = ("model", "study", "experiment", "data", "optimizer", "scheduler")
"""The groups in which a word alone is looked for first."""
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
        if not option:
            return RequestError(f"{group}=: must be one of {', '.join(options)}")
        hint = option_hint(group, option, options)
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
        return RequestError(f"{key}: {parent} is empty; choose an option first, such as {parent}={option}")
    siblings = siblings or groups
    name = key.rpartition(".")[2]
    if siblings != groups and _is_registered(parent, parsed):
        return unknown_key(key, siblings, parent)
    if options := _options_with(parent, name):
        return RequestError(f"{key}: not a setting of the chosen {parent}, but of {', '.join(options)}")
    if words := _elsewhere(key, config):
        return RequestError(f"{key}: unknown key; did you mean {' or '.join(words)}?")
    other = _of_other_options(name)
    unknown = unknown_key(key, siblings if "." in key else sorted({*siblings, *groups}), parent)
    return RequestError(f"{unknown}\n{other}") if other else unknown


def _is_registered(group: str, parsed: list[Override]) -> bool:
    """Whether the option chosen of a group is none of this package, but one that a plugin registered."""
    chosen = [first_value(o).partition("=")[2] for o in parsed if o.key_or_group == group]
    return bool(chosen) and (CONF / group).is_dir() and not (CONF / group / f"{chosen[-1]}.yaml").exists()


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
    """At most three full keys with the same last part, or what people call so, or one that is spelt alike."""
    parent, _, name = key.rpartition(".")
    known = [full for full in flat(config) if not full.startswith("hydra.") or full.startswith(OF_HYDRA)]
    leaves: dict[str, list[str]] = {}
    for full in known:
        if full != key and "_target_" not in full:
            leaves.setdefault(full.rpartition(".")[2], []).append(full)
    siblings = [str(each) for each in node] if isinstance(node := config.get(parent, config), dict) else []
    near, words = nearest(name, siblings), meant(name, known)
    if words and (name not in leaves or name in FIRST):
        above, _, last = words.rpartition(".")
        return [] if above == parent and f" {last}?" in near else [words]  # the keys beside it are listed
    alike = [] if near else difflib.get_close_matches(name, [*leaves, *EVERYDAY], 1, 0.8)
    found = leaves.get(name) or [full for each in alike for full in leaves.get(each) or [meant(each, known)]]
    return [full for full in found if full][:3]


def _of_other_options(name: str) -> str:
    """That a setting of this name, or one that is meant by it, is one of options that are not chosen, or no text."""
    asked = [*EVERYDAY.get(normal(name), "").split("|"), *(f"{group}.{name}" for group in TABLES)]
    for full in filter(is_key, asked):
        parent, _, leaf = full.rpartition(".")
        if options := _options_with(parent, leaf):
            return f"{full} is a setting of {', '.join(options[:6])}"
    return ""


def stray(word: str) -> str:
    """What is meant by a word of a command line that is no key=value, as a question; or no text."""
    name = normal(word)
    if name in COMMANDS:
        return f"; did you mean lightning-d2l {name}?"
    of_words = [*OF_WORDS, *(path.name for path in CONF.iterdir() if path.is_dir() and path.name not in OF_WORDS)]
    for group in of_words:
        if found := next((option for option in names(group) if normal(option) == name), ""):
            return f"; did you mean {group}={found}?"
    key, mark, value = word.partition(":")
    if mark and re.fullmatch(r"[\w.]+", key):
        return f"; did you mean {key}={value}?"
    if found := meant(name, EVERYDAY.values()):
        return f"; did you mean {found}=VALUE?"
    option = next((words for group in of_words if (words := OPTIONS.get(group, {}).get(name))), "")
    return f"; did you mean {option}?" if option else ""


def with_dashes(message: str) -> str:
    """What argparse says of a command line, with what is meant by a setting that is written with dashes."""
    found = re.match(r"unrecognized arguments: (-+[\w.-]+)(?:=(\S*))?", message)
    if not found:
        return message
    words = meant(found[1], EVERYDAY.values()) or found[1].strip("-").replace("-", "_")
    value = "" if "=" in words or " " in words else f"={found[2] or 'VALUE'}"
    return f"{found[1]}: settings are written without dashes: {words}{value}"


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
