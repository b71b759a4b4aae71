"""Settings, metrics and axes in words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lightning_d2l.config.metrics import LOSSES, SPLITS, SPOKEN, is_top_k, spoken
from lightning_d2l.config.text import cut, show
from lightning_d2l.theory.problem import is_fashion_mnist

KEYS = {
    "data.degree": "polynomial degree",
    "data.n_train": "number of training samples",
    "data.noise": "standard deviation of the noise",
    "data.label_noise": "fraction of random training labels",
    "data.batch_size": "batch size",
    "data.d": "number of features",
    "data.fold": "fold",
    "epoch": "epoch",
    "trainer.max_epochs": "number of epochs",
    "data.n_val": "number of validation samples",
    "data.val_size": "number of validation samples",
    "data.resize": "side of the images (pixels)",
    "loss": "loss function",
    "optimizer": "optimizer",
    "optimizer.lr": "learning rate",
    "optimizer.momentum": "momentum",
    "penalty": "penalty",
    "scheduler": "schedule of the learning rate",
    "optimizer.weight_decay": "weight decay λ",
    "penalty.l1": "L1 penalty λ",
    "penalty.l2": "L2 penalty λ",
    "penalty.lambda": "strength λ of the penalty",
    "model.num_hiddens": "number of hidden units",
    "model.num_layers": "number of hidden layers",
    "model.dropout": "dropout probability",
    "model.input_noise": "standard deviation of the input noise",
    "model.activation": "activation",
    "model.init": "initialisation",
    "model.init.name": "initialisation",
    "model.num_features": "number of random features",
    "model.n": "n of the hypercomplex layers",
    "num_parameters": "number of parameters",
    "seconds": "time (s)",
    "source": "source of the data",
}
CURVES = {
    "data.degree": "degree {}",
    "data.n_train": "{} samples",
    "data.noise": "noise {}",
    "data.label_noise": "label noise {}",
    "data.batch_size": "batch size {}",
    "data.d": "{} features",
    "data.fold": "fold {}",
    "trainer.max_epochs": "{} epochs",
    "optimizer.lr": "learning rate {}",
    "optimizer.weight_decay": "weight decay {}",
    "optimizer.momentum": "momentum {}",
    "penalty.lambda": "λ = {}",
    "model.num_hiddens": "{} hidden units",
    "model.num_layers": "{} hidden layers",
    "model.dropout": "dropout {}",
    "model.input_noise": "input noise {}",
    "model.num_features": "{} features",
    "seed": "seed {}",
}
"""The name of a curve by the value of its key."""
VALUES = {
    "model.activation": {"relu": "ReLU", "identity": "no activation"},
    "model.init": {"xavier_normal": "Xavier", "xavier_uniform": "Xavier (uniform)", "kaiming": "Kaiming"},
    "model.init.name": {"xavier_normal": "Xavier", "xavier_uniform": "Xavier (uniform)", "kaiming": "Kaiming"},
    "optimizer": {"sgd": "SGD", "exact": "solved exactly", "adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop"},
    "scheduler": {"none": "constant rate", "linear_warmup": "linear warm-up"},
}
"""Values of a setting as a text says them."""
PARTS = {"bias2": "bias²", "variance": "variance", "noise": "noise", "total": "bias² + variance + noise"}
"""The parts of the test loss over many data sets."""
GAPS = ("gap", "acc_gap")
"""Metrics that compare a split with the training data."""
LONGEST_NAME = 30  # characters of a name in a figure
LONGEST = 100  # characters of a value in a sentence


def words(key: str, value: Any) -> str:
    """The value of a setting for a legend or a table: a group such as `{name:normal,std:1}` without its braces.

    A penalty becomes a sum: `L1 + L2`.
    """
    group = re.fullmatch(r"\{([^{}[\]]*)\}", value) if isinstance(value, str) else None
    if not group:
        return show(value)
    members = dict(re.findall(r"([^\s:,]+)\s*:\s*([^,]*[^\s,])", group[1]))
    if key == "penalty" and members.keys() <= {"l1", "l2"} and all(map(_is_number, members.values())):
        factors = [(norm.upper(), float(factor)) for norm, factor in members.items()]
        terms = [norm if factor == 1 else f"{show(factor)} {norm}" for norm, factor in factors if factor]
        return " + ".join(terms) or "no penalty"
    return ", ".join(f"{name} = {member}" for name, member in members.items())


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def settings(values: Mapping[str, Any]) -> str:
    """Settings as on a command line: `data.degree=3, optimizer=sgd`; long values are cut."""
    return ", ".join(f"{key}={short(value)}" for key, value in values.items()) or "the one setting"


def short(value: Any) -> str:
    """A value in a sentence or a table; results.csv has it whole."""
    return cut(show(value), LONGEST)


def axis(key: str) -> str:
    """The label of an axis for a swept key."""
    return f"{KEYS[key]} ({key})" if KEYS.get(key, key) != key and "." in key else KEYS.get(key, key)


def named(key: str) -> str:
    """A swept key in words, for an axis; of an unknown one the last part."""
    return KEYS.get(key) or key.rpartition(".")[2].replace("_", " ")


def value(key: str, setting: Any) -> str:
    """The value of a setting in words: "Xavier" for `xavier_normal`; a number as it is typed."""
    return VALUES.get(key, {}).get(str(setting)) or words(key, setting)


def curve(setting: Mapping[str, Any]) -> str:
    """The name of a curve: "batch size 4", "tanh, Xavier"."""
    return ", ".join(cut(_named_value(key, each), LONGEST_NAME) for key, each in setting.items())


def curves(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of several curves, which differ."""
    found = [curve(setting) for setting in settings]
    if len(set(found)) == len(found):
        return found
    return distinct([", ".join(_named_value(key, each) for key, each in setting.items()) for setting in settings])


