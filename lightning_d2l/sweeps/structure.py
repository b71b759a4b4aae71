"""Which jobs can train together: decided from what their configurations build, not from the names of settings."""

from __future__ import annotations

import copy
from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor, nn

from lightning_d2l.data.batches import as_batch, as_input
from lightning_d2l.engine.exact import Exact
from lightning_d2l.engine.members import Member
from lightning_d2l.engine.noise import STRENGTHS
from lightning_d2l.engine.optimizers import ELEMENTWISE, VARIED
from lightning_d2l.sweeps.group import Candidate

INPUTS = -1  # stands for the number of input features in a shape
RUN = ("trainer", "logger", "verbose", "gradients", "information", "loss")  # settings of a run that members share


class CannotStack(Exception):
    """Why a job has to run by itself."""


def structure(candidate: Candidate) -> Hashable:
    """What has to be equal for jobs to train together: layers, settings, shapes, optimizer and number of steps.

    Raises CannotStack where a job can't train with any other.
    """
    config, member = candidate.request.config, candidate.member
    module, optimizer = member.module, member.optimizer
    if config["trainer"]["engine"] == "lightning":
        raise CannotStack("trainer.engine=lightning")
    if not isinstance(optimizer, (*ELEMENTWISE, Exact)):
        raise CannotStack(f"{type(optimizer).__name__} mixes the gradients of parameters")
    if frozen := [name for name, p in module.net.named_parameters() if not p.requires_grad]:
        raise CannotStack(f"{frozen[0]} is not trained")
    if unused := _decays_unused(member):
        raise CannotStack(f"{unused[0]} is not used, and weight decay would act on it")
    x = member.splits["train"][0]
    if changed := _changed_buffers(module.net, x):
        raise CannotStack(f"{changed[0]} changes in training")
    # The share of weights that are 0, which is measured with a penalty, would count zeros behind a weight.
    widened = set() if any(module.penalty.values()) else _first_weights(module.net, x)
    exact = isinstance(optimizer, Exact)
    penalty = any(module.penalty.values()) if exact else tuple(module.penalty.values())
    defaults = {} if exact else {k: v for k, v in optimizer.defaults.items() if k not in VARIED}
    return (
        tuple((name, _hashable(config[name])) for name in RUN),
        (type(module), module.loss_name, penalty, candidate.prepared.max_epochs, candidate.start),
        tuple((name, type(layer), _settings(layer)) for name, layer in module.net.named_modules()),
        tuple((name, _shape(p, widened)) for name, p in module.named_parameters()),
        tuple((name, b.shape, b.dtype) for name, b in module.named_buffers()),
        (type(optimizer), _hashable(defaults), len(optimizer.param_groups[0]) if exact else member.batch_size),
        tuple((split, _data(x, bool(widened)), (y.shape, y.dtype)) for split, (x, y) in sorted(member.splits.items())),
    )


def _decays_unused(member: Member) -> list[str]:
    """The parameters that the loss does not depend on, if there is weight decay.

    Torch passes over a parameter without a gradient; in a stack its gradient is 0, and it would decay.
    """
    if not any(group.get("weight_decay") for group in member.optimizer.param_groups):
        return []
    module, training = member.module, member.module.training
    names, parameters = zip(*module.named_parameters(), strict=True)
    x, y = member.splits["train"]
    loss, _ = module.eval().objective(as_batch((x[:2], y[:2]), parameters[0].dtype))
    module.train(training)
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [name for name, gradient in zip(names, gradients, strict=True) if gradient is None]


def _changed_buffers(net: nn.Module, x: Tensor) -> list[str]:
    """The buffers that a pass in training changes, such as the running means of batch normalisation."""
    before = dict(net.named_buffers())
    if not before:
        return []
    trained = copy.deepcopy(net).train()
    with torch.no_grad():
        trained(as_input(x[:2], next(net.parameters()).dtype))
    return [name for name, buffer in trained.named_buffers() if not torch.equal(buffer, before[name])]


def _first_weights(net: nn.Module, x: Tensor) -> set[int]:
    """The weights, by id, that nn.Linear layers multiply the features themselves by, and that zeros may widen.

    None where a layer draws random numbers for the features, which would be others for more of them.
    """
    if x.dim() != 2 or not x.is_floating_point():
        return set()
    found: set[int] = set()
    other: set[int] = set()  # weights that multiply something else
    drawn: list[nn.Module] = []
    like = next(net.parameters())
    features = as_input(x[:2], like.dtype)

    def look(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        same = inputs[0].shape == features.shape and torch.equal(inputs[0], features)
        if isinstance(layer, nn.Linear):
            (found if same else other).add(id(layer.weight))
        elif same:
            drawn.append(layer)

    watched = [layer for layer in net.modules() if isinstance(layer, nn.Linear) or type(layer) in STRENGTHS]
    hooks = [layer.register_forward_pre_hook(look) for layer in watched]
    training = net.training
    with torch.no_grad():
        net.eval()(features)
    net.train(training)
    for hook in hooks:
        hook.remove()
    return set() if drawn else found - other


def _settings(layer: nn.Module) -> Hashable:
    """A layer's settings, without its strength, if it has one, and the sizes that its parameters' shapes say."""
    apart = {"training", STRENGTHS.get(type(layer), "")} | (
        {"in_features", "out_features"} if isinstance(layer, nn.Linear) else set()
    )
    return _hashable({k: v for k, v in vars(layer).items() if not k.startswith("_") and k not in apart})


def _hashable(value: Any) -> Hashable:
    """Equal for equal settings; a value that can't be compared is equal to itself alone."""
    if isinstance(value, dict):
        return tuple((k, _hashable(v)) for k, v in sorted(value.items(), key=str))
    if isinstance(value, (list, tuple)):
        return tuple(_hashable(v) for v in value)
    return (type(value), value if isinstance(value, (bool, int, float, str, type(None))) else id(value))


def _shape(parameter: Tensor, widened: set[int]) -> Hashable:
    shape = tuple(parameter.shape)
    return (*shape[:-1], INPUTS) if id(parameter) in widened else shape


def _data(x: Tensor, widened: bool) -> Hashable:
    return ((*x.shape[:-1], INPUTS) if widened else tuple(x.shape), x.dtype)
