"""Why a command line can't be composed, in a line that names what is allowed."""

from __future__ import annotations

from hydra import compose
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightning_d2l.compat_hydra import IntervalSweep, Override, ValueType, missing_option, unmatched_key
from lightning_d2l.config.check import RequestError, nearest, unknown_key
from lightning_d2l.config.options import CONF, LISTS, NAME, names
from lightning_d2l.config.registry import TABLES


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
        return RequestError(f"{group}={option}: unknown option{hint}{allowed}")
    if isinstance(error, OmegaConfBaseException) and error.full_key:
        return RequestError(f"{error.full_key}: {next(iter(str(error).splitlines()), 'wrong')}")
    if key := unmatched_key(error):
        groups = [path.name for path in CONF.iterdir() if path.is_dir()]
        parent, siblings = _siblings(key, parsed)
        if not siblings and parent in groups:  # such as callbacks.early_stopping.patience without early_stopping
            options = names(parent)
            option = next((word for word in key.split(".")[1:2] if word in options), options[0])
            choice = f"{parent}=[{option}]" if parent in LISTS else f"{parent}={option}"
            return RequestError(f"{key}: {parent} is empty; choose an option first, such as {choice}")
        siblings = siblings or groups
        return unknown_key(key, siblings if "." in key else sorted({*siblings, *groups}))
    reason = " ".join(str(error).split())[:300]
    return RequestError(reason or f"{', '.join(str(o.input_line) for o in parsed)}: can't be composed")


def _siblings(key: str, parsed: list[Override]) -> tuple[str, list[str]]:
    """The nearest group above `key` in the configuration that the chosen options compose to, and the keys in it."""
    choices = [first_value(o) for o in parsed if (CONF / o.key_or_group).is_dir()]
    try:
        config = compose(NAME, choices)
    except HydraException:
        return "", []
    parent = key.rpartition(".")[0]
    while parent and parent not in config and not OmegaConf.is_dict(OmegaConf.select(config, parent)):
        parent = parent.rpartition(".")[0]
    node = OmegaConf.select(config, parent) if parent else config
    return parent, [str(name) for name in node or () if name != "_target_"]
