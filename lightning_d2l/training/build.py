"""What a configuration describes, before the first step: data, network, module."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers.logger import Logger
from torch import nn

from lightning_d2l.config.check import RequestError, check_inputs, check_task
from lightning_d2l.config.metrics import is_top_k
from lightning_d2l.config.optimizers import EXACT
from lightning_d2l.config.registry import METRICS, OBJECTS
from lightning_d2l.config.trainer import logging_interval, number_of_epochs, parameter_type, steps_of_epoch
from lightning_d2l.data.base import TensorDataModule
from lightning_d2l.data.streams import stream
from lightning_d2l.engine.points import Points
from lightning_d2l.modules import ClassificationModule, RegressionModule, foreign
from lightning_d2l.modules.base import SupervisedModule
from lightning_d2l.modules.build import build as build_node
from lightning_d2l.modules.build import named
from lightning_d2l.training.baselines import baselines, require_reference
from lightning_d2l.training.callbacks import build_callbacks, require_metrics, stopped_early
from lightning_d2l.training.files import Row
from lightning_d2l.training.lazy import give_sizes
from lightning_d2l.training.optimum import Optimum, exact_optimum, recorded
from lightning_d2l.training.pruned import Watch
from lightning_d2l.training.spec import RunSpec

# The random streams of a run's seed; noise is that of dropout and of the inputs.
INITIALISATION, SHUFFLING, NOISE = "run/initialisation", "run/shuffling", "run/noise"


@dataclass(eq=False)
class BuiltRun:
    """A run before its first step. Metrics are measured at `points`: numbers of epochs, from 1.

    `module` is a SupervisedModule, or a LightningModule that a plugin registered.
    """

    spec: RunSpec
    data: TensorDataModule
    module: pl.LightningModule
    points: Sequence[int]
    exact: Optimum | None = None  # the analytic solution, where there is a formula
    rows: list[Row] = field(default_factory=list)  # what was measured at each logging point so far
    callbacks: list[pl.Callback] = field(default_factory=list)  # those that were asked for
    loggers: list[Logger] = field(default_factory=list)  # given as objects, beside those of the configuration
    watch: Watch = lambda rows: None  # what looks at the rows after each logging point, and may end the run

    @property
    def max_epochs(self) -> int:
        return self.points[-1]

    @property
    def name(self) -> str:
        return f"{self.model} on {self.data.name} ({self.data.source})"

    @property
    def model(self) -> str:
        """The name of the network's class."""
        return type(self.module.net if self.supervised else self.module).__name__

    @property
    def supervised(self) -> SupervisedModule | None:
        """The module where it is one of this package, and None where it is a custom LightningModule."""
        return self.module if isinstance(self.module, SupervisedModule) else None

    @property
    def net(self) -> nn.Module:
        """What maps inputs, as the data hold them, to outputs."""
        if not (module := self.supervised):
            return self.module
        return nn.Sequential(module.transform, module.net) if module.transform else module.net

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The names of the metrics that are measured of each split; of a custom module, of those that it has logged."""
        if module := self.supervised:
            return module.metric_names
        return tuple(dict.fromkeys(name.partition("/")[0] for row in self.rows for name in row if "/" in name))

    @property
    def monitor(self) -> str | None:
        """The metric whose lowest value marks the best epoch; None if a custom module has not logged a loss."""
        return self.data.monitor if self.supervised else foreign.monitored(self.rows[-1] if self.rows else ())

    @property
    def num_parameters(self) -> int:
        return sum(p.numel() for p in self.module.parameters())

    def fields(self) -> dict[str, Any]:
        """What the record holds of it."""
        numbers = {"num_parameters": self.num_parameters, "threads": torch.get_num_threads()}
        found: dict[str, Any] = {"found": self.spec.found} if self.spec.found else {}
        found |= {"wrong_labels": wrong} if (wrong := getattr(self.data, "wrong_labels", 0.0)) else {}
        identity = self.data.identity()
        compared = baselines(self.spec.config, self.data, self.module, identity["checksum"])
        return {"data": identity, "model": self.model, **numbers, "baselines": compared, **found}

    def stopped_after(self, epoch: float) -> dict[str, Any] | None:
        """Why a callback or the time stopped a run whose last epoch is `epoch`: epoch, reason, by; or None."""
        found = stopped_early(self.spec.config, self.callbacks, int(epoch), self.max_epochs)
        limit = self.spec.config["trainer"]["max_time"]
        if found is None and limit is not None and epoch < self.max_epochs:
            return {"epoch": int(epoch), "reason": f"the time of {limit} is over", "by": "trainer.max_time"}
        return found

    def outcome(self, final: dict[str, float], best: dict[str, float]) -> dict[str, Any]:
        """What the record holds of the end, beside the analytic solution where there is one."""
        found: dict[str, Any] = {"metrics": {"final": final, "best": best}}
        stopped = self.stopped_after(final["epoch"])
        if stopped or self.spec.resuming:
            found["stopped"] = stopped
        if self.exact and self.supervised:
            found["metrics"]["exact"] = self.exact.losses(self.supervised, self.data)
            found["distance_to_exact"] = {
                "at_start": self.exact.at_start,
                "final": self.exact.distance(self.supervised),
            }
        solved = self.supervised and self.supervised.solution
        if solution := solved or (self.exact and self.exact.solution):
            found["solution"] = recorded(solution)
            if solved and self.exact:
                least = found["metrics"]["exact"]["loss/train"]
                found["solution"]["rounding"] = self.exact.rounding(self.data, least, final["loss/train"])
        return found


def build(spec: RunSpec, data: TensorDataModule | None = None) -> BuiltRun:
    """Build what the configuration of a run describes, on `data` if they are in memory already."""
    config, settings = spec.config, spec.config["trainer"]
    optimizer = config["optimizer"]
    data = copy.copy(data) if data else build_data(config)  # runs share the tensors, and each has its own order
    data.shuffle_seed = stream(SHUFFLING, config["seed"])
    module = build_module(config, data)
    exact = None
    # The exact solution is the same however often it is computed.
    solved = optimizer is not None and optimizer["_target_"] == EXACT
    if isinstance(module, SupervisedModule):
        measure(data, module, settings["evaluate"], always_train=solved)
        exact = exact_optimum(module, data, config["optimizer"])
    epochs = 1 if solved else number_of_epochs(settings, data.num_batches)
    points = logging_points(epochs, logging_interval(settings))
    built = BuiltRun(spec, data, module, points, exact, callbacks=build_callbacks(config))
    require_metrics(built)
    require_reference(config, data, module)
    return built


def measure(
    data: TensorDataModule, module: SupervisedModule, evaluate: Sequence[str], *, always_train: bool = False
) -> None:
    """Let the splits of `evaluate` be measured at each logging point, and the training data at the end at the latest.

    A loss with parameters changes with every step: the training data are then measured at each logging point too.
    """
    learned = isinstance(module.loss, nn.Module)
    data.evaluate = [*["train"] * ((always_train or learned) and "train" not in evaluate), *evaluate]
    if isinstance(data, TensorDataModule):
        data.at_end = ["train"] * ("train" not in data.evaluate)


def logging_points(max_epochs: int, every: int) -> Points:
    """The first epoch, every n-th and the last, counted from 1."""
    return Points(max_epochs, every)


def build_data(config: Mapping[str, Any]) -> TensorDataModule:
    """The data module of a configuration, its splits in memory."""
    data = unread_data(config)
    data.setup()
    return data


def unread_data(config: Mapping[str, Any]) -> TensorDataModule:
    """The data module of a configuration; nothing is read yet."""
    node = config["data"]
    if node["_target_"] not in OBJECTS:
        return cast(TensorDataModule, build_node(node))
    from lightning_d2l.data.function import build_data_of

    settings = {key: value for key, value in node.items() if key != "_target_"}
    return cast(TensorDataModule, build_data_of(OBJECTS[node["_target_"]], settings))


def build_module(config: Mapping[str, Any], data: TensorDataModule) -> pl.LightningModule:
    """The module of a configuration in its precision, its network initialised from the seed's stream.

    A LightningModule that a plugin registered is built as it is. Raises RequestError if the model or the loss does not
    fit the targets of the data.
    """
    _seed(stream(INITIALISATION, config["seed"]))
    made = named(config["model"]["_target_"])
    if isinstance(made, type) and issubclass(made, pl.LightningModule):
        module: pl.LightningModule = _custom_module(config, made, data)
    else:
        module = _supervised_module(config, data, {**config["model"], **{name: getattr(data, name) for name in SIZES}})
    give_sizes(module, data)
    # Before the weights of a checkpoint are loaded, which it would round otherwise.
    kind = parameter_type(config["trainer"])
    return module if kind == "float32" else module.to(getattr(torch, kind))


@functools.cache
def _has_accelerator() -> bool:
    """Asked once: torch asks the driver each time."""
    return torch.accelerator.is_available()


def _seed(seed: int) -> None:
    """Seed torch's generators: without an accelerator the processor's alone, as the others take 50 times as long."""
    if _has_accelerator():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


def _supervised_module(config: Mapping[str, Any], data: TensorDataModule, net: dict[str, Any]) -> SupervisedModule:
    classes = data.task == "classification"
    check_task(config, classes)
    check_top_k(config["metrics"], data.num_outputs)
    check_inputs(config["model"], data.num_inputs)
    if config["optimizer"] is None:
        raise RequestError(f"optimizer=null: {net['_target_']} needs an optimizer, such as sgd")
    strength = config["penalty"].get("lambda", 1.0)
    settings: dict[str, Any] = {
        "penalty": {norm: strength * config["penalty"][norm] for norm in ("l1", "l2")},
        "gradients": config["gradients"],
        "metrics": config["metrics"],
        "transform": data.transform,
        "preprocessing": data.preprocessing,
    }
    if config["scheduler"] is not None and config["optimizer"]["_target_"] != EXACT:  # which takes no steps
        lengths = {
            "total_epochs": number_of_epochs(config["trainer"], data.num_batches),
            "batches_per_epoch": steps_of_epoch(config["trainer"], data.num_batches),
        }
        lengths["log_every_n_epochs"] = config["trainer"]["log_every_n_epochs"]
        settings["scheduler"] = {**config["scheduler"], **lengths}
    kind: type[SupervisedModule] = ClassificationModule if classes else RegressionModule
    if classes:
        settings["information"] = config["information"]
    return kind(net, config["loss"], config["optimizer"], **settings)


def check_top_k(metrics: Sequence[str], num_classes: int) -> None:
    """Raise RequestError on a metric topK that is 1 whatever is predicted."""
    for name in metrics:
        if name not in METRICS and is_top_k(name) and int(name[3:]) >= num_classes:
            raise RequestError(f"metrics=[{name}]: must be below top{num_classes}: the data have {num_classes} classes")


SIZES = ("num_inputs", "num_outputs")  # of the data, which a network takes
# Settings that a custom LightningModule has no use for, with their defaults.
OF_SUPERVISED: dict[str, Any] = {
    "loss": None,
    "metrics": [],
    "gradients": False,
    "information": False,
    "scheduler": None,
}


def _custom_module(config: Mapping[str, Any], made: type[pl.LightningModule], data: TensorDataModule) -> Any:
    """A LightningModule of a plugin; the sizes of the data are passed where it takes them."""
    for key, default in OF_SUPERVISED.items():
        if config[key] != default:
            raise RequestError(f"{key}={config[key]}: must be left out; {made.__name__} decides it itself")
    if config["optimizer"] is not None or any(config["penalty"][norm] for norm in ("l1", "l2")):
        key = "penalty" if config["optimizer"] is None else "optimizer"
        raise RequestError(f"{key}: must be left out; {made.__name__} has its own, which model.* may set")
    known = inspect.signature(made).parameters
    return build_node(config["model"], **{name: getattr(data, name) for name in SIZES if name in known})
