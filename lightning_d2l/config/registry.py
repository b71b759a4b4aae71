"""What a configuration may name, and the values that each setting may take.

A config is data, not a program: a `_target_` is built only if its exact name is a key of one of the tables below.
To add a custom model, register it in one line before `main()` and give it a file in a conf/model folder:

    registry.MODELS["my_package.MyNet"] = registry.ANYTHING
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rule:
    """Which values one setting may have. `allowed` completes the sentence "must be ..."."""

    allowed: str
    accepts: Callable[[Any], bool]


@dataclass(frozen=True)
class Settings:
    """A group of settings: every name in `rules` must be there, with a value that its rule accepts.

    `shorthand` is the rule for one value in place of the whole group, such as `model.init=zeros`. An `open` group
    may have further settings of any plain values.
    """

    rules: Mapping[str, Setting]
    shorthand: Rule | None = None
    open: bool = False


@dataclass(frozen=True)
class Built:
    """A group of settings from which an object is built; the `_target_` must be a key of `table`."""

    table: Mapping[str, Settings]
    optional: bool = False


Setting = Rule | Settings | Built
ANYTHING = Settings({}, open=True)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def whole(low: int, high: float = math.inf) -> Rule:
    """A whole number of at least `low` and at most `high`."""
    allowed = f"a whole number from {low} {f'to {high}' if high < math.inf else 'up'}"
    return Rule(allowed, lambda v: _is_number(v) and isinstance(v, int) and low <= v <= high)


def real(interval: str) -> Rule:
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


# Rules that many settings share.
NULL = Rule("null", lambda v: v is None)
FLAG = Rule("true or false", lambda v: isinstance(v, bool))
TEXT = Rule("text", lambda v: isinstance(v, str) and v != "")
COUNT = whole(1)
SEED = whole(0, 2**63 - 1)
REAL = real("(-inf, inf)")
POSITIVE = real("(0, inf)")
NOT_NEGATIVE = real("[0, inf)")
FRACTION = real("[0, 1)")

INITIALISATIONS = choice(
    "default", "normal", "xavier_uniform", "xavier_normal", "kaiming", "zeros", "constant", "thresholded_uniform"
)
INIT = Settings({"name": INITIALISATIONS, "std": POSITIVE, "value": REAL, "bias_std": NOT_NEGATIVE}, INITIALISATIONS)
ACTIVATIONS = choice("relu", "prelu", "leaky_relu", "sigmoid", "tanh", "identity")

# Losses by the kind of target that they are for: classes or numbers.
CLASS_LOSSES = ("cross_entropy", "cross_entropy_scratch", "one_hot_mse")
NUMBER_LOSSES = ("mse", "half_mse", "squared_scratch", "gaussian_nll")
SQUARED_LOSSES = {"mse": 1.0, "half_mse": 0.5, "squared_scratch": 0.5, "one_hot_mse": 1.0}
"""The factor of the mean squared error in each squared loss."""

# Names that other files compare a `_target_` with.
LINEAR_REGRESSION = "lightning_d2l.nets.linear.LinearRegression"
LINEAR_REGRESSION_SCRATCH = "lightning_d2l.scratch.linear_regression.LinearRegressionScratch"
SOFTMAX_REGRESSION = "lightning_d2l.nets.linear.SoftmaxRegression"
SOFTMAX_REGRESSION_SCRATCH = "lightning_d2l.scratch.softmax_regression.SoftmaxRegressionScratch"
RANDOM_FEATURES = "lightning_d2l.nets.random_features.RandomFeatures"
MLP = "lightning_d2l.nets.mlp.MLP"
FIXED_HIDDEN_MLP = "lightning_d2l.nets.blocks.FixedHiddenMLP"
PHM_MLP = "lightning_d2l.nets.phm.PHMMLP"
FASHION_MNIST = "lightning_d2l.data.fashion_mnist.FashionMNISTData"
SYNTHETIC_REGRESSION = "lightning_d2l.data.synthetic.SyntheticRegressionData"
POLYNOMIAL = "lightning_d2l.data.synthetic.PolynomialData"
HIGH_DIMENSIONAL = "lightning_d2l.data.synthetic.HighDimensionalData"
SGD = "torch.optim.SGD"
SGD_SCRATCH = "lightning_d2l.scratch.sgd.SGD"
ADAM = "torch.optim.Adam"
ADAM_W = "torch.optim.AdamW"
RMSPROP = "torch.optim.RMSprop"
EXACT = "lightning_d2l.engine.exact.Exact"

# Models that optimizer=exact can solve.
LINEAR_IN_PARAMETERS = {LINEAR_REGRESSION, LINEAR_REGRESSION_SCRATCH, RANDOM_FEATURES}
# Models and data for one kind of target; every other model fits both kinds.
CLASS_MODELS = {SOFTMAX_REGRESSION, SOFTMAX_REGRESSION_SCRATCH}
NUMBER_MODELS = {LINEAR_REGRESSION, LINEAR_REGRESSION_SCRATCH, FIXED_HIDDEN_MLP}
CLASSIFICATION_DATA = {FASHION_MNIST}
REGRESSION_DATA = {SYNTHETIC_REGRESSION, POLYNOMIAL, HIGH_DIMENSIONAL}

# The settings of everything that may be built, by `_target_`.
_PER_SAMPLE = Rule("true: training needs a prediction for each sample", lambda v: v is True)
_ONE_WIDTH = Settings({"num_hiddens": COUNT, "init": INIT})
MODELS: dict[str, Settings] = {
    LINEAR_REGRESSION: Settings({"bias": FLAG, "input_noise": NOT_NEGATIVE, "dropout": FRACTION, "init": INIT}),
    SOFTMAX_REGRESSION: Settings({"init": INIT}),
    RANDOM_FEATURES: Settings({"num_features": COUNT, "activation": ACTIVATIONS}),
    MLP: Settings(
        {
            "num_hiddens": one_or_list(COUNT),
            "num_layers": either(whole(0), NULL),
            "activation": ACTIVATIONS,
            "dropout": one_or_list(FRACTION),
            "input_noise": NOT_NEGATIVE,
            "init": INIT,
        }
    ),
    "lightning_d2l.nets.blocks.MLPBlock": _ONE_WIDTH,
    "lightning_d2l.nets.blocks.MySequentialMLP": _ONE_WIDTH,
    "lightning_d2l.nets.blocks.NestedMLP": Settings({"num_hiddens": list_of(COUNT), "init": INIT}),
    FIXED_HIDDEN_MLP: Settings({"num_hiddens": COUNT, "per_sample": _PER_SAMPLE, "init": INIT}),
    "lightning_d2l.nets.blocks.TiedMLP": _ONE_WIDTH,
    PHM_MLP: Settings({"num_hiddens": one_or_list(COUNT), "n": COUNT, "activation": ACTIVATIONS, "init": INIT}),
    LINEAR_REGRESSION_SCRATCH: Settings({"std": NOT_NEGATIVE, "bias": FLAG}),
    SOFTMAX_REGRESSION_SCRATCH: Settings({"std": NOT_NEGATIVE}),
    "lightning_d2l.scratch.mlp.MLPScratch": Settings({"num_hiddens": COUNT, "std": NOT_NEGATIVE}),
    "lightning_d2l.scratch.mlp.DropoutMLPScratch": Settings(
        {"num_hiddens": list_of(COUNT), "dropout": list_of(FRACTION)}
    ),
}
_LOADED = {"batch_size": COUNT, "seed": SEED, "folds": either(whole(2), NULL), "fold": either(whole(0), NULL)}
# Settings of all regression data that are generated.
_SIZES = {"n_train": COUNT, "n_val": whole(0), "n_test": COUNT}
_SAMPLES = {"noise": NOT_NEGATIVE, **_SIZES, "test_seed": either(SEED, NULL), **_LOADED}
DATA: dict[str, Settings] = {
    FASHION_MNIST: Settings(
        {
            "root": either(TEXT, NULL),
            "source": choice("auto", "official", "generated"),
            "val_size": whole(0, 59_999),
            "n_train": either(whole(1, 60_000), NULL),
            "resize": either(whole(1, 512), NULL),
            "label_noise": real("[0, 1]"),
            **_LOADED,
        }
    ),
    SYNTHETIC_REGRESSION: Settings({"w": list_of(REAL), "b": REAL, **_SAMPLES}),
    POLYNOMIAL: Settings({"degree": whole(0, 100), "coefficients": list_of(REAL), "factorial": FLAG, **_SAMPLES}),
    HIGH_DIMENSIONAL: Settings({"d": COUNT, "w": REAL, "b": REAL, **_SAMPLES}),
}
_DECAY = {"lr": POSITIVE, "weight_decay": NOT_NEGATIVE}
_BETAS = Rule("two numbers in [0, 1)", lambda v: isinstance(v, list) and len(v) == 2 and all(map(FRACTION.accepts, v)))
OPTIMIZERS: dict[str, Settings] = {
    SGD: Settings({**_DECAY, "momentum": FRACTION, "nesterov": FLAG}),
    ADAM: Settings({**_DECAY, "betas": _BETAS, "fused": FLAG}),
    ADAM_W: Settings({**_DECAY, "betas": _BETAS, "fused": FLAG}),
    RMSPROP: Settings({**_DECAY, "alpha": FRACTION, "momentum": FRACTION}),
    SGD_SCRATCH: Settings(_DECAY),
    EXACT: Settings({"lr": either(NULL, POSITIVE), "weight_decay": NOT_NEGATIVE}),
}
_TENSORBOARD = Settings({"graph": FLAG, "histograms_every_n_epochs": whole(0), "figures": FLAG})
LOGGERS: dict[str, Settings] = {"lightning_d2l.training.tensorboard.TensorBoard": _TENSORBOARD}

TABLES = {"data": DATA, "model": MODELS, "optimizer": OPTIMIZERS, "logger": LOGGERS}
"""The tables by the group of a run that is built from them."""

# Everything that a run is configured by, except for the `hydra` node and the nodes `sweep` and `study` of a sweep.
RUN = Settings(
    {
        "seed": SEED,
        "loss": either(choice(*CLASS_LOSSES, *NUMBER_LOSSES), NULL),
        "penalty": Settings({"l1": NOT_NEGATIVE, "l2": NOT_NEGATIVE, "lambda": NOT_NEGATIVE}),
        "information": FLAG,
        "gradients": FLAG,
        "resume": either(TEXT, NULL),
        "verbose": FLAG,
        "data": Built(DATA),
        "model": Built(MODELS),
        "optimizer": Built(OPTIMIZERS),
        "logger": Built(LOGGERS, optional=True),
        "trainer": Settings(
            {
                "max_epochs": whole(1, 10**9),
                "log_every_n_epochs": whole(1, 10**9),
                "evaluate": list_of(choice("train", "val", "test"), min_length=0),
                "precision": choice("32-true", "64-true"),
                "accelerator": choice("auto", "cpu", "gpu", "mps"),
                "engine": choice("auto", "fast", "lightning"),
                "save_predictions": FLAG,
                "checkpoint_every_n_seconds": NOT_NEGATIVE,
            }
        ),
    }
)

SWEEP = Settings({"on_error": choice("continue", "stop"), "resume": either(TEXT, NULL), "dry_run": FLAG})
_SCALE = Rule(
    "linear or log of x and y, as {x: linear, y: log},",
    lambda v: (
        isinstance(v, Mapping) and v.keys() <= {"x", "y"} and all(s in ("linear", "log", None) for s in v.values())
    ),
)
_NAME = Rule(
    "a name of at most 100 printable characters, without / and \\, that does not begin with a dot",
    lambda v: isinstance(v, str) and v.isprintable() and 0 < len(v) <= 100 and not set(v) & {"/", "\\"} and v[0] != ".",
)
# A study derives from its runs what is null or left out here. `theory` is a key of theory.theories.THEORIES.
STUDY = Settings(
    {
        "name": either(_NAME, NULL),
        "question": either(TEXT, NULL),
        "x": either(TEXT, NULL),
        "curves": either(list_of(TEXT, min_length=0), NULL),
        "metrics": either(list_of(TEXT), NULL),
        "replicates": either(list_of(TEXT, min_length=0), NULL),
        "scale": either(_SCALE, NULL),
        "theory": either(TEXT, NULL),
        "panels": either(choice("metric", "curve"), NULL),
    }
)
