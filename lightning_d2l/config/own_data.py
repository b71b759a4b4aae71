"""The settings of registered data beside those of their class or function: what this package does with them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lightning_d2l.config.image_data import INPUTS, SIZE
from lightning_d2l.config.rules import COUNT, FLAG, NULL, SEED, TEXT, Setting, choice, either, whole

_RULES: dict[str, Setting] = {
    "in_memory": FLAG,
    "target": either(TEXT, NULL),
    "task": either(choice("regression", "classification"), NULL),
    "val_size": SIZE,
    "test_size": SIZE,
    **INPUTS,
    "batch_size": either(COUNT, NULL),
    "seed": SEED,
    "folds": either(whole(2), NULL),
    "fold": either(whole(0), NULL),
}
_DEFAULTS: dict[str, Any] = {
    "in_memory": False,  # true: read into tensors once, and trained by the fast loop
    "target": None,  # the column of a DataFrame that is predicted
    "task": None,  # by the values of the targets
    "val_size": 0.1,  # held out where the data have no such split, a fraction or a number
    "test_size": 0.2,
    "standardize": False,
    "augment": "none",
    "batch_size": None,  # that of the training loader, else 32
    "seed": 0,
    "folds": None,
    "fold": None,
}


def own_data_rules(taken: Iterable[str]) -> tuple[dict[str, Setting], dict[str, Any]]:
    """The rules and the defaults of the settings that a class or function does not take itself."""
    left = [name for name in _RULES if name not in set(taken)]
    return {name: _RULES[name] for name in left}, {name: _DEFAULTS[name] for name in left}
