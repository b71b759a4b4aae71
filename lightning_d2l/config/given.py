"""Runs whose module and data were given as objects, by `lightning_d2l.fit`, and have no settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

GIVEN = "given"
"""The `_target_` of the nodes model and data of such a run; its `class` names the object's."""


def is_given(config: Mapping[str, Any]) -> bool:
    """Whether the module and the data of a run were given as objects."""
    node = config.get("model")
    return isinstance(node, Mapping) and node.get("_target_") == GIVEN
