"""Initialisation and depth: gradients of wide networks before training, from their signals' covariances (d2l 4.8)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np

from lightning_d2l.theory.curves import Array, Curve, Measured, theory
from lightning_d2l.theory.problem import NUM_CLASSES, activation_of, network_widths, split_size, weight_scheme

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


def initial_gradients(
    init: str, activation: str, width: int, depth: int, n: int, std: float = 0.01
) -> tuple[float, float]:
    """Norms of the gradients of the first and the last layer's weights on n Fashion-MNIST images, before training.

    In the limit of wide layers (Poole et al. 2016; Schoenholz et al. 2017), with weights of variance v, the
    pre-activations of a pair of images have covariance S_1 = v <x, x'> and S_{l+1} = width v E[f(u) f(u')]. The inner
    product of their gradients starts from that of the errors p - y, where p is linear in the small logits; each layer
    backwards multiplies it by width v E[f'(u) f'(u')]. The squared norm is its mean over all pairs of images: an image
    with itself, with others of its class, and with other classes, for n images that are balanced over the classes.
    """
    sizes = [NUM_INPUTS, *[width] * depth, NUM_CLASSES]
    v = [weight_variance(init, activation, *pair, std) for pair in itertools.pairwise(sizes)]
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


@theory(
    "model.num_layers",
    assumes=[
        "images", "28 x 28", "true labels", "no folds", "first gradient", "mlp", "one width", "known activation",
        "known init", "bias starts at 0", "clean inputs", "no dropout", "cross-entropy", "wide",
    ],
)  # fmt: skip
def depth_init(each: Measured) -> Iterator[Curve]:
    """Norms of the first epoch's gradients by depth, which are those of the initial weights.

    The band holds 95 % of single networks in theory: the logarithm of a squared gradient is normal with the variance
    5 depth / width of the hidden layers (Hanin and Nica 2020), to which the 10 outputs add 2 / 10. Beyond a depth of
    width / 5 the spread is larger than the mean tells.
    """
    data, name = each.config["data"], weight_scheme(each.config)[0]
    n, width = split_size(data, "train") or 1, network_widths(each.config)[0]
    std = float(weight_scheme(each.config)[1].get("std", 0.01))
    x = [int(depth) for depth in each.x if depth > 0]
    norms = [initial_gradients(name, activation_of(each.config), width, depth, n, std) for depth in x]
    factors = [math.exp(math.sqrt(5 * depth / width + 2 / NUM_CLASSES)) for depth in x]
    for part, metric in enumerate(("first.gradient/first", "first.gradient/last")):
        y = [norm[part] for norm in norms]
        band = [v / f for v, f in zip(y, factors, strict=True)], [v * f for v, f in zip(y, factors, strict=True)]
        yield from each.lines("theory of wide layers", x, y, [metric], band)
