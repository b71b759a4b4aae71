"""What a configuration describes: its data, its network and module, before the first step."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import hydra.utils
import torch
from torch import nn

from lightning_d2l.config.registry import EXACT
from lightning_d2l.data.base import TensorDataModule
from lightning_d2l.data.batches import stream
from lightning_d2l.modules.base import SupervisedModule
from lightning_d2l.modules.classification import ClassificationModule
from lightning_d2l.modules.regression import RegressionModule
from lightning_d2l.training.optimum import Optimum, exact_optimum

INITIALISATION, SHUFFLING, NOISE = 0, 1, 2  # the random streams of a seed; noise is dropout's masks


@dataclass
class Prepared:
    """A run before its first step: its data and its module, as the configuration has them."""

    data: TensorDataModule
    module: SupervisedModule
    exact: Optimum | None
    max_epochs: int
    solved: bool  # exactly, not by steps

    @property
    def name(self) -> str:
        return f"{type(self.module.net).__name__} on {self.data.name} ({self.data.source})"

    @property
    def num_parameters(self) -> int:
        return sum(p.numel() for p in self.module.parameters())

    def fields(self) -> dict[str, Any]:
        """What the record says of it."""
        model = type(self.module.net).__name__
        return {"data": self.data.identity(), "model": model, "num_parameters": self.num_parameters}

    def outcome(self, final: dict[str, float], best: dict[str, float]) -> dict[str, Any]:
        """What the record says of the end, beside the exact solution where there is one."""
        found: dict[str, Any] = {"metrics": {"final": final, "best": best}}
        if self.exact:
            found["metrics"]["exact"] = self.exact.losses(self.module, self.data)
            found["distance_to_exact"] = {"at_start": self.exact.at_start, "final": self.exact.distance(self.module)}
        return found


def prepare(config: Mapping[str, Any], data: TensorDataModule | None = None) -> Prepared:
    """Build what a configuration describes, on `data` if it is at hand already."""
    settings = config["trainer"]
    solved = config["optimizer"]["_target_"] == EXACT
    max_epochs = 1 if solved else settings["max_epochs"]  # however often it is solved, the solution is the same
    points = logging_points(max_epochs, settings["log_every_n_epochs"])
    data = data or build_data(config)
    chunks = [] if settings["engine"] == "lightning" else points
    data.plan(stream(config["seed"], SHUFFLING), chunks, settings["evaluate"])
    module = build_module(config, data, points)
    if settings["precision"] == "64-true":
        module.double()  # before a checkpoint's weights are loaded into it
    return Prepared(data, module, exact_optimum(module, data, config["optimizer"]), max_epochs, solved)


def logging_points(max_epochs: int, every: int) -> list[int]:
    """The first epoch, every n-th and the last, counted from 1."""
    return sorted({1, *range(every, max_epochs + 1, every), max_epochs})


def built(node: Mapping[str, Any], *args: Any, **more: Any) -> Any:
    """The object that a checked node describes: its `_target_`, called with its settings."""
    settings = {key: value for key, value in node.items() if key != "_target_"}
    return hydra.utils.get_object(node["_target_"])(*args, **copy.deepcopy(settings), **more)


def build_data(config: Mapping[str, Any]) -> TensorDataModule:
    """The data module of a configuration, its splits in memory."""
    data: TensorDataModule = built(config["data"])
    data.setup()
    return data


def build_module(config: Mapping[str, Any], data: TensorDataModule, points: list[int]) -> SupervisedModule:
    """The module of a configuration, its network initialised from the seed's own stream."""
    torch.manual_seed(stream(config["seed"], INITIALISATION))
    sizes = {"num_inputs": data.num_inputs, "num_outputs": data.num_outputs}
    net: nn.Module = built(config["model"], **sizes)
    optimizer = functools.partial(built, config["optimizer"])
    settings = (net, optimizer, points, data.evaluate, config["trainer"]["engine"] == "lightning")
    strength = config["penalty"].get("lambda", 1.0)
    penalty = {norm: strength * config["penalty"][norm] for norm in ("l1", "l2")}
    losses = {"loss": config["loss"], "penalty": penalty, "gradients": config["gradients"]}
    if data.task == "classification":
        return ClassificationModule(*settings, **losses, information=config["information"])
    return RegressionModule(*settings, **losses)
