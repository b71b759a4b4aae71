"""Which runs can train together: decided from the objects that are built, not from the names of settings."""

from __future__ import annotations

import copy
from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor, nn

from lightning_d2l.config.trainer import arguments
from lightning_d2l.data.batches import as_batch, as_input
from lightning_d2l.engine.choice import needs_lightning
from lightning_d2l.engine.exact import Exact
from lightning_d2l.engine.members import Member
from lightning_d2l.engine.noise import STRENGTHS
from lightning_d2l.engine.optimizers import shared_settings, why_alone
from lightning_d2l.engine.schedules import in_common, why_apart
from lightning_d2l.modules.callbacks import EarlyStopping, LearningRateMonitor, ModelSummary, runs_in_fast_loop
from lightning_d2l.training.build import BuiltRun
from lightning_d2l.training.callbacks import names_of
from lightning_d2l.training.finders import finders

INPUTS = -1  # replaces the number of input features in a shape
RUN = ("trainer", "verbose", "gradients", "information", "loss")  # settings that members share
ALLOWED = (EarlyStopping, LearningRateMonitor, ModelSummary)  # each member's own, or of no consequence to a group
PASSIVE = ("torch.nn.modules.", "lightning_d2l.nets.")  # where layers keep nothing of a pass but in buffers
OWN = frozenset(vars(nn.Module()))  # the attributes of every nn.Module


class CannotStack(Exception):
    """The reason why a run trains alone."""


def structure(built: BuiltRun, member: Member) -> Hashable:
    """What has to be equal for runs to train together; raises CannotStack where a run can't train with any other."""
    config, module, optimizer = built.spec.config, member.module, member.optimizer
    if config["trainer"]["engine"] == "lightning":
        raise CannotStack("trainer.engine=lightning")
    for name, callback in zip(names_of(config), built.callbacks, strict=True):
        if not (runs_in_fast_loop(callback) and isinstance(callback, ALLOWED)):
            raise CannotStack(f"callbacks.{name}")
    if searched := finders(config):
        raise CannotStack(f"callbacks.{next(iter(searched))}")
    if reason := needs_lightning(module, built.data, built.callbacks, arguments(config["trainer"])):
        raise CannotStack(f"{reason} needs Lightning's own loop")
    if not isinstance(optimizer, Exact) and (reason := why_alone(optimizer) or why_apart(member)):
        raise CannotStack(reason)
    if member.data.transform and member.data.transform.get("augment"):
        raise CannotStack(f"data.augment={config['data']['augment']} draws for each sample".replace("'", ""))
    if frozen := [name for name, p in module.net.named_parameters() if not p.requires_grad]:
        raise CannotStack(f"{frozen[0]} is not trained")
    if unused := _decays_unused(member):
        raise CannotStack(f"{unused[0]} is not used, and weight decay would change it")
    x = member.data.splits["train"][0]
    if changed := _changed_in_training(module.net, x):
        raise CannotStack(f"{changed} changes in training")
    # The share of weights that are 0, which is measured with a penalty, would count zeros behind a weight.
    widened = set() if any(module.penalty.values()) else _first_weights(module.net, x)
    exact = isinstance(optimizer, Exact)
    penalty = any(module.penalty.values()) if exact else tuple(module.penalty.values())
    settings = {} if exact else shared_settings(optimizer) | in_common(member)
    splits = sorted(built.data.splits.items())
    return (
        tuple((name, _hashable(config[name])) for name in RUN),
        (type(module), module.loss_name, penalty, built.max_epochs, member.start, member.logs_rate),
        tuple((name, type(layer), _settings(layer)) for name, layer in module.net.named_modules()),
        tuple((name, _shape(p, id(p) in widened)) for name, p in module.named_parameters()),
        tuple((name, _shape(b)) for name, b in module.named_buffers()),
        (type(optimizer), _hashable(settings), len(optimizer.param_groups[0]) if exact else member.data.batch_size),
        tuple((split, _shape(x, bool(widened)), _shape(y)) for split, (x, y) in splits),
    )


