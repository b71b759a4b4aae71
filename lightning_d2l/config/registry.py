"""What a configuration may name, and the values that each setting may take.

A config is data, not a program: a `_target_` is built only if its exact name is a key of one of the tables below.
Custom classes are added by `lightning_d2l.register` (plugins.py), under their bare names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning_d2l.config.callbacks import CALLBACKS
from lightning_d2l.config.image_data import IMAGE_DATA, IMAGE_FOLDER, INPUTS, TORCHVISION
from lightning_d2l.config.loggers import BASELINES, LOGGERS
from lightning_d2l.config.metrics import CLASSES, NUMBERS, is_top_k
from lightning_d2l.config.optimizers import OPTIMIZERS
from lightning_d2l.config.pruning import PRUNE
from lightning_d2l.config.rules import (
    COUNT,
    FLAG,
    FRACTION,
    NOT_NEGATIVE,
    NULL,
    POSITIVE,
    REAL,
    SEED,
    TEXT,
    Built,
    Named,
    Rule,
    Settings,
    choice,
    either,
    list_of,
    names_of,
    one_or_list,
    real,
    whole,
)
from lightning_d2l.config.schedulers import SCHEDULERS
from lightning_d2l.config.tables import TABLES_DATA
from lightning_d2l.config.trainer import TRAINER

# Names of initialisations and activations, with what plugins register; None for those of this package.
INITIALISATIONS: dict[str, Any] = dict.fromkeys(
    ("default", "normal", "xavier_uniform", "xavier_normal", "kaiming", "zeros", "constant", "thresholded_uniform")
)
ACTIVATIONS: dict[str, Any] = dict.fromkeys(("relu", "prelu", "leaky_relu", "sigmoid", "tanh", "identity"))
_INITIALISATION, _ACTIVATION = names_of(INITIALISATIONS), names_of(ACTIVATIONS)
INIT = Settings({"name": _INITIALISATION, "std": POSITIVE, "value": REAL, "bias_std": NOT_NEGATIVE}, _INITIALISATION)

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

# Models that optimizer=exact can solve.
LINEAR_IN_PARAMETERS = {LINEAR_REGRESSION, LINEAR_REGRESSION_SCRATCH, RANDOM_FEATURES}
# Models and data for one kind of target; every other model fits both kinds.
CLASS_MODELS = {SOFTMAX_REGRESSION, SOFTMAX_REGRESSION_SCRATCH}
NUMBER_MODELS = {LINEAR_REGRESSION, LINEAR_REGRESSION_SCRATCH, FIXED_HIDDEN_MLP}
CLASSIFICATION_DATA = {FASHION_MNIST, IMAGE_FOLDER, TORCHVISION}
REGRESSION_DATA = {SYNTHETIC_REGRESSION, POLYNOMIAL, HIGH_DIMENSIONAL}

# The settings of everything that may be built, by `_target_`.
_PER_SAMPLE = Rule("true: training needs a prediction for each sample", lambda v: v is True)
_ONE_WIDTH = Settings({"num_hiddens": COUNT, "init": INIT})
MODELS: dict[str, Settings] = {
    LINEAR_REGRESSION: Settings({"bias": FLAG, "input_noise": NOT_NEGATIVE, "dropout": FRACTION, "init": INIT}),
    SOFTMAX_REGRESSION: Settings({"init": INIT}),
    RANDOM_FEATURES: Settings({"num_features": COUNT, "activation": _ACTIVATION}),
    MLP: Settings(
        {
            "num_hiddens": one_or_list(COUNT),
            "num_layers": either(whole(0), NULL),
            "activation": _ACTIVATION,
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
    PHM_MLP: Settings({"num_hiddens": one_or_list(COUNT), "n": COUNT, "activation": _ACTIVATION, "init": INIT}),
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
        },
        optional=INPUTS,
    ),
    SYNTHETIC_REGRESSION: Settings({"w": list_of(REAL), "b": REAL, **_SAMPLES}),
    POLYNOMIAL: Settings({"degree": whole(0, 100), "coefficients": list_of(REAL), "factorial": FLAG, **_SAMPLES}),
    HIGH_DIMENSIONAL: Settings({"d": COUNT, "w": REAL, "b": REAL, **_SAMPLES}),
    **TABLES_DATA,
    **IMAGE_DATA,
}
TABLES = {
    "data": DATA,
    "model": MODELS,
    "optimizer": OPTIMIZERS,
    "scheduler": SCHEDULERS,
    "callbacks": CALLBACKS,
    "logger": LOGGERS,
}
"""The tables by the group of a run that is built from them."""
LAYERS = {"lightning_d2l.nets.preprocessing.TableInputs", "lightning_d2l.nets.images.ImageInputs"}
"""What may stand in front of a network; data describe it."""

# What plugins register, by name.
OBJECTS: dict[str, Any] = {}  # the classes and functions of `_target_` in the tables above
WHOLE_MODELS: set[str] = set()  # models that have their own loss and optimizer: LightningModules
LOSSES_OF_PLUGINS: dict[str, Any] = {}
TASKS_OF_LOSSES: dict[str, str | None] = {}  # "regression", "classification", or None for both
METRICS: dict[str, Any] = {}
THEORIES: dict[str, Any] = {}
# Names of this package that no plugin may give to another metric or theory.
OWN_METRICS = (
    "loss", "acc", "lr", "epoch", "step", *NUMBERS, *CLASSES,
    *(f"{name}{unit}" for name in ("surprisal", "entropy", "cross_entropy", "kl") for unit in ("", "_bits")),
)  # fmt: skip
OWN_THEORIES = (
    "noise_floor", "capacity", "learning_curve", "bias_variance", "double_descent", "interpolation_threshold",
    "early_stopping", "cross_validation", "weight_decay", "input_noise", "dropout_linear", "l1_l2", "learning_rate",
    "width", "depth_init", "activation", "phm", "random_labels",
)  # fmt: skip

# What a diagnosis compares with: a loss, the known noise, or a baseline of scikit-learn.
_REFERENCE = either(POSITIVE, choice("bayes", *BASELINES), NULL)

# Everything that a run is configured by, except for the `hydra` node and the nodes `sweep` and `study` of a sweep.
RUN = Settings(
    {
        "seed": SEED,
        "loss": either(names_of(CLASS_LOSSES, NUMBER_LOSSES, LOSSES_OF_PLUGINS), NULL),
        "metrics": list_of(either(names_of(NUMBERS, CLASSES, METRICS), Rule("topK, as top3", is_top_k)), min_length=0),
        "penalty": Settings({"l1": NOT_NEGATIVE, "l2": NOT_NEGATIVE, "lambda": NOT_NEGATIVE}),
        "information": FLAG,
        "gradients": FLAG,
        "reference": _REFERENCE,  # that of the study
        "resume": either(TEXT, NULL),
        "verbose": FLAG,
        "data": Built(DATA),
        "model": Built(MODELS),
        "optimizer": Built(OPTIMIZERS, optional=True),
        "scheduler": Built(SCHEDULERS, optional=True),
        "callbacks": Named(CALLBACKS),
        "logger": Named(LOGGERS),
        "trainer": Settings(TRAINER),
    }
)

SWEEP = Settings(
    {
        "on_error": choice("continue", "stop"),
        "resume": either(TEXT, NULL),
        "dry_run": FLAG,
        "prune": PRUNE,
        "wait": FLAG,
        "records": either(choice("full", "lean"), NULL),
        "keep": either(TEXT, list_of(TEXT, min_length=0)),
    }
)
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
        "panels": either(TEXT, NULL),  # metric, curve, or a key of the curves
        "reference": _REFERENCE,
    }
)
