"""What the theories assume of a run: one table, from which each theory names its part."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lightning_d2l.config import registry
from lightning_d2l.config.optimizers import ADAM, ADAM_W, EXACT, SGD, SGD_SCRATCH
from lightning_d2l.config.text import number, show
from lightning_d2l.theory.problem import (
    activation_of,
    initial_bias,
    initial_std,
    loss_factor,
    network_widths,
    split_size,
    weight_scheme,
)

Config = Mapping[str, Any]
MOST_DEPTH = 1.0
"""Of 5 times the sum of 1 / width over the hidden layers: the variance of the logarithm of a squared gradient."""
MOST_FEATURES = 32
"""Of `learning_rate`: with d features its matrices are d^2 x d^2."""
ENOUGH = 4.5
"""The exponent of what is left of the initial weights, e^-4.5 or 1 %, that counts as converged."""
LEAST_NOISE = 0.05
"""The share that the noise of the steps may add to the loss at the optimum."""
INITIALISATIONS = ("normal", "xavier_normal", "xavier_uniform", "kaiming")
SMOOTH_OR_RELU = ("identity", "relu", "tanh", "sigmoid")
CHANGES_TRAINING = ("early_stopping", "stochastic_weight_averaging", "lr_finder", "batch_size_finder", "timer")
LIMITS: Mapping[str, tuple[Any, ...]] = {
    "max_steps": (-1, None), "max_time": (None,), "limit_train_batches": (None, 1.0), "overfit_batches": (0, None),
    "fast_dev_run": (False, None), "gradient_clip_val": (None,), "accumulate_grad_batches": (1, None),
}  # fmt: skip
"""Settings of the trainer that end or change a training, and the values with which they do not."""


@dataclass(frozen=True)
class Assumption:
    """`text` is what a reader sees; `broken` names the setting of a configuration that breaks it, or nothing."""

    text: str
    broken: Callable[[Config], str]


def _node(config: Config, name: str) -> Config:
    found = config.get(name)
    return found if isinstance(found, Mapping) else {}


def _is(key: str, *allowed: Any) -> Callable[[Config], str]:
    """A setting has one of the values; a configuration without it has the first."""
    node, _, name = key.partition(".")

    def broken(config: Config) -> str:
        value = _node(config, node).get(name, allowed[0])
        return "" if value in allowed else f"{key}={show(value)}"

    return broken


def _built(node: str, *targets: str) -> Callable[[Config], str]:
    """A node builds one of the classes of this package or of torch, and no registered one."""

    def broken(config: Config) -> str:
        target = str(_node(config, node).get("_target_"))
        return "" if target in targets else f"{node}={target.rpartition('.')[2]}"

    return broken


def _squared(config: Config) -> str:
    classes = config.get("loss") is None and _node(config, "data").get("_target_") in registry.CLASSIFICATION_DATA
    return f"loss={show(config.get('loss'))}" if classes or loss_factor(config) is None else ""


def _cross_entropy(config: Config) -> str:
    loss = config.get("loss")
    return "" if loss in (None, "cross_entropy", "cross_entropy_scratch") else f"loss={loss}"


def _dropout(config: Config) -> str:
    p = _node(config, "model").get("dropout") or 0
    return f"model.dropout={show(p)}" if (any(p) if isinstance(p, list) else p) else ""


def _penalty(config: Config) -> str:
    penalty = _node(config, "penalty")
    used = [name for name in ("l1", "l2") if penalty.get(name) and penalty.get("lambda", 1)]
    return f"penalty.{used[0]}={show(penalty[used[0]])}" if used else ""


def _decoupled(config: Config) -> str:
    optimizer = _node(config, "optimizer")
    adam = optimizer.get("_target_") == ADAM and optimizer.get("decoupled_weight_decay")
    return "optimizer=AdamW" if adam or optimizer.get("_target_") == ADAM_W else ""


def _plain_sgd(config: Config) -> str:
    optimizer = _node(config, "optimizer")
    changed = [name for name in ("momentum", "nesterov", "maximize") if optimizer.get(name)]
    return _built("optimizer", SGD, SGD_SCRATCH)(config) or (
        f"optimizer.{changed[0]}={show(optimizer[changed[0]])}" if changed else ""
    )


def _whole_training(config: Config) -> str:
    callbacks, trainer = _node(config, "callbacks"), _node(config, "trainer")
    found = [f"callbacks={name}" for name in CHANGES_TRAINING if name in callbacks]
    found += [
        f"trainer.{name}={show(trainer[name])}" for name, usual in LIMITS.items() if trainer.get(name) not in usual
    ]
    return found[0] if found else ""


def _constant_rate(config: Config) -> str:
    scheduler = _node(config, "scheduler").get("_target_")
    return f"scheduler={str(scheduler).rpartition('.')[2]}" if scheduler else ""


def _sizes(config: Config) -> tuple[int, int, int]:
    """Training samples n, features d (with the constant of a bias), and the size of a minibatch."""
    data, model = _node(config, "data"), _node(config, "model")
    n = split_size(data, "train") or 0
    w = data.get("w")
    d = len(w) if isinstance(w, list) else int(data.get("d") or 0)
    return n, d + bool(model.get("bias", True)), min(int(data.get("batch_size") or n), n)


def _where(holds: Callable[[int, int], bool]) -> Callable[[Config], str]:
    def broken(config: Config) -> str:
        n, d, _ = _sizes(config)
        return "" if holds(n, d) else f"n={n}, d={d}"

    return broken


def _full_batches(config: Config) -> str:
    n, _, batch = _sizes(config)
    return f"data.batch_size={batch}" if batch < n else ""


def _equal_batches(config: Config) -> str:
    n, _, batch = _sizes(config)
    return f"data.batch_size={batch}, n={n}" if not batch or n % batch else ""


def _converged(config: Config) -> str:
    """Whether SGD has come to the optimum in the directions that the samples determine, and stays close to it."""
    n, d, batch = _sizes(config)
    lr, factor = float(_node(config, "optimizer").get("lr") or 0), loss_factor(config) or 1.0
    epochs = int(_node(config, "trainer").get("max_epochs") or 0)
    least = (1 - math.sqrt(d / n)) ** 2  # eigenvalue of X^T X / n, of those that are not 0
    if 2 * factor * lr * least * epochs * math.ceil(n / batch) < ENOUGH:
        return f"trainer.max_epochs={epochs} with optimizer.lr={number(lr)}"
    return ""


def _small_steps(config: Config) -> str:
    """Whether the steps of minibatches are stable, by the largest eigenvalue of many normal inputs."""
    _, d, batch = _sizes(config)
    optimizer = _node(config, "optimizer")
    lr, decay = float(optimizer.get("lr") or 0), float(optimizer.get("weight_decay") or 0)
    largest = 2 * (loss_factor(config) or 1.0) * (1 + math.sqrt(d / max(batch, 1))) ** 2 + decay
    return f"optimizer.lr={number(lr)} with data.batch_size={batch}" if lr * largest > 1 else ""


def _at_the_optimum(config: Config) -> str:
    if not _built("optimizer", EXACT)(config):
        return ""
    _, d, batch = _sizes(config)
    noise = (loss_factor(config) or 1.0) * float(_node(config, "optimizer").get("lr") or 0) * d / batch
    noisy = f"optimizer.lr and data.batch_size={batch}" if noise > LEAST_NOISE else ""
    return _plain_sgd(config) or _constant_rate(config) or _whole_training(config) or _converged(config) or noisy


def _narrow(config: Config) -> str:
    widths = network_widths(config)
    return f"model.num_hiddens={show(_node(config, 'model').get('num_hiddens'))}" if len({*widths}) > 1 else ""


def _too_deep(config: Config) -> str:
    widths = network_widths(config)
    depth = 5 * sum(1 / width for width in widths)
    return f"{len(widths)} layers of {widths[0]}" if depth > MOST_DEPTH else ""


def _wide_or_shallow(config: Config) -> str:
    return "" if len(network_widths(config)) == 1 else f"{len(network_widths(config))} hidden layers"


def _pixels(config: Config) -> str:
    return _is("data.standardize", False)(config) or _is("data.augment", "none", [])(config)


def _scheme(config: Config) -> str:
    name = weight_scheme(config)[0]
    return "" if name in INITIALISATIONS else f"model.init={name}"


def _activation(*allowed: str) -> Callable[[Config], str]:
    return lambda config: "" if activation_of(config) in allowed else f"model.activation={activation_of(config)}"


def _first_gradient(config: Config) -> str:
    """The gradient that is logged first belongs to the initial weights if the first epoch is one minibatch."""
    n, size = split_size(_node(config, "data"), "train") or 0, int(_node(config, "data").get("batch_size") or 0)
    return f"data.batch_size={size}" if size < n else ""


ASSUMPTIONS: Mapping[str, Assumption] = {
    "generated": Assumption("a generator's noise", _built("data", *sorted(registry.REGRESSION_DATA))),
    "polynomial": Assumption("polynomial data", _built("data", registry.POLYNOMIAL)),
    "linear data": Assumption(
        "data of a linear function", _built("data", registry.SYNTHETIC_REGRESSION, registry.HIGH_DIMENSIONAL)
    ),
    "high-dimensional": Assumption("data=high_dimensional", _built("data", registry.HIGH_DIMENSIONAL)),
    "b = 0": Assumption("data.b=0", _is("data.b", 0)),
    "one input": Assumption("data.degree=1", _is("data.degree", 1)),
    "images": Assumption("data=fashion_mnist", _built("data", registry.FASHION_MNIST)),
    "28 x 28": Assumption("pixels as they are", lambda c: _is("data.resize", None, 28)(c) or _pixels(c)),
    "true labels": Assumption("no label noise", _is("data.label_noise", 0)),
    "no folds": Assumption("no folds", _is("data.folds", None)),
    "folds": Assumption("folds", lambda c: "" if _node(c, "data").get("folds") else "data.folds=null"),
    "linear": Assumption(
        "a linear model", _built("model", registry.LINEAR_REGRESSION, registry.LINEAR_REGRESSION_SCRATCH)
    ),
    "random features": Assumption("model=random_features", _built("model", registry.RANDOM_FEATURES)),
    "mlp": Assumption("model=mlp", _built("model", registry.MLP)),
    "phm": Assumption("model=phm_mlp", _built("model", registry.PHM_MLP)),
    "no bias": Assumption("a model without a bias", _is("model.bias", False)),
    "clean inputs": Assumption("no noise on the inputs", _is("model.input_noise", 0)),
    "no dropout": Assumption("no dropout", _dropout),
    "one hidden layer": Assumption("one hidden layer", _wide_or_shallow),
    "relu": Assumption("ReLU", _activation("relu")),
    "known activation": Assumption("identity, relu, tanh or sigmoid", _activation(*SMOOTH_OR_RELU)),
    "known init": Assumption("normal, Xavier or Kaiming initialisation", _scheme),
    "one width": Assumption("hidden layers of one width", _narrow),
    "wide": Assumption("at most one layer for each 5 units of width", _too_deep),
    "first gradient": Assumption("all samples in the first minibatch", _first_gradient),
    "cross-entropy": Assumption("the cross-entropy", _cross_entropy),
    "squared loss": Assumption("a squared loss", _squared),
    "solved": Assumption("the exact solution", _built("optimizer", EXACT)),
    "optimum": Assumption("the optimum: solved, or descended long enough in small steps", _at_the_optimum),
    "plain sgd": Assumption("SGD without momentum", _plain_sgd),
    "l2 decay": Assumption("weight decay as an L2 penalty", _decoupled),
    "no decay": Assumption("no weight decay", _is("optimizer.weight_decay", 0)),
    "no penalty": Assumption("no penalty", _penalty),
    "constant rate": Assumption("a constant learning rate", _constant_rate),
    "whole training": Assumption("no early stopping, no limit, no clipping", _whole_training),
    "full batches": Assumption("all samples in each minibatch", _full_batches),
    "equal batches": Assumption("minibatches of one size", _equal_batches),
    "small steps": Assumption("stable steps", _small_steps),
    "zero start": Assumption(
        "weights that start at 0", lambda c: "" if initial_std(c) == 0 else f"model.init={weight_scheme(c)[0]}"
    ),
    "normal start": Assumption(
        "normal weights at the start",
        lambda c: "" if initial_std(c) is not None else f"model.init={weight_scheme(c)[0]}",
    ),
    "bias starts at 0": Assumption(
        "a bias that starts at 0", lambda c: f"model.init.bias_std={show(initial_bias(c))}" if initial_bias(c) else ""
    ),
    "n > d": Assumption("more samples than weights", _where(lambda n, d: n > d)),
    "few features": Assumption(f"at most {MOST_FEATURES} weights", _where(lambda n, d: d <= MOST_FEATURES)),
}
