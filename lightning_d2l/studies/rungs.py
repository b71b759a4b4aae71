"""The rungs of a sweep that stops hopeless settings early: who came to each, who stopped there, and what it spared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lightning_d2l.config.text import show
from lightning_d2l.studies.collect import SweepRecord
from lightning_d2l.training.record import RunRecord


@dataclass(frozen=True)
class Rung:
    """A rung, counted from 1: runs that came to it, and those whose settings stopped there."""

    number: int
    epoch: int
    runs: int
    pruned: int
    settings: tuple[str, ...]  # that stopped there

    @property
    def survivors(self) -> int:
        return self.runs - self.pruned


@dataclass(frozen=True)
class Pruned:
    """What pruning did in a sweep: the rule, its metric, the rungs, and the share of all epochs that were trained."""

    rule: str
    metric: str
    rungs: list[Rung]
    runs: int
    share: float

    def __str__(self) -> str:
        stopped = f"sweep.prune={self.rule} stopped {self.runs} runs early by {self.metric}"
        return f"{stopped}, which spared {100 * (1 - self.share):.0f} % of all epochs"

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        rungs = [{"rung": r.number, "epoch": r.epoch, "runs": r.runs, "pruned": r.pruned, "survivors": r.survivors,
                  "settings": list(r.settings)} for r in self.rungs]  # fmt: skip
        return {
            "rule": self.rule,
            "metric": self.metric,
            "runs": self.runs,
            "share": round(self.share, 4),
            "rungs": rungs,
        }


def pruned_of(sweep: SweepRecord) -> Pruned | None:
    """What pruning did in a sweep, by the records of its runs; None if it was not asked for, or stopped none."""
    plan, stops = sweep.fields.get("prune"), [run for run in sweep.runs if run.state == "pruned"]
    if not plan or not stops:
        return None
    ended = [run for run in sweep.runs if run.state in ("completed", "pruned")]
    keys = [key for key in plan.get("keys") or () if isinstance(key, str)]
    at = Counter(run.fields["pruned"]["rung"] for run in stops)
    found, left = [], len(ended)
    for number, epoch in enumerate(plan["rungs"], 1):
        here = [run for run in stops if run.fields["pruned"]["rung"] == number]
        names = dict.fromkeys(", ".join(f"{key}={show(run.get(key))}" for key in keys) for run in here)
        found.append(Rung(number, epoch, left, at[number], tuple(names)))
        left -= at[number]
    trained, whole = (sum(each) for each in zip(*map(_epochs, ended), strict=True))
    return Pruned(str(plan.get("rule")), str(plan.get("metric")), found, len(stops), trained / max(whole, 1))


def _epochs(run: RunRecord) -> tuple[float, float]:
    """The epochs that a run trained, and those that it was to train."""
    epoch = ((run.fields.get("metrics") or {}).get("final") or {}).get("epoch") or 0
    whole = (run.config.get("trainer") or {}).get("max_epochs") or epoch
    return min(epoch, whole), whole


def mixed(runs: Sequence[RunRecord]) -> bool:
    """Whether a setting has both completed and pruned runs, so that its mean leaves out what was pruned."""
    return len({run.state for run in runs} & {"completed", "pruned"}) == 2
