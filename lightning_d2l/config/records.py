"""Records of earlier versions: their configurations in today's settings, and what can't be done with them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.optimizers import EXACT, SGD_SCRATCH
from lightning_d2l.config.registry import TABLES
from lightning_d2l.config.trainer import DEFAULTS

_TRAINER = {name: value for name, value in DEFAULTS.items() if name not in ("accelerator", "precision", "max_epochs")}
# Settings that were added after the first records, with the value by which earlier runs behaved. Those of a group that
# is built from a `_target_` are added only where the registry has them for that target.
ADDED: dict[str, Any] = {
    "penalty": {"l1": 0.0, "l2": 0.0, "lambda": 1.0},
    "gradients": False,
    "information": False,
    "data": {"folds": None, "fold": None, "test_seed": None},
    "model": {"num_layers": None, "input_noise": 0.0, "dropout": 0.0},
    "optimizer": {"fused": False},
    "trainer": {**_TRAINER, "save_predictions": False, "engine": "auto"},
}
NODES: dict[str, Any] = {
    "metrics": [],
    "scheduler": None,
    "callbacks": {},
    "reference": None,
}  # whole nodes that were added later
MOVED = {  # old `_target_` to new
    "lightning_d2l.modules.exact.Exact": EXACT,
    "lightning_d2l.scratch.sgd.SGD": SGD_SCRATCH,
}


def up_to_date(config: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded configuration in today's settings, so that `check` accepts it and the same network is built.

    What is damaged is left as it is, for `check` to refuse.
    """
    found = {key: dict(value) if isinstance(value, Mapping) else value for key, value in config.items()}
    logger = found.get("logger", {})
    if logger is None or (isinstance(logger, dict) and "_target_" in logger):  # once one logger at most
        found["logger"] = {"tensorboard": logger} if logger else {}
    for key, table in TABLES.items():
        node = found.get(key)
        if isinstance(node, dict) and isinstance(node.get("_target_"), str):
            node["_target_"] = MOVED.get(node["_target_"], node["_target_"])
            known = table[node["_target_"]].rules if node["_target_"] in table else {}
            added = {name: value for name, value in ADDED.get(key, {}).items() if name in known}
            found[key] = added | node
            if isinstance(node.get("init"), Mapping):
                found[key]["init"] = {"bias_std": 0.0, **node["init"]}
    trainer = found.get("trainer")
    if isinstance(trainer, dict) and trainer.pop("automatic_optimization", False):
        trainer["engine"] = "lightning"
    for key, value in ADDED.items():
        if key in TABLES:
            continue
        there = found.setdefault(key, value)
        if isinstance(value, dict) and isinstance(there, dict):
            found[key] = value | there
    return {**copy.deepcopy(NODES), **found}


def require_same_streams(fields: Mapping[str, Any], what: str) -> None:
    """Raise RequestError if a record has other random streams than today's, so that its numbers can't be had again.

    `fields` are those of run.json or sweep.json; `what` begins the message.
    """
    if has_other_streams(fields):
        raise RequestError(
            f"{what}: recorded by version {_version(fields)}, which drew its random numbers from other streams; "
            "it can be reported, predicted with, inspected and exported, but not evaluated, rerun or resumed"
        )


def has_other_streams(fields: Mapping[str, Any]) -> bool:
    """Whether the data and the training of a record were drawn from other random streams than today's."""
    return _version(fields).startswith("0.1.")


def _version(fields: Mapping[str, Any]) -> str:
    return str((fields.get("versions") or {}).get("lightning_d2l"))
