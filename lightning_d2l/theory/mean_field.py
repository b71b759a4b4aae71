"""Gradients of deep wide networks before training, by the variances and covariances of their signals (d2l 4.8)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
IMAGES = {"own": 161.853, "same": 120.724, "other": 90.626}
"""Mean inner products of Fashion-MNIST's training images x in [0, 1]^784: of an image with itself, with another of
its class, with one of another class."""
NUM_INPUTS, NUM_CLASSES = 784, 10
INITS = ("normal", "xavier_normal", "xavier_uniform", "kaiming")
SMOOTH: dict[str, tuple[Callable[[Floats], Floats], Callable[[Floats], Floats]]] = {
    "tanh": (np.tanh, lambda z: 1 / np.cosh(z) ** 2),
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda z: 1 / (2 * np.cosh(z / 2)) ** 2),
}
ACTIVATIONS = ("identity", "relu", *SMOOTH)


def weight_variance(init: str, activation: str, n_in: int, n_out: int) -> float:
    """The variance of a weight under an initialisation named as in `model.init`; its biases are 0."""
    gains = {"relu": 2.0, "tanh": 25 / 9}
    return {
        "normal": 0.01**2,
        "xavier_normal": 2 / (n_in + n_out),
        "xavier_uniform": 2 / (n_in + n_out),
        "kaiming": gains.get(activation, 1.0) / n_in,
    }[init]


def pair_means(activation: str, variance: float, covariance: float) -> tuple[float, float]:
    """E[f(u) f(v)] and E[f'(u) f'(v)] of normal u and v with equal variance and a covariance."""
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


def initial_gradients(init: str, activation: str, width: int, depth: int, n: int) -> tuple[float, float]:
    """Norms of the gradients of the first and the last layer's weights, of n Fashion-MNIST images, before training.

    The limit of wide layers (Poole et al. 2016; Schoenholz et al. 2017): with weights of variance v, pairs of images
    have pre-activations of covariance S_1 = v <x, x'> and S_{l+1} = width v E[f(u) f(u')], and the inner product of
    their gradients is multiplied by width v E[f'(u) f'(u')] from each layer to the one before. It starts from that of
    the errors p - y, where p is linear in the small logits. The mean over all pairs of one image with itself, of the
    same class and of different classes, as many each as n balanced images have, is the square of the norm.
    """
    sizes = [NUM_INPUTS, *[width] * depth, NUM_CLASSES]
    v = [weight_variance(init, activation, *pair) for pair in itertools.pairwise(sizes)]
    share = {"own": 1 / n, "same": 1 / NUM_CLASSES - 1 / n, "other": 1 - 1 / NUM_CLASSES}
    signal = {kind: [v[0] * product] for kind, product in IMAGES.items()}
    values: dict[str, list[tuple[float, float]]] = {kind: [] for kind in IMAGES}
    for layer in range(depth):
        variance = signal["own"][layer]
        for kind in IMAGES:
            values[kind].append(pair_means(activation, variance, signal[kind][layer]))
            signal[kind].append(width * v[layer + 1] * values[kind][layer][0])
    first = last = 0.0
    for kind, product in IMAGES.items():
        labels = (0.0 if kind == "other" else 1.0) - 1 / NUM_CLASSES
        error = labels + signal[kind][depth] * (NUM_CLASSES - 1) / NUM_CLASSES**2
        last += share[kind] * error * width * values[kind][-1][0]
        for layer in reversed(range(depth)):
            error *= sizes[layer + 1] * v[layer + 1] * values[kind][layer][1]
        first += share[kind] * error * product
    return math.sqrt(max(first, 0.0)), math.sqrt(max(last, 0.0))
