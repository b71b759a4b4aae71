"""Conditions on a configuration: each names the setting that breaks it, or nothing (an empty string)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lightning_d2l.config import registry
from lightning_d2l.config.text import show
from lightning_d2l.theory.problem import loss_factor

Config = Mapping[str, Any]


def node(config: Config, name: str) -> Config:
    """A group of a configuration; empty where it is none."""
    found = config.get(name)
    return found if isinstance(found, Mapping) else {}


def has(key: str, *allowed: Any) -> Callable[[Config], str]:
    """A setting has one of the values; a configuration without it has the first."""
    group, _, name = key.partition(".")

    def broken(config: Config) -> str:
        value = node(config, group).get(name, allowed[0])
        return "" if value in allowed else f"{key}={show(value)}"

    return broken


def built(group: str, *targets: str) -> Callable[[Config], str]:
    """A node builds one of the classes of this package or of torch, and no registered one."""

    def broken(config: Config) -> str:
        target = str(node(config, group).get("_target_"))
        return "" if target in targets else f"{group}={target.rpartition('.')[2]}"

    return broken


def squared(config: Config) -> str:
    """A squared loss, of numbers or of one-hot classes."""
    classes = config.get("loss") is None and node(config, "data").get("_target_") in registry.CLASSIFICATION_DATA
    return f"loss={show(config.get('loss'))}" if classes or loss_factor(config) is None else ""


def cross_entropy(config: Config) -> str:
    """The loss of classes, by its name or by default."""
    loss = config.get("loss")
    return "" if loss in (None, "cross_entropy", "cross_entropy_scratch") else f"loss={loss}"


def dropout(config: Config) -> str:
    """No dropout in any layer."""
    p = node(config, "model").get("dropout") or 0
    return f"model.dropout={show(p)}" if (any(p) if isinstance(p, list) else p) else ""


def penalty(config: Config) -> str:
    """No L1 or L2 penalty."""
    given = node(config, "penalty")
    used = [name for name in ("l1", "l2") if given.get(name) and given.get("lambda", 1)]
    return f"penalty.{used[0]}={show(given[used[0]])}" if used else ""