def distinct(names: Sequence[str], width: int = LONGEST_NAME) -> list[str]:
    """Names cut to a width; where that makes some equal, to the parts in which they differ."""
    found = [cut(name, width) for name in names]
    if len(set(found)) == len(set(names)):
        return found
    long = [name for name in names if len(name) > width]
    same = next((i for i, letters in enumerate(zip(*long, strict=False)) if len(set(letters)) > 1), 0)
    start = max(same - 3, 0)  # three characters before the first difference
    return [f"...{cut(name[start:], width - 3)}" if name in long else name for name in names]


def _named_value(key: str, setting: Any) -> str:
    if isinstance(setting, str):
        return value(key, setting)
    if key not in CURVES:
        return f"{key.rpartition('.')[2].replace('_', ' ')} = {show(setting)}"
    said = CURVES[key].replace("{}", show(setting))
    return said.removesuffix("s") if show(setting) == "1" else said


def metric(name: str) -> str:
    """A metric in a sentence: "the validation loss" for "loss/val", "the norm of the weights"."""
    base, part = name.partition("/")[0].rpartition(".")[2], SPLITS.get(name.rpartition("/")[2], "")
    if base == "gradient":
        return f"the norm of the {name.rpartition('/')[2]} layer's gradient"
    said = spoken(base) if base in SPOKEN or is_top_k(base) else base
    return f"the {part} {said}" if part else f"the {said}"


def quantity(metric: str, config: Mapping[str, Any]) -> str:
    """What a metric measures, with its unit, without its split: cross-entropy (nats) for "loss/test"."""
    base = metric.partition("/")[0].rpartition(".")[2]
    if base == "loss":
        generated = ".synthetic." in str((config.get("data") or {}).get("_target_"))  # other data may have classes
        default = "cross_entropy" if is_fashion_mnist(config) else "mse" if generated else ""
        return LOSSES.get(str(config.get("loss") or default), "loss")
    if base == "gradient":
        when = ", epoch 1" if metric.startswith("first.") else ""
        return f"norm of the {metric.rpartition('/')[2]} layer's gradient{when}"
    return spoken(base)


def axis_of(metric: str, config: Mapping[str, Any]) -> str:
    """What a metric measures, with its split, for an axis: "accuracy, validation", "validation loss minus ..."."""
    said, base = quantity(metric, config), metric.partition("/")[0].rpartition(".")[2]
    part = split(metric) or ("" if base in SPOKEN else metric.partition("/")[2])
    return f"{part} {said}" if part and base in GAPS else f"{said}, {part}" if part else said


def split(metric: str) -> str:
    """The split of a metric, or its part of the test loss, in words: "validation" for "loss/val"; else empty."""
    return {**SPLITS, **PARTS}.get(metric.rpartition("/")[2], "")


def listing(words: Iterable[str]) -> str:
    """Words as a list: `a, b and c`."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
