"""What a configuration may name, and the values that each setting may take.

A config is data, not a program: a `_target_` is built only if its exact name stands in one of the tables below.
To add a model of your own, register it in one line before `main()` and give it a file in a conf/model folder:

    registry.MODELS["my_package.MyNet"] = registry.ANYTHING
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rule:
    """`accepts(value)` says whether a value is allowed; `allowed` completes the sentence "must be ..."."""

    allowed: str
    accepts: Callable[[Any], bool]


@dataclass(frozen=True)
class Built:
    """A node that is built from a `_target_`: one of the table's names, with the settings listed there."""

    table: dict[str, Rules]
    optional: bool = False


Rules = Mapping[str, "Rule | Rules | Built"]
ANYTHING: Rules = {"*": Rule("anything", lambda value: True)}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def whole(low: int, high: float = math.inf) -> Rule:
    """A whole number of at least `low` and at most `high`."""
    allowed = f"a whole number from {low} {f'to {high}' if high < math.inf else 'up'}"
    return Rule(allowed, lambda v: _is_number(v) and isinstance(v, int) and low <= v <= high)


def number(interval: str) -> Rule:
    """A number in an interval such as "(0, inf)" or "[0, 1)"."""
    low, high = (float(end) for end in interval[1:-1].split(","))

    def accepts(v: Any) -> bool:
        above = _is_number(v) and (v > low or (v == low and interval[0] == "["))
        return above and (v < high or (v == high and interval[-1] == "]"))

    return Rule(f"a number in {interval}" if math.isfinite(low) else "a number", accepts)


def choice(*options: str) -> Rule:
    """One of the names given."""
    return Rule(f"one of {', '.join(options)}", lambda v: v in options)


def list_of(rule: Rule, *, min_length: int = 1) -> Rule:
    """A list whose every item obeys `rule`."""
    return Rule(
        f"a list{' of at least one item' if min_length else ''}, each {rule.allowed}",
        lambda v: isinstance(v, list) and len(v) >= min_length and all(map(rule.accepts, v)),
    )


def one_or_list(rule: Rule) -> Rule:
    """What `rule` accepts, or a list of at least one such value."""
    return Rule(f"{rule.allowed}, or a list of such", either(rule, list_of(rule)).accepts)


def either(*rules: Rule) -> Rule:
    """What any one of the rules accepts."""
    return Rule(" or ".join(r.allowed for r in rules), lambda v: any(r.accepts(v) for r in rules))


NULL = Rule("null", lambda v: v is None)
FLAG = Rule("true or false", lambda v: isinstance(v, bool))
TEXT = Rule("text", lambda v: isinstance(v, str) and v != "")
COUNT = whole(1)
SEED = whole(0, 2**63 - 1)
REAL = number("(-inf, inf)")
POSITIVE = number("(0, inf)")
NOT_NEGATIVE = number("[0, inf)")
FRACTION = number("[0, 1)")

INITIALISATIONS = choice(
    "default", "normal", "xavier_uniform", "xavier_normal", "kaiming", "zeros", "constant", "thresholded_uniform"
)
INIT: Rules = {
    "name": INITIALISATIONS, "std": POSITIVE, "value": REAL, "bias_std": NOT_NEGATIVE, "": INITIALISATIONS,
}  # fmt: skip
ACTIVATIONS = choice("relu", "prelu", "leaky_relu", "sigmoid", "tanh", "identity")

CLASS_LOSSES = ("cross_entropy", "cross_entropy_scratch", "one_hot_mse")
NUMBER_LOSSES = ("mse", "half_mse", "squared_scratch", "gaussian_nll")
SQUARED_LOSSES = {"mse": 1.0, "half_mse": 0.5, "squared_scratch": 0.5, "one_hot_mse": 1.0}
"""The factor before the mean squared error, by the loss's name."""

