"""The settings of each logger, by `_target_`, and the extras that some of them need."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

from lightning_d2l.config.rules import FLAG, NULL, TEXT, Rule, Settings, either, list_of, whole

TENSORBOARD = "lightning_d2l.training.tensorboard.TensorBoard"
CSV = "pytorch_lightning.loggers.CSVLogger"
WANDB = "pytorch_lightning.loggers.WandbLogger"
MLFLOW = "pytorch_lightning.loggers.MLFlowLogger"
EXTRAS = {WANDB: "wandb", MLFLOW: "mlflow"}
"""The package that a logger needs; the extra that installs it has the same name."""
BASELINES = ("knn", "gradient_boosting", "mlp")
"""The references that scikit-learn fits."""
MLFLOW_STORE = "mlflow.db"
"""In the folder of a sweep or of a single run."""

_NAME = either(TEXT, NULL)
_PREFIX = Rule("text", lambda v: isinstance(v, str))
_TAGS = Rule(
    "a mapping of names to texts",
    lambda v: isinstance(v, Mapping) and all(isinstance(text, str) for pair in v.items() for text in pair),
)
LOGGERS: dict[str, Settings] = {
    TENSORBOARD: Settings({"graph": either(FLAG, NULL), "histograms_every_n_epochs": whole(0), "figures": FLAG}),
    CSV: Settings({"prefix": _PREFIX}),
    WANDB: Settings(
        {
            "project": TEXT,
            "entity": _NAME,
            "name": _NAME,
            "group": _NAME,
            "job_type": _NAME,
            "notes": _NAME,
            "tags": list_of(TEXT, min_length=0),
            "offline": FLAG,
            "prefix": _PREFIX,
        }
    ),
    MLFLOW: Settings(
        {
            "experiment_name": TEXT,
            "run_name": _NAME,
            "tracking_uri": _NAME,
            "tags": either(_TAGS, NULL),
            "prefix": _PREFIX,
        }
    ),
}


def missing_extra(config: Mapping[str, Any]) -> str:
    """What is wrong if a logger or the reference needs an extra that is not installed, or no text."""
    if (name := config.get("reference")) in BASELINES and not _is_installed("sklearn"):
        return f"study.reference={name}: scikit-learn is not installed: pip install 'lightning_d2l[baselines]'"
    for name, group in config["logger"].items():
        package = EXTRAS.get(group["_target_"])
        if package and not _is_installed(package):
            return f"logger={name}: {package} is not installed: pip install 'lightning_d2l[{package}]'"
    return ""


def _is_installed(package: str) -> bool:
    """Whether a package can be imported; a folder of its name, such as wandb leaves, is none."""
    spec = importlib.util.find_spec(package)
    return spec is not None and spec.origin is not None
