"""What the theories assume of a run: one table, from which each theory names its part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lightning_d2l.config import registry
from lightning_d2l.config.optimizers import EXACT
from lightning_d2l.config.text import number, show
from lightning_d2l.theory.conditions import Config, built, cross_entropy, dropout, has, node, penalty, squared
from lightning_d2l.theory.descents import (
    at_the_optimum,
    constant_rate,
    equal_batches,
    full_batches,
    noisy,
    not_l2,
    plain_sgd,
    precision,
    small_steps,
    stable,
    where,
    whole_training,
)
from lightning_d2l.theory.problem import (
    NUM_CLASSES,
    activation_of,
    initial_bias,
    initial_std,
    network_widths,
    split_size,
    weight_scheme,
)
from lightning_d2l.theory.signals import logit_variance

MOST_DEPTH = 1.0
"""Of 5 times the sum of 1 / width over the hidden layers: the variance of the logarithm of a squared gradient."""
MOST_FEATURES = 32
"""Of `learning_rate`, whose matrices are d^2 x d^2 with d features, and of the coordinate descent of `l1_l2`."""
MOST_LOGITS = 1.5
"""The variance of the initial logits up to which the softmax is about linear in them."""
RECORDED = "recorded data"
"""A key beside those of a configuration: what the record says of the data, which `data.source=auto` does not tell."""
INITIALISATIONS = ("normal", "xavier_normal", "xavier_uniform", "kaiming")
SMOOTH_OR_RELU = ("identity", "relu", "tanh", "sigmoid")


@dataclass(frozen=True)
class Assumption:
    """`text` is what a reader sees; `broken` names the setting of a configuration that breaks it, or nothing."""

    text: str
    broken: Callable[[Config], str]


def _narrow(config: Config) -> str:
    widths = network_widths(config)
    return f"model.num_hiddens={show(node(config, 'model').get('num_hiddens'))}" if len({*widths}) > 1 else ""


def _too_deep(config: Config) -> str:
    widths = network_widths(config)
    depth = 5 * sum(1 / width for width in widths)
    return f"{len(widths)} layers of {widths[0]}" if depth > MOST_DEPTH else ""


def _wide_or_shallow(config: Config) -> str:
    return "" if len(network_widths(config)) == 1 else f"{len(network_widths(config))} hidden layers"


def _large_logits(config: Config) -> str:
    name, settings = weight_scheme(config)
    std, widths = float(settings.get("std", 0.01)), network_widths(config)
    if not widths or logit_variance(name, activation_of(config), widths[0], len(widths), std) <= MOST_LOGITS:
        return ""
    return f"model.init={name}, std={number(std)}" if name == "normal" else f"model.init={name}"


def _official(config: Config) -> str:
    generated = "generated" in (node(config, "data").get("source"), node(config, RECORDED).get("source"))
    return "generated garments" if generated else ""


def _few_images(config: Config) -> str:
    n = split_size(node(config, "data"), "train") or 0
    return f"data.n_train={n}" if n < NUM_CLASSES else ""


def _pixels(config: Config) -> str:
    return has("data.standardize", False)(config) or has("data.augment", "none", [])(config)


def _scheme(config: Config) -> str:
    name = weight_scheme(config)[0]
    return "" if name in INITIALISATIONS else f"model.init={name}"


def _activation(*allowed: str) -> Callable[[Config], str]:
    return lambda config: "" if activation_of(config) in allowed else f"model.activation={activation_of(config)}"


def _first_gradient(config: Config) -> str:
    """The gradient that is logged first belongs to the initial weights if the first epoch is one minibatch."""
    n, size = split_size(node(config, "data"), "train") or 0, int(node(config, "data").get("batch_size") or 0)
    return f"data.batch_size={size}" if size < n else ""


ASSUMPTIONS: Mapping[str, Assumption] = {
    "generated": Assumption("a generator's noise", built("data", *sorted(registry.REGRESSION_DATA))),
    "polynomial": Assumption("polynomial data", built("data", registry.POLYNOMIAL)),
    "linear data": Assumption(
        "data of a linear function", built("data", registry.SYNTHETIC_REGRESSION, registry.HIGH_DIMENSIONAL)
    ),
    "high-dimensional": Assumption("data=high_dimensional", built("data", registry.HIGH_DIMENSIONAL)),
    "b = 0": Assumption("data.b=0", has("data.b", 0)),
    "one input": Assumption("data.degree=1", has("data.degree", 1)),
    "official images": Assumption("the official images", _official),
    "all classes": Assumption("images of all classes", _few_images),
    "images": Assumption("data=fashion_mnist", built("data", registry.FASHION_MNIST)),
    "28 x 28": Assumption("pixels as they are", lambda c: has("data.resize", None, 28)(c) or _pixels(c)),
    "true labels": Assumption("no label noise", has("data.label_noise", 0)),
    "no folds": Assumption("no folds", has("data.folds", None)),
    "folds": Assumption("folds", lambda c: "" if node(c, "data").get("folds") else "data.folds=null"),
    "linear": Assumption(
        "a linear model", built("model", registry.LINEAR_REGRESSION, registry.LINEAR_REGRESSION_SCRATCH)
    ),
    "random features": Assumption("model=random_features", built("model", registry.RANDOM_FEATURES)),
    "mlp": Assumption("model=mlp", built("model", registry.MLP)),
    "phm": Assumption("model=phm_mlp", built("model", registry.PHM_MLP)),
    "no bias": Assumption("a model without a bias", has("model.bias", False)),
    "clean inputs": Assumption("no noise on the inputs", has("model.input_noise", 0)),
    "no dropout": Assumption("no dropout", dropout),
    "one hidden layer": Assumption("one hidden layer", _wide_or_shallow),
    "relu": Assumption("ReLU", _activation("relu")),
    "known activation": Assumption("identity, relu, tanh or sigmoid", _activation(*SMOOTH_OR_RELU)),
    "known init": Assumption("normal, Xavier or Kaiming initialisation", _scheme),
    "one width": Assumption("hidden layers of one width", _narrow),
    "wide": Assumption("at most one layer for each 5 units of width", _too_deep),
    "first gradient": Assumption("all samples in the first minibatch", _first_gradient),
    "small logits": Assumption(f"initial logits of a variance of at most {MOST_LOGITS}", _large_logits),
    "cross-entropy": Assumption("the cross-entropy", cross_entropy),
    "squared loss": Assumption("a squared loss", squared),
    "solved": Assumption("the exact solution", built("optimizer", EXACT)),
    "optimum": Assumption("the optimum: solved, or descended long enough in small steps", at_the_optimum),
    "plain sgd": Assumption("SGD without momentum", plain_sgd),
    "l2 decay": Assumption("weight decay as an L2 penalty", not_l2),
    "precise": Assumption("numbers of 32 or 64 bits", precision("float32", "float64")),
    "64 bits": Assumption("numbers of 64 bits", precision("float64")),
    "no decay": Assumption("no weight decay", has("optimizer.weight_decay", 0)),
    "no penalty": Assumption("no penalty", penalty),
    "constant rate": Assumption("a constant learning rate", constant_rate),
    "whole training": Assumption("no early stopping, no limit, no clipping", whole_training),
    "full batches": Assumption("all samples in each minibatch", full_batches),
    "equal batches": Assumption("minibatches of one size", equal_batches),
    "small steps": Assumption("stable steps", small_steps),
    "stable": Assumption("a stable learning rate", stable),
    "quiet steps": Assumption("little noise of the minibatches", noisy),
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
    "n > d": Assumption("more samples than weights", where(lambda n, d: n > d)),
    "n >= d": Assumption("at least as many samples as weights", where(lambda n, d: n >= d)),
    "few features": Assumption(f"at most {MOST_FEATURES} weights", where(lambda n, d: d <= MOST_FEATURES)),
}
