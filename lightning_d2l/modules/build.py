"""Networks and optimizers from plain descriptions: `{"_target_": name, **settings}` with a registered name."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Mapping
from pkgutil import resolve_name
from typing import Any

from torch import nn
from torch.optim import Optimizer

from lightning_d2l.config.check import RequestError, nearest
from lightning_d2l.config.optimizers import MUON, OPTIMIZERS, SPARSE_ADAM
from lightning_d2l.config.registry import LAYERS, MODELS, OBJECTS
from lightning_d2l.nets.description import description_of

OptimizerFactory = Callable[[list[Any]], Optimizer]
"""A function from parameters, or groups of them, to an optimizer."""
OPTIMIZER_NAMES = {name.rpartition(".")[2].lower(): name for name in OPTIMIZERS if name.startswith("torch.")}


def build(node: Mapping[str, Any], *args: Any, **more: Any) -> Any:
    """The object that a checked description names: its `_target_`, called with its settings."""
    settings = {key: value for key, value in node.items() if key != "_target_"}
    return named(node["_target_"])(*args, **copy.deepcopy(settings), **more)


def named(target: str) -> Any:
    """The class or function of a checked `_target_`: one that a plugin registered, or one of an installed package."""
    return OBJECTS[target] if target in OBJECTS else _installed(target)


@functools.cache  # a look-up takes as long as building an optimizer
def _installed(target: str) -> Any:
    return resolve_name(":".join(target.rsplit(".", 1)))  # a module may hold a function of a submodule's name


def layer(description: Mapping[str, Any] | None) -> nn.Module | None:
    """What stands in front of a network, from its description; raises ValueError unless its `_target_` is in LAYERS."""
    if description is None:
        return None
    if description.get("_target_") not in LAYERS:
        raise ValueError(f"_target_={description.get('_target_')}: is not a layer for inputs")
    made: nn.Module = build(description)
    return made


def network(net: nn.Module | Mapping[str, Any]) -> tuple[nn.Module, dict[str, Any] | None]:
    """A network and its description, None for one of a class that keeps none.

    Raises ValueError on a description whose `_target_` is not a registered model.
    """
    if isinstance(net, nn.Module):
        return net, description_of(net)
    if net.get("_target_") not in MODELS:
        raise ValueError(f"net: _target_={net.get('_target_')} is not a registered model")
    made: nn.Module = build(net)
    return made, dict(net)


def optimizer_factory(
    optimizer: str | Mapping[str, Any] | OptimizerFactory,
) -> tuple[OptimizerFactory, dict[str, Any] | None]:
    """What makes the optimizer, and its description, None where it has none.

    Raises ValueError on a name or description that is not a registered optimizer.
    """
    if isinstance(optimizer, str):
        if optimizer not in OPTIMIZER_NAMES:
            hint = nearest(optimizer, list(OPTIMIZER_NAMES))
            raise ValueError(f"optimizer={optimizer}: must be one of {', '.join(OPTIMIZER_NAMES)}{hint}")
        optimizer = {"_target_": OPTIMIZER_NAMES[optimizer]}
    elif callable(optimizer):
        described = _described(optimizer)
        return optimizer, described
    if optimizer.get("_target_") not in OPTIMIZERS:
        raise ValueError(f"optimizer: _target_={optimizer.get('_target_')} is not a registered optimizer")
    passed = dict(optimizer)
    if not optimizer.get("weight_decay") and "weight_decay" not in parameters_of(named(optimizer["_target_"])):
        passed.pop("weight_decay", None)  # every configuration has it
    return functools.partial(build, passed), dict(optimizer)


@functools.cache
def parameters_of(make: Callable[..., Any]) -> tuple[str, ...]:
    """The names of what a class or function takes."""
    return tuple(inspect.signature(make).parameters)


@functools.cache
def needs_closure(kind: Any) -> bool:
    """Whether a step of a class evaluates the loss itself, several times, as that of LBFGS."""
    step = getattr(kind, "step", None)
    closure = inspect.signature(step).parameters.get("closure") if step else None
    return closure is not None and closure.default is inspect.Parameter.empty


def require_parameters(optimizer: Mapping[str, Any] | None, net: nn.Module) -> None:
    """Raise RequestError if the described optimizer can't step for the parameters of a network."""
    target = optimizer.get("_target_") if optimizer else None
    if target == MUON:
        for name, parameter in net.named_parameters():
            if parameter.dim() != 2:
                shape = tuple(parameter.shape)
                raise RequestError(f"optimizer=muon: steps for matrices alone, and {name} has the shape {shape}")
    if target == SPARSE_ADAM:
        embeddings = [layer for layer in net.modules() if isinstance(layer, (nn.Embedding, nn.EmbeddingBag))]
        sparse = {id(layer.weight) for layer in embeddings if layer.sparse}
        if dense := [name for name, parameter in net.named_parameters() if id(parameter) not in sparse]:
            raise RequestError(
                f"optimizer=sparse_adam: steps along sparse gradients alone, and {dense[0]} has dense ones, "
                "since it is not the weight of an nn.Embedding(sparse=True); optimizer=adam takes both"
            )


def _described(factory: OptimizerFactory) -> dict[str, Any] | None:
    """The description of a registered class, or of functools.partial of one with plain settings."""
    settings: Mapping[str, Any] = {}
    made: Any = factory
    if isinstance(factory, functools.partial) and not factory.args:
        made, settings = factory.func, factory.keywords
    target = next((name for name in OPTIMIZERS if isinstance(made, type) and named(name) is made), None)
    plain = all(isinstance(value, (bool, int, float, str, list, tuple, type(None))) for value in settings.values())
    return {"_target_": target, **settings} if target and plain else None
