"""The callbacks of a run: built from its configuration, checked against its metrics, and why they stopped it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
from lightning_utilities.core.imports import RequirementCache
from pytorch_lightning.callbacks import EarlyStopping, Timer

from lightning_d2l.config.callbacks import DEVICE_STATS, FINDERS, TIMER
from lightning_d2l.config.check import RequestError, nearest
from lightning_d2l.config.given import GIVEN
from lightning_d2l.config.registry import OBJECTS
from lightning_d2l.config.trainer import RUNNING
from lightning_d2l.modules.build import build as build_node
from lightning_d2l.modules.callbacks import GradientNorm, LearningRateMonitor, duration
from lightning_d2l.modules.schedule import monitored

if TYPE_CHECKING:
    from lightning_d2l.training.build import BuiltRun

OF_EVERY_RUN = ("epoch", "step")  # what ModelCheckpoint may look at too


def names_of(config: Mapping[str, Any]) -> list[str]:
    """The names of a run's callbacks, in the order of `build_callbacks`: all but those that search a setting."""
    asked = config.get("callbacks") or {}
    return [name for name, node in asked.items() if node["_target_"] not in FINDERS]


def build_callbacks(config: Mapping[str, Any]) -> list[pl.Callback]:
    """The callbacks that a checked configuration asks for, but for those that search a setting before the run.

    Raises RequestError on one that needs a package or a logger that is not there, or that can't be built.
    """
    return [_built(name, config["callbacks"][name], config) for name in names_of(config)]


def _built(name: str, node: Mapping[str, Any], config: Mapping[str, Any]) -> pl.Callback:
    key, target = f"callbacks.{name}", node["_target_"]
    if target == DEVICE_STATS:
        if not config["logger"]:
            raise RequestError(f"{key}: must come with a logger, to which it writes; logger=tensorboard or csv")
        psutil = RequirementCache("psutil")
        if node["cpu_stats"] is not False and not psutil:
            raise RequestError(f"{key}: needs psutil to measure the processor; pip install psutil")
    if target == TIMER:
        node = {**node, "duration": None if node["duration"] is None else duration(node["duration"])}
    try:
        made: pl.Callback = build_node(node)
    except Exception as error:
        raise RequestError(f"{key}: {' '.join(str(error).split()) or type(error).__name__}") from error
    if not isinstance(made, pl.Callback):
        raise RequestError(f"{key}: {target} is a {type(made).__name__}, not a Lightning callback")
    return made


def require_metrics(built: BuiltRun) -> None:
    """Raise RequestError, with the names of the run's metrics, on a callback that monitors another one.

    What a custom LightningModule logs is not known before it trains.
    """
    if built.supervised is None:
        return
    known: list[str] = []
    if (schedule := built.supervised.scheduler) and schedule.get("monitor"):
        monitored(schedule, known := metrics_of(built))
    for name, callback in zip(names_of(built.spec.config), built.callbacks, strict=True):
        monitor = getattr(callback, "monitor", None)
        if not isinstance(monitor, str) or not getattr(callback, "strict", True):
            continue
        known = known or metrics_of(built)
        if monitor not in (*known, *(() if isinstance(callback, EarlyStopping) else OF_EVERY_RUN)):
            raise RequestError(
                f"callbacks.{name}.monitor={monitor}: must be a metric of the run: {', '.join(known)}"
                f"{nearest(monitor, known)}"
            )


def metrics_of(built: BuiltRun) -> list[str]:
    """The names of the metrics that a run of a SupervisedModule has at each logging point."""
    module, callbacks = built.supervised, built.callbacks
    assert module is not None
    evaluated = built.data.evaluated
    splits = evaluated if "train" in evaluated else [RUNNING, *evaluated]
    names = [f"{metric}/{split}" for metric in module.metric_names for split in splits]
    weights = [weight.detach() for weight in module.weights()]
    names += module.measure_parameters(weights, [None for _ in weights])
    names += ["gradient/total"] if any(isinstance(callback, GradientNorm) for callback in callbacks) else []
    rate = module.scheduler is not None or any(isinstance(callback, LearningRateMonitor) for callback in callbacks)
    return [*names, *(["lr"] if rate else [])]


def stopped_early(
    config: Mapping[str, Any], callbacks: Sequence[pl.Callback], epoch: int, max_epochs: int
) -> dict[str, Any] | None:
    """The field `stopped` of a run that ended after an epoch: epoch, reason, and the callback by which; or None."""
    if epoch >= max_epochs:
        return None
    for name, callback in zip(names_of(config), callbacks, strict=True):
        reason = getattr(callback, "reason", "") or getattr(callback, "stopping_reason_message", "")
        if isinstance(callback, Timer) and (left := callback.time_remaining()) is not None and left <= 0:
            reason = f"the time of {config['callbacks'][name].get('duration', 'its duration')} is over"
        if isinstance(reason, str) and reason:
            return {"epoch": epoch, "reason": reason, "by": name}
    limited = config["trainer"].get("max_time") is not None or config["trainer"].get("max_steps", -1) != -1
    others = [name for name in names_of(config) if config["callbacks"][name]["_target_"] in (*OBJECTS, GIVEN)]
    if others and not limited:
        return {"epoch": epoch, "reason": "trainer.should_stop was set", "by": " or ".join(others)}
    return None
