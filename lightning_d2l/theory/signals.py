"""Signals in networks of random weights: the variance of weights, and the covariances of two images by layer."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lightning_d2l.theory.problem import NUM_CLASSES

Array = NDArray[np.float64]
IMAGES = {"own": 161.853, "same": 120.724, "other": 90.626}
"""Mean inner products of Fashion-MNIST's training images in [0, 1]^784: of an image with itself, with another image
of its class, and with an image of another class."""
NUM_INPUTS = 784
SMOOTH: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "tanh": (np.tanh, lambda z: 1 / np.cosh(z) ** 2),
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda z: 1 / (2 * np.cosh(z / 2)) ** 2),
}


def weight_variance(init: str, activation: str, n_in: int, n_out: int, std: float = 0.01) -> float:
    """The variance of a weight under an initialisation that `model.init` names, "normal" with `std`; biases are 0."""
    gains = {"relu": 2.0, "tanh": 25 / 9}
    return {
        "normal": std**2,
        "xavier_normal": 2 / (n_in + n_out),
        "xavier_uniform": 2 / (n_in + n_out),
        "kaiming": gains.get(activation, 1.0) / n_in,
    }[init]


def layer_variances(init: str, activation: str, width: int, depth: int, std: float = 0.01) -> list[float]:
    """The variance of a weight in each layer of an MLP on Fashion-MNIST, the output layer last."""
    sizes = [NUM_INPUTS, *[width] * depth, NUM_CLASSES]
    return [weight_variance(init, activation, *pair, std) for pair in itertools.pairwise(sizes)]


def pair_means(activation: str, variance: float, covariance: float) -> tuple[float, float]:
    """E[f(u) f(v)] and E[f'(u) f'(v)] for normal u and v of equal variance and the given covariance."""
    if variance == 0:
        variance = covariance = np.finfo(float).tiny
    correlation = min(max(covariance / variance, -1.0), 1.0)
    if activation == "identity":
        return covariance, 1.0
    if activation == "relu":  # Cho and Saul 2009, the arc-cosine kernels of order 1 and 0
        angle = math.acos(correlation)
        value = math.sin(angle) + (math.pi - angle) * correlation
        return variance * value / (2 * math.pi), (math.pi - angle) / (2 * math.pi)
    f, slope = SMOOTH[activation]
    nodes, weights = np.polynomial.hermite_e.hermegauss(64)
    weights = weights / weights.sum()
    u = math.sqrt(variance) * nodes[:, None]
    v = math.sqrt(variance) * (correlation * nodes[:, None] + math.sqrt(1 - correlation**2) * nodes)
    return float(weights @ (f(u) * f(v)) @ weights), float(weights @ (slope(u) * slope(v)) @ weights)


@functools.cache
def logit_variance(init: str, activation: str, width: int, depth: int, std: float = 0.01) -> float:
    """The variance of a logit over random weights, in the limit of wide layers: of the mean image with itself."""
    v = layer_variances(init, activation, width, depth, std)
    signal = v[0] * IMAGES["own"]
    for layer in range(depth):
        signal = width * v[layer + 1] * pair_means(activation, signal, signal)[0]
    return signal
