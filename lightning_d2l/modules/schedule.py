"""Learning-rate schedules from plain descriptions, as Lightning's configure_optimizers returns them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR, ReduceLROnPlateau, SequentialLR

from lightning_d2l.config.check import RequestError, nearest
from lightning_d2l.config.registry import OBJECTS
from lightning_d2l.config.schedulers import (
    LENGTHS,
    MULTI_STEP,
    OF_RUN,
    ONE_CYCLE,
    SCHEDULERS,
    STEP,
    TORCH,
    WARM_RESTARTS,
    WARMUP,
)
from lightning_d2l.config.trainer import MONITORS
from lightning_d2l.modules.build import build

TORCHS = {*(getattr(lr_scheduler, name.rpartition(".")[2]) for name in TORCH), SequentialLR}


def scheduler_config(optimizer: Optimizer, description: Mapping[str, Any]) -> dict[str, Any]:
    """The `lr_scheduler` of Lightning's configure_optimizers: the scheduler, and whether epochs or steps drive it.

    `description` is a `_target_` with its settings, `interval`, "epoch" or "step", and the length of the run:
    `total_epochs` and `batches_per_epoch`, the number of optimizer steps in an epoch. A length that is None is taken
    from them. `reduce_on_plateau` is false for all: SupervisedModule steps what looks at a metric, before checkpoints
    are written.

    Raises ValueError on a `_target_` that is not registered, and on a length that can't be known. Raises RequestError
    where torch refuses the settings.
    """
    target = description.get("_target_")
    if target not in SCHEDULERS:
        raise ValueError(f"scheduler: _target_={target} is not a registered scheduler")
    interval = description.get("interval") or "epoch"
    node = {k: v for k, v in description.items() if k not in (*OF_RUN, "interval", "monitor")}
    if target in OBJECTS:  # a registered one may take the length of the run
        taken = inspect.signature(OBJECTS[target]).parameters.keys() & {*OF_RUN}
        node |= {key: description[key] for key in taken if description.get(key) is not None}
    epochs = description.get("total_epochs")
    total = epochs * (description.get("batches_per_epoch") or 1 if interval == "step" else 1) if epochs else None
    if (key := LENGTHS.get(target)) and node.get(key) is None:
        if total is None:
            raise ValueError(f"scheduler.{key}=null: must be given where the length of the run is not known")
        node[key] = _length(node, total)
    if target == ONE_CYCLE:
        if total is not None and node["total_steps"] < total:  # torch's class would raise an error there
            steps = node["total_steps"]
            raise RequestError(f"scheduler.total_steps={steps}: must be at least {total}, the {interval}s of the run")
        if node.get("max_lr") is None:
            node["max_lr"] = [group["lr"] for group in optimizer.param_groups]
        if node.get("cycle_momentum", True) and not optimizer.defaults.keys() & {"momentum", "betas"}:
            name = type(optimizer).__name__
            raise RequestError(f"scheduler.cycle_momentum=true: must be false for {name}, which has no momentum")
    then = node.pop("then", "constant") if target == WARMUP else "constant"
    try:
        scheduler: LRScheduler = build(node, optimizer)
        if then == "cosine":
            if total is None:
                raise ValueError("scheduler.then=cosine: the length of the run must be known")
            warmup = node["total_iters"]
            cosine = CosineAnnealingLR(optimizer, max(1, total - warmup))
            scheduler = SequentialLR(optimizer, [scheduler, cosine], [warmup])
    except (ValueError, TypeError) as error:
        raise RequestError(f"scheduler={target.rpartition('.')[2]}: {str(error).splitlines()[0]}") from error
    return {"scheduler": scheduler, "interval": interval, "reduce_on_plateau": False}


def _length(node: Mapping[str, Any], total: int) -> int | list[int]:
    """The length of a schedule in a run of `total` epochs or steps."""
    target = node["_target_"]
    if target == MULTI_STEP:
        return sorted({max(1, total // 2), max(1, total * 3 // 4)})
    if target == WARM_RESTARTS:
        factor = int(node.get("T_mult", 1))
        return max(1, -(-total // (1 + factor + factor**2)))
    return max(1, -(-total // {STEP: 3, WARMUP: 10}.get(target, 1)))


def length_of_run(description: Mapping[str, Any]) -> str:
    """The setting, such as "T_max=null", for which a schedule takes the length of the run, or an empty string."""
    if (key := LENGTHS.get(description["_target_"])) and description.get(key) is None:
        return f"{key}=null"
    return "then=cosine" if description.get("then") == "cosine" else ""


def parts(configured: Any) -> tuple[Optimizer, dict[str, Any] | None]:
    """The optimizer and the `lr_scheduler`, or None, that a SupervisedModule's configure_optimizers returned."""
    if isinstance(configured, Optimizer):
        return configured, None
    return configured["optimizer"], configured["lr_scheduler"]


def rate(scheduler: LRScheduler) -> float:
    """The learning rate of the next step."""
    return float(scheduler.optimizer.param_groups[0]["lr"])


def looks(scheduler: LRScheduler) -> bool:
    """Whether a scheduler looks at a metric."""
    return isinstance(scheduler, ReduceLROnPlateau)


def is_torchs(scheduler: LRScheduler) -> bool:
    """Whether a scheduler is of a class that this package configures, which registered ones are not."""
    return type(scheduler) in TORCHS


def changes_momentum(scheduler: LRScheduler) -> bool:
    """Whether a scheduler may change other settings of the optimizer than lr."""
    return (isinstance(scheduler, OneCycleLR) and scheduler.cycle_momentum) or not is_torchs(scheduler)


def looks_after(description: Mapping[str, Any], epoch: int) -> bool:
    """Whether a scheduler that looks at a metric does so after an epoch, counted from 1."""
    every = description.get("log_every_n_epochs") or 1
    return bool(epoch % every == 0)


def monitored(description: Mapping[str, Any], names: Mapping[str, Any] | list[str]) -> str:
    """The metric that a scheduler looks at; raises RequestError if it is not one of `names`."""
    wanted = description.get("monitor")
    found = wanted or next((name for name in MONITORS if name in names), MONITORS[0])
    if found not in names:
        known = sorted(name for name in names if "/" in name)
        raise RequestError(
            f"scheduler.monitor={found}: must be a metric of the run: {', '.join(known)}{nearest(found, known)}"
        )
    return str(found)
