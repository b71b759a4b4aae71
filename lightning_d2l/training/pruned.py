"""A run that its sweep ends early, or lets wait, after a logging point: what it raises, and what its record holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lightning_d2l.config.trainer import MONITORS
from lightning_d2l.training.record import STOPPED

WAITS = f"{STOPPED} sweep.prune until other runs have come as far"
"""The error of a run that waits."""
Row = Mapping[str, float]
Watch = Callable[[Sequence[Row]], object]
"""What looks at a run's rows of metrics after each logging point; it may raise Ended."""


class Ended(Exception):
    """The sweep ends the run here: its status, its error, and what else its record holds."""

    code = 0  # of the loggers: the run did not fail

    def __init__(self, status: str, message: str, outcome: Mapping[str, Any]) -> None:
        self.status, self.message, self.outcome = status, message, dict(outcome)


def pruned(rows: Sequence[Row], rung: int) -> Ended:
    """The end, for good, of a run with these rows, at a rung counted from 0."""
    return Ended("pruned", "", outcome(rows, rung))


def waits() -> Ended:
    """The run waits for others; later it is resumed, as one that a signal stopped, or pruned."""
    return Ended("failed", WAITS, {})


def outcome(rows: Sequence[Row], rung: int) -> dict[str, Any]:
    """What the record of a run that is pruned at a rung, counted from 0, holds of its end."""
    monitor = next((name for name in MONITORS if name in rows[-1]), "")
    best = min(rows, key=lambda row: row.get(monitor, math.inf)) if monitor else rows[-1]
    end = {"epoch": int(rows[-1]["epoch"]), "rung": rung + 1}
    return {"pruned": end, "metrics": {"final": dict(rows[-1]), "best": dict(best)}}
