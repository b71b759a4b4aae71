"""Initialisation and depth: gradients of wide networks before training, from their signals' covariances (d2l 4.8)."""

from __future__ import annotations

import math
from collections.abc import Iterator

from lightning_d2l.theory.curves import Curve, Measured, theory
from lightning_d2l.theory.problem import NUM_CLASSES, activation_of, network_widths, split_size, weight_scheme
from lightning_d2l.theory.signals import IMAGES, layer_variances, pair_means


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
    v = layer_variances(init, activation, width, depth, std)
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
            error *= width * v[layer + 1] * values[kind][layer][1]
        first += share[kind] * error * product
    return math.sqrt(max(first, 0.0)), math.sqrt(max(last, 0.0))


@theory(
    "model.num_layers",
    assumes=[
        "images", "official images", "28 x 28", "true labels", "all classes", "no folds", "first gradient", "mlp",
        "one width", "known activation", "known init", "bias starts at 0", "clean inputs", "no dropout",
        "cross-entropy", "no penalty", "whole training", "precise", "wide", "small logits",
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
