"""What `sweep.prune` comes to for the jobs of a sweep, and what must be so that settings can be compared at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lightning_d2l.config.check import RequestError, nearest
from lightning_d2l.config.optimizers import EXACT
from lightning_d2l.config.pruning import complete, is_asked, rungs
from lightning_d2l.config.trainer import logging_interval
from lightning_d2l.engine.points import Points
from lightning_d2l.studies.check import measured_metrics
from lightning_d2l.studies.replicates import REPLICATES
from lightning_d2l.sweeps.jobs import SweepSpec, study_of
from lightning_d2l.sweeps.pruning import FOLDER, PLAN, Plan, Rungs

SAME = ("trainer.max_epochs", "trainer.log_every_n_epochs", "trainer.check_val_every_n_epoch")
"""What all runs must have in common, so that they come to the same rungs."""


def planned(
    spec: SweepSpec, configs: Sequence[Mapping[str, Any]], varied: Sequence[str], *, search: bool
) -> Plan | None:
    """The plan of a sweep whose jobs have these configurations, or None if it stops no setting early.

    `varied` are its swept keys; a `search` has Optuna's pruners. Raises RequestError if nothing can be compared.
    """
    asked = OmegaConf.to_container(spec.config.sweep)["prune"]  # type: ignore[call-overload, index]
    if not is_asked(asked):
        return None
    if not hasattr(spec.launcher, "train"):
        raise RequestError("sweep.prune: must come with one of our launchers, such as hydra/launcher=vectorized")
    for key in SAME:
        values = dict.fromkeys(config["trainer"][key.partition(".")[2]] for config in configs)
        if len(values) > 1:
            several = ", ".join(map(str, [*values][:5]))
            raise RequestError(f"{key}={several}: must be one value with sweep.prune, so that runs have the same rungs")
    for config in configs:
        _require_epochs(config)
    trainer = configs[0]["trainer"]
    max_epochs = int(trainer["max_epochs"])
    settings = complete(asked, max_epochs)
    if (fewest := settings["min_epochs"]) >= max_epochs:
        raise RequestError(f"sweep.prune.min_epochs={fewest}: must be below trainer.max_epochs={max_epochs}")
    _require_metric(settings["metric"], configs, varied)
    at = rungs(settings, max_epochs, Points(max_epochs, logging_interval(trainer)))
    if not at:
        raise RequestError(
            f"sweep.prune: no logging point lies between epoch {fewest}, the first rung, and the last epoch; "
            f"trainer.log_every_n_epochs={trainer['log_every_n_epochs']}: must be smaller, such as {fewest}"
        )
    node = study_of(spec.config) or {}
    apart = (*(node.get("replicates") or ()), *REPLICATES)
    keys = [key for key in varied if key not in apart]
    if not keys:
        raise RequestError(f"sweep.prune: needs settings to compare, and here {_listing(varied)} alone")
    named = {name: settings[name] for name in ("rule", "metric", "factor", "min_settings")}
    return Plan(**named, rungs=tuple(at), keys=tuple(keys), by_optuna=search)


def _listing(varied: Sequence[str]) -> str:
    return f"{' and '.join(varied)} vary" if len(varied) > 1 else f"{varied[0]} varies" if varied else "nothing varies"


def _require_epochs(config: Mapping[str, Any]) -> None:
    trainer = config["trainer"]
    if (config["optimizer"] or {}).get("_target_") == EXACT:
        raise RequestError("sweep.prune: must be null for optimizer=exact, which trains no epochs")
    if trainer["max_epochs"] in (None, -1):
        raise RequestError("trainer.max_epochs: must be a number with sweep.prune, which compares before the last")
    if trainer["devices"] not in (1, "1", "auto") or trainer["num_nodes"] != 1:
        raise RequestError(f"trainer.devices={trainer['devices']}: must be 1 with sweep.prune")
    if "val" not in trainer["evaluate"]:
        raise RequestError(f"trainer.evaluate={trainer['evaluate']}: must have val, by which sweep.prune compares")
    if trainer["limit_val_batches"] == 0:
        raise RequestError("trainer.limit_val_batches=0: must be above 0 with sweep.prune, which compares by them")


def _require_metric(metric: str, configs: Iterable[Mapping[str, Any]], varied: Sequence[str]) -> None:
    for config in configs:
        known = [name for name in measured_metrics(config) if name.endswith("/val")]
        if known and metric not in known:
            hint = nearest(metric, known)
            raise RequestError(f"sweep.prune.metric={metric}: must be one of {', '.join(known)} here{hint}")
    if "loss" in varied and metric.startswith("loss/"):
        raise RequestError(f"sweep.prune.metric={metric}: must be another metric where loss varies, such as acc/val")


def keep_plan(sweep: Path, plan: Plan | None, before: Mapping[str, Any] | None) -> None:
    """Let the workers of a sweep know its plan; raises RequestError if the sweep that is resumed had another one.

    `before` is that of the sweep that is resumed, as `Plan.told` gave it.
    """
    if plan is None:
        (sweep / FOLDER / PLAN).unlink(missing_ok=True)
    elif before and before != plan.told():
        raise RequestError(f"sweep.resume={sweep}: sweep.prune must be as it was: {before}, or null")
    else:
        Rungs(sweep, plan).write_plan()
