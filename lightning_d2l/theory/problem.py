"""What the configuration of a run tells of its problem: loss, noise, sizes of the splits, model, optimizer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeGuard

from lightning_d2l.config.registry import SQUARED_LOSSES

NUM_CLASSES = 10
NUM_IMAGES = {"train": 60_000, "test": 10_000}
"""Of Fashion-MNIST."""


def loss_factor(config: Mapping[str, Any]) -> float | None:
    """The factor by which the loss multiplies the mean squared error; None for a loss of another kind."""
    return SQUARED_LOSSES.get(str(config.get("loss") or "mse"))


def noise_variance(config: Mapping[str, Any]) -> float | None:
    """The expected loss of the true function: `loss_factor` times the variance of the noise; None if unknown."""
    factor, noise = loss_factor(config), (config.get("data") or {}).get("noise")
    return factor * float(noise) * float(noise) if factor and _is_number(noise) else None


def split_size(data: Mapping[str, Any], split: str) -> int | None:
    """The number of samples of a split, from the node `data` of a configuration; None if it doesn't tell."""
    images, folds = _class_name(data) == "FashionMNISTData", _count(data, "folds")
    all_images = NUM_IMAGES["train"] - (0 if folds else _count(data, "val_size")) if images else 0
    train = _count(data, "n_train") or max(all_images, 0)
    if split == "test":
        return _count(data, "n_test") or (NUM_IMAGES["test"] if images else None)
    if folds and train:
        held_out = train // folds
        return (held_out if split == "val" else train - held_out) or None
    return (train if split == "train" else _count(data, "val_size") or _count(data, "n_val")) or None


def _count(data: Mapping[str, Any], name: str) -> int:
    """A whole number above 0 among the settings, which may come from a record of any origin; else 0."""
    value = data.get(name)
    return int(value) if _is_number(value) and value >= 1 else 0


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_fashion_mnist(config: Mapping[str, Any]) -> bool:
    """Whether the data are images, of Fashion-MNIST or generated ones."""
    return _class_name(config.get("data")) == "FashionMNISTData"


def initial_std(config: Mapping[str, Any]) -> float | None:
    """The standard deviation of a linear model's initial weights around 0; None if they are not normal or zero."""
    name, settings = weight_scheme(config)
    return {"zeros": 0.0, "normal": float(settings.get("std", 0.01))}.get(name)


def initial_bias(config: Mapping[str, Any]) -> float:
    """The standard deviation of the initial biases; torch's default is not normal, and counts as 1."""
    name, settings = weight_scheme(config)
    return 1.0 if name == "default" and config["model"].get("bias", True) else float(settings.get("bias_std", 0.0))


def weight_scheme(config: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The name of a model's initialisation and its settings; "normal" for models that have `std`."""
    model = config.get("model") or {}
    if "std" in model:
        return "normal" if model["std"] else "zeros", {"std": model["std"]}
    init = model.get("init")
    settings = init if isinstance(init, Mapping) else {"name": init or "default"}
    return str(settings.get("name")), settings


def activation_of(config: Mapping[str, Any]) -> str:
    """The name of a network's activation."""
    return str((config.get("model") or {}).get("activation"))


def network_widths(config: Mapping[str, Any]) -> list[int]:
    """The widths of an MLP's hidden layers, from `num_hiddens` and `num_layers`."""
    model = config.get("model") or {}
    widths, layers = model.get("num_hiddens") or [], model.get("num_layers")
    widths = widths if isinstance(widths, list) else [widths]
    return [int(width) for width in (widths if layers is None else widths[:1] * int(layers))]


def _class_name(node: Mapping[str, Any] | None) -> str:
    return str((node or {}).get("_target_")).rpartition(".")[2]
