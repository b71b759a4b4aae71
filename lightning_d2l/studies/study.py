"""What a study asks of its runs: which key lies along x, what makes a curve each, what is averaged over."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lightning_d2l.config.check import RequestError, nearest, unknown_key
from lightning_d2l.studies.collect import QUANTITIES, Run, Sweep, flatten
from lightning_d2l.studies.decomposition import PARTS, PREDICTIONS
from lightning_d2l.studies.labels import listing, show

REPLICATES = ("seed", "data.seed", "data.fold")
"""Keys whose values are runs of the same setting over again: what varies with them is spread."""
SCALES = ("linear", "log")
PANELS = ("metric", "curve")
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
        _check_key(name, key, runs)
    metrics = tuple(node.get("metrics") or ()) or _metrics(runs)
    _check_metrics(metrics, runs)
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


def check_study(node: Mapping[str, Any]) -> None:
    """Check the node `study` of a configuration, as far as it can be known before there are runs.

    Raises RequestError on an unknown field, a value of the wrong kind, or a theory that is not in the table.
    """
    from lightning_d2l.studies.theories import THEORIES

    texts, lists = ("name", "question", "x"), ("curves", "metrics", "replicates")
    fields = [*texts, *lists, "scale", "theory", "panels"]
    for key, value in node.items():
        if key not in fields:
            raise unknown_key(f"study.{key}", fields)
        if value is None:
            continue
        if key in lists and (isinstance(value, str) or not all(isinstance(v, str) for v in value)):
            raise RequestError(f"study.{key}={show(value)}: must be a list of names, [a, b]")
        if key in texts and not isinstance(value, str):
            raise RequestError(f"study.{key}={show(value)}: must be a text")
    scale, theory, panels = node.get("scale") or {}, node.get("theory"), node.get("panels")
    if not isinstance(scale, Mapping) or not (set(scale) <= {"x", "y"} and set(scale.values()) <= {*SCALES, None}):
        raise RequestError(f"study.scale={show(scale)}: must say linear or log of x and y, as {{x: linear, y: log}}")
    if theory is not None and theory not in THEORIES:
        hint = nearest(str(theory), list(THEORIES))
        raise RequestError(f"study.theory={theory}: must be null or one of {', '.join(THEORIES)}{hint}")
    if panels not in (None, *PANELS):
        raise RequestError(f"study.panels={panels}: must be null or one of {', '.join(PANELS)}")


def _x(free: Sequence[str], runs: Sequence[Run]) -> str:
    """The key with numbers that has the most values; else the one with the most values; else none."""

    def rank(key: str) -> tuple[bool, int]:
        values = [_setting(run, key) for run in runs]
        return numeric(values), len({show(value) for value in values})

    return max(free, key=rank) if free else ""


def _setting(run: Run, key: str) -> Any:
    try:
        return run.setting(key)
    except KeyError:
        return None


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


def _check_key(name: str, key: str, runs: Sequence[Run]) -> None:
    if name == "x" and key in ("", "epoch"):
        return
    for run in runs:
        try:
            run.setting(key)
            return
        except KeyError:
            continue
    known = list(dict.fromkeys([*flatten(runs[0].config), *runs[0].overrides]))
    raise RequestError(f"study.{name}={key}: no run has such a key{nearest(key, known)}")


def _check_metrics(metrics: Sequence[str], runs: Sequence[Run]) -> None:
    completed = [run for run in runs if run.completed]
    for metric in metrics:
        if metric in PARTS:
            if completed and not any((run.folder / PREDICTIONS).exists() for run in completed):
                raise RequestError(
                    f"study.metrics: {metric} needs the runs' {PREDICTIONS}: trainer.save_predictions=true"
                )
        elif completed and all(run.metric(metric) is None for run in completed):
            known = list(dict.fromkeys([*(name for run in completed for name in run.metric_names), *QUANTITIES]))
            raise RequestError(
                f"study.metrics: no run has {metric}{nearest(metric, known)} (they have: {', '.join(known)})"
            )
