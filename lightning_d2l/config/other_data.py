"""A study or an experiment on other data than those that it was written for: `study=width data=csv`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra import compose
from omegaconf import OmegaConf

from lightning_d2l.compat_hydra import Override, Quote, QuotedString

FOLDS = ("folds", "fold")
OUTER = ("study", "experiment", "model")  # options that choose data, or set something of them


def for_other_data(name: str, parsed: Sequence[Override]) -> list[str]:
    """The overrides that leave data of the command line as their option has them, beside what the command line sets.

    A study sets the sizes and the noise of its own data, which mean nothing for data without such settings. Folds, and
    what refers to another setting, as data.seed to the seed, stay. `name` is the primary configuration.
    """
    given = {override.key_or_group: override for override in parsed}
    outer = [given[key] for key in OUTER if key in given]
    if "data" not in given or not any(isinstance(o.value(), str) for o in outer if o.key_or_group != "model"):
        return []
    if any(override.is_sweep_override() for override in (given["data"], *outer)):
        return []
    data, around = str(given["data"].input_line), [str(override.input_line) for override in outer]
    try:
        usual = compose(name, around, return_hydra_config=True).hydra.runtime.choices.data
        own, here = (_raw(compose(name, overrides).data) for overrides in ([data], [*around, data]))
    except Exception:  # the composition of the whole command line says what is wrong
        return []
    if usual == given["data"].value() or here.keys() <= own.keys():
        return []
    found = []
    for key, value in here.items():
        refers = isinstance(value, str) and "${" in value
        if f"data.{key}" in given or refers or key in FOLDS or value == own.get(key, ...):
            continue
        found.append(f"data.{key}={_text(own[key])}" if key in own else f"~data.{key}")
    return found


def _raw(node: Any) -> dict[str, Any]:
    made = OmegaConf.to_container(node, resolve=False)
    return {str(key): value for key, value in made.items()} if isinstance(made, dict) else {}


def _text(value: Any) -> str:
    """A plain value in Hydra's override grammar."""
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(_text, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{_text(each)}' for key, each in value.items())}}}"
    if isinstance(value, str):
        return QuotedString(value, Quote.single).with_quotes()
    return "null" if value is None else str(value).lower()
