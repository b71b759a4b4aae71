"""The jobs of a command line: every combination of the swept values, each with a name."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Sequence

from lightning_d2l.compat_hydra import ConfigLoader, Override, OverridesParser
from lightning_d2l.config.check import RequestError

LONGEST_NAME = 200  # bytes; file systems allow 255


def grid(arguments: Sequence[str], loader: ConfigLoader | None = None) -> tuple[list[str], dict[str, list[str]]]:
    """Every combination of the values in `arguments`: the swept keys, and the overrides of each job by its name.

    The values of the last key change fastest. A later override of a key replaces an earlier one, so that the command
    line can change the axes of a study. Overrides of the sweep itself (`sweep.on_error=stop`) are left out.

    Raises RequestError on a swept key that has no value, has a value twice, or can't be swept.
    """
    axes = {key: (override, _values(override)) for key, override in overrides_by_key(arguments, loader).items()}
    varied = {key: values for key, (override, values) in axes.items() if override.is_sweep_override()}
    starts = {key: str(override.input_line).partition("=")[0] for key, (override, _) in axes.items()}
    overrides: list[list[str]] = []
    names: list[str] = []
    for combination in itertools.product(*(values for _, values in axes.values())):
        chosen = dict(zip(axes, combination, strict=True))
        overrides.append([f"{starts[k]}={v}" if k in varied else v for k, v in chosen.items()])
        names.append(_name({key: chosen[key] for key in varied}, len(names)))
    clashes = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
    names = [f"{name}-{number}" if name in clashes else name for number, name in enumerate(names)]
    return list(varied), dict(zip(names, overrides, strict=True))


def overrides_by_key(arguments: Sequence[str], loader: ConfigLoader | None = None) -> dict[str, Override]:
    """The last override of each key in `arguments`, except for those of the sweep itself.

    Raises RequestError on a swept key that can't be swept.
    """
    found = {}
    for override in OverridesParser.create(config_loader=loader).parse_overrides(list(arguments)):
        key = override.key_or_group
        of_sweep = key.partition(".")[0] == "sweep"
        if override.is_sweep_override() and (of_sweep or key in ("study", "resume")):
            raise RequestError(f"{override.input_line}: must have one value; it can't be swept")
        if key == "resume" and override.value() is not None:
            raise RequestError(f"{override.input_line}: is for one run; for a sweep it is sweep.resume=FOLDER")
        if not of_sweep:
            found[key if override.package is None else f"{key}@{override.package}"] = override
    return found


def _values(override: Override) -> list[str]:
    """The values of a swept key as text; for any other key the whole override, since `~key` has no value."""
    if not override.is_sweep_override():
        return [str(override.input_line)]
    if not override.is_discrete_sweep():
        raise RequestError(
            f"{override.input_line}: an interval is for hydra/sweeper=optuna; a grid takes values, or range(...)"
        )
    return discrete_values(override)


def discrete_values(override: Override) -> list[str]:
    """The values of a swept key as text; raises RequestError if there is none, or one is there twice."""
    values = list(override.sweep_string_iterator())
    if not values:
        raise RequestError(f"{override.input_line}: no value in it; a sweep needs at least one")
    if twice := [value for value in dict.fromkeys(values) if values.count(value) > 1]:
        raise RequestError(f"{override.input_line}: must have each value once; {twice[0]} is there twice")
    return values


def _name(chosen: dict[str, str], number: int) -> str:
    """The swept values: num_hiddens=64,seed=3; a key is written in full if another one has the same last part."""
    if not chosen:
        return str(number)
    last = [key.rpartition(".")[2] for key in chosen]
    short = [part if last.count(part) == 1 else key for key, part in zip(chosen, last, strict=True)]
    text = ",".join(f"{key}={value}" for key, value in zip(short, chosen.values(), strict=True))
    text = re.sub(r"['\"\\]", "", text)
    text = re.sub(r"[/<>:|?*\s\x00-\x1f]+", "_", text)
    if len(text.encode()) > LONGEST_NAME:
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        text = f"{text.encode()[:LONGEST_NAME].decode(errors='ignore')}-{digest}"
    return text