MODELS: dict[str, Rules] = {
    "lightning_d2l.nets.linear.LinearRegression": {
        "bias": FLAG,
        "input_noise": NOT_NEGATIVE,
        "dropout": FRACTION,
        "init": INIT,
    },
    "lightning_d2l.nets.linear.SoftmaxRegression": {"init": INIT},
    "lightning_d2l.nets.random_features.RandomFeatures": {"num_features": COUNT, "activation": ACTIVATIONS},
    "lightning_d2l.nets.mlp.MLP": {
        "num_hiddens": one_or_list(COUNT),
        "num_layers": either(whole(0), NULL),
        "activation": ACTIVATIONS,
        "dropout": one_or_list(FRACTION),
        "input_noise": NOT_NEGATIVE,
        "init": INIT,
    },
    "lightning_d2l.nets.blocks.MLPBlock": {"num_hiddens": COUNT, "init": INIT},
    "lightning_d2l.nets.blocks.MySequentialMLP": {"num_hiddens": COUNT, "init": INIT},
    "lightning_d2l.nets.blocks.NestedMLP": {"num_hiddens": list_of(COUNT), "init": INIT},
    "lightning_d2l.nets.blocks.FixedHiddenMLP": {
        "num_hiddens": COUNT,
        "per_sample": Rule("true: training needs a prediction for each sample", lambda v: v is True),
        "init": INIT,
    },
    "lightning_d2l.nets.blocks.TiedMLP": {"num_hiddens": COUNT, "init": INIT},
    "lightning_d2l.nets.phm.PHMMLP": {
        "num_hiddens": one_or_list(COUNT),
        "n": COUNT,
        "activation": ACTIVATIONS,
        "init": INIT,
    },
    "lightning_d2l.scratch.linear_regression.LinearRegressionScratch": {"std": NOT_NEGATIVE, "bias": FLAG},
    "lightning_d2l.scratch.softmax_regression.SoftmaxRegressionScratch": {"std": NOT_NEGATIVE},
    "lightning_d2l.scratch.mlp.MLPScratch": {"num_hiddens": COUNT, "std": NOT_NEGATIVE},
    "lightning_d2l.scratch.mlp.DropoutMLPScratch": {"num_hiddens": list_of(COUNT), "dropout": list_of(FRACTION)},
}
_FOLDS: Rules = {"folds": either(whole(2), NULL), "fold": either(whole(0), NULL)}
_SAMPLES: Rules = {
    "noise": NOT_NEGATIVE,
    "n_train": COUNT,
    "n_val": whole(0),
    "n_test": COUNT,
    "test_seed": either(SEED, NULL),
    "batch_size": COUNT,
    "seed": SEED,
    **_FOLDS,
}
DATA: dict[str, Rules] = {
    "lightning_d2l.data.fashion_mnist.FashionMNISTData": {
        "root": either(TEXT, NULL),
        "source": choice("auto", "official", "generated"),
        "batch_size": COUNT,
        "val_size": whole(0, 59_999),
        "n_train": either(whole(1, 60_000), NULL),
        "resize": either(whole(1, 512), NULL),
        "label_noise": number("[0, 1]"),
        "seed": SEED,
        **_FOLDS,
    },
    "lightning_d2l.data.synthetic.SyntheticRegressionData": {
        "w": list_of(REAL), "b": REAL, **_SAMPLES,
    },
    "lightning_d2l.data.synthetic.PolynomialData": {
        "degree": whole(0, 100),
        "coefficients": list_of(REAL),
        "factorial": FLAG,
        **_SAMPLES,
    },
    "lightning_d2l.data.synthetic.HighDimensionalData": {
        "d": COUNT, "w": REAL, "b": REAL, **_SAMPLES,
    },
}  # fmt: skip
_DECAY: Rules = {"lr": POSITIVE, "weight_decay": NOT_NEGATIVE}
_BETAS = Rule("two numbers in [0, 1)", lambda v: isinstance(v, list) and len(v) == 2 and all(map(FRACTION.accepts, v)))
OPTIMIZERS: dict[str, Rules] = {
    "torch.optim.SGD": {**_DECAY, "momentum": FRACTION, "nesterov": FLAG},
    "torch.optim.Adam": {**_DECAY, "betas": _BETAS, "fused": FLAG},
    "torch.optim.AdamW": {**_DECAY, "betas": _BETAS, "fused": FLAG},
    "torch.optim.RMSprop": {**_DECAY, "alpha": FRACTION, "momentum": FRACTION},
    "lightning_d2l.scratch.sgd.SGD": _DECAY,
    "lightning_d2l.engine.exact.Exact": {"lr": either(NULL, POSITIVE), "weight_decay": NOT_NEGATIVE},
}
# What is for classes alone, and what is for numbers alone; everything else fits both.
CLASS_MODELS = {
    "lightning_d2l.nets.linear.SoftmaxRegression",
    "lightning_d2l.scratch.softmax_regression.SoftmaxRegressionScratch",
}
NUMBER_MODELS = {
    "lightning_d2l.nets.linear.LinearRegression",
    "lightning_d2l.scratch.linear_regression.LinearRegressionScratch",
    "lightning_d2l.nets.blocks.FixedHiddenMLP",
}
CLASSIFICATION_DATA = {"lightning_d2l.data.fashion_mnist.FashionMNISTData"}
REGRESSION_DATA = DATA.keys() - CLASSIFICATION_DATA
LOGGERS: dict[str, Rules] = {
    "lightning_d2l.training.tensorboard.TensorBoard": {
        "graph": FLAG, "histograms_every_n_epochs": whole(0), "figures": FLAG,
    },
}  # fmt: skip

