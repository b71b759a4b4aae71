"""A study: which key lies along x, which keys make a curve each, and what is averaged over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lightning_d2l.config.metrics import higher_is_better, is_measure
from lightning_d2l.config.text import show
from lightning_d2l.studies.check import check_key, check_metrics, check_panels, check_study
from lightning_d2l.studies.collect import SweepRecord
from lightning_d2l.studies.labels import listing
from lightning_d2l.studies.replicates import REPLICATES
from lightning_d2l.studies.sources import SOURCE, tell_apart
from lightning_d2l.theory.curves import Question, numeric
from lightning_d2l.training.record import RunRecord


@dataclass(frozen=True)
class Study(Question):
    """A sweep with a question.

    `x` is a swept key, or "num_parameters", or "epoch" for the logging points of each run; it is empty if nothing but
    replicates varies. Every other swept key is in `curves` or a replicate. `metrics` are names for RunRecord.metric;
    `select` is the one by which the best setting is chosen. `scale` is linear or log for x and y; what it leaves out
    follows from the values. `theory` is a name in THEORIES. `panels` is "metric" for a panel each, or "curve" for a
    panel for each curve with the metrics of all splits, or one of the keys of the curves, for a panel for each of its
    values. `replicates` are the keys that repeat a setting.
    """

    select: str = "loss/val"
    name: str = ""
    question: str = ""
    scale: Mapping[str, str] = field(default_factory=dict)
    theory: str | None = None
    panels: str | None = None
    replicates: tuple[str, ...] = REPLICATES

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of a point's setting: x, then those of the curves."""
        return (self.x, *self.curves) if self.x else self.curves


def study_of(sweeps: Sequence[SweepRecord]) -> Study:
    """The study of one sweep, or of several to compare: the node `study` of the first, completed from the runs.

    Of several sweeps each has its own curves, by the key "sweep", and so have runs whose data differ without being
    varied, by the key "source". Raises RequestError on an unknown field, or on a key or metric that no run has.
    """
    runs = [run for sweep in sweeps for run in sweep.runs]
    varied = dict.fromkeys(key for sweep in sweeps for key in sweep.varied)
    node: Mapping[str, Any] = next((s.fields["study"] for s in sweeps if s.fields.get("study")), {})
    check_study({**node, "panels": None})
    free = [key for key in varied if key not in (*(node.get("replicates") or ()), *REPLICATES)]
    x = node.get("x") or _x(free if free or len(sweeps) == 1 else ["sweep"], runs)
    compared = ["sweep"] if len(sweeps) > 1 and x != "sweep" else []
    curves = dict.fromkeys([*compared, *(node.get("curves") or ()), *(key for key in free if key != x)])
    for name, key in (("x", x), *(("curves", key) for key in curves)):
        check_key(name, key, runs)
    if tell_apart(runs, [x, *curves] if x else [*curves]):
        curves[SOURCE] = None
    check_panels(node.get("panels"), [*curves])
    metrics = tuple(node.get("metrics") or ()) or _metrics(runs)
    check_metrics(metrics, runs)
    select = _select(metrics, runs)
    question = usual_question(select, x, curves)
    given = {name: node[name] for name in ("name", "question", "scale", "theory", "panels") if node.get(name)}
    repeated = dict.fromkeys(key for key in (*REPLICATES, *(node.get("replicates") or ())) if key not in (x, *curves))
    return Study(x, tuple(curves), metrics, select, **{"question": question, "replicates": tuple(repeated), **given})


def usual_question(metric: str, x: str, curves: Iterable[str]) -> str:
    """The question of a sweep without one."""
    keys = listing([x, *curves]) if x else ""
    return f"How does {metric} depend on {keys}?" if x else f"How large is {metric}?"


def _x(free: Sequence[str], runs: Sequence[RunRecord]) -> str:
    """The numeric key with the most values; without one, the key with the most values; without keys, none."""

    def rank(key: str) -> tuple[bool, int]:
        values = [run.get(key) for run in runs]
        return numeric(values), len({show(value) for value in values})

    return max(free, key=rank) if free else ""


def _metrics(runs: Sequence[RunRecord]) -> tuple[str, ...]:
    """The losses and accuracies of the splits that the runs have."""
    found = dict.fromkeys(name for run in runs for name in run.metric_names)
    usual = [f"{metric}/{split}" for metric in ("loss", "acc") for split in ("train", "val", "test")]
    return tuple(name for name in usual if name in found) or tuple(found) or ("loss/val",)


def _select(metrics: Sequence[str], runs: Sequence[RunRecord]) -> str:
    """The accuracy, loss or the like that chooses the best setting: on validation, else test, else training data."""
    base = next((m.partition("/")[0] for m in metrics if is_measure(m.partition("/")[0])), "loss")
    found = {name for run in runs for name in run.metric_names}
    names = [f"{base}/{split}" for split in ("val", "test", "train")]
    return next((name for name in names if name in found), metrics[0] if metrics else names[0])


def superlative(metric: str) -> str:
    """Which value of a metric is the best: "highest" or "lowest"."""
    return "highest" if higher_is_better(metric) else "lowest"
