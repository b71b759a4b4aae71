"""LightningModules that wrap a model family, for any Trainer and any loader."""

from lightning_d2l.modules.classification import ClassificationModule
from lightning_d2l.modules.regression import RegressionModule

__all__ = ["ClassificationModule", "RegressionModule"]
