"""Runs of objects: a LightningModule and data that no configuration describes."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers.logger import Logger
from torch import nn

from lightning_d2l.compat_lightning import trainer_of
from lightning_d2l.config.check import RequestError
from lightning_d2l.config.given import GIVEN
from lightning_d2l.config.trainer import logging_interval, number_of_epochs, parameter_type
from lightning_d2l.data.base import TensorDataModule
from lightning_d2l.data.function import build_data_of
from lightning_d2l.data.loaders import LoaderData
from lightning_d2l.data.streams import stream
from lightning_d2l.modules.base import SupervisedModule
from lightning_d2l.training.build import SHUFFLING, BuiltRun, logging_points, measure
from lightning_d2l.training.callbacks import require_metrics
from lightning_d2l.training.checkpoint import load_checkpoint, require_weights_of
from lightning_d2l.training.record import RunRecord
from lightning_d2l.training.same_data import require_same_data
from lightning_d2l.training.spec import RunSpec


def require_module(module: Any) -> pl.LightningModule:
    """The module; raises RequestError, which says how to wrap a network, if it is no LightningModule."""
    if isinstance(module, pl.LightningModule):
        return module
    if isinstance(module, type):
        raise RequestError(f"module: is the class {module.__name__}; must be an object: {module.__name__}(...)")
    if isinstance(module, nn.Module):
        raise RequestError(
            f"module: {type(module).__name__} is a network without a training step; wrap it: "
            "ClassificationModule(net) or RegressionModule(net), from lightning_d2l.modules"
        )
    raise RequestError(f"module: must be a LightningModule, not {type(module).__name__}")


def require_data(data: Any, target: str | None = None) -> pl.LightningDataModule:
    """The data, as this package asks for them: of a LightningDataModule its own loaders.

    Raises RequestError if they are none, nor what a registered function may return.
    """
    if isinstance(data, TensorDataModule):
        return copy.copy(data)  # each run has its own order
    if isinstance(data, pl.LightningDataModule):
        return LoaderData(data, type(data).__name__)
    if data is None or isinstance(data, type):
        what = "is missing" if data is None else f"is the class {data.__name__}"
        raise RequestError(f"datamodule: {what}; must be a LightningDataModule, or (x, y) of tensors or arrays")

    if target is not None and not hasattr(data, "columns") and not isinstance(data, Mapping):
        raise RequestError(f"target={target}: names a column of a DataFrame; datamodule is {type(data).__name__}")

    def given() -> Any:
        return data

    given.__name__ = "data"
    try:
        return build_data_of(given, {} if target is None else {"target": target})
    except RequestError as error:
        words = str(error).replace("data=data: returned", "datamodule: is").replace("data=data", "datamodule")
        raise RequestError(words) from None


def named_callbacks(callbacks: Iterable[Any] | Any) -> dict[str, pl.Callback]:
    """Callbacks by the names of their classes; raises RequestError on what is none."""
    found: dict[str, pl.Callback] = {}
    if not isinstance(callbacks, Iterable):
        callbacks = [callbacks]
    for callback in callbacks:
        if not isinstance(callback, pl.Callback):
            what = f"the class {callback.__name__}" if isinstance(callback, type) else type(callback).__name__
            raise RequestError(f"callbacks: must hold objects of Lightning's Callback, not {what}")
        name = type(callback).__name__
        same = sum(type(other) is type(callback) for other in found.values())
        found[f"{name}_{same + 1}" if same else name] = callback
    return found


def node_of(made: Any) -> dict[str, str]:
    """What a configuration holds of an object."""
    return {"_target_": GIVEN, "class": type(made).__name__}


def built_of(
    spec: RunSpec,
    module: pl.LightningModule,
    data: Any,
    callbacks: Sequence[pl.Callback] = (),
    loggers: Sequence[Logger] = (),
) -> BuiltRun:
    """A run of these objects before its first step; the data are read."""
    settings = spec.config["trainer"]
    data.setup()
    data.shuffle_seed = stream(SHUFFLING, spec.config["seed"])
    data.evaluate = settings["evaluate"]
    if isinstance(module, SupervisedModule):
        measure(data, module, settings["evaluate"])
    if (kind := parameter_type(settings)) != "float32":
        module = module.to(getattr(torch, kind))
    points = logging_points(number_of_epochs(settings, data.num_batches), logging_interval(settings))
    built = BuiltRun(spec, data, module, points, callbacks=list(callbacks), loggers=list(loggers))
    require_metrics(built)
    return built


def restored(record: RunRecord, checkpoint: Path, module: Any, data: Any) -> BuiltRun:
    """A finished run of objects, its weights from `checkpoint` below its folder in a copy of the module.

    Raises RequestError if the objects are not those of the run.
    """
    if module is None:
        node: Mapping[str, Any] = record.config["model"]
        raise RequestError(
            f"{record.folder}: its module was given to lightning_d2l.fit, so it is needed again: "
            f"lightning_d2l.load_run(folder, module={node.get('class')}(...), datamodule=...)"
        )
    module = copied(require_module(module))
    found = load_checkpoint(path := record.folder / checkpoint)
    require_weights_of(module, found, path)
    spec = RunSpec(dict(record.config), record.folder)
    made: Any = require_data(data, record.config["data"].get("target"))
    built = built_of(spec, module, made)
    require_same_data(record, built.data)
    module.load_state_dict(found["state_dict"])
    built.rows.extend(record.history)
    return built


def copied(module: pl.LightningModule) -> pl.LightningModule:
    """A copy of a module without its Trainer."""
    trainer = trainer_of(module)
    module.trainer = None
    try:
        return copy.deepcopy(module).cpu()
    finally:
        module.trainer = trainer
