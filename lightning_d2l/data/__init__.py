"""LightningDataModules over tensors in memory, for any LightningModule and Trainer."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_d2l.data.base import TensorDataModule
    from lightning_d2l.data.fashion_mnist import FashionMNISTData
    from lightning_d2l.data.synthetic import HighDimensionalData, PolynomialData, SyntheticRegressionData
    from lightning_d2l.data.table import TableData

__all__ = [
    "FashionMNISTData",
    "HighDimensionalData",
    "PolynomialData",
    "SyntheticRegressionData",
    "TableData",
    "TensorDataModule",
]
_MODULES = {"FashionMNISTData": "fashion_mnist", "TableData": "table", "TensorDataModule": "base"}


def __getattr__(name: str) -> Any:
    """Import a class when it is asked for: looking for data files needs no torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES.get(name, 'synthetic')}"), name)
