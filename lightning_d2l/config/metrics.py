"""The metrics that `metrics=[...]` may name beside registered ones: for which targets they are, and what is better."""

import re
from collections.abc import Sequence

from lightning_d2l.config.trainer import RUNNING

NUMBERS = ("mse", "rmse", "mae", "r2")
CLASSES = ("f1", "auroc", "ece", "brier")  # and topK
SPOKEN = {
    "acc": "accuracy",
    "mse": "mean squared error",
    "rmse": "root mean squared error",
    "mae": "mean absolute error",
    "r2": "R²",
    "f1": "F1 score, mean over classes",
    "auroc": "area under the ROC curve",
    "ece": "expected calibration error",
    "brier": "Brier score",
    "gap": "loss minus the training loss",
    "acc_gap": "accuracy minus the training accuracy",
    "gradient": "norm of the gradient",
    "norm": "norm of the weights",
    "zeros": "share of weights that are 0",
    "sigma": "estimated standard deviation of the noise",
    "surprisal": "surprisal of the labels (nats)",
    "entropy": "entropy of the predictions (nats)",
    "cross_entropy": "cross-entropy (nats)",
    "kl": "Kullback-Leibler divergence (nats)",
    "surprisal_bits": "surprisal of the labels (bits)",
    "entropy_bits": "entropy of the predictions (bits)",
    "cross_entropy_bits": "cross-entropy (bits)",
    "kl_bits": "Kullback-Leibler divergence (bits)",
    "lr": "learning rate",
    "epochs_to_fit": "epochs until every training label is fitted",
    "num_parameters": "number of parameters",
    "seconds": "time (s)",
}
"""Metrics in words, with their units, by their names without a split."""
SPLITS = {"train": "training", RUNNING: "training, running mean", "val": "validation", "test": "test"}
"""The splits in words."""
LOSSES = {
    "mse": "mean squared error",
    "half_mse": "half the mean squared error",
    "squared_scratch": "half the mean squared error",
    "one_hot_mse": "mean squared error of the classes' indicators",
    "cross_entropy": "cross-entropy (nats)",
    "cross_entropy_scratch": "cross-entropy (nats)",
    "gaussian_nll": "negative log-likelihood (nats)",
}
"""Loss functions in words."""


def spoken(name: str) -> str:
    """A metric without its split in words: "accuracy" for "acc", "top-5 accuracy" for "top5", else the name."""
    return SPOKEN.get(name) or (f"top-{name[3:]} accuracy" if is_top_k(name) else name.replace("_", " "))


def is_top_k(name: object) -> bool:
    """Whether a name is that of the share of samples whose class is among the k most probable: top5."""
    return isinstance(name, str) and re.fullmatch(r"top[1-9][0-9]{0,4}", name) is not None


def fits(name: str, task: str) -> bool:
    """Whether a metric of this package is for the targets of a task, "regression" or "classification"."""
    return name in NUMBERS if task == "regression" else name in CLASSES or is_top_k(name)


def for_task(task: str, registered: Sequence[str] = ()) -> str:
    """The metrics for a task, in words."""
    own = NUMBERS if task == "regression" else ("topK (such as top3)", *CLASSES)
    return ", ".join([*own, *registered])


def higher_is_better(metric: str) -> bool:
    """Whether the highest value of a metric such as "acc/val" or "best.r2/test" is the best."""
    name = metric.partition("/")[0].rpartition(".")[2]
    return name in ("acc", "r2", "f1", "auroc") or is_top_k(name)


def is_measure(name: str) -> bool:
    """Whether a metric says how good predictions are: a loss, the accuracy, or a metric of this module."""
    return name in ("loss", "acc") or fits(name, "regression") or fits(name, "classification")
