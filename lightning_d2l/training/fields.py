"""What the fields of a run.json may be: checked once, where a record is read, so that no other code has to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lightning_d2l.config.given import is_given
from lightning_d2l.config.registry import CLASS_LOSSES, NUMBER_LOSSES
from lightning_d2l.config.trainer import RUNNING

STATUSES = ("completed", "diverged", "pruned", "failed", "running")
DEEPEST = 20  # levels of a configuration
LARGEST = 2**63  # what a whole number must be below, so that it is also a float
# Nodes of a configuration.
GROUPS = ("data", "model", "optimizer", "trainer", "penalty", "logger", "scheduler", "callbacks")


def check_fields(fields: Any) -> None:
    """Raise ValueError that names the first field of a run.json that has the wrong type."""
    if not isinstance(fields, dict):
        raise ValueError("not a record")
    if fields.get("status") not in STATUSES:
        raise ValueError(f"status is none of {', '.join(STATUSES)}")
    if not isinstance(fields.get("config"), dict):
        raise ValueError("config is missing")
    for name, (allowed, accepts) in _FIELDS.items():
        if fields.get(name) is not None and not accepts(fields[name]):
            raise ValueError(f"{name} is not {allowed}")
    if fields["status"] == "pruned" and fields.get("pruned") is None:
        raise ValueError("pruned, but not at which epoch")
    if fields["status"] == "completed" and "final" not in (fields.get("metrics") or {}):
        raise ValueError("completed, but without metrics")


def up_to_date(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a run.json with metrics by today's names: those of `running` are not called "loss/train"."""
    metrics = fields.get("metrics") or {}
    if not is_running(fields["config"]) or any(name.endswith(f"/{RUNNING}") for name in metrics.get("final") or {}):
        return fields
    return {**fields, "metrics": {k: v if k == "exact" else renamed(v) for k, v in metrics.items()}}


def is_running(config: Mapping[str, Any]) -> bool:
    """Whether the training metrics at a run's logging points are running means, which were called "loss/train" once.

    Those of a LightningModule that was written for another project have the names that it gives them.
    """
    optimizer, trainer = config.get("optimizer"), config.get("trainer") or {}
    losses = (None, *CLASS_LOSSES, *NUMBER_LOSSES)
    return (
        optimizer is not None
        and not str(optimizer.get("_target_")).endswith(".Exact")
        and isinstance(evaluated := trainer.get("evaluate"), list)
        and "train" not in evaluated
        and not is_given(config)
        and config.get("loss") in losses
        and config.get("loss") != "gaussian_nll"
    )


def renamed(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics at a logging point of a run whose training metrics are running means, by today's names."""
    old, new = "/train", f"/{RUNNING}"
    return {f"{k.removesuffix(old)}{new}" if k.endswith(old) else k: v for k, v in metrics.items()}


def is_number(value: Any) -> bool:
    """Whether a value is a number that a float can hold, or not finite."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return isinstance(value, float) or abs(value) < LARGEST


def _is_count(value: Any) -> bool:
    return is_number(value) and isinstance(value, int) and value >= 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(v is None or is_number(v) for v in value.values())


def _is_metrics(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_numbers, value.values()))


def _maps_to_text(value: Any) -> bool:
    return isinstance(value, dict) and all(v is None or isinstance(v, str) for v in value.values())


def _is_data(value: Any) -> bool:
    """The name, source and checksum, texts or null; beside them the sizes, the shape of a sample and the classes."""
    known = ("samples", "shape", "classes")
    if not isinstance(value, Mapping) or not _maps_to_text(
        {k: v for k, v in value.items() if k not in known and v is not None}
    ):
        return False
    samples, shape = value.get("samples", {}), value.get("shape", [])
    return (
        isinstance(samples, Mapping)
        and all(n is None or is_number(n) for n in samples.values())
        and isinstance(shape, list)
        and all(map(is_number, shape))
        and _is_texts(value.get("classes", []))
    )


def _maps_to_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_maps_to_text, value.values()))


def _is_baselines(value: Any) -> bool:
    """Mappings of names to numbers, of which the name of a reference is a text."""
    return isinstance(value, dict) and all(
        isinstance(each, dict)
        and _is_text(each.get("name", ""))
        and _is_numbers({key: number for key, number in each.items() if key != "name"})
        for each in value.values()
    )


def _is_config(value: Any) -> bool:
    groups = [value.get(name) for name in GROUPS] if isinstance(value, dict) else []
    return is_plain(value) and all(group is None or _is_group(group) for group in groups)


def _is_group(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("_target_", ""), str)


def is_plain(value: Any, deepest: int = DEEPEST) -> bool:
    """Whether a value is text, a number, true, false, null, or lists and mappings of such, `deepest` levels at most."""
    if isinstance(value, (dict, list)):
        inner = value.values() if isinstance(value, dict) else value
        return deepest > 0 and all(is_plain(v, deepest - 1) for v in inner)
    return value is None or isinstance(value, (str, bool)) or is_number(value)


def _is_history(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(attempt, dict) and is_plain(attempt) for attempt in value)


def is_plugins(value: Any) -> bool:
    """Whether a value is the list of plugins of a run.json or sweep.json: a name and a checksum, the others text."""
    return isinstance(value, list) and all(
        isinstance(plugin, dict)
        and _maps_to_text(plugin)
        and isinstance(plugin.get("name"), str)
        and isinstance(plugin.get("sha256"), str)
        for plugin in value
    )


def _is_process(value: Any) -> bool:
    return isinstance(value, dict) and _is_count(value.get("pid")) and _is_text(value.get("host"))


def _is_end(value: Any) -> bool:
    return isinstance(value, dict) and _is_count(value.get("epoch")) and all(_is_text(value.get(k)) for k in ENDED)


def _is_pruned(value: Any) -> bool:
    return isinstance(value, dict) and _is_count(value.get("epoch")) and _is_count(value.get("rung"))


ENDED = ("reason", "by")  # texts of the field `stopped`
_TEXT = ("text", _is_text)
_COUNT = ("a whole number from 0 up", _is_count)
_FIELDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "config": (f"a mapping of plain values in at most {DEEPEST} levels", _is_config),
    "overrides": ("a list of texts", _is_texts),
    "command": _TEXT,
    "error": _TEXT,
    "git": _TEXT,
    "started": _TEXT,
    "resumed": _TEXT,
    "sweep": _TEXT,
    "model": _TEXT,
    "seed": _COUNT,
    "threads": _COUNT,
    "members": _COUNT,
    "num_parameters": _COUNT,
    "seconds": ("a number", is_number),
    "wrong_labels": ("a number", is_number),
    "metrics": ("a mapping of names to numbers", _is_metrics),
    "distance_to_exact": ("a mapping of names to numbers", _is_numbers),
    "solution": ("a mapping of names to numbers", _is_numbers),
    "data": ("the name, source and checksum of data", _is_data),
    "versions": ("a mapping of names to texts", _maps_to_text),
    "loggers": ("a mapping of names to mappings of texts", _maps_to_texts),
    "process": ("a process", _is_process),
    "stopped": ("an epoch, a reason, and what stopped the run by it", _is_end),
    "pruned": ("an epoch and a rung", _is_pruned),
    "found": ("a mapping of names to numbers", _is_numbers),
    "baselines": ("a mapping of names to mappings of numbers", _is_baselines),
    "diagnosis": ("a mapping of plain values", lambda value: isinstance(value, dict) and is_plain(value)),
    "plugins": ("a list of plugins", is_plugins),
    "before": ("a list of attempts", _is_history),
}
