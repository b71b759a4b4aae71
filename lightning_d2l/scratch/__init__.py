"""The book from scratch: models, losses, regularisers and optimizers, with tensors and autograd only.

`sgd` and `train` are the functions; the modules of the same names are found by `from lightning_d2l.scratch.sgd import`.
"""

from lightning_d2l.scratch.data import data_iter, synthetic_data
from lightning_d2l.scratch.linear_regression import LinearRegressionScratch, linreg, squared_loss
from lightning_d2l.scratch.mlp import DropoutMLPScratch, MLPScratch, relu
from lightning_d2l.scratch.regularisation import dropout_layer, l1_penalty, l2_penalty
from lightning_d2l.scratch.sgd import SGD, sgd
from lightning_d2l.scratch.softmax_regression import (
    SoftmaxRegressionScratch,
    accuracy,
    cross_entropy,
    cross_entropy_with_logits,
    softmax,
    stable_softmax,
)
from lightning_d2l.scratch.train import train

__all__ = [
    "SGD",
    "DropoutMLPScratch",
    "LinearRegressionScratch",
    "MLPScratch",
    "SoftmaxRegressionScratch",
    "accuracy",
    "cross_entropy",
    "cross_entropy_with_logits",
    "data_iter",
    "dropout_layer",
    "l1_penalty",
    "l2_penalty",
    "linreg",
    "relu",
    "sgd",
    "softmax",
    "squared_loss",
    "stable_softmax",
    "synthetic_data",
    "train",
]
