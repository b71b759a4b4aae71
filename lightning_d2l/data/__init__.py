"""LightningDataModules over tensors in memory, for any LightningModule and Trainer."""

from lightning_d2l.data.base import TensorDataModule
from lightning_d2l.data.fashion_mnist import FashionMNISTData
from lightning_d2l.data.synthetic import HighDimensionalData, PolynomialData, SyntheticRegressionData

__all__ = ["FashionMNISTData", "HighDimensionalData", "PolynomialData", "SyntheticRegressionData", "TensorDataModule"]
