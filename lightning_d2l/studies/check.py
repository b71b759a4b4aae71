"""Say what is wrong with a study: before its runs from their configurations, after them from their records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lightning_d2l.config import check, registry
from lightning_d2l.config.check import RequestError, flat, nearest
from lightning_d2l.studies.collect import GAPS, QUANTITIES, RECORDED, Run
from lightning_d2l.studies.decomposition import PARTS, PREDICTIONS

INFORMATION = ("surprisal", "entropy", "cross_entropy", "kl")


def check_study(node: Mapping[str, Any]) -> None:
    """Raise RequestError on an unknown field of the node `study`, a wrong value, or a theory that there is not."""
    from lightning_d2l.theory.theories import THEORIES

    check.check_study(node)
    theory = node.get("theory")
    if theory is not None and theory not in THEORIES:
        hint = nearest(theory, list(THEORIES))
        raise RequestError(f"study.theory={theory}: must be null or one of {', '.join(THEORIES)}{hint}")


def check_study_of(node: Mapping[str, Any], runs: Sequence[Run]) -> None:
    """Check the node `study` of runs to come, of which configurations and overrides are known.

    Raises RequestError as `check_study`, and on a key that no run has or a metric that none will have.
    """
    check_study(node)
    named = {"x": [node.get("x") or ""], "curves": node.get("curves"), "replicates": node.get("replicates")}
    for field, keys in named.items():
        for key in keys or ():
            check_key(field, key, runs)
    known = dict.fromkeys(name for run in runs for name in metric_names(run.config))
    if not known:
        return
    for metric in node.get("metrics") or ():
        if metric in PARTS and metric not in known:
            raise RequestError(_NEEDS_PREDICTIONS.format(metric))
        if metric not in known:
            raise RequestError(f"study.metrics: no run will have {metric}{_instead(metric, known)}")


def check_key(field: str, key: str, runs: Sequence[Run]) -> None:
    """Raise RequestError unless a run has the key, which `study.FIELD` names."""
    if key in (*RECORDED, "sweep") or (field == "x" and key in ("", "epoch")):
        return
    for run in runs:
        try:
            run.setting(key)
            return
        except KeyError:
            continue
    known = list(dict.fromkeys([*flat(runs[0].config), *runs[0].overrides]))
    raise RequestError(f"study.{field}={key}: no run has such a key{nearest(key, known)}")


def check_metrics(metrics: Iterable[str], runs: Sequence[Run]) -> None:
    """Raise RequestError on a metric that no completed run has."""
    completed = [run for run in runs if run.completed]
    for metric in metrics if completed else ():
        if metric in PARTS:
            if not any((run.folder / PREDICTIONS).exists() for run in completed):
                raise RequestError(_NEEDS_PREDICTIONS.format(metric))
        elif all(run.metric(metric) is None for run in completed):
            known = dict.fromkeys([*(name for run in completed for name in run.metric_names), *QUANTITIES])
            raise RequestError(f"study.metrics: no run has {metric}{_instead(metric, known)}")


_NEEDS_PREDICTIONS = f"study.metrics: {{}} needs the runs' {PREDICTIONS}: trainer.save_predictions=true"


def _instead(metric: str, known: Iterable[str]) -> str:
    names = [name for name in known if not name.startswith(("best.", "first.", "exact."))]
    return f"{nearest(metric, list(known))} (allowed: {', '.join(names)})"


def measured_metrics(config: Mapping[str, Any]) -> list[str]:
    """The metrics that a run with this configuration measures; nothing is known of data of one's own."""
    classes = config["data"]["_target_"] in registry.CLASSIFICATION_DATA
    if not classes and config["data"]["_target_"] not in registry.REGRESSION_DATA:
        return []
    splits = _splits(config)
    likelihood = config["loss"] == "gaussian_nll"
    measured = ["loss", *(["acc"] if classes else []), *(["mse"] if likelihood else [])]
    if config["information"]:
        measured += [f"{name}{unit}" for unit in ("", "_bits") for name in INFORMATION]
    names = [f"{metric}/{split}" for metric in measured for split in splits]
    penalty = config["penalty"]
    others = {
        "norm/weights": True,
        "zeros/weights": penalty["lambda"] and (penalty["l1"] or penalty["l2"]),
        "gradient/first": config["gradients"],
        "gradient/last": config["gradients"],
        "sigma/noise": likelihood,
    }
    return [*names, *(name for name, there in others.items() if there)]


def _splits(config: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(["train", *config["trainer"]["evaluate"], "test"]))


def metric_names(config: Mapping[str, Any]) -> list[str]:
    """What a study may ask of a run with this configuration, as in Run.metric; nothing is known of data of one's own.

    Whether there is an analytic solution ("exact.loss/test") is left open.
    """
    if not (names := measured_metrics(config)):
        return []
    needs = {**GAPS, "epochs_to_fit": "acc/train"}
    quantities = [name for name in QUANTITIES if needs.get(name, "loss/train") in names]
    parts = PARTS if config["trainer"]["save_predictions"] else ()
    early = [f"first.{name}" for name in names if not name.endswith("/test")]
    best = [f"best.{name}" for name in names]
    return [*names, *quantities, *parts, *early, *best, *(f"exact.loss/{split}" for split in _splits(config))]
