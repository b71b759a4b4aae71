"""What a study asks of its runs: which key lies along x, what makes a curve each, what is averaged over."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lightning_d2l.studies.check import check_key, check_metrics, check_study
from lightning_d2l.studies.collect import Run, Sweep
from lightning_d2l.studies.labels import listing, show

REPLICATES = ("seed", "data.seed", "data.fold")
"""Keys whose values are runs of the same setting over again: what varies with them is spread."""
HIGHER_IS_BETTER = ("acc",)


@dataclass(frozen=True)
class Study:
    """A sweep with a question.

    `x` is a swept key, or "epoch" for the logging points of each run, or "num_parameters"; it is empty where nothing
    but replicates varies. Every other swept key is among `curves` or `replicates`. `metrics` are names as in
    Run.metric; `select` is the one that settings are chosen by. `scale` says linear or log of x and y; what it leaves
    out follows from the values. `theory` is a name in theories.THEORIES. `panels`: one for each metric, or one for each
    curve with the metrics of all splits in it.
    """

    x: str
    curves: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    select: str = "loss/val"
    name: str = ""
    question: str = ""
    replicates: tuple[str, ...] = REPLICATES
    scale: Mapping[str, str] = field(default_factory=dict)
    theory: str | None = None
    panels: str | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that a point's setting has: x, then those of the curves."""
        return (self.x, *self.curves) if self.x else self.curves


def study_of(sweeps: Sequence[Sweep]) -> Study:
    """The study of one sweep or of several compared: the first one's node `study`, with what it leaves open inferred.

    Of several sweeps each makes its own curves, by the key "sweep". Raises RequestError on an unknown field, or on a
    key or metric that no run has.
    """
    runs = [run for sweep in sweeps for run in sweep.runs]
    varied = list(dict.fromkeys(key for sweep in sweeps for key in sweep.varied))
    node: Mapping[str, Any] = next((s.facts["study"] for s in sweeps if s.facts.get("study")), {})
    check_study(node)
    replicates = tuple(dict.fromkeys([*(node.get("replicates") or ()), *REPLICATES]))
    free = [key for key in varied if key not in replicates]
    x = node.get("x") or _x(free if free or len(sweeps) == 1 else ["sweep"], runs)
    curves = dict.fromkeys([*(node.get("curves") or ()), *(key for key in free if key != x)])
    curves = curves if len(sweeps) == 1 or x == "sweep" else dict.fromkeys(["sweep", *curves])
    for name, key in (("x", x), *(("curves", key) for key in curves)):
        check_key(name, key, runs)
    metrics = tuple(node.get("metrics") or ()) or _metrics(runs)
    check_metrics(metrics, runs)
    select = _select(metrics, runs)
    others = f" and {listing(curves)}" if curves else ""
    return Study(
        x,
        tuple(curves),
        metrics,
        select,
        name=node.get("name") or "",
        question=node.get("question")
        or (f"How does {select} depend on {x}{others}?" if x else f"How large is {select}?"),
        replicates=replicates,
        scale=node.get("scale") or {},
        theory=node.get("theory"),
        panels=node.get("panels"),
    )


def _x(free: Sequence[str], runs: Sequence[Run]) -> str:
    """The key with numbers that has the most values; else the one with the most values; else none."""

    def rank(key: str) -> tuple[bool, int]:
        values = [run.get(key) for run in runs]
        return numeric(values), len({show(value) for value in values})

    return max(free, key=rank) if free else ""


def numeric(values: Sequence[Any]) -> bool:
    """Whether all are numbers, so that they have a place on an axis."""
    return all(isinstance(value, numbers.Real) and not isinstance(value, bool) for value in values)


def _metrics(runs: Sequence[Run]) -> tuple[str, ...]:
    """The losses of the splits that the runs have, and the accuracies."""
    found = dict.fromkeys(name for run in runs for name in run.metric_names)
    usual = [f"{metric}/{split}" for metric in ("loss", "acc") for split in ("train", "val", "test")]
    return tuple(name for name in usual if name in found) or tuple(found) or ("loss/val",)


def _select(metrics: Sequence[str], runs: Sequence[Run]) -> str:
    """What settings are chosen by: validation, or test where there is none, or training, of accuracy or loss."""
    base = next((m.partition("/")[0] for m in metrics if m.partition("/")[0] in ("acc", "loss")), "loss")
    found = {name for run in runs for name in run.metric_names}
    names = [f"{base}/{split}" for split in ("val", "test", "train")]
    return next((name for name in names if name in found), metrics[0] if metrics else names[0])


def higher_is_better(metric: str) -> bool:
    return metric.partition("/")[0].rpartition(".")[2] in HIGHER_IS_BETTER
