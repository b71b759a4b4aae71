"""Refuse data and networks that would exhaust the memory, before they are built."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from lightning_d2l.config import registry

LARGEST_DATA = 2**32  # bytes
MOST_WEIGHTS = 2**28  # which need 4 GiB with their gradients and the state of Adam
# Models that multiply the hidden layer by a square matrix.
SQUARE = (registry.FIXED_HIDDEN_MLP, "lightning_d2l.nets.blocks.TiedMLP")
NUMBERS_A_LAYER = 10_000  # at least what the objects of a layer take
MOST_COEFFICIENTS = 101  # of degree 100; the factorial of 171 is no float
SPLITS = ("n_train", "n_val", "n_test")


def too_large(config: Mapping[str, Any]) -> str:
    """What is too large in a configuration whose settings are right by themselves, with its key, or an empty string."""
    data, model = config["data"], config["model"]
    if len(data.get("coefficients", ())) > MOST_COEFFICIENTS:
        return f"data.coefficients: has {len(data['coefficients'])} values: must have at most {MOST_COEFFICIENTS}"
    features = num_inputs(data)
    return (_data_too_large(data, features) or model_too_large(model, features)) if features else ""


def num_inputs(data: Mapping[str, Any]) -> int:
    """The features of one sample, or 0 for custom data, of which the settings do not tell them."""
    match data["_target_"]:
        case registry.FASHION_MNIST:
            return int(data["resize"] or 28) ** 2
        case registry.SYNTHETIC_REGRESSION:
            return len(data["w"])
        case registry.HIGH_DIMENSIONAL:
            return int(data["d"])
        case registry.POLYNOMIAL:
            return int(data["degree"]) + 1
    return 0


def _data_too_large(data: Mapping[str, Any], features: int) -> str:
    fashion = data["_target_"] == registry.FASHION_MNIST
    sizes = {"n_test": 10_000} if fashion else {name: int(data[name]) for name in SPLITS}
    if fashion:
        sizes["n_train"] = int(data["n_train"] or 60_000 - data["val_size"]) + int(data["val_size"])
    samples, numbers = sum(sizes.values()), LARGEST_DATA // (1 if fashion else 8)
    if samples * features <= numbers:
        return ""
    if fashion:
        return f"data.resize={data['resize']}: must be at most {int((numbers / samples) ** 0.5)} for {samples:,} images"
    if samples >= features or "d" not in data:
        key = max(sizes, key=lambda name: sizes[name])
        rest = samples - sizes[key]
        what = f"must be at most {max(numbers // features - rest, 1):,} with {features:,} features a sample"
        return f"data.{key}={sizes[key]}: {what}, to fit into memory"
    most = max(numbers // samples, 1)
    return f"data.d={data['d']}: must be at most {most:,} with {samples:,} samples, to fit into memory"


def model_too_large(model: Mapping[str, Any], features: int) -> str:
    key = next((name for name in ("num_hiddens", "num_features") if name in model), "")
    if not key or model["_target_"] in registry.OBJECTS:  # a registered model may mean something else by these names
        return ""
    asked, layers = model[key], model.get("num_layers")
    widths = list(asked) if isinstance(asked, list) else [asked]
    if layers is not None and layers * NUMBERS_A_LAYER > MOST_WEIGHTS:
        return f"model.num_layers={layers}: must be at most {MOST_WEIGHTS // NUMBERS_A_LAYER:,}, to fit into memory"
    if layers is not None:
        widths *= layers
    if model["_target_"] in SQUARE:
        widths *= 2
    if sum(max(a * b, NUMBERS_A_LAYER) for a, b in itertools.pairwise([features, *widths])) > MOST_WEIGHTS:
        return f"model.{key}={asked}: must be of at most {MOST_WEIGHTS:,} weights with {features:,} inputs"
    return ""
