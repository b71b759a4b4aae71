"""Checks of a study: of its node in the configuration, and of its keys and metrics against the runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lightning_d2l.config import registry
from lightning_d2l.config.check import RequestError, check_study_settings, flat, nearest
from lightning_d2l.config.optimizers import EXACT
from lightning_d2l.config.trainer import RUNNING
from lightning_d2l.theory.decomposition import PARTS, PREDICTIONS
from lightning_d2l.theory.theories import THEORIES
from lightning_d2l.training.record import GAPS, QUANTITIES, RECORDED, RunRecord

PANELS = (None, "", "metric", "curve")
INFORMATION = ("surprisal", "entropy", "cross_entropy", "kl")


def check_study(node: Mapping[str, Any], planned: Sequence[RunRecord] = ()) -> None:
    """Raise RequestError on an unknown field of the node `study`, a wrong value or an unknown theory.

    With the configurations and overrides of `planned` runs: also on a key that none of them has, or a metric that none
    will have.
    """
    check_study_settings(node)
    theory = node.get("theory")
    if theory is not None and theory not in THEORIES:
        hint = nearest(theory, list(THEORIES))
        raise RequestError(f"study.theory={theory}: must be null or one of {', '.join(THEORIES)}{hint}")
    named = {"x": [node.get("x") or ""], "curves": node.get("curves"), "replicates": node.get("replicates")}
    panels, curves = node.get("panels"), node.get("curves") or ()
    if planned and panels not in (*PANELS, *curves):
        named["panels"] = [panels]
    elif not planned:
        check_panels(panels, curves)
    for field, keys in named.items() if planned else ():
        for key in keys or ():
            check_key(field, key, planned)
    known = dict.fromkeys(name for run in planned for name in metric_names(run.config))
    for metric in (node.get("metrics") or ()) if known else ():
        if metric not in known:
            raise _unknown_metric(metric, "will have", known)


def check_panels(panels: str | None, curves: Sequence[str]) -> None:
    """Raise RequestError unless there is a panel for each metric, curve, or value of a key of the curves."""
    if panels not in PANELS and panels not in curves:
        allowed = ", ".join(["metric", "curve", *curves])
        raise RequestError(
            f"study.panels={panels}: must be null or one of {allowed}{nearest(str(panels), list(curves))}"
        )


def check_key(field: str, key: str, runs: Sequence[RunRecord]) -> None:
    """Raise RequestError unless a run has the key that `study.FIELD` names."""
    if key in (*RECORDED, "sweep") or (field == "x" and key in ("", "epoch")):
        return
    for run in runs:
        with contextlib.suppress(KeyError):
            run.setting(key)
            return
    known = list(dict.fromkeys([*flat(runs[0].config), *runs[0].overrides]))
    raise RequestError(f"study.{field}={key}: no run has such a key{nearest(key, known)}")


NOTHING = (
    "no run has logged a metric, so there is nothing to compare; a LightningModule logs the loss on held-out data by "
    'self.log("val_loss", ...) in validation_step'
)


def check_metrics(metrics: Iterable[str], runs: Sequence[RunRecord]) -> None:
    """Raise RequestError on a metric that no completed run has; that no label was fitted is a result."""
    completed = [run for run in runs if run.completed]
    fits = any("acc/train" in run.metric_names for run in completed)
    for metric in metrics if completed else ():
        if metric == "epochs_to_fit" and fits:
            continue
        predicted = metric in PARTS and any((run.folder / PREDICTIONS).exists() for run in completed)
        if not predicted and all(metric not in run.metric_names and run.metric(metric) is None for run in completed):
            measured = dict.fromkeys(name for run in completed for name in run.metric_names)
            if not measured:
                raise RequestError(NOTHING)
            known = dict.fromkeys([*measured, *QUANTITIES])
            raise _unknown_metric(metric, "has", known)


def _unknown_metric(metric: str, verb: str, known: Iterable[str]) -> RequestError:
    if metric in PARTS:
        return RequestError(f"study.metrics: {metric} needs the runs' {PREDICTIONS}: trainer.save_predictions=true")
    known = [name for name in known if name != metric]
    names = [name for name in known if not name.startswith(("best.", "first.", "exact."))]
    allowed = f"{nearest(metric, known)} (allowed: {', '.join(names)})"
    return RequestError(f"study.metrics: no run {verb} {metric}{allowed}")


def measured_metrics(config: Mapping[str, Any]) -> list[str]:
    """The metrics that a run with this configuration measures; empty for custom data, of which they are not known."""
    classes = config["data"]["_target_"] in registry.CLASSIFICATION_DATA
    if not classes and config["data"]["_target_"] not in registry.REGRESSION_DATA:
        return []
    likelihood, penalty = config["loss"] == "gaussian_nll", config["penalty"]
    measured = ["loss", *(["acc"] if classes else []), *(["mse"] if likelihood else []), *config["metrics"]]
    if config["information"]:
        measured += [f"{name}{unit}" for unit in ("", "_bits") for name in INFORMATION]
    others = {
        "norm/weights": True,
        "zeros/weights": penalty["lambda"] and (penalty["l1"] or penalty["l2"]),
        "gradient/first": config["gradients"],
        "gradient/last": config["gradients"],
        "sigma/noise": likelihood,
    }
    splits = dict.fromkeys([*logged_splits(config), "train", "test"])
    names = dict.fromkeys(f"{metric}/{split}" for metric in measured for split in splits)
    return [*names, *(name for name, there in others.items() if there)]


def logged_splits(config: Mapping[str, Any]) -> list[str]:
    """The splits that a run with this configuration measures at each logging point."""
    evaluate = config["trainer"]["evaluate"]
    solved = (config["optimizer"] or {}).get("_target_") == EXACT
    if "train" in evaluate:
        return list(evaluate)
    return ["train" if solved or config["loss"] == "gaussian_nll" else RUNNING, *evaluate]


def metric_names(config: Mapping[str, Any]) -> list[str]:
    """The names that `RunRecord.metric` may know for a run with this configuration; empty for custom data.

    The metrics of the analytic solution ("exact.loss/test") are included, whether or not there is one.
    """
    if not (names := measured_metrics(config)):
        return []
    logged = logged_splits(config)
    early = [name for name in names if name.partition("/")[2] not in {"train", "test"} - {*logged}]
    needs = {name: metric in names for name, metric in GAPS.items()} | {"epochs_to_fit": "acc/train" in early}
    quantities = [name for name in QUANTITIES if needs.get(name, True)]
    parts = PARTS if config["trainer"]["save_predictions"] else ()
    others = [*(f"first.{name}" for name in early), *(f"best.{name}" for name in names)]
    return [*names, *quantities, *parts, *others, *(f"exact.loss/{split}" for split in ("train", *logged, "test"))]
