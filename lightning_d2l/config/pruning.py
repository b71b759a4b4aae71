"""`sweep.prune`: which settings of a sweep are stopped early, by what rule, and at which epochs they are compared."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from lightning_d2l.config.rules import COUNT, NULL, Rule, Settings, choice, either, whole

RULES = ("halving", "median")
METRIC = "loss/val"
FACTOR = 3
RUNGS = 3  # below the last epoch, where `min_epochs` is left out
STEPS = 10  # of the median rule, in as many equal parts of the epochs
FEWEST = 5  # settings that the median rule compares at least, as in Optuna
_METRIC = Rule(
    "a metric of validation data, such as loss/val or acc/val; test data must not choose",
    lambda v: isinstance(v, str) and v.endswith("/val") and len(v) > len("/val"),
)
PRUNE = Settings(
    {
        "rule": either(choice(*RULES), NULL),
        "metric": _METRIC,
        "factor": whole(2),
        "min_epochs": either(COUNT, NULL),
        "min_settings": either(COUNT, NULL),
    },
    shorthand=either(choice(*RULES), NULL),
)


def is_asked(node: Any) -> bool:
    """Whether a checked `sweep.prune` names a rule."""
    return (node["rule"] if isinstance(node, Mapping) else node) is not None


def complete(asked: Any, max_epochs: int) -> dict[str, Any]:
    """The settings of a checked `sweep.prune` that is asked for, with the default of each that was left out."""
    given = dict(asked) if isinstance(asked, Mapping) else {"rule": asked}
    halving, factor = given["rule"] == "halving", given.get("factor", FACTOR)
    lowest = -(-max_epochs // (factor**RUNGS if halving else STEPS))
    return {
        "rule": given["rule"],
        "metric": given.get("metric", METRIC),
        "factor": factor,
        "min_epochs": given.get("min_epochs") or lowest,
        "min_settings": given.get("min_settings") or (factor if halving else FEWEST),
    }


def rungs(settings: Mapping[str, Any], max_epochs: int, points: Sequence[int]) -> list[int]:
    """The epochs, in ascending order and before the last, after which settings are compared.

    Halving compares after `min_epochs`, `factor` times as many, and so on; the median rule after every `min_epochs`.
    Metrics are measured at logging points: a rung is the first of `points` that is not before it.
    """
    found, epoch, factor = dict[int, None](), settings["min_epochs"], settings["factor"]
    while epoch < max_epochs:
        found[points[bisect_left(points, epoch)]] = None
        epoch = epoch * factor if settings["rule"] == "halving" else epoch + settings["min_epochs"]
    return [at for at in found if at < max_epochs]
