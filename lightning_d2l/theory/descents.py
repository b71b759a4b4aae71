"""Conditions on the optimizer, its steps and the length of a training; conditions.py says what they return."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from lightning_d2l.config.callbacks import OBSERVERS
from lightning_d2l.config.optimizers import EXACT, L2_DECAY, SGD, SGD_SCRATCH
from lightning_d2l.config.text import number, show
from lightning_d2l.config.trainer import PRECISIONS
from lightning_d2l.theory.conditions import Config, built, has, node
from lightning_d2l.theory.problem import loss_factor, split_size

ENOUGH = 4.5
"""The exponent of what is left of the initial weights, e^-4.5 or 1 %, that counts as converged."""
LEAST_NOISE = 0.05
"""The share that the noise of the steps may add to the loss at the optimum."""
STABLE = 1.8
"""The rate times the largest eigenvalue; above 2 a descent diverges, and a drawn data set may exceed the limit's."""
LIMITS: Mapping[str, tuple[Any, ...]] = {
    "max_steps": (-1, None), "max_time": (None,), "limit_train_batches": (None, 1.0), "overfit_batches": (0, None),
    "fast_dev_run": (False, None), "gradient_clip_val": (None,), "accumulate_grad_batches": (1, None),
}  # fmt: skip
"""Settings of the trainer that end or change a training, and the values with which they do not."""


def not_l2(config: Config) -> str:
    """An optimizer whose weight decay is no gradient of a penalty, or of which that is not known."""
    name = "optimizer.decoupled_weight_decay"
    return built("optimizer", *L2_DECAY)(config) or has(name, False, None)(config)


def precision(*types: str) -> Callable[[Config], str]:
    """Numbers of a type; mixed precision has parameters of 32 bits, and steps of 16."""

    def broken(config: Config) -> str:
        given = str(node(config, "trainer").get("precision", types[-1]) or "32-true")
        mixed = given.startswith(("16", "bf16", "transformer"))
        known = given in types or (PRECISIONS.get(given) in types and not mixed)
        return "" if known else f"trainer.precision={given}"

    return broken


def plain_sgd(config: Config) -> str:
    """SGD, of torch or from scratch, without momentum."""
    optimizer = node(config, "optimizer")
    changed = [name for name in ("momentum", "nesterov", "maximize") if optimizer.get(name)]
    return built("optimizer", SGD, SGD_SCRATCH)(config) or (
        f"optimizer.{changed[0]}={show(optimizer[changed[0]])}" if changed else ""
    )


def whole_training(config: Config) -> str:
    """Nothing ends or changes the training; a registered callback might."""
    callbacks, trainer = node(config, "callbacks"), node(config, "trainer")
    found = [f"callbacks={k}" for k, v in callbacks.items() if v and v.get("_target_") not in OBSERVERS]
    found += [
        f"trainer.{name}={show(trainer[name])}" for name, usual in LIMITS.items() if trainer.get(name) not in usual
    ]
    if trainer.get("max_epochs") in (None, -1):
        found.append(f"trainer.max_epochs={show(trainer.get('max_epochs'))}")
    return found[0] if found else ""


def constant_rate(config: Config) -> str:
    """No schedule."""
    scheduler = node(config, "scheduler").get("_target_")
    return f"scheduler={str(scheduler).rpartition('.')[2]}" if scheduler else ""


def _sizes(config: Config) -> tuple[int, int, int]:
    """Training samples n, features d (with the constant of a bias), and the size of a minibatch."""
    data, model = node(config, "data"), node(config, "model")
    n = split_size(data, "train") or 0
    w = data.get("w")
    d = len(w) if isinstance(w, list) else int(data.get("d") or 0)
    return n, d + bool(model.get("bias", True)), min(int(data.get("batch_size") or n), n)


def where(holds: Callable[[int, int], bool]) -> Callable[[Config], str]:
    """What holds of n training samples and d features."""

    def broken(config: Config) -> str:
        n, d, _ = _sizes(config)
        return "" if holds(n, d) else f"n={n}, d={d}"

    return broken


def full_batches(config: Config) -> str:
    """All samples in each minibatch."""
    n, _, batch = _sizes(config)
    return f"data.batch_size={batch}" if batch < n else ""


def equal_batches(config: Config) -> str:
    """Minibatches of one size."""
    n, _, batch = _sizes(config)
    return f"data.batch_size={batch}, n={n}" if not batch or n % batch else ""


def _converged(config: Config) -> str:
    """Whether SGD has come to the optimum in the directions that the samples determine, and stays close to it."""
    n, d, batch = _sizes(config)
    lr, factor = float(node(config, "optimizer").get("lr") or 0), loss_factor(config) or 1.0
    epochs = int(node(config, "trainer").get("max_epochs") or 0)
    least = (1 - math.sqrt(d / n)) ** 2  # eigenvalue of X^T X / n, of those that are not 0
    if 2 * factor * lr * least * epochs * math.ceil(n / batch) < ENOUGH:
        return f"trainer.max_epochs={epochs} with optimizer.lr={number(lr)}"
    return ""


def small_steps(config: Config) -> str:
    """Whether the steps of minibatches are stable, by the largest eigenvalue of many normal inputs."""
    _, d, batch = _sizes(config)
    optimizer, model = node(config, "optimizer"), node(config, "model")
    lr, decay = float(optimizer.get("lr") or 0), float(optimizer.get("weight_decay") or 0)
    square = (1 + float(model.get("input_noise") or 0) ** 2) / (1 - float(model.get("dropout") or 0))  # of an input
    largest = 2 * (loss_factor(config) or 1.0) * square * (1 + math.sqrt(d / max(batch, 1))) ** 2 + decay
    return f"optimizer.lr={number(lr)} with data.batch_size={batch}" if lr * largest > 1 else ""


def stable(config: Config) -> str:
    """Whether full-batch steps are stable, by the largest eigenvalue of many normal inputs."""
    n, d, _ = _sizes(config)
    lr = float(node(config, "optimizer").get("lr") or 0)
    largest = 2 * (loss_factor(config) or 1.0) * (1 + math.sqrt(d / max(n, 1))) ** 2
    return f"optimizer.lr={number(lr)}" if lr * largest > STABLE else ""


def _noise_of_steps(config: Config) -> float:
    """The share that the noise of minibatches adds to the loss at the optimum."""
    _, d, batch = _sizes(config)
    lr = float(node(config, "optimizer").get("lr") or 0)
    return (loss_factor(config) or 1.0) * lr * d / max(batch, 1)


def noisy(config: Config) -> str:
    """Minibatches whose noise is seen; fewer samples than weights are fitted, and then there is nearly none."""
    n, d, batch = _sizes(config)
    noisy = d < n and batch < n and _noise_of_steps(config) > 2 * LEAST_NOISE
    return (
        f"optimizer.lr={number(float(node(config, 'optimizer').get('lr') or 0))} with data.batch_size={batch}" * noisy
    )


def at_the_optimum(config: Config) -> str:
    if not built("optimizer", EXACT)(config):
        return ""
    noisy = f"optimizer.lr and data.batch_size={_sizes(config)[2]}" if _noise_of_steps(config) > LEAST_NOISE else ""
    tests = (plain_sgd, constant_rate, whole_training, precision("float32", "float64"), small_steps, _converged)
    return next((reason for test in tests if (reason := test(config))), noisy)