RUN: Rules = {
    "seed": SEED,
    "loss": either(choice(*CLASS_LOSSES, *NUMBER_LOSSES), NULL),
    "penalty": {"l1": NOT_NEGATIVE, "l2": NOT_NEGATIVE, "lambda": NOT_NEGATIVE},
    "information": FLAG,
    "gradients": FLAG,
    "resume": either(TEXT, NULL),
    "verbose": FLAG,
    "data": Built(DATA),
    "model": Built(MODELS),
    "optimizer": Built(OPTIMIZERS),
    "logger": Built(LOGGERS, optional=True),
    "trainer": {
        "max_epochs": COUNT,
        "log_every_n_epochs": COUNT,
        "evaluate": list_of(choice("train", "val", "test"), min_length=0),
        "precision": choice("32-true", "64-true"),
        "accelerator": choice("auto", "cpu", "gpu", "mps"),
        "automatic_optimization": FLAG,
        "save_predictions": FLAG,
        "checkpoint_every_n_seconds": NOT_NEGATIVE,
    },
}

SWEEP: Rules = {"on_error": choice("continue", "stop"), "resume": either(TEXT, NULL), "dry_run": FLAG}
# What a study leaves out, or says null of, follows from its runs; its theory is a name of studies.theories.THEORIES.
STUDY: Rules = {
    "name": either(TEXT, NULL),
    "question": either(TEXT, NULL),
    "x": either(TEXT, NULL),
    "curves": either(list_of(TEXT, min_length=0), NULL),
    "metrics": either(list_of(TEXT), NULL),
    "replicates": either(list_of(TEXT, min_length=0), NULL),
    "scale": Rule(
        "linear or log of x and y, as {x: linear, y: log}, or null",
        lambda v: (
            v is None
            or (isinstance(v, Mapping) and v.keys() <= {"x", "y"} and {*v.values()} <= {"linear", "log", None})
        ),
    ),
    "theory": either(TEXT, NULL),
    "panels": either(choice("metric", "curve"), NULL),
}

# What is out of range for a sweep's jobs is told when they train, which they then do one by one.
LAUNCHERS: dict[str, Rules] = {
    "hydra_plugins.lightning_d2l_sweeps.VectorizedLauncher": {
        "min_members": Rule("a whole number", lambda v: _is_number(v) and isinstance(v, int)),
        "max_members": Rule("a whole number", lambda v: _is_number(v) and isinstance(v, int)),
        "memory": REAL,
    },
}

# What Hydra itself may build; its launchers and sweepers are plugins that a person chose to install.
HYDRA_TARGETS = frozenset(
    {
        "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
        "hydra._internal.core_plugins.basic_sweeper.BasicSweeper",
        "hydra_plugins.lightning_d2l_sweeps.GridSweeper",
        "hydra_plugins.lightning_d2l_sweeps.OptunaSweeper",
        "hydra_plugins.lightning_d2l_sweeps.SequentialLauncher",
        "hydra_plugins.lightning_d2l_sweeps.VectorizedLauncher",
        "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher",
        "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher",
        "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher",
        "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher",
    }
)
LOGGING_CLASSES = frozenset(
    {"logging.StreamHandler", "logging.FileHandler", "logging.Formatter", "colorlog.ColoredFormatter"}
)