def _decays_unused(member: Member) -> list[str]:
    """The parameters without a gradient, if there is weight decay: torch passes over them, in a stack they decay."""
    if not any(group.get("weight_decay") for group in member.optimizer.param_groups):
        return []
    module, training = member.module, member.module.training
    names, parameters = zip(*module.named_parameters(), strict=True)
    x, y = member.data.splits["train"]
    loss, _ = module.eval().objective(as_batch((x[:2], y[:2]), parameters[0].dtype))
    module.train(training)
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [name for name, gradient in zip(names, gradients, strict=True) if gradient is None]


def _changed_in_training(net: nn.Module, x: Tensor) -> str:
    """The first buffer or attribute that a pass in training changes, as a recorded step would not, or ""."""
    if next(net.buffers(), None) is None and all(type(layer).__module__.startswith(PASSIVE) for layer in net.modules()):
        return ""
    trained = copy.deepcopy(net).train()
    buffers = {name: buffer.clone() for name, buffer in trained.named_buffers()}
    before = {name: _attributes(layer) for name, layer in trained.named_modules()}
    with torch.no_grad():
        trained(as_input(x[:2], next(net.parameters()).dtype))
    for name, buffer in trained.named_buffers():
        if not torch.equal(buffer, buffers[name]):
            return name
    for name, layer in trained.named_modules():
        after = _attributes(layer)
        for key in sorted({*before[name], *after}):
            if before[name].get(key) != after.get(key):
                return f"{name}.{key}".lstrip(".")
    return ""


def _attributes(layer: nn.Module) -> dict[str, Hashable]:
    """The attributes of a layer that are no tensors or layers."""
    return {k: _hashable(v) for k, v in vars(layer).items() if k not in OWN and not isinstance(v, Tensor)}


def _first_weights(net: nn.Module, x: Tensor) -> set[int]:
    """The weights, by id, by which nn.Linear layers multiply the features themselves; they may be padded with zeros.

    None where a layer draws random numbers for the features: with more features the numbers would change.
    """
    if x.dim() != 2 or not x.is_floating_point():
        return set()
    met: list[tuple[nn.Module, bool]] = []  # the layers in order, and whether each met the features
    features = as_input(x[:2], next(net.parameters()).dtype)

    def look(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        met.append((layer, inputs[0].shape == features.shape and torch.equal(inputs[0], features)))

    watched = [layer for layer in net.modules() if isinstance(layer, nn.Linear) or type(layer) in STRENGTHS]
    hooks = [layer.register_forward_pre_hook(look) for layer in watched]
    training = net.training
    with torch.no_grad():
        net.eval()(features)
    net.train(training)
    for hook in hooks:
        hook.remove()
    if any(same and not isinstance(layer, nn.Linear) for layer, same in met):
        return set()
    weights = [(id(layer.weight), same) for layer, same in met if isinstance(layer, nn.Linear)]
    return {weight for weight, same in weights if same} - {weight for weight, same in weights if not same}


def _settings(layer: nn.Module) -> Hashable:
    """A layer's settings, except for its strength and the sizes that the shapes of its parameters give."""
    apart = {"training", STRENGTHS.get(type(layer)), *(("in_features", "out_features") * isinstance(layer, nn.Linear))}
    return _hashable({k: v for k, v in vars(layer).items() if not k.startswith("_") and k not in apart})


def _hashable(value: Any) -> Hashable:
    """Equal for equal settings; a value that can't be compared is equal only to itself."""
    if isinstance(value, dict):
        return tuple((k, _hashable(v)) for k, v in sorted(value.items(), key=str))
    if isinstance(value, (list, tuple)):
        return tuple(_hashable(v) for v in value)
    return (type(value), value if isinstance(value, (bool, int, float, str, type(None))) else id(value))


def _shape(tensor: Tensor, widened: bool = False) -> Hashable:
    """Shape and type; with `widened` for any number of input features."""
    return ((*tensor.shape[:-1], INPUTS) if widened else tuple(tensor.shape), tensor.dtype)
