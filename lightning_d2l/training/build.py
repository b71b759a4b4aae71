"""What a configuration describes, before the first step: data, network, module."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from lightning_d2l.config.optimizers import EXACT
from lightning_d2l.data.base import TensorDataModule
from lightning_d2l.data.streams import stream
from lightning_d2l.engine.points import Points
from lightning_d2l.modules import ClassificationModule, RegressionModule
from lightning_d2l.modules.base import SupervisedModule
from lightning_d2l.modules.build import build as build_node
from lightning_d2l.training.files import Row
from lightning_d2l.training.optimum import Optimum, exact_optimum
from lightning_d2l.training.spec import RunSpec

# The random streams of a run's seed; noise is that of dropout and of the inputs.
INITIALISATION, SHUFFLING, NOISE = "run/initialisation", "run/shuffling", "run/noise"


@dataclass(eq=False)
class BuiltRun:
    """A run before its first step. Metrics are measured at `points`: numbers of epochs, from 1."""

    spec: RunSpec
    data: TensorDataModule
    module: SupervisedModule
    points: Sequence[int]
    exact: Optimum | None = None  # the analytic solution, where there is a formula
    rows: list[Row] = field(default_factory=list)  # what was measured at each logging point so far

    @property
    def max_epochs(self) -> int:
        return self.points[-1]

    @property
    def name(self) -> str:
        return f"{type(self.module.net).__name__} on {self.data.name} ({self.data.source})"

    @property
    def num_parameters(self) -> int:
        return sum(p.numel() for p in self.module.parameters())

    def fields(self) -> dict[str, Any]:
        """What the record holds of it."""
        net = self.module.net
        numbers = {"num_parameters": self.num_parameters, "threads": torch.get_num_threads()}
        return {"data": self.data.identity(), "model": type(net).__name__, **numbers}

    def outcome(self, final: dict[str, float], best: dict[str, float]) -> dict[str, Any]:
        """What the record holds of the end, beside the analytic solution where there is one."""
        found: dict[str, Any] = {"metrics": {"final": final, "best": best}}
        if self.exact:
            found["metrics"]["exact"] = self.exact.losses(self.module, self.data)
            found["distance_to_exact"] = {"at_start": self.exact.at_start, "final": self.exact.distance(self.module)}
        return found


def build(spec: RunSpec, data: TensorDataModule | None = None) -> BuiltRun:
    """Build what the configuration of a run describes, on `data` if they are in memory already."""
    config, settings = spec.config, spec.config["trainer"]
    # The solution is the same however often it is computed.
    max_epochs = 1 if config["optimizer"]["_target_"] == EXACT else settings["max_epochs"]
    data = copy.copy(data) if data else build_data(config)  # runs share the tensors, and each has its own order
    data.shuffle_seed = stream(SHUFFLING, config["seed"])
    module = build_module(config, data)
    # A loss with parameters changes with every step, so that of the training data is measured after an epoch.
    learned = isinstance(module.loss, nn.Module) and "train" not in settings["evaluate"]
    data.evaluate = ["train"] * learned + settings["evaluate"]
    points = logging_points(max_epochs, settings["log_every_n_epochs"])
    return BuiltRun(spec, data, module, points, exact_optimum(module, data, config["optimizer"]))


def logging_points(max_epochs: int, every: int) -> Points:
    """The first epoch, every n-th and the last, counted from 1."""
    return Points(max_epochs, every)


def build_data(config: Mapping[str, Any]) -> TensorDataModule:
    """The data module of a configuration, its splits in memory."""
    data: TensorDataModule = build_node(config["data"])
    data.setup()
    return data


def build_module(config: Mapping[str, Any], data: TensorDataModule) -> SupervisedModule:
    """The module of a configuration in its precision, its network initialised from the seed's stream."""
    torch.manual_seed(stream(INITIALISATION, config["seed"]))
    net = {**config["model"], "num_inputs": data.num_inputs, "num_outputs": data.num_outputs}
    strength = config["penalty"].get("lambda", 1.0)
    penalty = {norm: strength * config["penalty"][norm] for norm in ("l1", "l2")}
    settings: dict[str, Any] = {"penalty": penalty, "gradients": config["gradients"]}
    kind: type[SupervisedModule] = RegressionModule
    if data.task == "classification":
        kind, settings["information"] = ClassificationModule, config["information"]
    module = kind(net, config["loss"], config["optimizer"], **settings)
    # Before the weights of a checkpoint are loaded, which it would round otherwise.
    return module.double() if config["trainer"]["precision"] == "64-true" else module
