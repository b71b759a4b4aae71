"""Networks: width, depth without an activation (d2l 4.1.1), hypercomplex layers, and random labels."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from lightning_d2l.theory.curves import Array, Curve, Measured, theory
from lightning_d2l.theory.problem import NUM_CLASSES, is_fashion_mnist, loss_factor, noise_variance

GRID = np.linspace(-5, 5, 1001)
"""Points that approximate the normal distribution of the inputs."""
ENOUGH_PIECES = 65
"""With so many pieces the error is far below any visible noise."""


@functools.cache
def straight_pieces(coefficients: tuple[float, ...], factorial: bool) -> tuple[float, ...]:
    """The least mean squared errors with which 1, 2, ... straight pieces fit a polynomial of x ~ N(0, 1).

    Each piece is a separate least-squares line. Dynamic programming (Bellman 1961) over a fine grid finds the best
    borders. The pieces of a ReLU network must meet, so that its error can't be smaller.
    """
    y = sum(c * GRID**i / (math.factorial(i) if factorial else 1) for i, c in enumerate(coefficients))
    weights = np.exp(-(GRID**2) / 2)
    cost = _line_errors(GRID, y + 0 * GRID, weights / weights.sum())
    best = cost[0]  # [i]: the error of the points up to i, here with one piece
    errors = [float(best[-1])]
    while len(errors) < ENOUGH_PIECES:
        best = np.minimum(best, (best[:-1, None] + cost[1:]).min(0))
        errors.append(float(best[-1]))
    return tuple(errors)


def _line_errors(x: Array, y: Array, weights: Array) -> Array:
    """Weighted squared errors (n, n) of the least-squares lines through the points i to j; infinite where j < i."""
    moments = (np.ones_like(x), x, y, x * x, x * y, y * y)
    sums = (np.concatenate([[0.0], np.cumsum(weights * m)]) for m in moments)
    w, sx, sy, sxx, sxy, syy = (s[None, 1:] - s[:-1, None] for s in sums)
    points = np.arange(len(x)) - np.arange(len(x))[:, None] + 1
    with np.errstate(divide="ignore", invalid="ignore"):
        vx, vy, cxy = sxx - sx**2 / w, syy - sy**2 / w, sxy - sx * sy / w
        errors = np.where(points > 2, np.maximum(vy - cxy**2 / vx, 0.0), 0.0)
    return np.where(points > 0, errors, np.inf)


@theory("model.num_hiddens", floor=True, together=True)
def width(each: Measured) -> Iterator[Curve]:
    """The noise floor, and the error of the best h + 1 straight pieces, which bounds that of h ReLU units from below.

    A hidden layer of h ReLU units computes a continuous function with at most h kinks. Enough of them reach any error:
    universal approximation (Cybenko 1989; Leshno et al. 1993). The data must be a polynomial of which the model gets 1
    and x.
    """
    data, model, variance = each.config.get("data") or {}, each.config["model"], noise_variance(each.config)
    relu = model.get("activation") == "relu" and model.get("num_layers") in (None, 1)
    if relu and data.get("degree") == 1 and variance is not None:
        errors, factor = (
            straight_pieces(tuple(data["coefficients"]), data["factorial"]),
            loss_factor(each.config) or 1.0,
        )
        y = [variance + factor * errors[min(int(h), ENOUGH_PIECES - 1)] for h in each.x]
        yield from each.lines("best h + 1 straight pieces", each.x, y, each.question.losses)


@theory("model.num_layers", together=True)
def activation(each: Measured) -> Iterator[Curve]:
    """The mean metrics of the runs without a hidden layer, which stacked linear layers can't improve (d2l 4.1.1)."""
    linear = [run for run in each.runs if run.completed and run.get("model.num_layers") == 0]
    for metric in each.question.metrics:
        if values := [value for run in linear if (value := run.metric(metric)) is not None]:
            y = [sum(values) / len(values)] * len(each.x)
            yield from each.lines("linear model (0 layers)", each.x, y, [metric])


def hypercomplex_parameters(num_inputs: int, widths: Sequence[int], num_outputs: int, n: int) -> int:
    """The number of parameters of an MLP with hypercomplex hidden layers and a plain output layer.

    A hidden layer from d to q units has dq/n + n^3 weights and q biases (Zhang et al. 2021); for n = 1 the 1 x 1
    factor is left out.
    """
    hidden = [d * q // n + (n**3 if n > 1 else 0) + q for d, q in itertools.pairwise([num_inputs, *widths])]
    return sum(hidden) + (widths[-1] + 1) * num_outputs


@theory("model.n")
def phm(each: Measured) -> Iterator[Curve]:
    """The number of parameters of hypercomplex layers on Fashion-MNIST by n."""
    if is_fashion_mnist(each.config):
        data, widths = each.config["data"], each.config["model"]["num_hiddens"]
        widths = widths if isinstance(widths, list) else [widths]
        num_inputs = (data.get("resize") or 28) ** 2
        y = [hypercomplex_parameters(num_inputs, widths, NUM_CLASSES, int(n)) for n in each.x]
        yield from each.lines("dq/n + n³ a hidden layer", each.x, y, ["num_parameters"])


@theory("data.label_noise")
def random_labels(each: Measured) -> Iterator[Curve]:
    """Training accuracy 1 of a network that fits every label, and the test accuracy of guessing (Zhang et al. 2017)."""
    yield from each.lines("every label fitted", each.x, [1.0] * len(each.x), ["acc/train"])
    if is_fashion_mnist(each.config):
        yield from each.lines("chance", each.x, [1 / NUM_CLASSES] * len(each.x), ["acc/test"])
